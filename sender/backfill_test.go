package sender_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// disabledWindow makes an endpoint that was disabled while n events fired that it
// selects, and others.
func disabledWindow(t *testing.T, w *world, n int) (ep store.Endpoint, missed []string) {
	t.Helper()
	ep = w.endpoint(&w.Tenant, "shop.example", "payment.*")
	w.send(&w.Tenant, "payment.made") // delivered
	w.send(&w.Tenant, "push")         // not selected
	_, err := w.DisableEndpoint(t.Context(), ep.ID, "")
	require.NoError(t, err)
	for range n {
		missed = append(missed, w.send(&w.Tenant, "payment.made"))
		w.send(&w.Tenant, "push")
	}
	_, err = w.EnableEndpoint(t.Context(), ep.ID)
	require.NoError(t, err)
	w.pass(time.Second)
	return ep, missed
}

func TestBackFill(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		receiver := w.receiver("shop.example")
		ep, missed := disabledWindow(t, w, 5)
		require.Equal(t, 1, receiver.Count(), "enabling sends nothing")
		_, err := w.Replay(ctx, missed[0], ep.ID)
		require.NoError(t, err)
		_, err = w.Erase(ctx, sender.Erasure{EventID: missed[4]})
		require.NoError(t, err)

		m := sender.Missed{EndpointID: ep.ID, DryRun: true}
		report, err := w.BackFill(ctx, m)
		require.NoError(t, err)
		require.Equal(t, 3, report.Events)
		w.pass(time.Second)
		require.Equal(t, 2, receiver.Count(), "a dry run sends nothing")
		m.DryRun = false
		report, err = w.BackFill(ctx, m)
		require.NoError(t, err)
		require.Equal(t, 3, report.Events)
		w.pass(time.Second)
		require.ElementsMatch(t, missed[:4], ids(t, receiver.Requests()[1:]))
		report, err = w.BackFill(ctx, m)
		require.NoError(t, err)
		require.Zero(t, report, "nothing is sent twice")
	})
}

// Interrupted it goes on, at its rate, and in two places at once nothing comes twice.
func TestBackFillRate(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		ep, missed := disabledWindow(t, w, 40)
		stopped, stop := context.WithCancel(t.Context())
		start := time.Now()
		report, err := w.BackFill(stopped, sender.Missed{EndpointID: ep.ID, Rate: 10, Progress: func(r sender.BackFillReport) {
			if r.Events == 20 {
				stop()
			}
		}})
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 20, report.Events)
		require.InDelta(t, 2*time.Second, time.Since(start), float64(200*time.Millisecond))

		second := w.another(sender.Options{})
		results := make(chan int)
		for _, s := range []*sender.Sender{w.Sender, second} {
			go func() {
				report, err := s.BackFill(t.Context(), sender.Missed{EndpointID: ep.ID})
				if err != nil {
					report.Events = -1000
				}
				results <- report.Events
			}()
		}
		require.Equal(t, 20, <-results+<-results)
		w.pass(time.Minute)
		require.ElementsMatch(t, missed, ids(t, receiver.Requests()[1:]))
	})
}

func TestBackFillRefused(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		ep := w.endpoint(&w.Tenant, "shop.example")
		_, err := w.DisableEndpoint(ctx, ep.ID, "")
		require.NoError(t, err)
		for _, tc := range []struct {
			m    sender.Missed
			want error
		}{
			{sender.Missed{}, store.ErrInvalid},
			{sender.Missed{EndpointID: ep.ID, Rate: -1}, store.ErrInvalid},
			{sender.Missed{EndpointID: ep.ID}, store.ErrDisabled},
			{sender.Missed{EndpointID: "ep_nobody"}, store.ErrNotFound},
		} {
			_, err := w.BackFill(ctx, tc.m)
			require.ErrorIs(t, err, tc.want, "%+v", tc.m)
		}
		_, err = w.For("acme", store.Live).BackFill(ctx, sender.Missed{EndpointID: ep.ID})
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

// Everything that an endpoint has not received has one answer why.
func TestUndelivered(t *testing.T) {
	inBubble(t, sender.Options{GiveUpAfter: time.Hour}, func(t *testing.T, w *world) {
		ctx := t.Context()
		receiver := w.receiver("shop.example", sendertest.Status(200))
		w.send(&w.Tenant, "payment.made") // before the endpoint
		ep, missed := disabledWindow(t, w, 2)
		mid := time.Now()
		receiver.Script(sendertest.Status(500))
		exhausted := w.send(&w.Tenant, "payment.made")
		w.pass(2 * time.Hour)
		cancelled := w.send(&w.Tenant, "payment.made")
		_, err := w.CancelEvent(ctx, cancelled, "no")
		require.NoError(t, err)
		erased := w.send(&w.Tenant, "payment.made")
		_, err = w.Erase(ctx, sender.Erasure{EventID: erased})
		require.NoError(t, err)
		pending := w.send(&w.Tenant, "payment.made")
		receiver.Script(sendertest.Status(200))
		w.pass(0)

		type line struct {
			id  string
			why sender.Why
		}
		want := []line{
			{missed[0], sender.WhyDisabled},
			{missed[1], sender.WhyDisabled},
			{exhausted, sender.WhyExhausted},
			{cancelled, sender.WhyCancelled},
			{erased, sender.WhyErased},
			{pending, sender.WhyPending},
		}
		all := func(q store.UndeliveredQuery) (got []line) {
			for {
				page, err := w.Undelivered(ctx, q)
				require.NoError(t, err)
				if q.Limit > 0 {
					require.LessOrEqual(t, len(page.Events), q.Limit)
				}
				for _, u := range page.Events {
					got = append(got, line{u.Event.ID, u.Why})
					require.Equal(t, u.Why == sender.WhyDisabled, u.Delivery == nil)
				}
				if page.Done {
					return got
				}
				require.Greater(t, page.After, q.After)
				q.After = page.After
			}
		}
		require.Equal(t, want, all(store.UndeliveredQuery{EndpointID: ep.ID}))
		require.Equal(t, want, all(store.UndeliveredQuery{EndpointID: ep.ID, Limit: 1}))
		require.Equal(t, want, all(store.UndeliveredQuery{EndpointID: ep.ID, Limit: 4}))
		require.Equal(t, want[2:], all(store.UndeliveredQuery{EndpointID: ep.ID, From: mid}))
		require.Empty(t, all(store.UndeliveredQuery{EndpointID: ep.ID, Type: "push"}), "it does not select that")

		_, err = w.Undelivered(ctx, store.UndeliveredQuery{EndpointID: "ep_nobody"})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.For("acme", store.Live).Undelivered(ctx, store.UndeliveredQuery{EndpointID: ep.ID})
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}
