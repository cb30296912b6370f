package inert

import (
	"bytes"
	"encoding/json"
	"io"
	"runtime"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestLines(t *testing.T) {
	for in, want := range map[string]string{
		"plain\tText\nnext":  "plain\tText\nnext",
		"a\r\nb\rc":          "a\nb\\x0dc",
		"\x00\x1b[31m\x7f":   `\x00\x1b[31m\x7f`,
		"\xff\xfe ok \xc3":   `\xff\xfe ok \xc3`,
		"left\u202eright":    `left\u202eright`,
		"\u200b\ufeff":       `\u200b\ufeff`,
		"\u2028\u0085\u009b": `\u2028\u0085\u009b`,
		"\U000e0001":         `\U000e0001`,
		"käse 世界 😀 ُ":        "käse 世界 😀 ُ",
		"\ufffd is a rune":   "\ufffd is a rune",
		`{"a": [1]}`:         `{"a": [1]}`,
	} {
		require.Equal(t, want, Lines([]byte(in), 1000).Text, "%q", in)
	}
	require.Equal(t, Shown{Text: "ää", Cut: true, Size: 6}, Lines([]byte("äää"), 5), "not cut within a character")
	require.Equal(t, Shown{Text: "ää", Size: 4}, Lines([]byte("ää"), 4))
}

func TestLine(t *testing.T) {
	require.Equal(t, `a\nb\tc\x00`, Line("a\nb\tc\x00"))
	require.Equal(t, "plain", Line("plain"))
	require.Equal(t, strings.Repeat("x", maxLine)+"...", Line(strings.Repeat("x", maxLine+1)))
	require.Len(t, Line(strings.Repeat("\n", 1<<20)), 2*maxLine+3)
	require.Zero(t, testing.AllocsPerRun(100, func() { Line("https://example.com/hooks") }))
}

func TestText(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":[1e2,1.0],"b":"<b>"}`: "{\n  \"a\": [\n    1e2,\n    1.0\n  ],\n  \"b\": \"<b>\"\n}",
		` [ ] `:                     "[]",
		"{\"a\":\"\u202e\xff\"}":    "{\n  \"a\": \"\\u202e\\xff\"\n}",
	} {
		s := Text([]byte(in), 100)
		require.True(t, s.Indented, in)
		require.Equal(t, want, s.Text)
		require.Equal(t, len(in), s.Size)
	}
	for _, in := range []string{"", " ", "12", `"text"`, "[1,", "{} {}", "{hello}", "[[[[[[[[[[[[[[[[[[1,2,3,4,5,6,7,8,9]]]]]]]]]]]]]]]]]]"} {
		s := Text([]byte(in), 60)
		require.False(t, s.Indented, in)
		require.Equal(t, in, s.Text)
	}
	require.False(t, Text([]byte(`[1,2]`), 4).Indented, "it would have to be cut")
}

// nested is JSON of a depth, with as much inside as it takes to have that size.
func nested(depth, size int) []byte {
	inside := strings.Repeat("1,", max(0, size-2*depth)/2) + "1"
	return []byte(strings.Repeat("[", depth) + inside + strings.Repeat("]", depth))
}

// hostile are texts of a size that cost much to show, or once did.
func hostile(size int) map[string][]byte {
	fill := func(s string) []byte { return bytes.Repeat([]byte(s), size/len(s)) }
	return map[string][]byte{
		"nested":             nested(size/2, size),
		"nested, accepted":   nested(min(size/2, 9_999), size),
		"nested objects":     append(bytes.Repeat([]byte(`{"":`), min(size/5, 9_999)), append([]byte("1"), bytes.Repeat([]byte("}"), min(size/5, 9_999))...)...),
		"wide and deep":      nested(maxDepth, size),
		"wide and deeper":    nested(maxDepth+1, size),
		"never closed":       fill("["),
		"one line":           fill("x"),
		"one string":         append(append([]byte(`["`), fill("x")[:size-4]...), `"]`...),
		"lines":              fill("\n"),
		"carriage returns":   fill("\r\n"),
		"spaces in JSON":     append(append([]byte(`[`), fill(" ")[:size-2]...), `]`...),
		"control characters": fill("\x00"),
		"not UTF-8":          fill("\xff"),
		"half a character":   fill("\xe2\x80"),
		"turning":            fill("\u202e"),
		"tags":               fill("\U000e0001"),
		"escapes in JSON":    append(append([]byte(`["`), fill(`\\`)[:(size-4)/2*2]...), `"]`...),
		"empty arrays":       append(append([]byte(`[`), fill(`[],`)...), `1]`...),
	}
}

// Whatever a text is, its result is at most four times what is to be shown, and so is
// the memory, but for a constant factor.
func TestBounds(t *testing.T) {
	const most = 64 << 10
	for _, size := range []int{most, 1 << 20, 8 << 20} {
		for name, b := range hostile(size) {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			s := Text(b, most)
			runtime.ReadMemStats(&after)
			require.LessOrEqual(t, len(s.Text), growth*most, name)
			require.Equal(t, len(b) > most, s.Cut, name)
			require.Equal(t, len(b), s.Size, name)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(40*most*detectorCost), "%s of %d bytes", name, size)
		}
	}
}

func TestIndent(t *testing.T) {
	for _, in := range []string{`{"a":[1,{"b":[]},"x\"]"],"c":{ } }`, " [ 1 , 2 ] ", "null", `"a"`, string(nested(maxDepth, 100))} {
		var want, got bytes.Buffer
		require.NoError(t, json.Indent(&want, bytes.TrimSpace([]byte(in)), "", "  "))
		require.NoError(t, Indent(&got, []byte(in)))
		require.Equal(t, want.String(), got.String())
	}
	for name, b := range hostile(1 << 20) {
		if !json.Valid(b) {
			continue
		}
		var got, a, c bytes.Buffer
		require.NoError(t, Indent(&got, b))
		require.LessOrEqual(t, got.Len(), (2*maxDepth+2)*len(b), name)
		require.NoError(t, json.Compact(&a, b))
		require.NoError(t, json.Compact(&c, got.Bytes()))
		require.True(t, bytes.Equal(a.Bytes(), c.Bytes()), name)
	}
	require.ErrorIs(t, Indent(broken{}, nested(10, 1<<20)), io.ErrClosedPipe)
}

type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func FuzzText(f *testing.F) {
	for _, b := range hostile(500) {
		f.Add(b, uint16(400))
	}
	f.Add([]byte("{}"), uint16(0))
	f.Fuzz(func(t *testing.T, b []byte, most uint16) {
		s := Text(b, int(most))
		require.True(t, utf8.ValidString(s.Text))
		require.LessOrEqual(t, len(s.Text), growth*int(most))
		require.Equal(t, len(b), s.Size)
		require.Equal(t, len(b) > int(most), s.Cut)
		for _, r := range s.Text {
			require.False(t, r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)), "%q", r)
		}
		require.NotContains(t, Line(string(b)), "\n")
		if json.Valid(b) {
			var got, a, c bytes.Buffer
			require.NoError(t, Indent(&got, b))
			require.NoError(t, json.Compact(&a, b))
			require.NoError(t, json.Compact(&c, got.Bytes()))
			require.Equal(t, a.String(), c.String())
		}
	})
}

func BenchmarkText(b *testing.B) {
	for name, text := range map[string][]byte{
		"payload": []byte(`{"id":"evt_1","data":{"amount":5000,"items":[` + strings.Repeat(`{"name":"käse","n":1},`, 500) + `{}]}}`),
		"nested":  nested(8<<10, 16<<10),
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				Text(text, 64<<10)
			}
		})
	}
}
