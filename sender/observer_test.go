package sender_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// witness collects what an observer is told.
type witness struct {
	mu        sync.Mutex
	calls     []string
	sends     []sender.SendEnd
	stored    []sender.StoreEnd
	claims    []sender.ClaimEnd
	started   []sender.AttemptStart
	attempts  []sender.AttemptEnd
	settled   []sender.SettleEnd
	exhausted []sender.Exhaustion
	disabled  []sender.EndpointDisabled
	recovered []sender.EndpointRecovered
}

func note[T any](h *witness, list *[]T, what string, v T) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = append(h.calls, what)
	*list = append(*list, v)
}

type observerKey string

// observer returns one whose contexts can be told apart.
func (h *witness) observer(t *testing.T) *sender.Observer {
	var starts []sender.SendStart
	return &sender.Observer{
		SendStarted: func(ctx context.Context, s sender.SendStart) context.Context {
			note(h, &starts, "SendStarted", s)
			return context.WithValue(ctx, observerKey("send"), s)
		},
		SendDone: func(ctx context.Context, s sender.SendEnd) {
			require.Equal(t, s.SendStart, ctx.Value(observerKey("send")))
			note(h, &h.sends, "SendDone", s)
		},
		EventsStored: func(s sender.StoreEnd) { note(h, &h.stored, "EventsStored", s) },
		Claimed:      func(c sender.ClaimEnd) { note(h, &h.claims, "Claimed", c) },
		AttemptStarted: func(ctx context.Context, a sender.AttemptStart) context.Context {
			note(h, &h.started, "AttemptStarted", a)
			return context.WithValue(ctx, observerKey("attempt"), a)
		},
		AttemptDone: func(ctx context.Context, a sender.AttemptEnd) {
			require.Equal(t, a.AttemptStart, ctx.Value(observerKey("attempt")))
			note(h, &h.attempts, "AttemptDone", a)
		},
		Settled:           func(s sender.SettleEnd) { note(h, &h.settled, "Settled", s) },
		Exhausted:         func(e sender.Exhaustion) { note(h, &h.exhausted, "Exhausted", e) },
		EndpointDisabled:  func(e sender.EndpointDisabled) { note(h, &h.disabled, "EndpointDisabled", e) },
		EndpointRecovered: func(e sender.EndpointRecovered) { note(h, &h.recovered, "EndpointRecovered", e) },
	}
}

func TestObserverHearsEverything(t *testing.T) {
	var h witness
	inBubble(t, sender.Options{Schedule: retry.Steps(5 * time.Minute), Observer: h.observer(t)}, func(t *testing.T, w *world) {
		acme := w.For("acme", store.Test)
		w.receiver("flaky.example", sendertest.Answer{Status: 503, Delay: 30 * time.Millisecond}, sendertest.Answer{Status: 200})
		w.receiver("gone.example", sendertest.Answer{Status: 410})
		flaky := w.endpoint(acme, "flaky.example", "payment.*")
		gone := w.endpoint(acme, "gone.example", "push")

		id := w.send(acme, "payment.succeeded")
		w.pass(6 * time.Minute)
		calls := withoutClaims(h.calls)
		require.Equal(t, []string{"SendStarted", "EventsStored"}, calls[:2])
		require.ElementsMatch(t, []string{"SendDone", "AttemptStarted"}, calls[2:4], "the first attempt begins with the commit, while Send returns")
		require.Len(t, h.sends, 1)
		h.sends[0].Took = 0
		scope := store.Scope{Tenant: "acme", Mode: store.Test}
		require.Equal(t, sender.SendEnd{
			SendStart: sender.SendStart{Scope: scope, Events: 1, EventType: "payment.succeeded"}, EventID: id, Stored: 1, Deliveries: 1,
		}, h.sends[0])
		require.Equal(t, 1, h.stored[0].Events)
		require.Len(t, h.attempts, 2)
		d := w.delivery(acme, id, flaky)
		first := sender.AttemptStart{
			Scope: scope, Delivery: d.ID, EventID: id, EventType: "payment.succeeded", EndpointID: flaky.ID, N: 1, Host: "flaky.example", Port: 443,
			Bytes: h.started[0].Bytes,
		}
		require.NotZero(t, first.Bytes)
		require.Equal(t, sender.AttemptEnd{
			AttemptStart: first, Took: 30 * time.Millisecond, Outcome: store.AttemptFailed, Status: 503, Class: "status",
		}, h.attempts[0])
		second := first
		second.N = 2
		require.Equal(t, sender.AttemptEnd{AttemptStart: second, Outcome: store.AttemptDelivered, Status: 200}, h.attempts[1])
		require.Len(t, h.recovered, 1)
		require.Equal(t, flaky.ID, h.recovered[0].EndpointID)
		var claimed int
		for _, c := range h.claims {
			require.NoError(t, c.Err)
			require.Positive(t, c.Slots)
			claimed += c.Deliveries
		}
		require.Equal(t, 1, claimed, "the retry was claimed, the first attempt handed over")

		id = w.send(acme, "push")
		require.Equal(t, []sender.EndpointDisabled{{Scope: scope, EndpointID: gone.ID, Reason: "the receiver answered 410 Gone"}}, h.disabled)
		require.Len(t, h.exhausted, 1)
		require.Equal(t, id, h.exhausted[0].EventID)
		require.Equal(t, 410, h.exhausted[0].LastStatus)
		results := 0
		for _, s := range h.settled {
			require.NoError(t, s.Err)
			results += s.Results
		}
		require.Equal(t, 3, results)
	})
}

func withoutClaims(calls []string) (rest []string) {
	for _, c := range calls {
		if c != "Claimed" {
			rest = append(rest, c)
		}
	}
	return rest
}

func TestObserverHearsOfEachKindOfSend(t *testing.T) {
	var h witness
	inBubble(t, sender.Options{Observer: h.observer(t)}, func(t *testing.T, w *world) {
		_, err := w.SendBatch(t.Context(), []sender.Event{
			{ID: "evt_a", Type: "push"}, {ID: "evt_a", Type: "push"}, {ID: "evt_a", Type: "push", Data: 1}, {ID: "evt_b", Type: "push"},
		})
		require.ErrorIs(t, err, store.ErrConflict)
		_, err = w.Send(t.Context(), sender.Event{Type: "no type"})
		require.ErrorIs(t, err, sender.ErrInvalidEvent)
		tx := w.st.Begin()
		receipt, err := w.SendTx(t.Context(), tx, sender.Event{Type: "push"})
		require.NoError(t, err)
		require.NoError(t, tx.Commit())

		scope := store.Scope{Mode: store.Live}
		for i := range h.sends {
			h.sends[i].Took = 0
		}
		require.Equal(t, sender.SendStart{Scope: scope, Events: 4, EventType: "push"}, h.sends[0].SendStart)
		require.Equal(t, [2]int{2, 1}, [2]int{h.sends[0].Stored, h.sends[0].Duplicates})
		require.ErrorIs(t, h.sends[0].Err, store.ErrConflict)
		require.Zero(t, h.sends[1].Stored)
		require.ErrorIs(t, h.sends[1].Err, sender.ErrInvalidEvent)
		require.Equal(t, sender.SendEnd{
			SendStart: sender.SendStart{Scope: scope, Events: 1, EventType: "push", InTx: true}, EventID: receipt.ID, Stored: 1,
		}, h.sends[2])
	})
}

// What Stop cuts off is neither delivered nor failed.
func TestObserverHearsOfAttemptsCutOff(t *testing.T) {
	var h witness
	inBubble(t, sender.Options{Observer: h.observer(t)}, func(t *testing.T, w *world) {
		w.receiver("slow.example", sendertest.Answer{Delay: 8 * time.Second})
		w.endpoint(&w.Tenant, "slow.example")
		w.send(&w.Tenant, "push")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, w.Stop(ctx), context.DeadlineExceeded)
		require.Len(t, h.attempts, 1)
		require.Equal(t, store.AttemptUnknown, h.attempts[0].Outcome)
	})
}

func TestObserverSeesNoSecrets(t *testing.T) {
	var h witness
	inBubble(t, sender.Options{Observer: h.observer(t), Schedule: retry.None}, func(t *testing.T, w *world) {
		w.receiver("host.example", sendertest.Answer{Status: 500, Body: "answer-s3cret"})
		_, secret, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://host.example:8443/path-s3cret?token=query-s3cret", EventTypes: []string{"*"}, NoTestEvent: true,
		})
		require.NoError(t, err)
		_, err = w.Send(t.Context(), sender.Event{Type: "push", Data: "body-s3cret", Refs: []string{"ref-s3cret"}})
		require.NoError(t, err)
		w.pass(time.Minute)
		require.Len(t, h.exhausted, 1)
		require.Equal(t, "host.example", h.attempts[0].Host)
		require.Equal(t, 8443, h.attempts[0].Port)
		all := fmt.Sprintf("%+v %+v %+v %+v %+v %+v %+v %+v", h.sends, h.stored, h.claims, h.started, h.attempts, h.settled, h.exhausted, w.log)
		require.NotContains(t, all, "s3cret")
		require.NotContains(t, all, strings.TrimPrefix(secret.Reveal(), "whsec_"))
	})
}

// An observer that panics in every function changes nothing.
func TestObserverPanicsStopNobody(t *testing.T) {
	o := sender.Options{Schedule: retry.None, TraceHeaders: true, Observer: &sender.Observer{
		SendStarted:       func(context.Context, sender.SendStart) context.Context { panic("SendStarted") },
		SendDone:          func(context.Context, sender.SendEnd) { panic("SendDone") },
		TraceContext:      func(context.Context) (string, string) { panic("TraceContext") },
		EventsStored:      func(sender.StoreEnd) { panic("EventsStored") },
		Claimed:           func(sender.ClaimEnd) { panic("Claimed") },
		AttemptStarted:    func(context.Context, sender.AttemptStart) context.Context { panic("AttemptStarted") },
		AttemptDone:       func(context.Context, sender.AttemptEnd) { panic("AttemptDone") },
		Settled:           func(sender.SettleEnd) { panic("Settled") },
		Exhausted:         func(sender.Exhaustion) { panic("Exhausted") },
		EndpointDisabled:  func(sender.EndpointDisabled) { panic("EndpointDisabled") },
		EndpointRecovered: func(sender.EndpointRecovered) { panic("EndpointRecovered") },
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		good := w.endpoint(&w.Tenant, "good.example", "push")
		w.receiver("gone.example", sendertest.Answer{Status: 410})
		gone := w.endpoint(&w.Tenant, "gone.example", "push")
		id := w.send(&w.Tenant, "push")
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, good).State)
		require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, gone).State)
		require.Equal(t, store.Disabled, w.current(&w.Tenant, gone).State)
		_, err := w.SendBatch(t.Context(), []sender.Event{{Type: "push"}})
		require.NoError(t, err)
		w.pass(time.Minute)
		require.Contains(t, w.log.String(), "a function of the observer panicked")
	})
}

// A context that is nil or foreign must not lose the Sender's own.
func TestObserverMayReturnNoContext(t *testing.T) {
	o := sender.Options{Observer: &sender.Observer{
		SendStarted:    func(context.Context, sender.SendStart) context.Context { return nil },
		AttemptStarted: func(context.Context, sender.AttemptStart) context.Context { return nil },
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		ep := w.endpoint(&w.Tenant, "good.example")
		id := w.send(&w.Tenant, "push")
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
	})
}

const (
	traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	tracestate  = "vendor=opaque value,other=1"
)

func TestTraceContextGoesWithEveryAttempt(t *testing.T) {
	var h witness
	seen := h.observer(t)
	o := sender.Options{TraceHeaders: true, Observer: &sender.Observer{
		AttemptStarted: seen.AttemptStarted,
		AttemptDone:    seen.AttemptDone,
		TraceContext: func(ctx context.Context) (string, string) {
			if a, ok := ctx.Value(observerKey("attempt")).(sender.AttemptStart); ok && a.EventType == "own" {
				return "00-0af7651916cd43dd8448eb211c80319c-00000000000000aa-01", ""
			}
			parent, _ := ctx.Value(observerKey("parent")).(string)
			state, _ := ctx.Value(observerKey("state")).(string)
			return parent, state
		},
	}}
	inBubble(t, o, func(t *testing.T, w *world) {
		rcv := w.receiver("host.example", sendertest.Answer{Status: 503}, sendertest.Answer{})
		ep := w.endpoint(&w.Tenant, "host.example")
		traced := func(parent, state string) context.Context {
			return context.WithValue(context.WithValue(t.Context(), observerKey("parent"), parent), observerKey("state"), state)
		}
		send := func(ctx context.Context, typ string) string {
			t.Helper()
			receipt, err := w.Send(ctx, sender.Event{Type: typ})
			require.NoError(t, err)
			synctest.Wait()
			return receipt.ID
		}
		requests := func(n int) []sendertest.Request {
			t.Helper()
			all := rcv.Requests()
			require.Len(t, all, n)
			return all
		}

		id := send(traced(traceparent, tracestate), "push")
		w.pass(6 * time.Minute) // the retry is claimed from the store
		_, err := w.Replay(t.Context(), id, ep.ID)
		require.NoError(t, err)
		synctest.Wait()
		for _, r := range requests(3) {
			require.Equal(t, []string{traceparent}, r.Header["Traceparent"])
			require.Equal(t, []string{tracestate}, r.Header["Tracestate"])
		}
		for _, a := range h.started {
			require.Equal(t, [2]string{traceparent, tracestate}, [2]string{a.TraceParent, a.TraceState})
		}

		send(traced(traceparent, tracestate), "own")
		last := requests(4)[3]
		require.Equal(t, "00-0af7651916cd43dd8448eb211c80319c-00000000000000aa-01", last.Header.Get("traceparent"), "the attempt's own")
		require.Empty(t, last.Header.Get("tracestate"))

		tx := w.st.Begin()
		_, err = w.SendTx(traced(traceparent, ""), tx, sender.Event{Type: "push"})
		require.NoError(t, err)
		require.NoError(t, tx.Commit())
		w.Wake()
		synctest.Wait()
		last = requests(5)[4]
		require.Equal(t, traceparent, last.Header.Get("traceparent"))
		require.NotContains(t, last.Header, "Tracestate")

		n := 5
		for _, bad := range []string{"", "line\nbreak", strings.Repeat("0", store.MaxTrace+1), "t\u00e4st"} {
			id := send(traced(bad, ""), "push")
			n++
			require.NotContains(t, requests(n)[n-1].Header, "Traceparent", "%q", bad)
			ev, err := w.Event(t.Context(), id)
			require.NoError(t, err)
			require.Empty(t, ev.Trace)
		}
		id = send(traced(traceparent, strings.Repeat("s", store.MaxTrace)), "push")
		ev, err := w.Event(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, traceparent, ev.Trace, "a state that is too long is left out alone")
	})
}

// Receivers learn of traces only if asked for.
func TestTraceHeadersAreAskedFor(t *testing.T) {
	o := sender.Options{Observer: &sender.Observer{TraceContext: func(context.Context) (string, string) { return traceparent, tracestate }}}
	inBubble(t, o, func(t *testing.T, w *world) {
		rcv := w.receiver("host.example")
		w.endpoint(&w.Tenant, "host.example")
		id := w.send(&w.Tenant, "push")
		require.NotContains(t, rcv.Requests()[0].Header, "Traceparent")
		ev, err := w.Event(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, traceparent+" "+tracestate, ev.Trace)
	})
}
