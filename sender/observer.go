package sender

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Observer is a set of functions that hear of what a Sender does, for metrics and
// traces. All are optional, and what is nil costs nothing. Package otel, a module of
// its own, makes one for OpenTelemetry.
//
// Each is called on the goroutine that does the work, named below, which waits for
// it: an observer must be quick and must not call the Sender. Calls of different
// goroutines overlap. One that panics is logged, once in ten seconds at most, and
// the work goes on.
//
// Observers see ids, types, hosts, counts and times: no secret, no request body, no
// answer, and of an endpoint's URL only the host.
type Observer struct {
	// SendStarted is called when Send, SendBatch or SendTx begins, on the caller's
	// goroutine. The context that it returns, which must be derived from the one it
	// is given, takes that one's place until SendDone.
	SendStarted func(ctx context.Context, s SendStart) context.Context
	// SendDone is called when they end, on the same goroutine with the context that
	// SendStarted returned.
	SendDone func(ctx context.Context, s SendEnd)
	// TraceContext returns the W3C trace context that ctx stands for, as the values
	// of the headers traceparent and tracestate; an empty traceparent is none. It is
	// asked within Send, whose event keeps it for all its attempts, and within an
	// attempt if Options.TraceHeaders is set. What is not printable ASCII or longer
	// than store.MaxTrace is dropped.
	TraceContext func(ctx context.Context) (traceparent, tracestate string)

	// EventsStored is called after each try to store a batch of events that Sends
	// share, on the goroutine that stores. SendTx stores without it.
	EventsStored func(s StoreEnd)
	// Claimed is called after each claim, on the goroutine of the claims.
	Claimed func(c ClaimEnd)

	// AttemptStarted is called just before the request of an attempt is made, on the
	// attempt's goroutine. The request is made in the context that it returns, which
	// must be derived from the one it is given.
	AttemptStarted func(ctx context.Context, a AttemptStart) context.Context
	// AttemptDone is called when the outcome is known, before it is recorded, on the
	// same goroutine with the context that AttemptStarted returned.
	AttemptDone func(ctx context.Context, a AttemptEnd)

	// Settled is called after each try to record a batch of results, on the goroutine
	// that records. The calls below come from that goroutine, too, or from the one of
	// the upkeep, once what they tell is recorded.
	Settled func(s SettleEnd)
	// Exhausted is called for each delivery that was given up, test events among
	// them. It does not hear of those whose time ended while their endpoint was
	// disabled, of which the store tells only how many there were.
	Exhausted func(e Exhaustion)
	// EndpointDisabled is called when the Sender has disabled an endpoint by itself.
	EndpointDisabled func(e EndpointDisabled)
	// EndpointRecovered is called when an endpoint succeeds that was failing for a
	// minute at least.
	EndpointRecovered func(e EndpointRecovered)
}

// SendStart describes a call of Send, SendBatch or SendTx.
type SendStart struct {
	store.Scope
	Events int
	// EventType is that of the events if they are all of one type, else empty.
	EventType string
	InTx      bool // it is a SendTx
}

// SendEnd is what became of it.
type SendEnd struct {
	SendStart
	EventID    string // of the event if it is one and was acceptable, else empty
	Stored     int    // events stored now, those of a SendTx subject to the commit
	Duplicates int    // events that were stored before
	Deliveries int    // deliveries of the events stored now
	Took       time.Duration
	Err        error // as returned to the caller
}

// StoreEnd is a try to store a batch of events in one commit.
type StoreEnd struct {
	Events int
	Took   time.Duration
	Err    error // of the whole batch; nil if each event has a result of its own
}

// ClaimEnd is a claim.
type ClaimEnd struct {
	Slots      int // how many deliveries could have been taken
	Deliveries int // how many were
	Took       time.Duration
	Err        error
}

// AttemptStart describes an attempt.
type AttemptStart struct {
	store.Scope
	Delivery   store.DeliveryID
	EventID    string
	EventType  string
	EndpointID string
	N          int    // counts from 1 within the delivery
	Host       string // of the endpoint's URL
	Port       int    // of the endpoint's URL, or of its scheme
	Bytes      int    // of the request body
	// TraceParent and TraceState are the trace context that the event was stored
	// with; empty if it has none.
	TraceParent, TraceState string
}

// AttemptEnd is what became of it.
type AttemptEnd struct {
	AttemptStart
	Took    time.Duration
	Outcome store.Outcome // AttemptUnknown if it was cut off by Stop
	Status  int           // of the answer; 0: none
	Class   string        // the kind of failure, as in store.Attempt; empty on success
}

// SettleEnd is a try to record results in one commit.
type SettleEnd struct {
	Results int
	Took    time.Duration
	Err     error
}

// EndpointDisabled tells of an endpoint that the Sender has disabled.
type EndpointDisabled struct {
	store.Scope
	EndpointID string
	Reason     string // in plain words
}

// EndpointRecovered tells of an endpoint that succeeds again.
type EndpointRecovered struct {
	store.Scope
	EndpointID   string
	FailingSince time.Time
}

// observing calls an Observer's functions, where there are any, and survives
// them.
type observing struct {
	Observer
	panics trouble // of functions that panic
}

func newObserving(o *Observer, log *slog.Logger) *observing {
	w := &observing{panics: trouble{log: log}}
	if o != nil {
		w.Observer = *o
	}
	return w
}

// contain is deferred around each call.
func (o *observing) contain(function string) {
	if p := recover(); p != nil {
		o.panics.report("hookpost: a function of the observer panicked", fmt.Errorf("panic: %v", p), "function", function)
	}
}

func (o *observing) sendStarted(parent context.Context, s SendStart) (ctx context.Context, began time.Time) {
	if o.SendStarted == nil && o.SendDone == nil {
		return parent, began
	}
	ctx, began = parent, time.Now()
	if o.SendStarted != nil {
		defer o.contain("SendStarted")
		if derived := o.SendStarted(parent, s); derived != nil {
			ctx = derived
		}
	}
	return ctx, began
}

func (o *observing) sendDone(ctx context.Context, began time.Time, s SendStart, err error, receipts ...Receipt) {
	if o.SendDone == nil {
		return
	}
	defer o.contain("SendDone")
	end := SendEnd{SendStart: s, Took: time.Since(began), Err: err}
	var each *BatchError
	errors.As(err, &each)
	for i, r := range receipts {
		end.Deliveries += r.Deliveries
		switch {
		case each == nil && err != nil, each != nil && each.Errs[i] != nil:
		case r.Duplicate:
			end.Duplicates++
		default:
			end.Stored++
		}
	}
	if len(receipts) == 1 {
		end.EventID = receipts[0].ID
	}
	o.SendDone(ctx, end)
}

// traceOf returns the trace context of ctx in the form of store.Event.Trace.
func (o *observing) traceOf(ctx context.Context) (trace string) {
	if o.TraceContext == nil {
		return ""
	}
	defer o.contain("TraceContext")
	parent, state := o.TraceContext(ctx)
	if state != "" && parent != "" && len(parent)+1+len(state) <= store.MaxTrace && printable(state) {
		parent += " " + state
	}
	if len(parent) > store.MaxTrace || !printable(parent) {
		return ""
	}
	return parent
}

func (o *observing) eventsStored(began time.Time, events int, err error) {
	if o.EventsStored == nil {
		return
	}
	defer o.contain("EventsStored")
	o.EventsStored(StoreEnd{Events: events, Took: time.Since(began), Err: err})
}

func (o *observing) claimed(began time.Time, slots, deliveries int, err error) {
	if o.Claimed == nil {
		return
	}
	defer o.contain("Claimed")
	o.Claimed(ClaimEnd{Slots: slots, Deliveries: deliveries, Took: time.Since(began), Err: err})
}

func (o *observing) attemptStarted(parent context.Context, j *job, to *url.URL) (ctx context.Context) {
	if o.AttemptStarted == nil {
		return parent
	}
	ctx = parent
	defer o.contain("AttemptStarted")
	if derived := o.AttemptStarted(parent, j.describe(to)); derived != nil {
		ctx = derived
	}
	return ctx
}

func (o *observing) attemptDone(ctx context.Context, j *job, to *url.URL, r *result, outcome store.Outcome) {
	if o.AttemptDone == nil {
		return
	}
	defer o.contain("AttemptDone")
	o.AttemptDone(ctx, AttemptEnd{AttemptStart: j.describe(to), Took: r.Took, Outcome: outcome, Status: r.Status, Class: r.Class})
}

func (j *job) describe(to *url.URL) AttemptStart {
	a := AttemptStart{
		Scope: j.Scope, Delivery: j.ID, EventID: j.EventID, EventType: j.EventType, EndpointID: j.endpoint.ID,
		N: j.Attempt, Host: to.Hostname(), Port: 443, Bytes: len(j.Body),
	}
	if port, err := strconv.Atoi(to.Port()); err == nil {
		a.Port = port
	} else if to.Scheme == "http" {
		a.Port = 80
	}
	a.TraceParent, a.TraceState, _ = strings.Cut(j.Trace, " ")
	return a
}

func (o *observing) settled(began time.Time, results int, err error) {
	if o.Settled == nil {
		return
	}
	defer o.contain("Settled")
	o.Settled(SettleEnd{Results: results, Took: time.Since(began), Err: err})
}

func (o *observing) exhausted(e Exhaustion) {
	if o.Exhausted == nil {
		return
	}
	defer o.contain("Exhausted")
	o.Exhausted(e)
}

func (o *observing) endpointDisabled(e EndpointDisabled) {
	if o.EndpointDisabled == nil {
		return
	}
	defer o.contain("EndpointDisabled")
	o.EndpointDisabled(e)
}

func (o *observing) endpointRecovered(e EndpointRecovered) {
	if o.EndpointRecovered == nil {
		return
	}
	defer o.contain("EndpointRecovered")
	o.EndpointRecovered(e)
}
