package sender_test

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// What answers make the sender do beyond the next retry.

func busy(status int, retryAfter string) sendertest.Answer {
	return sendertest.Answer{Status: status, Header: http.Header{"Retry-After": {retryAfter}}}
}

// A 429 or 503 may ask for a pause: its delivery is repeated no earlier than that,
// nor than the schedule says, and the whole endpoint is left alone for up to an hour.
func TestRetryAfterResponse(t *testing.T) {
	for name, tc := range map[string]struct {
		answer sendertest.Answer
		retry  time.Duration // when the delivery is repeated
		others time.Duration // when the endpoint's other deliveries go
	}{
		"429, an hour":              {busy(429, "3600"), time.Hour, time.Hour},
		"503, an hour":              {busy(503, "3600"), time.Hour, time.Hour},
		"a date":                    {busy(503, "Sat, 01 Jan 2000 00:20:00 GMT"), 20 * time.Minute, 20 * time.Minute},
		"earlier than the schedule": {busy(503, "60"), 5 * time.Minute, time.Minute},
		"longer than the cap":       {busy(429, "7200"), 2 * time.Hour, time.Hour},
		"a date long past":          {busy(503, "Fri, 01 Jan 1999 00:00:00 GMT"), 5 * time.Minute, 0},
		"nonsense":                  {busy(503, "soon"), 5 * time.Minute, 0},
		"negative":                  {busy(503, "-60"), 5 * time.Minute, 0},
		"zero":                      {busy(503, "0"), 5 * time.Minute, 0},
		"no header":                 {sendertest.Status(503), 5 * time.Minute, 0},
		"another status":            {busy(500, "3600"), 5 * time.Minute, 0},
		"another status, 301":       {busy(301, "3600"), 5 * time.Minute, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sender.Options{PollInterval: time.Second}, func(t *testing.T, w *world) {
				receiver, elsewhere := w.receiver("shop.example", tc.answer, sendertest.Status(200)), w.receiver("other.example")
				w.endpoint(&w.Tenant, "shop.example", "held", "other")
				w.endpoint(&w.Tenant, "other.example", "other")
				start := time.Now()
				held := w.send(&w.Tenant, "held")
				other := w.send(&w.Tenant, "other")
				require.Equal(t, 1, elsewhere.Count(), "other endpoints are not held")
				w.pass(tc.retry + 10*time.Minute)
				at := make(map[string][]time.Duration)
				for _, r := range receiver.Requests() {
					id := decode(t, r).ID
					at[id] = append(at[id], r.At.Sub(start))
				}
				require.Len(t, at[held], 2)
				require.Len(t, at[other], 1)
				// A hold's end is seen by a poll.
				for got, want := range map[time.Duration]time.Duration{at[held][1]: tc.retry, at[other][0]: tc.others} {
					require.GreaterOrEqual(t, got, want)
					require.LessOrEqual(t, got, want+2*time.Second)
				}
			})
		})
	}
}

// Replay and SendTx wait for a hold, too, and a restart does not forget it.
func TestHoldOutlivesTheProcess(t *testing.T) {
	inBubble(t, sender.Options{PollInterval: time.Second}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", busy(429, "1800"), sendertest.Status(200))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		require.NoError(t, w.Stop(t.Context()))
		s := w.another(sender.Options{PollInterval: time.Second})
		require.NoError(t, s.Start(t.Context()))
		_, err := s.Replay(t.Context(), id, ep.ID)
		require.NoError(t, err)
		w.pass(29 * time.Minute)
		require.Equal(t, 1, receiver.Count())
		w.pass(2 * time.Minute)
		require.Equal(t, 3, receiver.Count())
	})
}

// A Retry-After never moves an attempt past the deadline.
func TestRetryAfterBeyondTheDeadline(t *testing.T) {
	inBubble(t, sender.Options{GiveUpAfter: 6 * time.Hour}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", busy(503, "864000"))
		ep := w.endpoint(&w.Tenant, "shop.example")
		start := time.Now()
		id := w.send(&w.Tenant, "push")
		w.pass(day)
		require.Equal(t, []time.Duration{0, 6 * time.Hour}, offsets(start, receiver.Requests()))
		require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, ep).State)
	})
}

// GiveUpAfter caps every schedule.
func TestGiveUpAfterCapsSchedules(t *testing.T) {
	for name, tc := range map[string]struct {
		schedule retry.Schedule
		giveUp   time.Duration
		want     []time.Duration
	}{
		"steps end by themselves": {retry.Steps(time.Minute, time.Hour), 0, []time.Duration{0, time.Minute, 61 * time.Minute}},
		"steps repeated":          {retry.Steps(time.Hour).Repeat(), 3 * time.Hour, []time.Duration{0, time.Hour, 2 * time.Hour, 3 * time.Hour}},
		"just too late":           {retry.Steps(time.Hour + time.Second).Repeat(), 2 * time.Hour, []time.Duration{0, time.Hour + time.Second}},
		"none":                    {retry.None, 0, []time.Duration{0}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sender.Options{Schedule: tc.schedule, GiveUpAfter: tc.giveUp}, func(t *testing.T, w *world) {
				receiver := w.receiver("shop.example", sendertest.Status(500))
				ep := w.endpoint(&w.Tenant, "shop.example")
				start := time.Now()
				id := w.send(&w.Tenant, "push")
				w.pass(5 * time.Hour)
				require.Equal(t, tc.want, offsets(start, receiver.Requests()))
				require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, ep).State)
			})
		})
	}
}

// told is what hooks were told.
type told struct {
	disabled  []store.Endpoint
	recovered []time.Time
	exhausted []sender.Exhaustion
}

// heard collects what hooks are told.
type heard struct {
	mu sync.Mutex
	told
}

func (h *heard) soFar() told {
	h.mu.Lock()
	defer h.mu.Unlock()
	return told{slices.Clone(h.disabled), slices.Clone(h.recovered), slices.Clone(h.exhausted)}
}

func (h *heard) hooks() sender.Hooks {
	note := func(f func()) {
		h.mu.Lock()
		defer h.mu.Unlock()
		f()
	}
	return sender.Hooks{
		EndpointDisabled: func(_ context.Context, ep store.Endpoint) {
			note(func() { h.disabled = append(h.disabled, ep) })
		},
		EndpointRecovered: func(_ context.Context, _ store.Endpoint, since time.Time) {
			note(func() { h.recovered = append(h.recovered, since) })
		},
		DeliveryExhausted: func(_ context.Context, d sender.Exhaustion) {
			note(func() { h.exhausted = append(h.exhausted, d) })
		},
	}
}

func TestGone(t *testing.T) {
	var h heard
	inBubble(t, sender.Options{Hooks: h.hooks()}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(410))
		ep := w.endpoint(&w.Tenant, "shop.example")
		waits := w.send(&w.Tenant, "push")
		gone := w.send(&w.Tenant, "push")

		d := w.delivery(&w.Tenant, gone, ep)
		require.Equal(t, store.Exhausted, d.State)
		require.Contains(t, d.Reason, "410")
		now := w.current(&w.Tenant, ep)
		require.Equal(t, store.Disabled, now.State)
		require.Contains(t, now.Reason, "410 Gone")
		require.Len(t, h.soFar().disabled, 1)
		require.Equal(t, now, h.soFar().disabled[0])
		require.Contains(t, w.log.String(), ep.ID)
		require.Len(t, h.soFar().exhausted, 1)
		require.Equal(t, sender.Exhaustion{
			Scope: ep.Scope, Delivery: d.ID, EventID: gone, EventType: "push", EndpointID: ep.ID, Reason: d.Reason, LastStatus: 410,
		}, h.soFar().exhausted[0])

		w.pass(time.Hour)
		require.Equal(t, 2, receiver.Count())
		require.Equal(t, store.Pending, w.delivery(&w.Tenant, waits, ep).State, "the others wait")
		receipt, err := w.Send(t.Context(), sender.Event{Type: "push"})
		require.NoError(t, err)
		require.Zero(t, receipt.Deliveries)
		receiver.Script(sendertest.Status(200))
		_, err = w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		w.pass(time.Second)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, waits, ep).State)
	})
}

// A 410 disables the endpoint that answered it, not what it has become meanwhile.
func TestGoneAfterAnEdit(t *testing.T) {
	var h heard
	inBubble(t, sender.Options{Hooks: h.hooks()}, func(t *testing.T, w *world) {
		w.receiver("old.example", sendertest.Answer{Status: 410, Delay: 5 * time.Second})
		ep := w.endpoint(&w.Tenant, "old.example")
		id := w.send(&w.Tenant, "push")
		_, err := w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: ptr("https://new.example/hook")})
		require.NoError(t, err)
		w.pass(5 * time.Second)
		require.Equal(t, store.Enabled, w.current(&w.Tenant, ep).State)
		require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, ep).State)
		require.Empty(t, h.soFar().disabled)
	})
}

// An endpoint that has only failed for five days is disabled if another one
// succeeded meanwhile: else the fault may be ours.
func TestAutoDisable(t *testing.T) {
	for name, tc := range map[string]struct {
		after    time.Duration // Options.DisableAfter
		dead     []sendertest.Answer
		other    sendertest.Answer
		disabled bool
	}{
		"another one succeeds":  {0, []sendertest.Answer{sendertest.Status(500)}, sendertest.Status(200), true},
		"timeouts":              {12 * time.Hour, []sendertest.Answer{{Fault: sendertest.Hang}}, sendertest.Status(200), true},
		"no other one succeeds": {12 * time.Hour, []sendertest.Answer{sendertest.Status(500)}, sendertest.Status(500), false},
		"switched off":          {-1, []sendertest.Answer{sendertest.Status(500)}, sendertest.Status(200), false},
	} {
		t.Run(name, func(t *testing.T) {
			var h heard
			after, reason := tc.after, "no success for 12h0m0s"
			switch {
			case after == 0:
				after, reason = 5*day, "no success for 5 days"
			case after < 0:
				after = 12 * time.Hour
			}
			inBubble(t, sender.Options{Hooks: h.hooks(), Schedule: retry.None, DisableAfter: tc.after, PollInterval: time.Minute}, func(t *testing.T, w *world) {
				dead := w.receiver("dead.example", tc.dead...)
				w.receiver("other.example", tc.other)
				ep := w.endpoint(&w.Tenant, "dead.example")
				other := w.endpoint(w.For("acme", store.Test), "other.example")
				shift := func() {
					w.send(&w.Tenant, "push")
					w.send(w.For("acme", store.Test), "push")
					w.pass(after / 15)
				}
				for range 14 {
					shift()
				}
				require.Equal(t, store.Enabled, w.current(&w.Tenant, ep).State, "too early")
				shift()
				shift()
				require.GreaterOrEqual(t, dead.Count(), 15)
				now := w.current(&w.Tenant, ep)
				require.Equal(t, store.Enabled, w.current(w.For("acme", store.Test), other).State)
				if !tc.disabled {
					require.Equal(t, store.Enabled, now.State)
					require.Empty(t, h.soFar().disabled)
					return
				}
				require.Equal(t, store.Disabled, now.State)
				require.Equal(t, reason, now.Reason)
				require.Len(t, h.soFar().disabled, 1)
				require.Equal(t, ep.ID, h.soFar().disabled[0].ID)
				require.Equal(t, store.Disabled, h.soFar().disabled[0].State)
				n := dead.Count()
				shift()
				require.Equal(t, n, dead.Count())

				// Enabled again, it starts from the beginning.
				_, err := w.EnableEndpoint(t.Context(), ep.ID)
				require.NoError(t, err)
				for range 6 {
					shift()
				}
				require.Equal(t, store.Enabled, w.current(&w.Tenant, ep).State)
				require.Len(t, h.soFar().disabled, 1)
			})
		})
	}
}

func TestOneSuccessEndsTheFailing(t *testing.T) {
	inBubble(t, sender.Options{Schedule: retry.None, DisableAfter: 15 * time.Hour}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		w.endpoint(&w.Tenant, "other.example")
		for i := range 24 {
			if i == 12 {
				receiver.Script(sendertest.Status(200), sendertest.Status(500))
			}
			w.send(&w.Tenant, "push")
			w.pass(time.Hour)
		}
		require.Equal(t, store.Enabled, w.current(&w.Tenant, ep).State)
		require.Equal(t, 24, receiver.Count())
	})
}
