package dashboard

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// allocated is how many bytes f allocates.
func allocated(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc-before.TotalAlloc) / detectorCost
}

// fields repeats a field, in which %d is its number, up to the size of a form.
func fields(piece string) string {
	var b strings.Builder
	for i := 0; b.Len() < maxForm-1000; i++ {
		if strings.Contains(piece, "%d") {
			fmt.Fprintf(&b, piece, i)
		} else {
			b.WriteString(piece)
		}
		b.WriteByte('&')
	}
	return b.String()
}

// However large a form is, the work and the page are not many times that.
func TestHostileForms(t *testing.T) {
	for name, types := range map[string][]sender.EventType{"catalogue": catalogue, "free": nil} {
		inWorld(t, sender.Options{EventTypes: types}, func(w *world) {
			own := w.things(acmeTest)
			long := strings.Repeat("x", maxForm-100)
			for what, form := range map[string]string{
				"nothing":         strings.Repeat("&", maxForm-100),
				"short names":     fields("a%d"),
				"one name":        fields("type=a"),
				"many types":      fields("type=a%d"),
				"long types":      fields("type=" + strings.Repeat("%3C", 1000) + "%d"),
				"many groups":     fields("group=a%d"),
				"many lines":      "types=" + strings.ReplaceAll(fields("<%d"), "&", "%0A"),
				"a long URL":      "type=a&url=" + strings.Repeat("<", maxForm-100),
				"a long text":     "type=a&url=https://x.example.com&description=" + strings.Repeat("<", maxForm-100),
				"a long name":     long + "=1",
				"a long endpoint": "endpoint=" + long,
				"a long reason":   "reason=" + long,
				"escapes":         "reason=" + strings.Repeat("%00", maxForm/3-100),
				"too much":        "reason=" + strings.Repeat("x", maxForm),
			} {
				for pattern := range pages {
					if !strings.HasPrefix(pattern, "POST") {
						continue
					}
					r := requestOf(pattern, desk.Segment(acmeTest), own.endpoint, nil)
					r.Body = io.NopCloser(strings.NewReader(form))
					var a answer
					bytes := allocated(func() { a = serve(w.pages, r) })
					require.Less(w, bytes, 24<<20, "%s, %s to %s", name, what, pattern)
					require.Less(w, len(a.Body), 2<<20, "%s, %s to %s", name, what, pattern)
				}
			}
			require.Equal(w, http.StatusRequestEntityTooLarge, w.post("endpoints", url.Values{"type": make([]string, maxFields+1)}).Status)
		})
	}
}

func TestHostileQueries(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		own := w.things(acmeTest)
		for what, query := range map[string]string{
			"short names":  strings.Repeat("a&", maxQuery/2),
			"a long name":  strings.Repeat("a", maxQuery),
			"a long text":  "type=" + strings.Repeat("<", maxQuery-10),
			"a long time":  "count=1&from=" + strings.Repeat("1", maxQuery-20),
			"many states":  strings.Repeat("state=pending&", maxQuery/14),
			"many to find": strings.Repeat("q=x&", maxQuery/4),
			"a long why":   "why=" + strings.Repeat("<", maxQuery-10),
			"odd bytes":    strings.Repeat("%ff", maxQuery/3),
			"too much":     strings.Repeat("a=1&", maxQuery),
		} {
			for pattern := range pages {
				if !strings.HasPrefix(pattern, "GET") {
					continue
				}
				r := requestOf(pattern, desk.Segment(acmeTest), own.endpoint, nil)
				r.URL.RawQuery = query
				var a answer
				bytes := allocated(func() { a = serve(w.pages, r) })
				require.Less(w, bytes, 4<<20, "%s to %s", what, pattern)
				require.Less(w, len(a.Body), 1<<20, "%s to %s", what, pattern)
				require.NotEqual(w, http.StatusInternalServerError, a.Status, "%s to %s", what, pattern)
				require.Equal(w, len(query) > maxQuery, a.Status == http.StatusRequestURITooLong, "%s to %s", what, pattern)
			}
		}
	})
}

// A page that is refused has its links from where it was asked for.
func TestHostilePaths(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		w.things(acmeTest)
		for what, path := range map[string]string{
			"slashes":           strings.Repeat("/x", 500_000),
			"slashes below own": "/test~acme" + strings.Repeat("/x", 500_000),
			"own behind others": "/x" + strings.Repeat("/test~acme", 90_000),
			"just acceptable":   strings.Repeat("/x", maxPath/2),
			"a long account":    "/test~" + strings.Repeat("~61", 300_000),
			"a long endpoint":   "/test~acme/endpoints/" + strings.Repeat("%2F", 300_000),
			"a long delivery":   "/test~acme/deliveries/dlv_" + strings.Repeat("_", 900_000),
			"a long event":      "/test~acme/events/" + strings.Repeat("%3C", 300_000),
		} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			var a answer
			bytes := allocated(func() { a = serve(w.pages, r) })
			require.Less(w, bytes, 8<<20, what)
			require.Less(w, len(a.Body), 128<<10, what)
			require.Equal(w, len(path) > maxPath, a.Status == http.StatusRequestURITooLong, what)
		}
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

// Who may not do something, or not there, is told so before the form is read.
func TestFormsAreReadLast(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		w.access.Accounts[1].Rights = 0
		for pattern := range pages {
			if !strings.HasPrefix(pattern, "POST") {
				continue
			}
			for account, status := range map[string]int{"test~acme": http.StatusForbidden, "test~globex": http.StatusNotFound} {
				r := requestOf(pattern, account, own.endpoint, nil)
				r.Body = unread{t}
				require.Equal(w, status, serve(w.pages, r).Status, "%s in %s", pattern, account)
			}
		}
	})
}

// An AuthorizeFunc that reads the form, to check a token in it, leaves it to the page
// and reads no more than the page would.
func TestFormsReadByAuthorize(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com", "*")
		authorize := w.pages.authorize
		w.pages.authorize = func(r *http.Request) (Access, error) {
			if err := r.ParseForm(); err != nil {
				return Access{}, err
			}
			return authorize(r)
		}
		w.follow("endpoints/"+ep.ID+"/disable", url.Values{"reason": {"a token was checked"}})
		now, err := w.acme.Endpoint(w.Context(), ep.ID)
		require.NoError(w, err)
		require.Equal(w, "a token was checked", now.Reason)
		require.Equal(w, http.StatusForbidden, w.post("endpoints/"+ep.ID+"/disable", url.Values{"reason": {strings.Repeat("x", maxForm)}}).Status)

		r := httptest.NewRequest(http.MethodPost, "/test~acme/endpoints/"+ep.ID+"/enable", strings.NewReader("%zz"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		require.Equal(w, http.StatusForbidden, serve(w.pages, r).Status)
	})
}

// A count looks through the log: it needs the right to recover.
func TestCountNeedsTheRight(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.things(acmeTest)
		require.Contains(w, w.get("recover?count=1").text(), "delivery")
		w.access.Accounts[1].Rights = AllRights &^ Replay
		a := w.do(http.MethodGet, "/test~acme/recover?count=1", nil)
		require.Equal(w, http.StatusForbidden, a.Status)
		text := w.get("recover").text()
		require.Contains(w, text, "You may look at recoveries but not start them.")
		require.NotContains(w, text, "Count")
		require.Contains(w, text, "Recoveries Started", "those that run are listed")
	})
}

// An answer of a receiver costs in proportion to its length, in every attempt.
func TestHostileAnswers(t *testing.T) {
	const attempts = maxAttempts
	steps := make([]time.Duration, attempts-1)
	for i := range steps {
		steps[i] = time.Minute
	}
	for name, body := range map[string]string{
		"nested":             strings.Repeat("[", 8<<10) + strings.Repeat("]", 8<<10),
		"nested objects":     strings.Repeat(`{"":`, 3<<10) + "1" + strings.Repeat("}", 3<<10),
		"control characters": strings.Repeat("\x00", 16<<10),
		"turning":            strings.Repeat("\u202e", 5<<10),
		"quotes":             strings.Repeat(`"`, 16<<10),
		"lines":              strings.Repeat("\n", 16<<10),
		"wide":               "[" + strings.Repeat("1,", 8<<10-2) + "1]",
	} {
		inWorld(t, sender.Options{Schedule: retry.Steps(steps...)}, func(w *world) {
			w.receiver.Script(sendertest.Answer{
				Status: 500, Body: body,
				Header: http.Header{"X-Many": slices.Repeat([]string{"<\u202e"}, 500)},
			})
			w.endpoint("https://example.com", "push")
			w.send(sender.Event{Type: "push", Body: []byte(body + strings.Repeat(" ", 1<<19))})
			time.Sleep(2 * attempts * time.Minute)
			d := w.delivery(store.DeliveryQuery{})
			require.Equal(w, attempts, d.Attempts)
			var a answer
			bytes := allocated(func() { a = w.get("deliveries/" + d.ID.String()) })
			require.Less(w, bytes, 64<<20, name)
			require.Less(w, len(a.Body), 8<<20, name)
			require.Equal(w, attempts, strings.Count(a.Body, `class="attempt"`), name)
		})
	}
}

// An endpoint that was changed often has a page all the same.
func TestLongHistory(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com", "*")
		types := make([]string, 1000)
		for i := range types {
			types[i] = fmt.Sprintf("%s.%03d", strings.Repeat("x", 100), i)
		}
		for i := range 2 * maxHistory {
			text := fmt.Sprintf("change %d", i)
			_, err := w.acme.EditEndpoint(w.Context(), ep.ID, sender.EndpointEdit{Description: &text, EventTypes: types[i%2:]})
			require.NoError(w, err)
		}
		var a answer
		bytes := allocated(func() { a = w.get("endpoints/" + ep.ID) })
		require.Less(w, bytes, 128<<20)
		require.Less(w, len(a.Body), 4<<20)
		require.Contains(w, a.text(), "change 199")
		require.NotContains(w, a.text(), "change 98,")
		require.Contains(w, a.text(), "101 earlier changes not shown.")
	})
}
