package sender

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

func testRedactor(t testing.TB, secret string, headers ...string) *redactor {
	t.Helper()
	o := &opened{}
	if secret != "" {
		s, err := signing.ParseSecret(secret)
		require.NoError(t, err)
		o.secrets = []openedSecret{{Secret: s}}
	}
	for _, value := range headers {
		o.headers = append(o.headers, openedHeader{"X", value})
	}
	return newRedactor(o)
}

func TestRedact(t *testing.T) {
	for name, tc := range map[string]struct {
		value, said, kept string
	}{
		"as it was":            {"Bearer abcdefgh", "you sent Bearer abcdefgh, thanks", "you sent ***, thanks"},
		"twice":                {"tok-1234", "tok-1234tok-1234", "******"},
		"without the scheme":   {"Bearer abcdefgh", `{"token":"abcdefgh"}`, `{"token":"***"}`},
		"short words stay":     {"Bearer abcdefgh", "Bearer of news", "Bearer of news"},
		"short values stay":    {"eu1", "eu1 is down", "eu1 is down"},
		"as JSON":              {`a"b\c<d>&e`, `{"h":"a\"b\\c\u003cd\u003e\u0026e"}`, `{"h":"***"}`},
		"as JSON, unescaped":   {`a"b\c<d>&e`, `{"h":"a\"b\\c<d>&e"}`, `{"h":"***"}`},
		"in a query":           {"a b/c+d==", "q=a+b%2Fc%2Bd%3D%3D;", "q=***;"},
		"in a path":            {"a b/c+d==", "/a%20b%2Fc+d==/", "/***/"},
		"password":             {"Basic Ym9iOmh1bnRlcjI=", "no user bob with hunter2", "no user bob with ***"},
		"password, in lower":   {"basic Ym9iOmh1bnRlcjI=", "no user bob with hunter2", "no user bob with ***"},
		"the longest first":    {"Bearer abcdefgh", "Bearer abcdefgh", "***"},
		"cut off in the value": {"Bearer abcdefgh", "you sent Bearer abc", "you sent ***"},
		"cut off in a word":    {"Bearer abcdefgh", "token abcdef", "token ***"},
		"nothing":              {"Bearer abcdefgh", "all is well", "all is well"},
		"empty":                {"Bearer abcdefgh", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a := store.Attempt{ResponseHeader: []byte("X-Echo: " + tc.said + "\r\n"), ResponseBody: []byte(tc.said), Error: "it said: " + tc.said + "…"}
			testRedactor(t, "", tc.value).attempt(&a)
			require.Equal(t, tc.kept, string(a.ResponseBody))
			require.Equal(t, "it said: "+tc.kept+"…", a.Error)
			if !strings.HasPrefix(name, "cut off") { // headers are kept in whole lines
				require.Equal(t, "X-Echo: "+tc.kept+"\r\n", string(a.ResponseHeader))
			}
		})
	}
	a := store.Attempt{ResponseBody: []byte("config: whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")}
	testRedactor(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").attempt(&a)
	require.Equal(t, "config: ***", string(a.ResponseBody))
	bare := store.Attempt{ResponseBody: []byte(`{"key":"MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}`)}
	testRedactor(t, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").attempt(&bare)
	require.Equal(t, `{"key":"***"}`, string(bare.ResponseBody))
	newRedactor(nil).attempt(&a)
	require.Equal(t, "config: ***", string(a.ResponseBody))
}

// No value survives, and what is kept never grows.
func FuzzRedact(f *testing.F) {
	f.Add("Bearer abcdefgh", "you sent ", " thanks")
	f.Add("Basic Ym9iOmh1bnRlcjI=", `{"a":"`, `"}`)
	f.Add(`a"b\c<d>`, "", "")
	f.Add("****", "*", "*")
	f.Add("aaaaaaaaab", "aaaa", "")
	f.Fuzz(func(t *testing.T, value, before, after string) {
		if len(value) < minRedacted || strings.Trim(value, "*") == "" || strings.Contains(redacted, value) {
			return
		}
		said := []byte(before + value + after)
		a := store.Attempt{ResponseBody: bytes.Clone(said), Error: string(said)}
		r := testRedactor(t, "", value)
		r.attempt(&a)
		require.LessOrEqual(t, len(a.ResponseBody), len(said))
		if !strings.Contains(value, "*") { // else the marks can make up the value again
			require.NotContains(t, string(a.ResponseBody), value)
			require.NotContains(t, a.Error, value)
		}
	})
}
