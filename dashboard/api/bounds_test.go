package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/sender"
)

// allocated is how many bytes f allocates.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc-before.TotalAlloc) / detectorCost
}

// fill repeats a piece, in which %d is its number, up to the size that a body may have.
func fill(begin, piece, end string) string {
	var b strings.Builder
	b.WriteString(begin)
	for i := 0; b.Len() < maxBody-1000; i++ {
		if i > 0 {
			b.WriteByte(',')
		}
		if strings.Contains(piece, "%d") {
			fmt.Fprintf(&b, piece, i)
		} else {
			b.WriteString(piece)
		}
	}
	b.WriteString(end)
	return b.String()
}

const (
	mostMemory = 24 << 20 // bytes that one request may allocate, whatever it holds
	mostAnswer = 16 << 10 // bytes of the answer to a request that is refused
)

// However large a body is, the work and the answer are not many times that.
func TestHostileBodies(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		own := w.things(acmeTest)
		long := strings.Repeat("x", maxBody-100)
		for name, body := range map[string]string{
			"empty names":        fill(`{`, `"":1`, `}`),
			"many names":         fill(`{`, `"%d":1`, `}`),
			"one name":           fill(`{`, `"url":""`, `}`),
			"nulls":              fill(`{`, `"url":null`, `}`),
			"escaped names":      fill(`{`, `"\u0000\u202e/~":1`, `}`),
			"nested values":      fill(`{`, `"a":[[[[[[[[[[[]]]]]]]]]]]`, `}`),
			"a long name":        `{"` + long + `":1}`,
			"long odd names":     fill(`{`, `"`+strings.Repeat("/~%\x7f", 1000)+`":1`, `}`),
			"a deep value":       `{"url":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `}`,
			"a deep broken one":  `{"url":` + strings.Repeat("[", maxBody-100),
			"a long text":        `{"url":"` + long + `","description":1}`,
			"a text of escapes":  `{"url":"` + strings.Repeat(`\u0001`, maxBody/7) + `"}`,
			"a list of nothing":  fill(`{"event_types":[`, `""`, `]}`),
			"a list of many":     fill(`{"event_types":[`, `"t%d"`, `],"url":"https://one.example.com"}`),
			"a list of numbers":  fill(`{"event_types":[`, `1`, `],"url":"https://one.example.com"}`),
			"a list of unknowns": fill(`{"event_types":[`, `"`+strings.Repeat("y", 500)+`"`, `],"url":"https://one.example.com"}`),
			"spaces":             `{` + strings.Repeat(" ", maxBody-100) + `"a":1}`,
			"a long endpoint":    `{"endpoint_id":"` + long + `"}`,
		} {
			for _, op := range operations {
				if op.method != http.MethodPost && op.method != http.MethodPatch {
					continue
				}
				r := request(op.method, own.pathOf(op.path, "test~acme"), body)
				var a answer
				bytes := allocated(func() { a = w.serve(r) })
				require.GreaterOrEqual(w, a.Status, 400, "%s to %s", name, op.path)
				require.Less(w, bytes, mostMemory, "%s to %s", name, op.path)
				require.Less(w, len(a.Body), mostAnswer, "%s to %s", name, op.path)
				require.LessOrEqual(w, len(a.problem(w).Errors), maxFaults, "%s to %s", name, op.path)
			}
		}
		// The rest of what is wrong is told once the first is put right.
		p := w.do("POST", account+"/endpoints", fill(`{`, `"a%d":1`, `}`)).problem(w)
		require.Len(w, p.Errors, maxFaults)
		require.Contains(w, p.Detail, "there may be more")
	})
}

// However many parameters there are, and however long, the same holds.
func TestHostileQueries(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.things(acmeTest)
		many := func(piece string) string { return strings.ReplaceAll(fill("", piece, ""), ",", "&") }
		for name, query := range map[string]string{
			"nothing":       strings.Repeat("&", maxBody),
			"one name":      many("state=pending"),
			"many names":    many("a%d=1"),
			"short names":   many("a%d"),
			"a long name":   strings.Repeat("a", maxBody) + "=1",
			"odd long name": strings.Repeat("%01", maxBody/3) + "=1",
			"a long value":  "type=" + strings.Repeat("a", maxBody),
			"a long cursor": "cursor=" + strings.Repeat("a", maxBody),
			"a long limit":  "limit=" + strings.Repeat("1", maxBody),
			"a long time":   "from=" + strings.Repeat("1", maxBody),
			"escapes":       "ref=" + strings.Repeat("%41", maxBody/3),
		} {
			var a answer
			bytes := allocated(func() { a = w.do("GET", account+"/deliveries?"+query, "") })
			require.Less(w, bytes, mostMemory, name)
			require.Less(w, len(a.Body), mostAnswer, name)
		}
		p := w.do("GET", account+"/deliveries?"+strings.Repeat("a=1&", maxParameters+1), "").problem(w)
		require.Equal(w, problemTypes+"bad-query", p.Type)
		require.Contains(w, p.Detail, "parameters")
		// A state is asked for once, however often it stands there.
		w.must("GET", account+"/deliveries?"+strings.Repeat("state=pending&", maxParameters-1), "")
		list, err := states(query{map[string][]string{"state": {"a", "b", "a"}}}, func(s string) (string, error) { return s, nil }, "")
		require.NoError(w, err)
		require.Equal(w, []string{"a", "b"}, list)
	})
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Helper()
	u.t.Error("the body was read")
	return 0, errors.New("read")
}

func (unread) Close() error { return nil }

// Who may not do something, or not there, is told so before the body is read.
func TestBodiesAreReadLast(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		asked := 0
		for _, op := range operations {
			if op.method == http.MethodGet {
				continue
			}
			for _, c := range []struct {
				account, query string
				status         int
			}{
				{"test~acme", "", http.StatusForbidden},
				{"test~globex", "", http.StatusNotFound},
				{"nobody", "", http.StatusNotFound},
				{"live~acme", "?a=1", http.StatusBadRequest},
			} {
				w.access.Accounts[1].Rights = 0 // of test mode
				r := httptest.NewRequest(op.method, own.pathOf(op.path, c.account)+c.query, nil)
				r.Header.Set("Content-Type", "application/json")
				r.Body = unread{t}
				require.Equal(w, c.status, w.serve(r).Status, "%s %s in %s", op.method, op.path, c.account)
				asked++
			}
		}
		require.Greater(w, asked, 40)
	})
}

// An AuthorizeFunc that reads the body reads no more of it than the handler would.
func TestBodyIsBoundedForAuthorize(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		read := 0
		authorize := w.api.authorize
		w.api.authorize = func(r *http.Request) (dashboard.Access, error) {
			b, _ := io.ReadAll(r.Body)
			read = len(b)
			return authorize(r)
		}
		w.do("POST", account+"/recoveries", `{"type": "`+strings.Repeat("x", 8<<20)+`"}`)
		require.LessOrEqual(w, read, maxBody)
	})
}
