package sender_test

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// halfDead is a store that does part of its work not, or not any more.
type halfDead struct {
	store.Store
	settle, claim, empty, expire, takeOver, fanOut atomic.Bool
}

func (s *halfDead) Settle(ctx context.Context, batch []store.Settlement) ([]store.Settled, error) {
	if s.settle.Load() {
		return nil, errBoom
	}
	return s.Store.Settle(ctx, batch)
}

func (s *halfDead) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	switch {
	case s.claim.Load():
		return store.Claims{}, errBoom
	case s.empty.Load():
		return store.Claims{}, nil
	}
	return s.Store.Claim(ctx, p)
}

func (s *halfDead) Expire(ctx context.Context, window time.Duration, limit int) (int, error) {
	if s.expire.Load() {
		return 0, nil
	}
	return s.Store.Expire(ctx, window, limit)
}

func (s *halfDead) TakeOver(ctx context.Context, limit int) (int, error) {
	if s.takeOver.Load() {
		return 0, nil
	}
	return s.Store.TakeOver(ctx, limit)
}

func (s *halfDead) FanOut(ctx context.Context, limit int) (int, error) {
	if s.fanOut.Load() {
		return 0, nil
	}
	return s.Store.FanOut(ctx, limit)
}

// away is a key service that does not answer.
type away struct{ keyring.Sealer }

func (away) Open([]byte, string, []byte, []byte) ([]byte, error) { return nil, errBoom }

// panicky is one that panics.
type panicky struct{ keyring.Sealer }

func (panicky) Open([]byte, string, []byte, []byte) ([]byte, error) { panic("a key") }

// waitCase is a pending delivery of an event to https://shop.example/hook, on a store
// that may be stuck. It returns the event's id.
type waitCase struct {
	options sender.Options  // of the Sender that is asked
	first   *sender.Options // of the one that registers the endpoint; nil: the same
	idle    bool            // the Sender that is asked is not started
	do      func(c *waiting) (eventID string)
	wait    sender.Wait
	text    string // all of it
	overdue time.Duration
	failed  string // class of x.Last
}

type waiting struct {
	*world
	st    *halfDead
	asked *sender.Sender
	ep    store.Endpoint
}

func ring(t *testing.T, id string) *keyring.Ring {
	t.Helper()
	key, err := keyring.GenerateKey(id)
	require.NoError(t, err)
	r, err := keyring.New(key)
	require.NoError(t, err)
	return r
}

// Whatever a pending delivery waits for, Explain says it, with its last failure.
func TestExplainWhatADeliveryWaitsFor(t *testing.T) {
	send := func(c *waiting) string { return c.send(&c.asked.Tenant, "push") }
	sendAnd := func(d time.Duration) func(c *waiting) string {
		return func(c *waiting) string {
			id := send(c)
			c.pass(d)
			return id
		}
	}
	disable := func(c *waiting, reason string) {
		_, err := c.asked.DisableEndpoint(c.t.Context(), c.ep.ID, reason)
		require.NoError(c.t, err)
	}
	edited := func(ep func(*store.Endpoint)) func(c *waiting) string {
		return func(c *waiting) string {
			now, err := c.st.Endpoint(c.t.Context(), c.ep.Scope, c.ep.ID)
			require.NoError(c.t, err)
			ep(&now)
			_, err = c.st.UpdateEndpoint(c.t.Context(), now, store.ChangeParams{Action: store.Edited})
			require.NoError(c.t, err)
			return sendAnd(time.Hour)(c)
		}
	}
	otherKey := func(id string) *sender.Options { return &sender.Options{Keyring: ring(t, id)} }
	const midnight = "2000-01-01 00:00:00 UTC"
	const failed500 = "Attempt 1 failed at " + midnight + ": the receiver answered 500 Internal Server Error."
	for name, tc := range map[string]waitCase{
		"in flight": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Answer{Delay: 5 * time.Second})
				return sendAnd(time.Second)(c)
			},
			wait: sender.WaitInFlight, text: "Attempt 1 is under way since " + midnight + ".",
		},
		"in flight again": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Status(500), sendertest.Answer{Delay: 5 * time.Second})
				return sendAnd(5*time.Minute + time.Second)(c)
			},
			wait: sender.WaitInFlight, text: "Attempt 2 is under way since 2000-01-01 00:05:00 UTC. " + failed500, failed: sender.ClassStatus,
		},
		"not recorded": {
			do: func(c *waiting) string {
				c.st.settle.Store(true)
				return sendAnd(5 * time.Second)(c)
			},
			wait: sender.WaitUnrecorded, text: "Attempt 1 is over, and its result waits to be recorded: the store does not take it.",
		},
		"not reported": {
			options: sender.Options{Lease: time.Minute}, idle: true,
			do: func(c *waiting) string {
				id := send(c)
				_, err := c.st.Claim(c.t.Context(), store.ClaimParams{Owner: 7, Lease: time.Minute, Limit: 10, DefaultRoom: 10})
				require.NoError(c.t, err)
				c.pass(time.Hour)
				return id
			},
			wait: sender.WaitUnreported, overdue: 59 * time.Minute,
			text: "Attempt 1 began at " + midnight + " and was not reported by 2000-01-01 00:01:00 UTC, when its lease ended. No process has taken it over; this one sends nothing, since its Sender is not running.",
		},
		"just not reported": {
			do: func(c *waiting) string {
				c.st.empty.Store(true)
				c.st.takeOver.Store(true)
				receipt, err := c.another(sender.Options{}).Send(c.t.Context(), sender.Event{Type: "push"}) // that one is not started
				require.NoError(c.t, err)
				_, err = c.st.Store.Claim(c.t.Context(), store.ClaimParams{Owner: 7, Lease: time.Minute, Limit: 10, DefaultRoom: 10})
				require.NoError(c.t, err)
				c.pass(time.Minute + time.Second)
				return receipt.ID
			},
			wait: sender.WaitUnreported, overdue: time.Second,
			text: "Attempt 1 began at " + midnight + " and was not reported by 2000-01-01 00:01:00 UTC, when its lease ended.",
		},
		"after one that was never reported": {
			idle: true,
			do: func(c *waiting) string {
				id := send(c)
				_, err := c.st.Claim(c.t.Context(), store.ClaimParams{Owner: 7, Lease: time.Minute, Limit: 10, DefaultRoom: 10})
				require.NoError(c.t, err)
				c.pass(time.Hour)
				_, err = c.st.TakeOver(c.t.Context(), 10)
				require.NoError(c.t, err)
				c.pass(time.Hour)
				return id
			},
			wait: sender.WaitUntaken, overdue: time.Hour,
			text: "Overdue by 60 min. No process has taken it up; this one sends nothing, since its Sender is not running. Attempt 1 began at " + midnight + " and was never reported.",
		},
		"disabled": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Status(500))
				id := send(c)
				disable(c, "debugging")
				c.pass(time.Hour)
				return id
			},
			wait: sender.WaitDisabled, text: "Waiting: the endpoint is disabled (debugging). " + failed500, failed: sender.ClassStatus,
		},
		"expired": {
			options: sender.Options{GiveUpAfter: 8 * time.Hour},
			do: func(c *waiting) string {
				c.st.expire.Store(true)
				c.receiver("shop.example", sendertest.Answer{Fault: sendertest.Hang})
				id := sendAnd(time.Minute)(c)
				disable(c, "")
				c.pass(9 * time.Hour)
				return id
			},
			wait: sender.WaitExpired, failed: sender.ClassTimeout,
			text: "Its time ended at 2000-01-01 08:00:00 UTC, while the endpoint was disabled; it will be given up. Attempt 1 failed at " + midnight + ": no answer within 10s (timeout).",
		},
		"expired, and enabled since": {
			options: sender.Options{GiveUpAfter: 8 * time.Hour},
			do: func(c *waiting) string {
				c.st.expire.Store(true)
				c.receiver("shop.example", sendertest.Status(500))
				id := send(c)
				disable(c, "debugging")
				c.pass(9 * time.Hour)
				_, err := c.asked.EnableEndpoint(c.t.Context(), c.ep.ID)
				require.NoError(c.t, err)
				synctest.Wait()
				return id
			},
			wait: sender.WaitExpired, failed: sender.ClassStatus,
			text: "Its time ended at 2000-01-01 08:00:00 UTC, while the endpoint was disabled; it will be given up. " + failed500,
		},
		"later": {
			do: func(c *waiting) string {
				receipt, err := c.asked.Send(c.t.Context(), sender.Event{Type: "push", Delay: time.Hour})
				require.NoError(c.t, err)
				return receipt.ID
			},
			wait: sender.WaitLater, text: "To be sent later, at 2000-01-01 01:00:00 UTC.",
		},
		"retry": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Answer{Fault: sendertest.Close}, sendertest.Status(503))
				return sendAnd(6 * time.Minute)(c)
			},
			wait: sender.WaitRetry, failed: sender.ClassStatus,
			text: "Due at 2000-01-01 00:35:00 UTC, after 2 attempts so far. Attempt 2 failed at 2000-01-01 00:05:00 UTC: the receiver answered 503 Service Unavailable.",
		},
		"held": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"600"}}})
				send(c)
				return sendAnd(time.Minute)(c)
			},
			wait: sender.WaitHeld, text: "Held until 2000-01-01 00:10:00 UTC: the receiver asked for a pause with Retry-After.",
		},
		"key lacked": {
			options: *otherKey("new"), first: otherKey("old"), do: sendAnd(time.Hour),
			wait: sender.WaitBlocked, overdue: time.Hour,
			text: `Overdue by 60 min. This process can't send to the endpoint: a secret of the endpoint is sealed under the key "old", which this process lacks.`,
		},
		"key replaced": {
			options: *otherKey("same"), first: otherKey("same"), do: sendAnd(time.Hour),
			wait: sender.WaitBlocked, overdue: time.Hour,
			text: `Overdue by 60 min. This process can't send to the endpoint: a secret of the endpoint, sealed under the key "same", does not open: this process has another key of that name, or the secret was changed.`,
		},
		"key lacked where nothing runs": {
			options: *otherKey("new"), first: otherKey("old"), idle: true, do: sendAnd(time.Hour),
			wait: sender.WaitBlocked, overdue: time.Hour,
			text: `Overdue by 60 min. No process has taken it up; this one sends nothing, since its Sender is not running. Nor could this process send to the endpoint: a secret of the endpoint is sealed under the key "old", which this process lacks.`,
		},
		"key service away": {
			options: sender.Options{Keyring: away{ring(t, "a")}}, do: sendAnd(time.Minute),
			wait: sender.WaitBlocked, overdue: time.Minute,
			text: "Overdue by 60 s. This process can't send to the endpoint: its keyring does not answer.",
		},
		"key service panics": {
			options: sender.Options{Keyring: panicky{ring(t, "a")}}, do: sendAnd(time.Minute),
			wait: sender.WaitBlocked, overdue: time.Minute,
			text: "Overdue by 60 s. This process can't send to the endpoint: its keyring does not answer.",
		},
		"no keys to look at the log": {
			options: sender.Options{Keyring: away{ring(t, "a")}}, idle: true, do: sendAnd(time.Minute * 3),
			wait: sender.WaitUntaken, overdue: 3 * time.Minute,
			text: "Overdue by 3 min. No process has taken it up; this one sends nothing, since its Sender is not running.",
		},
		"schedule lacked": {
			first: &sender.Options{Schedules: map[string]retry.Schedule{"slow": retry.None}},
			do:    edited(func(ep *store.Endpoint) { ep.Schedule = "slow" }), wait: sender.WaitBlocked, overdue: time.Hour,
			text: `Overdue by 60 min. This process can't send to the endpoint: the endpoint wants the schedule "slow", which this process lacks.`,
		},
		"scheme lacked": {
			first: &sender.Options{Schemes: []signing.Scheme{signing.Standard, signing.Timestamped("X-Old")}},
			do:    edited(func(ep *store.Endpoint) { ep.Schemes = []string{"old"} }), wait: sender.WaitBlocked, overdue: time.Hour,
			text: `Overdue by 60 min. This process can't send to the endpoint: the endpoint wants the signature scheme "old", which this process lacks.`,
		},
		"timeout too long": {
			options: sender.Options{Lease: 25 * time.Second, HTTP: sender.HTTPOptions{Timeout: 2 * time.Second}},
			do:      edited(func(ep *store.Endpoint) { ep.Timeout = 30 * time.Second }), wait: sender.WaitBlocked, overdue: time.Hour,
			text: "Overdue by 60 min. This process can't send to the endpoint: the endpoint's timeout of 30s is too long for this process, whose leases last 25s.",
		},
		"claims refused": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Status(500))
				id := send(c)
				c.st.claim.Store(true)
				c.pass(10 * time.Minute)
				return id
			},
			wait: sender.WaitStore, overdue: 5 * time.Minute, failed: sender.ClassStatus,
			text: "Overdue by 5 min. The store refuses the claims of this process; its log says why. " + failed500,
		},
		"all slots busy": {
			options: sender.Options{MaxInFlight: 2},
			do: func(c *waiting) string {
				c.receiver("slow.example", sendertest.Answer{Delay: 8 * time.Second})
				c.receiver("shop.example", sendertest.Answer{Delay: 8 * time.Second})
				c.endpoint(&c.asked.Tenant, "slow.example")
				send(c)
				return sendAnd(3 * time.Second)(c)
			},
			wait: sender.WaitBusy, overdue: 3 * time.Second, text: "Overdue by 3 s. All 2 slots of this process are in use.",
		},
		"its share busy": {
			options: sender.Options{MaxInFlight: 100},
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Answer{Delay: 8 * time.Second})
				for range 4 {
					send(c)
				}
				return sendAnd(500 * time.Millisecond)(c)
			},
			wait: sender.WaitBusy, overdue: 501 * time.Millisecond,
			text: "This process has 4 attempts to the endpoint under way, as many as it makes at once for now.",
		},
		"just due, nothing runs": {
			idle: true, do: send, wait: sender.WaitDue, text: "Due since " + midnight + ". This process sends nothing, since its Sender is not running.",
		},
		"just due": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Status(500))
				id := send(c)
				c.st.empty.Store(true)
				c.pass(5*time.Minute + 4*time.Second)
				return id
			},
			wait: sender.WaitDue, overdue: 4 * time.Second, failed: sender.ClassStatus,
			text: "Due since 2000-01-01 00:05:00 UTC; the next claim takes it up. " + failed500,
		},
		"untaken": {
			do: func(c *waiting) string {
				c.receiver("shop.example", sendertest.Status(500))
				id := send(c)
				c.st.empty.Store(true)
				c.pass(65 * time.Minute)
				return id
			},
			wait: sender.WaitUntaken, overdue: time.Hour, failed: sender.ClassStatus,
			text: "Overdue by 60 min. No process has taken it up; the log of those that run may say why. " + failed500,
		},
		"no process was ever started": {
			idle: true, do: sendAnd(50 * time.Hour), wait: sender.WaitUntaken, overdue: 50 * time.Hour,
			text: "Overdue by 2 days. No process has taken it up; this one sends nothing, since its Sender is not running.",
		},
		"stopped": {
			do: func(c *waiting) string {
				require.NoError(c.t, c.asked.Stop(c.t.Context()))
				return sendAnd(3 * time.Hour)(c)
			},
			wait: sender.WaitUntaken, overdue: 3 * time.Hour,
			text: "Overdue by 3 h. No process has taken it up; this one sends nothing, since its Sender is not running.",
		},
		"being fanned out": {
			do: func(c *waiting) string {
				c.st.fanOut.Store(true)
				for i := range store.MaxFanOut {
					c.endpoint(&c.asked.Tenant, fmt.Sprintf("h%d.example", i))
				}
				c.ep = c.endpoint(&c.asked.Tenant, "last.example")
				return sendAnd(3 * time.Minute)(c)
			},
			wait: sender.WaitFanOut,
			text: "The event was stored at " + midnight + " and its deliveries are being made. No process has gone on; the log of those that run may say why.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				c := &waiting{world: newWorld(t, sender.Options{})}
				c.st = &halfDead{Store: c.world.st}
				c.asked = c.on(c.st, tc.options)
				first := c.asked
				if tc.first != nil {
					first = c.on(c.st, *tc.first)
				}
				c.ep = c.endpoint(&first.Tenant, "shop.example")
				if !tc.idle {
					require.NoError(t, c.asked.Start(t.Context()))
				}
				id := tc.do(c)
				defer c.st.settle.Store(false)
				x, err := c.asked.Explain(t.Context(), id, c.ep.ID)
				require.NoError(t, err)
				require.Equal(t, sender.WhyPending, x.Why, x.Text)
				require.Equal(t, tc.text, x.Text)
				require.Equal(t, tc.wait, x.Wait)
				require.InDelta(t, tc.overdue, x.Overdue, float64(100*time.Millisecond))
				require.Equal(t, tc.failed == "" && !containsUnknown(x.Last), x.Last == nil)
				if tc.failed != "" {
					require.Equal(t, tc.failed, x.Last.Class)
					require.Empty(t, x.Last.ResponseBody)
					require.Empty(t, x.Last.ResponseHeader)
				}
				if tc.wait == sender.WaitFanOut {
					require.Nil(t, x.Delivery)
					return
				}
				of, err := c.asked.ExplainDelivery(t.Context(), x.Delivery.ID)
				require.NoError(t, err)
				require.Equal(t, x.Text, of.Text)
			})
		})
	}
}

func containsUnknown(a *store.Attempt) bool { return a != nil && a.Outcome == store.AttemptUnknown }

// One of several deliveries of an event is explained by itself.
func TestExplainDelivery(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.receiver("shop.example", sendertest.Status(410), sendertest.Status(200), sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		_, err := w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		for range 2 {
			_, err = w.Replay(t.Context(), id, ep.ID)
			require.NoError(t, err)
			synctest.Wait()
		}
		d := w.delivery(&w.Tenant, id, ep)
		for round, want := range []sender.Why{sender.WhyExhausted, sender.WhyDelivered, sender.WhyPending} {
			d.ID.Round = round
			x, err := w.ExplainDelivery(t.Context(), d.ID)
			require.NoError(t, err)
			require.Equal(t, want, x.Why, x.Text)
			require.Equal(t, d.ID, x.Delivery.ID)
			require.Equal(t, want == sender.WhyPending, x.Wait == sender.WaitRetry)
			require.Empty(t, x.Event.Body)
			require.Empty(t, x.Endpoint.Secrets[0].Sealed)
		}
		d.ID.Round = 3
		_, err = w.ExplainDelivery(t.Context(), d.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.For("other", store.Live).ExplainDelivery(t.Context(), store.DeliveryID{Event: d.ID.Event, Endpoint: d.ID.Endpoint})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.For("\x00", store.Live).ExplainDelivery(t.Context(), d.ID)
		require.ErrorIs(t, err, store.ErrInvalid)
	})
}
