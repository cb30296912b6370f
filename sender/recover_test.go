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

// outage is a world with two endpoints, one of which gave up on some events.
func outage(t *testing.T, f func(t *testing.T, w *world, shop, other store.Endpoint)) {
	t.Helper()
	inBubble(t, sender.Options{Schedule: retry.None}, func(t *testing.T, w *world) {
		w.receiver("shop.example", sendertest.Status(500))
		shop, other := w.endpoint(&w.Tenant, "shop.example"), w.endpoint(&w.Tenant, "other.example")
		f(t, w, shop, other)
	})
}

func TestRecover(t *testing.T) {
	outage(t, func(t *testing.T, w *world, shop, other store.Endpoint) {
		ctx := t.Context()
		receiver := w.receiver("shop.example")
		a, b := w.send(&w.Tenant, "payment.succeeded"), w.send(&w.Tenant, "push")
		_, err := w.SendTest(ctx, shop.ID)
		require.NoError(t, err)
		w.pass(time.Minute)
		receiver.Script(sendertest.Status(200))
		ok := w.send(&w.Tenant, "push")
		n := receiver.Count()

		dry, err := w.Recover(ctx, sender.Recovery{DryRun: true})
		require.NoError(t, err)
		require.Equal(t, sender.RecoverReport{Replayed: 2}, dry)
		w.pass(time.Hour)
		require.Equal(t, n, receiver.Count(), "a dry run sends nothing")

		var progress []sender.RecoverReport
		done, err := w.Recover(ctx, sender.Recovery{Progress: func(r sender.RecoverReport) { progress = append(progress, r) }})
		require.NoError(t, err)
		require.Equal(t, dry, done, "it does what the dry run said")
		require.NotEmpty(t, progress)
		require.Equal(t, done, progress[len(progress)-1])
		w.pass(time.Minute)
		require.ElementsMatch(t, []string{a, b}, ids(t, receiver.Requests()[n:]))
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, a, shop).State)
		require.Zero(t, w.delivery(&w.Tenant, ok, shop).ID.Round)
		require.Equal(t, 3, w.receiver("other.example").Count(), "what was delivered is left alone")

		again, err := w.Recover(ctx, sender.Recovery{})
		require.NoError(t, err)
		require.Zero(t, again, "nothing is sent twice")
		w.pass(time.Minute)
		require.Equal(t, n+2, receiver.Count())
	})
}

func TestRecoverFilters(t *testing.T) {
	outage(t, func(t *testing.T, w *world, shop, other store.Endpoint) {
		ctx := t.Context()
		w.receiver("other.example", sendertest.Status(500))
		start := time.Now()
		for _, eventType := range []string{"payment.succeeded", "payment.failed", "push"} {
			w.send(&w.Tenant, eventType)
			w.pass(time.Hour)
		}
		_, err := w.DisableEndpoint(ctx, other.ID, "")
		require.NoError(t, err)
		for _, tc := range []struct {
			name string
			r    sender.Recovery
			want int
		}{
			{"all of enabled endpoints", sender.Recovery{}, 3},
			{"endpoint", sender.Recovery{EndpointID: shop.ID}, 3},
			{"type", sender.Recovery{Type: "push"}, 1},
			{"type is exact", sender.Recovery{Type: "payment"}, 0},
			{"from", sender.Recovery{From: start.Add(time.Minute)}, 2},
			{"to", sender.Recovery{To: start.Add(time.Minute)}, 1},
			{"from and to", sender.Recovery{From: start.Add(time.Minute), To: start.Add(90 * time.Minute)}, 1},
			{"all together", sender.Recovery{EndpointID: shop.ID, Type: "push", From: start, To: start.Add(90 * time.Minute)}, 0},
		} {
			tc.r.DryRun = true
			report, err := w.Recover(ctx, tc.r)
			require.NoError(t, err, tc.name)
			require.Equal(t, sender.RecoverReport{Replayed: tc.want}, report, tc.name)
		}
		report, err := w.For("", store.Test).Recover(ctx, sender.Recovery{})
		require.NoError(t, err)
		require.Zero(t, report, "another mode")
		report, err = w.For("acme", store.Live).Recover(ctx, sender.Recovery{})
		require.NoError(t, err)
		require.Zero(t, report, "another tenant")
		_, err = w.Recover(ctx, sender.Recovery{Rate: -1})
		require.ErrorIs(t, err, store.ErrInvalid)
		_, err = w.Recover(ctx, sender.Recovery{Missed: true})
		require.ErrorIs(t, err, store.ErrInvalid)
	})
}

// Pending deliveries become due now.
func TestRecoverHastens(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(500), sendertest.Status(200))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		w.pass(6 * time.Minute) // the next attempt is due in 29
		report, err := w.Recover(t.Context(), sender.Recovery{})
		require.NoError(t, err)
		require.Equal(t, sender.RecoverReport{Hastened: 1}, report)
		w.pass(0)
		require.Equal(t, 3, receiver.Count())
		d := w.delivery(&w.Tenant, id, ep)
		require.Equal(t, store.Delivered, d.State)
		require.Zero(t, d.ID.Round, "it is the same delivery")
	})
}

func TestRecoverRateProgressAndCancel(t *testing.T) {
	outage(t, func(t *testing.T, w *world, shop, _ store.Endpoint) {
		receiver := w.receiver("shop.example")
		events := make([]sender.Event, 100)
		for i := range events {
			events[i] = sender.Event{Type: "push", Data: i}
		}
		_, err := w.SendBatch(t.Context(), events)
		require.NoError(t, err)
		w.pass(time.Minute)
		require.Equal(t, 100, receiver.Count())
		receiver.Script(sendertest.Status(200))

		// Interrupted in the third second of about ten.
		ctx, cancel := context.WithTimeout(t.Context(), 2500*time.Millisecond)
		defer cancel()
		steps := 0
		part, err := w.Recover(ctx, sender.Recovery{EndpointID: shop.ID, Rate: 10, Progress: func(sender.RecoverReport) { steps++ }})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.InDelta(t, 25, part.Replayed, 3)
		require.GreaterOrEqual(t, steps, part.Replayed/10)
		w.pass(time.Minute)
		require.Equal(t, 100+part.Replayed, receiver.Count())

		start := time.Now()
		rest, err := w.Recover(t.Context(), sender.Recovery{EndpointID: shop.ID, Rate: 10})
		require.NoError(t, err)
		require.Equal(t, 100-part.Replayed, rest.Replayed)
		require.InDelta(t, float64(rest.Replayed)/10, time.Since(start).Seconds(), 1)
		w.pass(time.Minute)
		require.Equal(t, 200, receiver.Count(), "each once")
	})
}

// The disabled window is recovered only if asked for.
func TestRecoverMissed(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		receiver := w.receiver("shop.example")
		w.send(&w.Tenant, "payment.succeeded") // before the endpoint
		ep := w.endpoint(&w.Tenant, "shop.example", "payment.*")
		w.send(&w.Tenant, "push") // not selected
		w.send(&w.Tenant, "payment.succeeded")
		_, err := w.DisableEndpoint(ctx, ep.ID, "")
		require.NoError(t, err)
		one := w.send(&w.Tenant, "payment.succeeded")
		w.send(&w.Tenant, "push")
		w.pass(time.Hour)
		mid := time.Now()
		two := w.send(&w.Tenant, "payment.failed")
		for _, missed := range []bool{false, true} {
			_, err = w.Recover(ctx, sender.Recovery{EndpointID: ep.ID, Missed: missed})
			require.ErrorIs(t, err, store.ErrDisabled)
			_, err = w.Recover(ctx, sender.Recovery{EndpointID: "ep_nobody", Missed: missed, DryRun: true})
			require.ErrorIs(t, err, store.ErrNotFound)
		}
		_, err = w.EnableEndpoint(ctx, ep.ID)
		require.NoError(t, err)
		require.Equal(t, 1, receiver.Count())

		report, err := w.Recover(ctx, sender.Recovery{EndpointID: ep.ID})
		require.NoError(t, err)
		require.Zero(t, report)
		for _, tc := range []struct {
			r    sender.Recovery
			want int
		}{
			{sender.Recovery{}, 2},
			{sender.Recovery{Type: "payment.failed"}, 1},
			{sender.Recovery{From: mid}, 1},
			{sender.Recovery{To: mid}, 1},
		} {
			tc.r.EndpointID, tc.r.Missed, tc.r.DryRun = ep.ID, true, true
			report, err = w.Recover(ctx, tc.r)
			require.NoError(t, err)
			require.Equal(t, sender.RecoverReport{Missed: tc.want}, report)
		}
		require.Equal(t, 1, receiver.Count())
		report, err = w.Recover(ctx, sender.Recovery{EndpointID: ep.ID, Missed: true})
		require.NoError(t, err)
		require.Equal(t, sender.RecoverReport{Missed: 2}, report)
		w.pass(time.Minute)
		require.ElementsMatch(t, []string{one, two}, ids(t, receiver.Requests()[1:]))
		report, err = w.Recover(ctx, sender.Recovery{EndpointID: ep.ID, Missed: true})
		require.NoError(t, err)
		require.Zero(t, report)
	})
}

// A person's word stands: what was cancelled is not recovered.
func TestRecoverLeavesCancelledAlone(t *testing.T) {
	outage(t, func(t *testing.T, w *world, shop, _ store.Endpoint) {
		id := w.send(&w.Tenant, "push")
		w.receiver("shop.example", sendertest.Answer{Fault: sendertest.Hang})
		again, err := w.Replay(t.Context(), id, shop.ID)
		require.NoError(t, err)
		require.NoError(t, w.Cancel(t.Context(), again, "enough"))
		w.pass(time.Minute)
		report, err := w.Recover(t.Context(), sender.Recovery{})
		require.NoError(t, err)
		require.Zero(t, report)
	})
}
