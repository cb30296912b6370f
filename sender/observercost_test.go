package sender

import (
	"errors"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// An observer without functions costs no allocation anywhere.
func TestNoObserverAllocatesNothing(t *testing.T) {
	o := newObserving(nil, slog.New(slog.DiscardHandler))
	j := &job{Claimed: store.Claimed{Trace: "00-1-2-01 a=b"}, endpoint: &liveEndpoint{}}
	r, dest, to, err := &result{}, &destination{}, &url.URL{Host: "host.example"}, errors.New("an error")
	got := testing.AllocsPerRun(100, func() {
		start := SendStart{Scope: j.Scope, Events: 1, EventType: j.EventType}
		ctx, began := o.sendStarted(t.Context(), start)
		o.eventsStored(began, 1, err)
		o.claimed(began, 1, 1, err)
		ctx = o.attemptStarted(ctx, j, to)
		dest = dest.withTrace(o.traceOf(ctx))
		o.attemptDone(ctx, j, to, r, r.Outcome)
		o.settled(began, 1, err)
		o.exhausted(Exhaustion{})
		o.endpointDisabled(EndpointDisabled{})
		o.endpointRecovered(EndpointRecovered{})
		o.sendDone(ctx, began, start, err, Receipt{})
	})
	require.Zero(t, got)
}

// What is counted here allocates once per endpoint.
func TestCountersAllocateNothing(t *testing.T) {
	c := newCounters()
	r := &report{Settlement: store.Settlement{ID: store.DeliveryID{Endpoint: 1}, Verdict: store.Deliver, Attempt: &store.Attempt{}}}
	got := testing.AllocsPerRun(100, func() { c.count(r, store.Settled{Accepted: true}) })
	require.Zero(t, got)
	require.EqualValues(t, 101, c.of[1].Delivered)
	c.forget(time.Now().Add(idleCounters))
	require.Empty(t, c.of)
}
