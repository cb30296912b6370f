package sender_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

func TestDeliveryLog(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		w.receiver("bad.example", sendertest.Status(500))
		good, bad := w.endpoint(&w.Tenant, "good.example"), w.endpoint(&w.Tenant, "bad.example", "payment.*")
		start := time.Now()
		var sent []string
		for i, eventType := range []string{"payment.succeeded", "push", "payment.failed", "push"} {
			receipt, err := w.Send(ctx, sender.Event{Type: eventType, Refs: []string{[]string{"a", "b"}[i%2]}})
			require.NoError(t, err)
			sent = append(sent, receipt.ID)
			w.pass(time.Minute)
		}
		// Deliveries, newest first: push/good, failed/bad, failed/good, push/good, succeeded/bad, succeeded/good.
		for name, tc := range map[string]struct {
			q    store.DeliveryQuery
			want []string // events
		}{
			"all":           {store.DeliveryQuery{}, []string{sent[3], sent[2], sent[2], sent[1], sent[0], sent[0]}},
			"event":         {store.DeliveryQuery{EventID: sent[2]}, []string{sent[2], sent[2]}},
			"endpoint":      {store.DeliveryQuery{EndpointID: bad.ID}, []string{sent[2], sent[0]}},
			"state":         {store.DeliveryQuery{States: []store.State{store.Pending}}, []string{sent[2], sent[0]}},
			"states":        {store.DeliveryQuery{States: []store.State{store.Exhausted, store.Delivered}}, []string{sent[3], sent[2], sent[1], sent[0]}},
			"type":          {store.DeliveryQuery{Type: "push"}, []string{sent[3], sent[1]}},
			"reference":     {store.DeliveryQuery{Ref: "a"}, []string{sent[2], sent[2], sent[0], sent[0]}},
			"from":          {store.DeliveryQuery{From: start.Add(90 * time.Second)}, []string{sent[3], sent[2], sent[2]}},
			"to":            {store.DeliveryQuery{To: start.Add(90 * time.Second)}, []string{sent[1], sent[0], sent[0]}},
			"everything":    {store.DeliveryQuery{EndpointID: good.ID, Type: "push", Ref: "b", From: start, To: start.Add(2 * time.Minute), States: []store.State{store.Delivered}}, []string{sent[1]}},
			"no such event": {store.DeliveryQuery{EventID: "evt_nothing"}, nil},
			"no such place": {store.DeliveryQuery{EndpointID: "ep_nobody"}, nil},
		} {
			for _, limit := range []int{0, 1, 2, 1000} { // pages of any size show the same
				q := tc.q
				q.Limit = limit
				var got []string
				for {
					page, err := w.Deliveries(ctx, q)
					require.NoError(t, err, name)
					if limit > 0 {
						require.LessOrEqual(t, len(page), limit)
					}
					for _, d := range page {
						got = append(got, d.EventID)
					}
					if len(page) == 0 {
						break
					}
					q.Before = page[len(page)-1].ID
				}
				require.Equal(t, tc.want, got, "%s, pages of %d", name, limit)
			}
		}
		for name, tc := range map[string]struct {
			q    store.EventQuery
			want []string
		}{
			"all":       {store.EventQuery{}, []string{sent[3], sent[2], sent[1], sent[0]}},
			"type":      {store.EventQuery{Type: "push"}, []string{sent[3], sent[1]}},
			"reference": {store.EventQuery{Ref: "a"}, []string{sent[2], sent[0]}},
			"time":      {store.EventQuery{From: start.Add(time.Second), To: start.Add(2 * time.Minute)}, []string{sent[1]}},
		} {
			for _, limit := range []int{0, 1, 3} {
				q := tc.q
				q.Limit = limit
				var got []string
				for {
					page, err := w.Events(ctx, q)
					require.NoError(t, err, name)
					if len(page) == 0 {
						break
					}
					for _, e := range page {
						got = append(got, e.ID)
					}
					q.Before = page[len(page)-1].Num
				}
				require.Equal(t, tc.want, got, "%s, pages of %d", name, limit)
			}
		}
		_, _, err := w.Delivery(ctx, store.DeliveryID{Event: 999, Endpoint: 1})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.Event(ctx, "evt_nothing")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

// Pages follow on each other while new events arrive.
func TestPagesWhileEventsArrive(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.endpoint(&w.Tenant, "shop.example")
		var old []string
		for range 10 {
			old = append(old, w.send(&w.Tenant, "push"))
		}
		slices.Reverse(old)
		var got []string
		q := store.DeliveryQuery{Limit: 3}
		for {
			page, err := w.Deliveries(t.Context(), q)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			for _, d := range page {
				got = append(got, d.EventID)
			}
			q.Before = page[len(page)-1].ID
			w.send(&w.Tenant, "push")
		}
		require.Equal(t, old, got)
	})
}

// Bodies of answers are kept for failures only, at most 16 KiB.
func TestKeptAnswers(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		long := make([]byte, 40<<10)
		for i := range long {
			long[i] = 'x'
		}
		w.receiver("shop.example",
			sendertest.Answer{Status: 200, Body: "fine"}, sendertest.Answer{Status: 500, Body: string(long)}, sendertest.Answer{Status: 502, Body: "\xff\x00<script>"})
		ep := w.endpoint(&w.Tenant, "shop.example")
		require.Empty(t, w.attempts(&w.Tenant, w.send(&w.Tenant, "push"), ep)[0].ResponseBody)
		require.Len(t, w.attempts(&w.Tenant, w.send(&w.Tenant, "push"), ep)[0].ResponseBody, 16<<10)
		require.Equal(t, "\xff\x00<script>", string(w.attempts(&w.Tenant, w.send(&w.Tenant, "push"), ep)[0].ResponseBody))
	})
}

// Payloads are kept for 30 days, the log for 90. A forgotten id is free again.
func TestRetention(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{})
		tidy := func() { // a Sender at work for a while
			t.Helper()
			s := w.another(sender.Options{})
			require.NoError(t, s.Start(t.Context()))
			w.pass(2 * time.Minute)
			require.NoError(t, s.Stop(t.Context()))
		}
		receiver := w.receiver("shop.example")
		ep := w.endpoint(&w.Tenant, "shop.example")
		e := sender.Event{ID: "evt_1", Type: "push", Data: 1}
		_, err := w.Send(t.Context(), e)
		require.NoError(t, err)
		tidy()
		w.pass(30*day - time.Hour)
		tidy()
		event, err := w.Event(t.Context(), "evt_1")
		require.NoError(t, err)
		require.NotEmpty(t, event.Body)
		w.pass(time.Hour)
		tidy()
		event, err = w.Event(t.Context(), "evt_1")
		require.NoError(t, err)
		require.Empty(t, event.Body)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, "evt_1", ep).State, "the log is still there")
		receipt, err := w.Send(t.Context(), e)
		require.NoError(t, err)
		require.True(t, receipt.Duplicate, "its id is still known")
		w.pass(60 * day)
		tidy()
		_, err = w.Event(t.Context(), "evt_1")
		require.ErrorIs(t, err, store.ErrNotFound)
		receipt, err = w.Send(t.Context(), e)
		require.NoError(t, err)
		require.False(t, receipt.Duplicate)
		tidy()
		require.Equal(t, 2, receiver.Count())
	})
}
