package sender_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// An event with a delay goes out when its time has come, not before and not late,
// and has all its retries from then on.
func TestSendLater(t *testing.T) {
	delays := []time.Duration{time.Second, 45 * time.Second, time.Hour, 30 * day}
	if testing.Short() || raceEnabled {
		delays = delays[:3] // a month of polls takes long to pass
	}
	// The delay does not depend on polls, either.
	opts := sender.Options{KeepLog: -1, PollInterval: time.Minute}
	inBubble(t, opts, func(t *testing.T, w *world) {
		type sent struct {
			start    time.Time
			receiver *sendertest.Transport
			ep       store.Endpoint
			id       string
		}
		var list []sent
		for i, delay := range delays {
			host, eventType := fmt.Sprintf("shop%d.example", i), fmt.Sprintf("push.%d", i)
			s := sent{receiver: w.receiver(host, sendertest.Status(500)), ep: w.endpoint(&w.Tenant, host, eventType), start: time.Now()}
			receipt, err := w.Send(t.Context(), sender.Event{Type: eventType, Delay: delay})
			require.NoError(t, err)
			require.Equal(t, 1, receipt.Deliveries)
			why, err := w.Explain(t.Context(), receipt.ID, s.ep.ID)
			require.NoError(t, err)
			require.Equal(t, sender.WhyPending, why.Why)
			require.Contains(t, why.Text, "later")
			s.id = receipt.ID
			list = append(list, s)
		}
		w.pass(delays[len(delays)-1] + 100*time.Hour)
		for i, s := range list {
			at := offsets(s.start, s.receiver.Requests())
			require.InDelta(t, delays[i], at[0], float64(10*time.Millisecond))
			require.InDelta(t, delays[i]+5*time.Minute, at[1], float64(20*time.Millisecond))
			d := w.delivery(&w.Tenant, s.id, s.ep)
			require.Equal(t, store.Exhausted, d.State)
			require.Greater(t, at[len(at)-1]-at[0], 55*time.Hour, "72 hours from the first attempt")
		}
	})
}

func TestSendLaterRefused(t *testing.T) {
	s := newQuiet(t, nil)
	for _, delay := range []time.Duration{-1, 30*day + 1} {
		_, err := s.Send(t.Context(), sender.Event{Type: "push", Delay: delay})
		var bad *sender.EventError
		require.ErrorAs(t, err, &bad)
		require.Equal(t, "Delay", bad.Field)
	}
	client, err := sender.NewClient(nil)
	require.NoError(t, err)
	target := sender.Target{URL: "https://shop.example/hook", Secrets: []signing.Secret{signing.NewSecret()}}
	_, err = client.Attempt(t.Context(), target, sender.Event{Type: "push", Delay: time.Hour})
	require.ErrorIs(t, err, sender.ErrInvalidEvent)
}

// What waits can be called off, and sending again with the id does not send twice.
func TestCancelEvent(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		one, two := w.receiver("one.example"), w.receiver("two.example")
		ep := w.endpoint(&w.Tenant, "one.example")
		w.endpoint(&w.Tenant, "two.example")
		e := sender.Event{ID: "evt_1", Type: "push", Delay: time.Hour}
		_, err := w.Send(ctx, e)
		require.NoError(t, err)
		receipt, err := w.Send(ctx, e)
		require.NoError(t, err)
		require.True(t, receipt.Duplicate)
		beside, err := w.Send(ctx, sender.Event{Type: "push", Delay: time.Hour})
		require.NoError(t, err)

		n, err := w.CancelEvent(ctx, "evt_1", "changed my mind")
		require.NoError(t, err)
		require.Equal(t, 2, n)
		n, err = w.CancelEvent(ctx, "evt_1", "changed my mind")
		require.NoError(t, err)
		require.Zero(t, n)
		w.pass(2 * time.Hour)
		require.Equal(t, []string{beside.ID}, ids(t, one.Requests()))
		require.Equal(t, []string{beside.ID}, ids(t, two.Requests()))
		d := w.delivery(&w.Tenant, "evt_1", ep)
		require.Equal(t, store.Cancelled, d.State)
		require.Equal(t, "changed my mind", d.Reason)

		_, err = w.CancelEvent(ctx, "evt_nobody", "")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.For("acme", store.Live).CancelEvent(ctx, beside.ID, "")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.CancelEvent(ctx, beside.ID, "\x00")
		require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
	})
}

// Also what is still to be fanned out is cancelled.
func TestCancelEventForMany(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{})
		for i := range store.MaxFanOut + 1 {
			w.endpoint(&w.Tenant, fmt.Sprintf("shop%d.example", i))
		}
		receipt, err := w.Send(t.Context(), sender.Event{Type: "push", Delay: time.Hour})
		require.NoError(t, err)
		n, err := w.CancelEvent(t.Context(), receipt.ID, "")
		require.NoError(t, err)
		require.Equal(t, store.MaxFanOut+1, n)
	})
}
