package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/verifier"
)

// allocated is how many bytes f allocates.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc-before.TotalAlloc) / detectorCost
}

// hostile are bodies that cost much to print, or once did.
func hostile() map[string]string {
	const size = 1 << 20
	fill := func(s string) string { return strings.Repeat(s, size/len(s)) }
	envelope := func(data string) string { return `{"type":"a.b","data":` + data + `}` }
	nested := func(depth int, inside string) string {
		return strings.Repeat("[", depth) + inside + strings.Repeat("]", depth)
	}
	return map[string]string{
		"nested":             envelope(nested(9_000, "")),
		"nested and wide":    envelope(nested(9_000, strings.TrimSuffix(fill("1,"), ","))),
		"too nested to read": envelope(nested(100_000, "")),
		"wide":               envelope("[" + fill("[],") + "1]"),
		"control characters": fill("\x00\x1b"),
		"not UTF-8":          fill("\xff"),
		"turning":            envelope(`"` + fill("\u202e") + `"`),
		"lines":              fill("\n"),
		"one line":           envelope(`"` + fill("x") + `"`),
		"8 MiB":              strings.Repeat("x", 8<<20-1),
		"a far time":         `{"type":"a.b","created_at":"9999-12-31T23:59:59-23:00","data":1}`,
	}
}

// Whatever a request holds, listen prints it in one go, as text and as JSON.
func TestListenPrintsAnything(t *testing.T) {
	secret, err := signing.ParseSecret(someSecret)
	require.NoError(t, err)
	check, err := newChecker(signing.Standard, []signing.Secret{secret}, signing.DefaultTolerance, time.Now)
	require.NoError(t, err)
	key, err := signing.Standard.Bind(secret)
	require.NoError(t, err)
	for name, body := range hostile() {
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			l := &listener{call: &call{out: &output{to: &out}, json: asJSON}, scheme: signing.Standard, checker: check}
			r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
			key.SetHeaders(r.Header, signing.Message{ID: "evt_1", Timestamp: time.Now(), Body: []byte(body)})
			w := httptest.NewRecorder()
			n := allocated(func() { l.serve(w, r) })
			require.Equal(t, http.StatusOK, w.Code, name)
			require.Less(t, n, 128<<20, name)
			require.Less(t, out.Len(), 64<<20, name)
			require.NotEmpty(t, out.String(), name)
			if asJSON {
				var v map[string]any
				if name != "too nested to read" { // as text
					require.NoError(t, json.Unmarshal(out.Bytes(), &v), name)
				}
				require.Equal(t, 1, strings.Count(out.String(), "\n"), name)
				continue
			}
			require.LessOrEqual(t, out.Len(), 10*maxPrinted, name)
			require.NotContains(t, out.String(), "\x1b", name)
			require.NotContains(t, out.String(), "\u202e", name)
			shown := len(dataOf(body))
			if name == "too nested to read" || shown == 0 {
				shown = len(body)
			}
			require.Equal(t, shown > maxPrinted, strings.Contains(out.String(), "... the first part of"), name)
		}
	}
}

// The same holds for what is printed of the store, and for verify.
func TestOutputPrintsAnything(t *testing.T) {
	for name, body := range hostile() {
		answer := body[:min(len(body), store.MaxResponseBody)]
		for _, asJSON := range []bool{false, true} {
			var out bytes.Buffer
			c := &call{out: &output{to: &out}, json: asJSON}
			var attempts []store.Attempt
			for n := range 50 {
				attempts = append(attempts, store.Attempt{N: n + 1, StartedAt: time.Now(), Outcome: store.AttemptFailed, Status: 500, ResponseBody: []byte(answer)})
			}
			n := allocated(func() {
				require.NoError(t, c.printDelivery(&store.Delivery{}, &store.Event{Body: []byte(body)}, attempts, &sender.Explanation{}))
			})
			require.Less(t, n, 128<<20, name)
			out.Reset()
			n = allocated(func() {
				require.NoError(t, c.printVerdict(verifier.Event{Type: "a.b", Body: []byte(body), Data: dataOf(body)}, ""))
			})
			require.Less(t, n, 160<<20, name)
		}
	}
}

// dataOf is the data of an envelope that can be read.
func dataOf(body string) json.RawMessage {
	var v struct{ Data json.RawMessage }
	_ = json.Unmarshal([]byte(body), &v) // else none
	return v.Data
}

// Files are read as far as what they hold can be used.
func TestFilesAreBounded(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	file := filepath.Join(t.TempDir(), "long")
	for name, content := range map[string]string{
		"lines":   strings.Repeat("a:b\n", 1<<20),
		"commas":  strings.Repeat(",", 4<<20),
		"newline": strings.Repeat("\n", 4<<20),
		"a line":  strings.Repeat("x", 4<<20),
	} {
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
		body := writeFile(t, "{}")
		for _, args := range [][]string{
			{"verify", "--headers", file, body},
			{"verify", "--secret-file", file, "--header", "a:b", body},
			{"sign", "--secret-file", file, body},
			{"keys", "check", "--keys-file", file},
			{"keys", "fingerprint", "--secret-file", file},
		} {
			var status int
			var problem string
			n := allocated(func() { status, _, problem = s.call(args...) })
			require.Equal(t, exitBadInput, status, "%s: %v", name, args)
			require.Contains(t, problem, "has more than 1 MiB", "%s: %v", name, args)
			require.Less(t, len(problem), 1000, "%s: %v", name, args)
			require.Less(t, n, 16<<20, "%s: %v", name, args)
		}
	}
	// Below the bound too.
	secrets := strings.Repeat(fmt.Sprintln(someSecret), 10_000)
	require.NoError(t, os.WriteFile(file, []byte(secrets), 0o600))
	status, _, problem := s.call("sign", "--secret-file", file, writeFile(t, "{}"))
	require.Equal(t, exitBadInput, status)
	require.Contains(t, problem, "at most")
}
