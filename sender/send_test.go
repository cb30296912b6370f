package sender_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/verifier"
)

func TestSendDuplicate(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		e := sender.Event{ID: "evt_1", Type: "push", Data: []byte(`{"a":1}`)}
		first, err := w.Send(t.Context(), e)
		require.NoError(t, err)
		require.Equal(t, sender.Receipt{ID: "evt_1", Deliveries: 1}, first)

		w.endpoint(&w.Tenant, "late.example") // no second fan-out to anybody
		e.CreatedAt = time.Now().Add(time.Hour)
		e.Refs = []string{"cus_1"}
		again, err := w.Send(t.Context(), e)
		require.NoError(t, err, "time and references are not its content")
		require.Equal(t, sender.Receipt{ID: "evt_1", Duplicate: true}, again)
		w.pass(time.Minute)
		require.Equal(t, 1, receiver.Count())
		require.Zero(t, w.receiver("late.example").Count())

		for name, other := range map[string]sender.Event{
			"data":          {ID: "evt_1", Type: "push", Data: []byte(`{"a":2}`)},
			"other bytes":   {ID: "evt_1", Type: "push", Data: []byte(`{"a": 1}`)},
			"type":          {ID: "evt_1", Type: "pull", Data: []byte(`{"a":1}`)},
			"body":          {ID: "evt_1", Type: "push", Body: []byte(`{"a":1}`)},
			"content type ": {ID: "evt_1", Type: "push", Data: []byte(`{"a":1}`), ContentType: "application/cloudevents+json"},
		} {
			receipt, err := w.Send(t.Context(), other)
			require.ErrorIs(t, err, store.ErrConflict, name)
			require.Contains(t, err.Error(), "evt_1")
			require.Equal(t, "evt_1", receipt.ID)
			require.Zero(t, receipt.Deliveries)
		}
		w.pass(time.Minute)
		require.Equal(t, 1, receiver.Count())
	})
}

func TestSendTheSameIDConcurrently(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		var (
			mu        sync.Mutex
			fresh     int
			conflicts int
			wg        sync.WaitGroup
		)
		for i := range 50 {
			wg.Go(func() {
				data := "same"
				if i%10 == 9 {
					data = "other"
				}
				receipt, err := w.Send(t.Context(), sender.Event{ID: "evt_1", Type: "push", Data: data})
				mu.Lock()
				defer mu.Unlock()
				switch {
				case errors.Is(err, store.ErrConflict):
					conflicts++
				case err != nil:
					t.Error(err)
				case !receipt.Duplicate:
					fresh++
				}
			})
		}
		wg.Wait()
		w.pass(time.Minute)
		require.Equal(t, 1, fresh)
		require.Contains(t, []int{5, 45}, conflicts, "whichever came first")
		require.Equal(t, 1, receiver.Count())
	})
}

func TestSendBatch(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		_, err := w.Send(t.Context(), sender.Event{ID: "evt_taken", Type: "push", Data: "first"})
		require.NoError(t, err)
		receipts, err := w.SendBatch(t.Context(), []sender.Event{
			{ID: "evt_1", Type: "push", Data: 1},
			{ID: "evt_taken", Type: "push", Data: "second"},
			{ID: "bad.id", Type: "push"},
			{ID: "evt_taken", Type: "push", Data: "first"},
			{Type: "push"},
			{Type: "push", Data: []byte("not JSON")},
			{ID: "evt_1", Type: "push", Data: 1},
		})
		var batch *sender.BatchError
		require.ErrorAs(t, err, &batch)
		require.Len(t, batch.Errs, 7)
		for i, want := range []error{nil, store.ErrConflict, sender.ErrInvalidEvent, nil, nil, sender.ErrInvalidEvent, nil} {
			require.ErrorIs(t, batch.Errs[i], want, i)
		}
		require.ErrorIs(t, err, store.ErrConflict)
		require.ErrorIs(t, err, sender.ErrInvalidEvent)
		require.Contains(t, err.Error(), "3 of 7")
		require.Len(t, receipts, 7)
		require.Equal(t, sender.Receipt{ID: "evt_1", Deliveries: 1}, receipts[0])
		require.Equal(t, sender.Receipt{ID: "evt_taken"}, receipts[1])
		require.Equal(t, sender.Receipt{}, receipts[2])
		require.Equal(t, sender.Receipt{ID: "evt_taken", Duplicate: true}, receipts[3])
		require.Equal(t, 1, receipts[4].Deliveries)
		require.Equal(t, sender.Receipt{ID: "evt_1", Duplicate: true}, receipts[6])
		w.pass(time.Minute)
		require.ElementsMatch(t, []string{"evt_taken", "evt_1", receipts[4].ID}, ids(t, receiver.Requests()))

		receipts, err = w.SendBatch(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, receipts)
	})
}

func TestSendBatchLargerThanACommit(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		events := make([]sender.Event, 1500)
		for i := range events {
			events[i] = sender.Event{ID: fmt.Sprintf("evt_%d", i), Type: "push", Data: i}
		}
		receipts, err := w.SendBatch(t.Context(), events)
		require.NoError(t, err)
		for i := range receipts {
			require.Equal(t, sender.Receipt{ID: events[i].ID, Deliveries: 1}, receipts[i])
		}
		w.pass(time.Minute)
		require.Equal(t, len(events), receiver.Count())
	})
}

func TestEventThatMatchesNobodyIsKept(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ep := w.endpoint(&w.Tenant, "shop.example", "payment.*")
		receipt, err := w.Send(t.Context(), sender.Event{Type: "push", Data: 7})
		require.NoError(t, err)
		require.Zero(t, receipt.Deliveries)
		event, err := w.Event(t.Context(), receipt.ID)
		require.NoError(t, err)
		require.Contains(t, string(event.Body), `"data":7`)
		events, err := w.Events(t.Context(), store.EventQuery{})
		require.NoError(t, err)
		require.Len(t, events, 1)
		require.Empty(t, events[0].Body, "a list is without bodies")
		_, err = w.Replay(t.Context(), receipt.ID, ep.ID)
		require.NoError(t, err)
	})
}

// The deliveries of an event for more endpoints than fit into one commit are made
// in steps.
func TestFanOutToVeryManyEndpoints(t *testing.T) {
	const n = store.MaxFanOut + 50
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		for i := range n {
			_, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
				URL: fmt.Sprintf("https://shop.example/%d", i), EventTypes: []string{"push"}, NoTestEvent: true,
			})
			require.NoError(t, err)
		}
		receipt, err := w.Send(t.Context(), sender.Event{Type: "push"})
		require.NoError(t, err)
		require.Equal(t, n, receipt.Deliveries)
		w.pass(time.Minute)
		urls := make(map[string]bool)
		for _, r := range receiver.Requests() {
			require.False(t, urls[r.URL], r.URL)
			urls[r.URL] = true
		}
		require.Len(t, urls, n)
	})
}

func TestSendTx(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		ep := w.endpoint(&w.Tenant, "shop.example")

		tx := w.st.Begin()
		receipt, err := w.SendTx(t.Context(), tx, sender.Event{Type: "push"})
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Deliveries)
		w.pass(time.Hour)
		require.Zero(t, receiver.Count(), "nothing before the commit")
		_, err = w.Event(t.Context(), receipt.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		require.NoError(t, tx.Commit())
		w.Wake()
		w.pass(0)
		require.Equal(t, []string{receipt.ID}, ids(t, receiver.Requests()))
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, receipt.ID, ep).State)

		tx = w.st.Begin()
		rolledBack, err := w.SendTx(t.Context(), tx, sender.Event{Type: "push"})
		require.NoError(t, err)
		require.NoError(t, tx.Rollback())
		w.pass(time.Hour)
		_, err = w.Event(t.Context(), rolledBack.ID)
		require.ErrorIs(t, err, store.ErrNotFound)
		require.Equal(t, 1, receiver.Count())

		// Without Wake the next poll finds it.
		tx = w.st.Begin()
		_, err = w.SendTx(t.Context(), tx, sender.Event{Type: "push"})
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		w.pass(time.Minute)
		require.Equal(t, 2, receiver.Count())
	})
}

// An error about the event leaves the transaction usable.
func TestSendTxErrors(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		_, err := w.Send(t.Context(), sender.Event{ID: "evt_taken", Type: "push", Data: 1})
		require.NoError(t, err)

		tx := w.st.Begin()
		_, err = w.SendTx(t.Context(), tx, sender.Event{Type: "not a type"})
		require.ErrorIs(t, err, sender.ErrInvalidEvent)
		receipt, err := w.SendTx(t.Context(), tx, sender.Event{ID: "evt_taken", Type: "push", Data: 2})
		require.ErrorIs(t, err, store.ErrConflict)
		require.Equal(t, "evt_taken", receipt.ID)
		receipt, err = w.SendTx(t.Context(), tx, sender.Event{ID: "evt_taken", Type: "push", Data: 1})
		require.NoError(t, err)
		require.True(t, receipt.Duplicate)
		good, err := w.SendTx(t.Context(), tx, sender.Event{Type: "push"})
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		w.Wake()
		w.pass(0)
		require.ElementsMatch(t, []string{"evt_taken", good.ID}, ids(t, receiver.Requests()))

		_, err = w.SendTx(t.Context(), tx, sender.Event{Type: "push"})
		require.ErrorIs(t, err, memory.ErrTxDone)
		_, err = w.SendTx(t.Context(), memory.New().Begin(), sender.Event{Type: "push"})
		require.ErrorIs(t, err, sender.ErrForeignTx)
		_, err = w.SendTx(t.Context(), nil, sender.Event{Type: "push"})
		require.ErrorIs(t, err, sender.ErrForeignTx)
	})
}

func TestRefs(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		a, err := w.Send(t.Context(), sender.Event{Type: "push", Refs: []string{"pay_1", "cus_Ÿ"}})
		require.NoError(t, err)
		b, err := w.Send(t.Context(), sender.Event{Type: "push", Refs: []string{"pay_2", "cus_Ÿ"}})
		require.NoError(t, err)
		w.send(&w.Tenant, "push")
		for ref, want := range map[string][]string{"pay_1": {a.ID}, "cus_Ÿ": {b.ID, a.ID}, "pay": nil, "nobody": nil} {
			events, err := w.Events(t.Context(), store.EventQuery{Ref: ref})
			require.NoError(t, err)
			deliveries, err := w.Deliveries(t.Context(), store.DeliveryQuery{Ref: ref})
			require.NoError(t, err)
			var byEvent, byDelivery []string
			for _, e := range events {
				byEvent = append(byEvent, e.ID)
			}
			for _, d := range deliveries {
				byDelivery = append(byDelivery, d.EventID)
			}
			require.Equal(t, want, byEvent, ref)
			require.Equal(t, want, byDelivery, ref)
		}
		for _, r := range receiver.Requests() {
			require.NotContains(t, string(r.Body)+fmt.Sprint(r.Header, r.URL), "pay_")
		}
	})
}

// Data goes out byte for byte, and what is signed is what is sent.
func TestDataByteForByte(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		_, secret := w.endpointAndSecret(&w.Tenant, "shop.example")
		v, err := verifier.New(secret.Reveal(), nil)
		require.NoError(t, err)
		for name, tc := range map[string]struct {
			data any
			want string
		}{
			"spaces and escapes": {[]byte(" {\"b\" : 1.0e2,\n\t\"a\":\"\\u003c\\/\"} "), " {\"b\" : 1.0e2,\n\t\"a\":\"\\u003c\\/\"} "},
			"duplicate names":    {json.RawMessage(`{"a":1,"a":2}`), `{"a":1,"a":2}`},
			"large number":       {json.RawMessage(`12345678901234567890.123`), `12345678901234567890.123`},
			"no HTML escaping":   {map[string]string{"q": "<b>&"}, `{"q":"<b>&"}`},
			"U+2028":             {json.RawMessage("\"\u2028\""), "\"\u2028\""},
			"nil":                {nil, "null"},
			"1 MB":               {json.RawMessage(`"` + strings.Repeat("x", 1_000_000) + `"`), `"` + strings.Repeat("x", 1_000_000) + `"`},
		} {
			n := receiver.Count()
			receipt, err := w.Send(t.Context(), sender.Event{Type: "push", Data: tc.data})
			require.NoError(t, err, name)
			w.pass(0)
			r := receiver.Requests()[n]
			require.True(t, bytes.HasSuffix(r.Body, []byte(`,"data":`+tc.want+"}")), name)
			event, err := v.ConstructEvent(r.Body, r.Header)
			require.NoError(t, err, name)
			require.Equal(t, receipt.ID, event.ID)
			require.Equal(t, strings.TrimSpace(tc.want), strings.TrimSpace(string(event.Data)), name)
			stored, err := w.Event(t.Context(), receipt.ID)
			require.NoError(t, err)
			require.Equal(t, r.Body, stored.Body)
		}
	})
}

func TestRawBody(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		_, secret := w.endpointAndSecret(&w.Tenant, "shop.example")
		body := []byte{0xff, 0, 'a', '\n'}
		receipt, err := w.Send(t.Context(), sender.Event{Type: "push", Body: body, ContentType: "application/octet-stream"})
		require.NoError(t, err)
		copy(body, "mine") // the event has its own copy
		w.pass(0)
		r := receiver.Requests()[0]
		require.Equal(t, []byte{0xff, 0, 'a', '\n'}, r.Body)
		require.Equal(t, "application/octet-stream", r.Header.Get("Content-Type"))
		require.Equal(t, receipt.ID, r.Header.Get("webhook-id"))
		v, err := verifier.New(secret.Reveal(), nil)
		require.NoError(t, err)
		_, err = v.ConstructEvent(r.Body, r.Header)
		require.NoError(t, err)
	})
}

// Every attempt is signed afresh, with the id that never changes.
func TestEveryAttemptIsSignedAfresh(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		_, secret := w.endpointAndSecret(&w.Tenant, "shop.example")
		key, err := signing.Standard.Bind(secret)
		require.NoError(t, err)
		id := w.send(&w.Tenant, "push")
		w.pass(3 * time.Hour)
		require.Equal(t, 4, receiver.Count())
		seen := make(map[string]bool)
		for _, r := range receiver.Requests() {
			m, err := key.Verify(r.Header, r.Body, r.At, signing.Limits{})
			require.NoError(t, err)
			require.Equal(t, id, m.ID)
			require.Equal(t, r.At.Unix(), m.Timestamp.Unix())
			seen[r.Header.Get("webhook-signature")] = true
			require.Equal(t, receiver.Requests()[0].Body, r.Body)
		}
		require.Len(t, seen, 4)
	})
}

func TestSendWithoutStart(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{})
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		w.pass(time.Hour)
		require.Zero(t, receiver.Count())
		require.NoError(t, w.Start(t.Context()))
		require.ErrorIs(t, w.Start(t.Context()), sender.ErrStarted)
		w.pass(time.Second)
		require.Equal(t, []string{id}, ids(t, receiver.Requests()))

		require.NoError(t, w.Stop(t.Context()))
		require.NoError(t, w.Stop(t.Context()))
		require.ErrorIs(t, w.Start(t.Context()), sender.ErrStopped)
		after := w.send(&w.Tenant, "push")
		w.pass(time.Hour)
		require.Equal(t, 1, receiver.Count())
		require.NoError(t, w.another(sender.Options{}).Start(t.Context()))
		w.pass(time.Second)
		require.Equal(t, []string{id, after}, ids(t, receiver.Requests()))
	})
}

func TestStopDrains(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.receiver("shop.example", sendertest.Answer{Delay: 7 * time.Second})
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		start := time.Now()
		require.NoError(t, w.Stop(t.Context()))
		require.Equal(t, 7*time.Second, time.Since(start).Round(time.Second))
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
	})
}

// What is cut off by the end of Stop's context is repeated when its lease is over.
func TestStopCutsOff(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Answer{Fault: sendertest.Hang}, sendertest.Status(200))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.Stop(ctx), context.DeadlineExceeded)
		require.NoError(t, w.another(sender.Options{}).Start(t.Context()))
		w.pass(time.Minute)
		require.Equal(t, 2, receiver.Count())
		attempts := w.attempts(&w.Tenant, id, ep)
		require.Equal(t, store.AttemptUnknown, attempts[0].Outcome)
		require.Equal(t, store.AttemptDelivered, attempts[1].Outcome)
	})
}

func TestSendAfterClose(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.endpoint(&w.Tenant, "shop.example")
		w.send(&w.Tenant, "push")
		tx := w.st.Begin()
		require.NoError(t, w.Stop(t.Context()))
		require.NoError(t, w.st.Close())
		_, err := w.Send(t.Context(), sender.Event{Type: "push"})
		require.ErrorIs(t, err, store.ErrClosed)
		_, err = w.SendBatch(t.Context(), []sender.Event{{Type: "push"}})
		require.ErrorIs(t, err, store.ErrClosed)
		_, err = w.SendTx(t.Context(), tx, sender.Event{Type: "push"})
		require.ErrorIs(t, err, store.ErrClosed)
		_, _, err = w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://shop.example", EventTypes: []string{"*"}})
		require.ErrorIs(t, err, store.ErrClosed)
		fresh := w.another(sender.Options{})
		require.ErrorIs(t, fresh.Start(t.Context()), store.ErrClosed)
		_, err = fresh.Send(t.Context(), sender.Event{Type: "push"})
		require.ErrorIs(t, err, store.ErrClosed)
	})
}

// stuck is a store whose commits take as long as the test wants.
type stuck struct {
	store.Store
	gate chan struct{}
}

func (s *stuck) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	<-s.gate
	return s.Store.Enqueue(ctx, p)
}

// A context that ends while the commit is under way leaves the outcome open; the
// receipt's id makes sending again safe.
func TestContextEndsDuringTheCommit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{})
		st := &stuck{Store: w.st, gate: make(chan struct{})}
		open := sync.OnceFunc(func() { close(st.gate) })
		s := w.on(st, sender.Options{})
		t.Cleanup(open)
		require.NoError(t, s.Start(t.Context()))
		receiver := w.receiver("shop.example")
		w.endpoint(&s.Tenant, "shop.example")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		receipt, err := s.Send(ctx, sender.Event{Type: "push", Data: 1})
		require.ErrorIs(t, err, sender.ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotEmpty(t, receipt.ID)
		receipts, err := s.SendBatch(ctx, []sender.Event{{Type: "push"}})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NotEmpty(t, receipts[0].ID)
		open()
		again, err := s.Send(t.Context(), sender.Event{ID: receipt.ID, Type: "push", Data: 1})
		require.NoError(t, err)
		require.True(t, again.Duplicate)
		w.pass(time.Minute)
		require.Equal(t, []string{receipt.ID}, ids(t, receiver.Requests()))
	})
}
