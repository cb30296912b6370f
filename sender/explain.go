package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Why is the answer to whether an event reached an endpoint, in a word.
type Why string

// The answers of Explain.
const (
	WhyDelivered   Why = "delivered"     // a delivery succeeded
	WhyReached     Why = "reached"       // a test event was answered, but not with 2xx; see store.Delivery.ReachedOnly
	WhyPending     Why = "pending"       // an attempt is due, or under way
	WhyExhausted   Why = "exhausted"     // given up
	WhyCancelled   Why = "cancelled"     // by a person, or because the endpoint was deleted
	WhyErased      Why = "erased"        // its payload is gone and it can't be sent any more
	WhyDisabled    Why = "disabled"      // the endpoint was disabled when the event was stored
	WhyNotSelected Why = "not selecting" // the endpoint did not select the type then
	WhyAbsent      Why = "absent"        // the endpoint did not exist then, or was deleted already
)

// Explanation says in one value why an event arrived at an endpoint or not.
type Explanation struct {
	Why  Why
	Text string // the same in a sentence, with times
	// Delivery is the one that decided: the one delivered, else the newest. It is
	// nil if there is none.
	Delivery *store.Delivery
	Event    store.Event // without its body
	Endpoint store.Endpoint
}

// Explain answers why an event arrived at an endpoint or not. It returns
// store.ErrNotFound if the tenant has no such event or endpoint in this mode.
func (t *Tenant) Explain(ctx context.Context, eventID, endpointID string) (Explanation, error) {
	var x Explanation
	if t.err != nil {
		return x, t.err
	}
	st := t.sender.st
	var err error
	if x.Event, err = st.Event(ctx, t.scope, eventID); err != nil {
		return x, fmt.Errorf("event: %w", err)
	}
	x.Event.Body = nil
	if x.Endpoint, err = st.Endpoint(ctx, t.scope, endpointID); err != nil {
		return x, fmt.Errorf("endpoint: %w", err)
	}
	x.Endpoint = public(x.Endpoint)
	deliveries, err := st.Deliveries(ctx, t.scope, store.DeliveryQuery{EventID: eventID, EndpointID: endpointID, Limit: 1000})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return x, err
	}
	if len(deliveries) > 0 {
		x.Delivery = &deliveries[0]
		for i := range deliveries {
			if deliveries[i].State == store.Delivered {
				x.Delivery = &deliveries[i]
				break
			}
		}
		x.fromDelivery()
		return x, nil
	}
	history, err := st.EndpointHistory(ctx, t.scope, endpointID)
	if err != nil {
		return x, err
	}
	x.fromHistory(history)
	return x, nil
}

func (x *Explanation) fromDelivery() {
	d := x.Delivery
	tries := fmt.Sprintf("%d attempts", d.Attempts)
	if d.Attempts == 1 {
		tries = "1 attempt"
	}
	switch d.State {
	case store.Delivered:
		x.Why, x.Text = WhyDelivered, fmt.Sprintf("Delivered at %s, after %s.", clockTime(d.FinishedAt), tries)
		if d.ReachedOnly() {
			x.Why = WhyReached
			x.Text = fmt.Sprintf("Reached at %s, but the test event was not accepted: %s.", clockTime(d.FinishedAt), explainStatus(d.LastStatus))
		}
	case store.Exhausted:
		x.Why, x.Text = WhyExhausted, fmt.Sprintf("Given up at %s, after %s: %s.", clockTime(d.FinishedAt), tries, d.Reason)
		if x.erasedBefore(d.FinishedAt) {
			x.erased()
		}
	case store.Cancelled:
		x.Why, x.Text = WhyCancelled, "Cancelled: "+d.Reason+"."
		if d.Reason == "" {
			x.Text = "Cancelled."
		}
		if d.Reason == store.ReasonErased {
			x.erased()
		}
	case store.Pending:
		x.Why = WhyPending
		switch {
		case !x.Event.ErasedAt.IsZero():
			x.erased()
		case d.InFlight:
			x.Text = fmt.Sprintf("Attempt %d is under way.", d.Attempts)
		case x.Endpoint.State == store.Disabled:
			x.Text = "Waiting: the endpoint is disabled" + because(x.Endpoint.Reason) + "."
		case d.Attempts == 0 && d.DueAt.After(d.CreatedAt):
			x.Text = fmt.Sprintf("To be sent later, at %s.", clockTime(d.DueAt))
		default:
			x.Text = fmt.Sprintf("Due at %s, after %s so far.", clockTime(d.DueAt), tries)
		}
	}
}

func (x *Explanation) fromHistory(history []store.Change) {
	then, existed := configAt(history, x.Event.SetVersion)
	at := clockTime(x.Event.StoredAt)
	wants := newSelection(then.EventTypes)
	switch {
	case !existed:
		x.Why, x.Text = WhyAbsent, fmt.Sprintf("The event was stored at %s; the endpoint was created only at %s.", at, clockTime(x.Endpoint.CreatedAt))
	case then.State == store.Deleted:
		x.Why, x.Text = WhyAbsent, fmt.Sprintf("The endpoint was already deleted when the event was stored at %s.", at)
	case then.State == store.Disabled:
		x.Why, x.Text = WhyDisabled, fmt.Sprintf("The endpoint was disabled%s when the event was stored at %s; such events are not back-filled.", because(then.Reason), at)
	case x.Event.Type == testEventType || slices.Contains(x.Event.Refs, exampleRef):
		x.Why, x.Text = WhyNotSelected, "A test event goes only to the endpoint that it is for."
	case !wants.matches(x.Event.Type):
		x.Why, x.Text = WhyNotSelected, fmt.Sprintf("The endpoint did not select %s when the event was stored at %s.", x.Event.Type, at)
	default:
		// The deliveries of an event for very many endpoints are made in steps.
		x.Why, x.Text = WhyPending, fmt.Sprintf("The event was stored at %s and its deliveries are being made.", at)
	}
	if !x.Event.ErasedAt.IsZero() && x.Why == WhyPending {
		x.erased()
	}
}

// erasedBefore reports whether there was nothing left to send at t.
func (x *Explanation) erasedBefore(t time.Time) bool {
	return !x.Event.ErasedAt.IsZero() && !x.Event.ErasedAt.After(t)
}

func (x *Explanation) erased() {
	x.Why, x.Text = WhyErased, fmt.Sprintf("The payload was erased at %s before it was delivered.", clockTime(x.Event.ErasedAt))
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return " (" + reason + ")"
}

func clockTime(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// days says a duration in whole days where it is one.
func days(d time.Duration) string {
	if d >= 48*time.Hour && d%(24*time.Hour) == 0 {
		return fmt.Sprintf("%d days", d/(24*time.Hour))
	}
	return d.String()
}
