package sender_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

func TestExplain(t *testing.T) {
	type step func(t *testing.T, w *world, ep store.Endpoint) (eventID string)
	send := func(answers ...sendertest.Answer) step {
		return func(t *testing.T, w *world, ep store.Endpoint) string {
			w.receiver("shop.example", answers...)
			return w.send(&w.Tenant, "payment.succeeded")
		}
	}
	then := func(first step, more func(t *testing.T, w *world, ep store.Endpoint, eventID string)) step {
		return func(t *testing.T, w *world, ep store.Endpoint) string {
			id := first(t, w, ep)
			more(t, w, ep, id)
			return id
		}
	}
	test := func(answer sendertest.Answer) step {
		return func(t *testing.T, w *world, ep store.Endpoint) string {
			w.receiver("shop.example", answer)
			receipt, err := w.SendTest(t.Context(), ep.ID)
			require.NoError(t, err)
			synctest.Wait()
			return receipt.ID
		}
	}
	disable := func(t *testing.T, w *world, ep store.Endpoint, _ string) {
		_, err := w.DisableEndpoint(t.Context(), ep.ID, "debugging")
		require.NoError(t, err)
	}
	for name, tc := range map[string]struct {
		do   step
		why  sender.Why
		text string
	}{
		"delivered": {send(sendertest.Status(200)), sender.WhyDelivered, "Delivered at 2000-01-01 00:00:00 UTC, after 1 attempt."},
		"delivered by the second attempt": {
			then(send(sendertest.Status(500), sendertest.Status(200)), func(t *testing.T, w *world, _ store.Endpoint, _ string) { w.pass(5 * time.Minute) }),
			sender.WhyDelivered, "Delivered at 2000-01-01 00:05:00 UTC, after 2 attempts.",
		},
		"due":                    {send(sendertest.Status(500)), sender.WhyPending, "Due at 2000-01-01 00:05:00 UTC, after 1 attempt so far."},
		"under way":              {send(sendertest.Answer{Delay: time.Second}), sender.WhyPending, "Attempt 1 is under way since 2000-01-01 00:00:00 UTC."},
		"waiting while disabled": {then(send(sendertest.Status(500)), disable), sender.WhyPending, "Waiting: the endpoint is disabled (debugging)."},
		"exhausted": {
			then(send(sendertest.Status(500)), func(t *testing.T, w *world, _ store.Endpoint, _ string) { w.pass(8 * time.Hour) }),
			sender.WhyExhausted, "Given up at 2000-01-01 07:35:00 UTC, after 5 attempts: ",
		},
		"window ended while disabled": {
			then(then(send(sendertest.Status(500)), disable), func(t *testing.T, w *world, _ store.Endpoint, _ string) { w.pass(9 * time.Hour) }),
			sender.WhyExhausted, "disabled",
		},
		"gone": {send(sendertest.Status(410)), sender.WhyExhausted, "410 Gone"},
		"cancelled": {
			then(send(sendertest.Status(500)), func(t *testing.T, w *world, ep store.Endpoint, id string) {
				require.NoError(t, w.Cancel(t.Context(), w.delivery(&w.Tenant, id, ep).ID, "sent by mistake"))
			}),
			sender.WhyCancelled, "Cancelled: sent by mistake.",
		},
		"cancelled by a person, and the endpoint deleted later": {
			then(send(sendertest.Status(500)), func(t *testing.T, w *world, ep store.Endpoint, id string) {
				require.NoError(t, w.Cancel(t.Context(), w.delivery(&w.Tenant, id, ep).ID, "sent by mistake"))
				require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
			}),
			sender.WhyCancelled, "Cancelled: sent by mistake.",
		},
		"cancelled by deletion": {
			then(send(sendertest.Status(500)), func(t *testing.T, w *world, ep store.Endpoint, _ string) {
				require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
			}),
			sender.WhyCancelled, "the endpoint was deleted",
		},
		"cancelled by deletion, marked": {
			then(send(sendertest.Status(500)), func(t *testing.T, w *world, ep store.Endpoint, _ string) {
				require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
				w.pass(time.Hour)
			}),
			sender.WhyCancelled, "the endpoint was deleted",
		},
		"delivered, replayed and failed": {
			then(send(sendertest.Status(200), sendertest.Status(500)), func(t *testing.T, w *world, ep store.Endpoint, id string) {
				_, err := w.Replay(t.Context(), id, ep.ID)
				require.NoError(t, err)
				w.pass(time.Minute)
			}),
			sender.WhyDelivered, "after 1 attempt.",
		},
		"disabled then": {
			func(t *testing.T, w *world, ep store.Endpoint) string {
				disable(t, w, ep, "")
				id := w.send(&w.Tenant, "payment.succeeded")
				w.pass(time.Hour)
				_, err := w.EnableEndpoint(t.Context(), ep.ID)
				require.NoError(t, err)
				return id
			},
			sender.WhyDisabled, "disabled (debugging) when the event was stored at 2000-01-01 00:00:00 UTC; only a back-fill or a replay sends it.",
		},
		"not selected then": {
			func(t *testing.T, w *world, ep store.Endpoint) string {
				id := w.send(&w.Tenant, "push")
				_, err := w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{EventTypes: []string{"push"}})
				require.NoError(t, err)
				return id
			},
			sender.WhyNotSelected, "did not select push when",
		},
		"test accepted": {test(sendertest.Status(204)), sender.WhyDelivered, "Delivered at 2000-01-01 00:00:00 UTC, after 1 attempt."},
		"test refused": {
			test(sendertest.Status(400)), sender.WhyReached,
			"Reached at 2000-01-01 00:00:00 UTC, but the test event was not accepted: the receiver answered 400 Bad Request.",
		},
		"test redirected":                  {test(sendertest.Status(302)), sender.WhyReached, "the receiver answered 302 Found; redirects are not followed, so the endpoint needs the final URL."},
		"test of an endpoint that is gone": {test(sendertest.Status(410)), sender.WhyReached, "the receiver answered 410 Gone."},
		"test not reached":                 {test(sendertest.Answer{Fault: sendertest.Close}), sender.WhyExhausted, "not reached: "},
		"somebody else's test event": {
			func(t *testing.T, w *world, ep store.Endpoint) string {
				other := w.endpoint(&w.Tenant, "other.example")
				receipt, err := w.SendTest(t.Context(), other.ID)
				require.NoError(t, err)
				return receipt.ID
			},
			sender.WhyNotSelected, "test event",
		},
		"deleted then": {
			func(t *testing.T, w *world, ep store.Endpoint) string {
				require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
				w.pass(time.Hour)
				return w.send(&w.Tenant, "payment.succeeded")
			},
			sender.WhyAbsent, "already deleted when the event was stored at 2000-01-01 01:00:00 UTC",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sender.Options{GiveUpAfter: 8 * time.Hour}, func(t *testing.T, w *world) {
				ep := w.endpoint(&w.Tenant, "shop.example", "payment.*")
				id := tc.do(t, w, ep)
				x, err := w.Explain(t.Context(), id, ep.ID)
				require.NoError(t, err)
				require.Equal(t, tc.why, x.Why, x.Text)
				require.Contains(t, x.Text, tc.text)
				require.NotContains(t, x.Text, "..")
				require.Equal(t, id, x.Event.ID)
				require.Empty(t, x.Event.Body)
				require.Equal(t, ep.ID, x.Endpoint.ID)
				switch tc.why {
				case sender.WhyDisabled, sender.WhyNotSelected, sender.WhyAbsent:
					require.Nil(t, x.Delivery)
				default:
					require.NotNil(t, x.Delivery)
				}
			})
		})
	}
}

func TestExplainEndpointCreatedLater(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		id := w.send(&w.Tenant, "push")
		w.endpoint(&w.Tenant, "first.example")
		second := w.send(&w.Tenant, "push")
		w.pass(time.Hour)
		ep := w.endpoint(&w.Tenant, "shop.example")
		for _, id := range []string{id, second} {
			x, err := w.Explain(t.Context(), id, ep.ID)
			require.NoError(t, err)
			require.Equal(t, sender.WhyAbsent, x.Why)
			require.Contains(t, x.Text, "created only at 2000-01-01 01:00:00 UTC")
		}
		_, err := w.Explain(t.Context(), "evt_nothing", ep.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.Explain(t.Context(), id, "ep_nobody")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

// erased is a store in which all payloads were erased.
type erased struct {
	store.Store
	at atomic.Pointer[time.Time]
}

func (s *erased) Event(ctx context.Context, scope store.Scope, id string) (store.Event, error) {
	ev, err := s.Store.Event(ctx, scope, id)
	if at := s.at.Load(); at != nil {
		ev.Body, ev.ErasedAt = nil, *at
	}
	return ev, err
}

func (s *erased) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	claims, err := s.Store.Claim(ctx, p)
	if s.at.Load() != nil {
		for i := range claims.Deliveries {
			claims.Deliveries[i].Body, claims.Deliveries[i].Erased = nil, true
		}
	}
	return claims, err
}

func TestExplainErased(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{})
		st := &erased{Store: w.st}
		s := w.on(st, sender.Options{})
		require.NoError(t, s.Start(t.Context()))
		receiver := w.receiver("shop.example", sendertest.Status(200), sendertest.Status(500))
		ep := w.endpoint(&s.Tenant, "shop.example")
		delivered, waits := w.send(&s.Tenant, "push"), w.send(&s.Tenant, "push")
		w.pass(time.Minute)
		st.at.Store(ptr(time.Now()))
		for _, pause := range []time.Duration{0, time.Hour} { // before and after the retry would have been due
			w.pass(pause)
			x, err := s.Explain(t.Context(), waits, ep.ID)
			require.NoError(t, err)
			require.Equal(t, sender.WhyErased, x.Why, x.Text)
			require.Contains(t, x.Text, "erased at 2000-01-01 00:01:00 UTC")
			x, err = s.Explain(t.Context(), delivered, ep.ID)
			require.NoError(t, err)
			require.Equal(t, sender.WhyDelivered, x.Why)
		}
		require.Equal(t, 2, receiver.Count(), "there is nothing to send any more")
	})
}
