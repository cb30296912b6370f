package dashboard

import (
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
)

// A time to come that has passed is no time to come.
func TestOverdue(t *testing.T) {
	for name, tc := range map[string]struct {
		answer sendertest.Answer
		delay  time.Duration // of the event
		then   func(w *world, endpoint string)
		list   string // below the state
		page   string
		why    string
	}{
		"a retry to come": {
			sendertest.Answer{Status: 500},
			0, nil,
			"pending next retry in 60 s", "in 60 s", "Attempt 1 failed at 2000-01-01 00:00:00 UTC: the receiver answered 500 Internal Server Error.",
		},
		"a first attempt to come": {sendertest.Answer{}, 3 * time.Hour, nil, "pending to be sent in 3 h", "in 3 h", "To be sent later, at 2000-01-01 03:00:00 UTC."},
		"4 s ago": {
			sendertest.Answer{Status: 500},
			0, func(w *world, _ string) {
				require.NoError(w, w.hooks.Stop(w.Context()))
				time.Sleep(time.Minute + 4*time.Second)
			},
			"pending overdue by 4 s", "overdue by 4 s", "Due since 2000-01-01 00:01:00 UTC. This process sends nothing, since its Sender is not running.",
		},
		"a day ago": {
			sendertest.Answer{Fault: sendertest.Close},
			0, func(w *world, _ string) {
				require.NoError(w, w.hooks.Stop(w.Context()))
				time.Sleep(24*time.Hour + time.Minute)
			},
			"pending overdue by 24 h", "overdue by 24 h", "Overdue by 24 h. No process has taken it up; this one sends nothing, since its Sender is not running. Attempt 1 failed at",
		},
		"first attempt, never made": {
			sendertest.Answer{},
			time.Hour, func(w *world, _ string) {
				require.NoError(w, w.hooks.Stop(w.Context()))
				time.Sleep(73 * time.Hour)
			},
			"pending overdue by 3 days", "overdue by 3 days", "Overdue by 3 days.",
		},
		"just now": {
			sendertest.Answer{Status: 500},
			0, func(w *world, _ string) {
				require.NoError(w, w.hooks.Stop(w.Context()))
				time.Sleep(time.Minute)
			},
			"pending due now", "due now", "Due since",
		},
		"disabled": {
			sendertest.Answer{Status: 500},
			0, func(w *world, endpoint string) {
				_, err := w.acme.DisableEndpoint(w.Context(), endpoint, "moving")
				require.NoError(w, err)
				time.Sleep(time.Hour)
			},
			"pending endpoint disabled", "waits", "the endpoint is disabled (moving). Attempt 1 failed at",
		},
		"held": {
			sendertest.Answer{Status: 503, Header: http.Header{"Retry-After": {"1800"}}},
			0, nil,
			"pending next retry in 30 min", "in 30 min", "Due at 2000-01-01 00:30:00 UTC, after 1 attempt so far.",
		},
		"in flight": {
			sendertest.Answer{Delay: 8 * time.Second},
			0, func(*world, string) { time.Sleep(3 * time.Second) },
			"pending in flight", "under way since 2000-01-01 00:00:00 UTC", "Attempt 1 is under way since 2000-01-01 00:00:00 UTC.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, sender.Options{}, func(w *world) {
				ep := w.endpoint("https://example.com/hooks", "push")
				w.receiver.Script(tc.answer)
				w.send(sender.Event{Type: "push", Delay: tc.delay})
				if tc.then != nil {
					tc.then(w, ep.ID)
				}
				synctest.Wait()
				d := w.delivery(ofEndpoint(ep))
				page := w.get("deliveries/" + d.ID.String()).text()
				for _, text := range []string{w.get("deliveries").text(), w.get("events/" + d.EventID).text()} {
					require.Contains(w, text, tc.list)
				}
				require.Contains(w, page, tc.page)
				require.Contains(w, page, tc.why)
				require.NotRegexp(w, `(next retry|Next retry|Next attempt)[^.]{0,40} ago`, page)
			})
		})
	}
}

// A second delivery of an event, held by what the first was answered.
func TestHeld(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "push")
		w.receiver.Script(sendertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"1800"}}}, sendertest.Answer{})
		w.send(sender.Event{Type: "push"})
		w.send(sender.Event{Type: "push"})
		require.Contains(w, w.get("deliveries").text(), "pending held, until in 30 min")
		require.Contains(w, w.get("endpoints/"+ep.ID).text(), "Asked for a pause until")
		time.Sleep(31 * time.Minute)
		synctest.Wait()
		require.NotContains(w, w.get("endpoints/"+ep.ID).text(), "Asked for a pause until")
	})
}

// Each page of a delivery explains that one, not another of its event.
func TestWhyIsOfTheDelivery(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "push")
		w.receiver.Script(sendertest.Answer{Status: 500}, sendertest.Answer{Status: 500}, sendertest.Answer{Status: 500}, sendertest.Answer{})
		id := w.send(sender.Event{Type: "push"})
		time.Sleep(time.Hour)
		first := w.delivery(ofEndpoint(ep))
		_, err := w.acme.Replay(w.Context(), id, ep.ID)
		require.NoError(w, err)
		synctest.Wait()
		require.Contains(w, w.get("deliveries/"+first.ID.String()).text(), "Why? Given up at")
		require.Contains(w, w.get("deliveries/"+w.delivery(ofEndpoint(ep)).ID.String()).text(), "Why? Delivered at")
	})
}

// The last success is not a minute late, and where it may be the page says so.
func TestLastSuccess(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "push")
		path := "endpoints/" + ep.ID
		require.Contains(w, w.get(path).text(), "Last success – Last failure")
		w.send(sender.Event{Type: "push"})
		for range 5 {
			time.Sleep(10 * time.Second)
			w.send(sender.Event{Type: "push"})
			require.Contains(w, w.get(path).text(), "Last success just now Last failure")
		}
		_, err := w.acme.SendTest(w.Context(), ep.ID)
		require.NoError(w, err)
		time.Sleep(10 * time.Second)
		require.Contains(w, w.get(path).text(), "Last success 10 s ago Last failure", "a test is none")
		for i := range 12 {
			w.receiver.Script(sendertest.Answer{Status: 500})
			w.send(sender.Event{Type: "push", ID: fmt.Sprint(i)})
		}
		require.Contains(w, w.get(path).text(), "Last success 60 s ago recorded once a minute Last failure just now")
	})
}
