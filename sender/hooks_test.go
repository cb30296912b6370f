package sender_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

func TestHookExhausted(t *testing.T) {
	var h heard
	inBubble(t, sender.Options{Hooks: h.hooks(), Schedule: retry.Steps(time.Minute)}, func(t *testing.T, w *world) {
		acme := w.For("acme", store.Test)
		w.receiver("shop.example", sendertest.Status(500), sendertest.Answer{Fault: sendertest.Close})
		ep := w.endpoint(acme, "shop.example")
		id := w.send(acme, "push")
		require.Empty(t, h.soFar().exhausted)
		w.pass(time.Minute)
		d := w.delivery(acme, id, ep)
		require.Equal(t, []sender.Exhaustion{{
			Scope: acme.Scope(), Delivery: d.ID, EventID: id, EventType: "push", EndpointID: ep.ID, Reason: d.Reason,
		}}, h.soFar().exhausted)
		require.Contains(t, d.Reason, "2 failed attempts")
		require.Empty(t, h.soFar().disabled)
		require.Empty(t, h.soFar().recovered)
	})
}

func TestHookRecovered(t *testing.T) {
	var h heard
	inBubble(t, sender.Options{Hooks: h.hooks()}, func(t *testing.T, w *world) {
		w.receiver("shop.example", sendertest.Status(200), sendertest.Status(500), sendertest.Status(500), sendertest.Status(200))
		ep := w.endpoint(&w.Tenant, "shop.example")
		w.send(&w.Tenant, "push")
		require.Empty(t, h.soFar().recovered, "it was not failing")
		w.pass(time.Hour)
		failing := time.Now()
		w.send(&w.Tenant, "push")
		require.Equal(t, failing.UTC().Truncate(time.Second), w.current(&w.Tenant, ep).FailingSince.UTC().Truncate(time.Second))
		w.pass(35 * time.Minute)
		require.Len(t, h.soFar().recovered, 1)
		require.WithinDuration(t, failing, h.soFar().recovered[0], time.Millisecond)
		require.Zero(t, w.current(&w.Tenant, ep).FailingSince)
		w.send(&w.Tenant, "push")
		require.Len(t, h.soFar().recovered, 1)
		require.Contains(t, w.log.String(), "recovered")
	})
}

// An answer gone wrong now and then is not worth a call.
func TestHookRecoveredOnlyAfterAMinute(t *testing.T) {
	for name, pause := range map[string]time.Duration{"half a minute": 30 * time.Second, "two minutes": 2 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			var h heard
			inBubble(t, sender.Options{Hooks: h.hooks(), Schedule: retry.Steps(pause)}, func(t *testing.T, w *world) {
				w.receiver("shop.example", sendertest.Status(500), sendertest.Status(200))
				w.endpoint(&w.Tenant, "shop.example")
				w.send(&w.Tenant, "push")
				w.pass(pause)
				require.Equal(t, pause >= time.Minute, len(h.soFar().recovered) == 1)
			})
		})
	}
}

// The hook does not hear of a test event that fails, nor of deliveries whose time ends while their endpoint is disabled.
func TestHookExhaustedIsSpared(t *testing.T) {
	var h heard
	inBubble(t, sender.Options{Hooks: h.hooks(), GiveUpAfter: time.Hour}, func(t *testing.T, w *world) {
		w.receiver("shop.example", sendertest.Status(500), sendertest.Answer{Fault: sendertest.Close})
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		_, err := w.SendTest(t.Context(), ep.ID)
		require.NoError(t, err)
		w.pass(time.Minute)
		_, err = w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		w.pass(2 * time.Hour)
		require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, ep).State)
		require.Empty(t, h.soFar().exhausted)
	})
}

// A hook that panics is logged, and everything goes on.
func TestHookPanics(t *testing.T) {
	calls := 0
	o := sender.Options{Schedule: retry.None, Hooks: sender.Hooks{
		DeliveryExhausted: func(context.Context, sender.Exhaustion) {
			if calls++; calls == 1 {
				panic(errBoom)
			}
		},
		EndpointDisabled:  func(context.Context, store.Endpoint) { panic(errBoom) },
		EndpointRecovered: func(context.Context, store.Endpoint, time.Time) { panic(errBoom) },
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(500), sendertest.Status(200), sendertest.Status(410))
		ep := w.endpoint(&w.Tenant, "shop.example")
		for range 4 {
			w.send(&w.Tenant, "push")
		}
		require.Equal(t, 3, calls)
		require.Equal(t, 4, receiver.Count())
		require.Equal(t, store.Disabled, w.current(&w.Tenant, ep).State)
		require.Contains(t, w.log.String(), "a hook panicked")
		require.Contains(t, w.log.String(), "boom")
	})
}

// A slow hook holds up nothing but later hooks.
func TestSlowHook(t *testing.T) {
	o := sender.Options{Schedule: retry.None, Hooks: sender.Hooks{
		DeliveryExhausted: func(context.Context, sender.Exhaustion) { time.Sleep(time.Minute) },
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		for range 5 {
			id := w.send(&w.Tenant, "push")
			require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, ep).State)
		}
		require.Equal(t, 5, receiver.Count())
		w.pass(5 * time.Minute)
	})
}

// Hooks may call the Sender.
func TestHookUsesTheSender(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{})
		var s *sender.Sender
		s = w.on(w.st, sender.Options{Schedule: retry.None, Hooks: sender.Hooks{
			DeliveryExhausted: func(ctx context.Context, d sender.Exhaustion) {
				_, err := s.For(d.Tenant, d.Mode).Replay(ctx, d.EventID, d.EndpointID)
				require.NoError(t, err)
			},
		}})
		require.NoError(t, s.Start(t.Context()))
		receiver := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(500), sendertest.Status(200))
		ep := w.endpoint(&s.Tenant, "shop.example")
		id := w.send(&s.Tenant, "push")
		require.Equal(t, 3, receiver.Count())
		require.Equal(t, store.Delivered, w.delivery(&s.Tenant, id, ep).State)
	})
}
