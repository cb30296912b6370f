package sender_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// What was erased is visible as that, in every way in which one can ask.
func TestErase(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.receiver("shop.example", sendertest.Answer{Status: 500, Body: "no such customer: Ann"})
		w.receiver("fine.example")
		shop, fine := w.endpoint(&w.Tenant, "shop.example"), w.endpoint(&w.Tenant, "fine.example")
		receipt, err := w.Send(ctx, sender.Event{Type: "push", Data: "Ann", Refs: []string{"cus_ann"}})
		require.NoError(t, err)
		other := w.send(&w.Tenant, "push")
		w.pass(time.Second)
		require.NotEmpty(t, w.attempts(&w.Tenant, receipt.ID, shop)[0].ResponseBody)

		report, err := w.Erase(ctx, sender.Erasure{Ref: "cus_ann"})
		require.NoError(t, err)
		require.Equal(t, 1, report.Events)
		require.Equal(t, 1, report.Cancelled)
		event, err := w.Event(ctx, receipt.ID)
		require.NoError(t, err)
		require.Empty(t, event.Body)
		require.Empty(t, event.Refs)
		require.False(t, event.ErasedAt.IsZero())
		require.Empty(t, w.attempts(&w.Tenant, receipt.ID, shop)[0].ResponseBody)
		why, err := w.Explain(ctx, receipt.ID, shop.ID)
		require.NoError(t, err)
		require.Equal(t, sender.WhyErased, why.Why)
		require.Contains(t, why.Text, "erased")
		why, err = w.Explain(ctx, receipt.ID, fine.ID)
		require.NoError(t, err)
		require.Equal(t, sender.WhyDelivered, why.Why, "that stays true")
		_, err = w.Replay(ctx, receipt.ID, shop.ID)
		require.ErrorIs(t, err, store.ErrErased)
		w.pass(80 * time.Hour)
		require.Len(t, w.attempts(&w.Tenant, receipt.ID, shop), 1, "no retry")
		require.Greater(t, len(w.attempts(&w.Tenant, other, shop)), 1, "the other event has its retries")
	})
}

// An attempt under way finishes; what it was answered is not kept.
func TestEraseUnderWay(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.receiver("slow.example", sendertest.Answer{Status: 500, Body: "Ann", Delay: 5 * time.Second})
		w.receiver("fine.example", sendertest.Answer{Status: 200, Delay: 5 * time.Second})
		slow, fine := w.endpoint(&w.Tenant, "slow.example"), w.endpoint(&w.Tenant, "fine.example")
		id := w.send(&w.Tenant, "push")
		report, err := w.Erase(t.Context(), sender.Erasure{EventID: id})
		require.NoError(t, err)
		require.Equal(t, sender.EraseReport{Events: 1, Cancelled: 2, After: report.After}, report)
		w.pass(time.Minute)
		require.Equal(t, store.Cancelled, w.delivery(&w.Tenant, id, slow).State)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, fine).State)
		attempts := w.attempts(&w.Tenant, id, slow)
		require.Len(t, attempts, 1)
		require.Equal(t, 500, attempts[0].Status)
		require.Empty(t, attempts[0].ResponseBody)
	})
}

// A tenant goes with its endpoints, in steps that can be interrupted, and nobody else.
func TestEraseTenant(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		acme, test := w.For("acme", store.Live), w.For("acme", store.Test)
		ep := w.endpoint(acme, "shop.example")
		w.endpoint(acme, "second.example")
		kept := w.endpoint(test, "shop.example")
		const n = 1200
		for range n / 100 {
			batch := make([]sender.Event, 100)
			for i := range batch {
				batch[i] = sender.Event{Type: "push", Delay: time.Hour}
			}
			_, err := acme.SendBatch(ctx, batch)
			require.NoError(t, err)
		}
		other := w.send(test, "push")

		stopped, stop := context.WithCancel(ctx)
		var reports []sender.EraseReport
		_, err := acme.Erase(stopped, sender.Erasure{All: true, DeleteEndpoints: true, Progress: func(r sender.EraseReport) {
			reports = append(reports, r)
			if r.Events > 0 {
				stop()
			}
		}})
		require.ErrorIs(t, err, context.Canceled)
		first := reports[len(reports)-1]
		require.Equal(t, 2, first.Endpoints)
		require.Positive(t, first.Events)
		require.Less(t, first.Events, n)

		rest, err := acme.Erase(ctx, sender.Erasure{All: true, DeleteEndpoints: true, After: first.After})
		require.NoError(t, err)
		require.Equal(t, n-first.Events, rest.Events)
		require.Zero(t, rest.Endpoints)
		again, err := acme.Erase(ctx, sender.Erasure{All: true, DeleteEndpoints: true})
		require.NoError(t, err)
		require.Zero(t, again.Events+again.Cancelled+again.Endpoints)

		events, err := acme.Events(ctx, store.EventQuery{Limit: 1000})
		require.NoError(t, err)
		for _, e := range events {
			require.False(t, e.ErasedAt.IsZero())
		}
		gone := w.current(acme, ep)
		require.Equal(t, store.Deleted, gone.State)
		require.Empty(t, gone.Secrets)
		w.pass(2 * time.Hour)
		require.Zero(t, w.receiver("second.example").Count())
		event, err := test.Event(ctx, other)
		require.NoError(t, err)
		require.NotEmpty(t, event.Body)
		require.Equal(t, store.Enabled, w.current(test, kept).State)
	})
}

func TestEraseTx(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		ep := w.endpoint(&w.Tenant, "shop.example")
		receipt, err := w.Send(ctx, sender.Event{Type: "push", Refs: []string{"cus_ann"}, Delay: time.Hour})
		require.NoError(t, err)
		for _, commits := range []bool{false, true} {
			tx := w.st.Begin()
			report, err := w.EraseTx(ctx, tx, sender.Erasure{Ref: "cus_ann"})
			require.NoError(t, err)
			require.Equal(t, 1, report.Events)
			require.Equal(t, 1, report.Cancelled)
			require.Equal(t, store.Pending, w.delivery(&w.Tenant, receipt.ID, ep).State)
			if commits {
				require.NoError(t, tx.Commit())
			} else {
				require.NoError(t, tx.Rollback())
			}
		}
		require.Equal(t, store.Cancelled, w.delivery(&w.Tenant, receipt.ID, ep).State)

		_, err = w.EraseTx(ctx, nil, sender.Erasure{All: true})
		require.ErrorIs(t, err, sender.ErrForeignTx)
		tx := w.st.Begin()
		defer func() { _ = tx.Rollback() }()
		_, err = w.EraseTx(ctx, tx, sender.Erasure{All: true, DeleteEndpoints: true})
		require.ErrorIs(t, err, store.ErrInvalid)
		batch := make([]sender.Event, store.MaxEraseTx)
		for i := range batch {
			batch[i] = sender.Event{Type: "push", Delay: time.Hour}
		}
		_, err = w.SendBatch(ctx, batch)
		require.NoError(t, err)
		_, err = w.EraseTx(ctx, tx, sender.Erasure{All: true})
		require.ErrorIs(t, err, store.ErrTooMany)
		require.ErrorContains(t, err, "in steps with Erase")
	})
}

func TestEraseRefused(t *testing.T) {
	s := newQuiet(t, nil)
	ctx := t.Context()
	for _, e := range []sender.Erasure{{}, {All: true, Ref: "x"}, {Ref: "x", DeleteEndpoints: true}, {EventID: "x", Ref: "x"}} {
		_, err := s.Erase(ctx, e)
		require.ErrorIs(t, err, store.ErrInvalid, "%+v", e)
	}
	_, err := s.Erase(ctx, sender.Erasure{EventID: "evt_nobody"})
	require.ErrorIs(t, err, store.ErrNotFound)
	_, err = s.For("acme", 9).Erase(ctx, sender.Erasure{All: true})
	require.ErrorIs(t, err, store.ErrInvalid)
}

// The customer is deleted and what was sent about her is erased, or neither.
func ExampleTenant_EraseTx() {
	ctx := context.Background()
	st := memory.New()
	hooks := must(sender.New(st, nil))
	must(hooks.Send(ctx, sender.Event{ID: "evt_1", Type: "customer.created", Data: "Ann", Refs: []string{"cus_ann"}}))
	tx := st.Begin() // of a database: st.Tx(tx), the transaction that deletes her
	must(hooks.EraseTx(ctx, tx, sender.Erasure{Ref: "cus_ann"}))
	if err := tx.Commit(); err != nil {
		fmt.Println(err)
	}
	event, err := hooks.Event(ctx, "evt_1")
	fmt.Println(len(event.Body), event.ErasedAt.IsZero(), err)
	// Output: 0 false <nil>
}
