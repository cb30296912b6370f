package sender_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

func TestReplay(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop, other, late := w.receiver("shop.example"), w.receiver("other.example"), w.receiver("late.example")
		ep := w.endpoint(&w.Tenant, "shop.example")
		deaf := w.endpoint(&w.Tenant, "other.example", "customer.created")
		id := w.send(&w.Tenant, "payment.succeeded")
		w.pass(time.Hour)
		created := w.endpoint(&w.Tenant, "late.example", "customer.created")

		for n, to := range []store.Endpoint{ep, deaf, created, ep} {
			again, err := w.Replay(t.Context(), id, to.ID)
			require.NoError(t, err, n)
			w.pass(0)
			d, attempts, err := w.Delivery(t.Context(), again)
			require.NoError(t, err)
			require.Equal(t, id, d.EventID)
			require.Equal(t, to.ID, d.EndpointID)
			require.Positive(t, d.ID.Round)
			require.Equal(t, store.Delivered, d.State)
			require.Len(t, attempts, 1)
			require.Equal(t, 1, attempts[0].N)
		}
		require.Equal(t, []string{id, id, id}, ids(t, shop.Requests()))
		require.Equal(t, []string{id}, ids(t, other.Requests()), "it does not select the type")
		require.Equal(t, []string{id}, ids(t, late.Requests()), "it is younger than the event")
		require.Equal(t, shop.Requests()[0].Body, shop.Requests()[2].Body)
		log, err := w.Deliveries(t.Context(), store.DeliveryQuery{EventID: id, EndpointID: ep.ID})
		require.NoError(t, err)
		require.Len(t, log, 3, "each is in the log")
	})
}

// A replay has a schedule and a deadline of its own.
func TestReplayHasItsOwnSchedule(t *testing.T) {
	inBubble(t, sender.Options{GiveUpAfter: 8 * time.Hour}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		w.pass(9 * time.Hour)
		first := w.delivery(&w.Tenant, id, ep)
		require.Equal(t, store.Exhausted, first.State)
		n := receiver.Count()
		start := time.Now()
		again, err := w.Replay(t.Context(), id, ep.ID)
		require.NoError(t, err)
		w.pass(3 * time.Hour)
		require.Equal(t, []time.Duration{0, 5 * time.Minute, 35 * time.Minute, 155 * time.Minute}, offsets(start, receiver.Requests()[n:]))
		w.pass(9 * time.Hour)
		d, _, err := w.Delivery(t.Context(), again)
		require.NoError(t, err)
		require.Equal(t, store.Exhausted, d.State)
		require.Equal(t, first.Attempts, d.Attempts)
		d, _, err = w.Delivery(t.Context(), first.ID)
		require.NoError(t, err)
		require.Equal(t, first, d, "the old one is untouched")
	})
}

// Replaying while the first delivery still waits makes two of them.
func TestReplayWhilePending(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(200))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		_, err := w.Replay(t.Context(), id, ep.ID)
		require.NoError(t, err)
		w.pass(time.Hour)
		require.Equal(t, 3, receiver.Count())
		x, err := w.Explain(t.Context(), id, ep.ID)
		require.NoError(t, err)
		require.Equal(t, sender.WhyDelivered, x.Why)
	})
}

func TestReplayRefused(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		ep, gone := w.endpoint(&w.Tenant, "shop.example"), w.endpoint(&w.Tenant, "gone.example")
		id := w.send(&w.Tenant, "push")
		_, err := w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		require.NoError(t, w.DeleteEndpoint(t.Context(), gone.ID))
		for _, tc := range []struct {
			event, endpoint string
			want            error
		}{
			{id, ep.ID, store.ErrDisabled},
			{id, gone.ID, store.ErrDeleted},
			{id, "ep_nobody", store.ErrNotFound},
			{"evt_nothing", ep.ID, store.ErrNotFound},
			{"", "", store.ErrNotFound},
		} {
			_, err := w.Replay(t.Context(), tc.event, tc.endpoint)
			require.ErrorIs(t, err, tc.want)
		}
		_, err = w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.NoError(t, w.Stop(t.Context()))
		w.pass(31 * day) // payloads are kept for 30
		require.NoError(t, w.another(sender.Options{}).Start(t.Context()))
		w.pass(2 * time.Minute)
		event, err := w.Event(t.Context(), id)
		require.NoError(t, err)
		require.False(t, event.ErasedAt.IsZero())
		_, err = w.Replay(t.Context(), id, ep.ID)
		require.ErrorIs(t, err, store.ErrErased)
		require.Equal(t, 1, receiver.Count())
	})
}

func TestCancel(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		d := w.delivery(&w.Tenant, id, ep)
		require.NoError(t, w.Cancel(t.Context(), d.ID, "sent by mistake"))
		require.ErrorIs(t, w.Cancel(t.Context(), d.ID, "again"), store.ErrFinished)
		w.pass(12 * time.Hour)
		require.Equal(t, 1, receiver.Count())
		d = w.delivery(&w.Tenant, id, ep)
		require.Equal(t, store.Cancelled, d.State)
		require.Equal(t, "sent by mistake", d.Reason)

		// An attempt under way finishes, and a success is a success.
		receiver.Script(sendertest.Answer{Delay: time.Second})
		id = w.send(&w.Tenant, "push")
		require.NoError(t, w.Cancel(t.Context(), w.delivery(&w.Tenant, id, ep).ID, ""))
		w.pass(time.Second)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
	})
}
