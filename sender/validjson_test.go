package sender

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func FuzzValidJSON(f *testing.F) {
	for _, s := range []string{
		``, ` `, `null`, ` true `, `false`, `nul`, `truex`, `0`, `-0`, `01`, `-`, `1.`, `1.5`, `.5`, `1e5`, `1E+05`, `1e`, `1e+`, `-1.25e-3`, `+1`,
		`""`, `"a`, `"\"\\\/\b\f\n\r\t\u00e9"`, `"\u12g4"`, `"\u12"`, `"\x"`, "\"\n\"", "\"\x7f\"", `"é"`,
		`{}`, `[]`, `{ }`, `[ ]`, `[1,2 , 3]`, `[1,]`, `[,1]`, `[1 2]`, `{"a":1}`, `{"a" : {"b":[true,null]} }`, `{"a":1,}`, `{,}`, `{a:1}`, `{"a"}`, `{"a":}`,
		`[`, `{`, `{"a"`, `{"a":1`, `[1`, `]`, `}`, `1 2`, "\ufeff1", "[1]\x00",
		strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000),
		strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		require.Equal(t, json.Valid(b), validJSON(b), "%q", b)
	})
}

func TestNestedDeeper(t *testing.T) {
	for text, depth := range map[string]int{
		"": 0, "1": 0, `"[[["`: 0, `"\"[[["`: 0, `"\\\\",[[]]`: 2, "[]": 1, "[][][]": 1, `[{"a":[]},{"b":{}}]`: 3, `{"[":"{","\\\"[":[]}`: 2,
	} {
		require.False(t, nestedDeeper([]byte(text), depth), text)
		require.Equal(t, depth > 0, nestedDeeper([]byte(text), depth-1) && depth > 0, text)
	}
}

func BenchmarkValidJSON(b *testing.B) {
	data := []byte(`{"id":"pay_xyz789","amount":5000,"currency":"GHS","metadata":{"note":"` + strings.Repeat("x", 900) + `"}}`)
	b.Run("validJSON", func(b *testing.B) {
		for b.Loop() {
			validJSON(data)
		}
	})
	b.Run("encoding/json", func(b *testing.B) {
		for b.Loop() {
			json.Valid(data)
		}
	})
}
