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
	WhyPending     Why = "pending"       // still to be delivered; Explanation.Wait says what it waits for
	WhyExhausted   Why = "exhausted"     // given up
	WhyCancelled   Why = "cancelled"     // by a person, or because the endpoint was deleted
	WhyErased      Why = "erased"        // its payload is gone and it can't be sent any more
	WhyDisabled    Why = "disabled"      // the endpoint was disabled when the event was stored
	WhyNotSelected Why = "not selecting" // the endpoint did not select the type then
	WhyAbsent      Why = "absent"        // the endpoint did not exist then, or was deleted already
)

// Explanation says in one value why an event arrived at an endpoint or not.
type Explanation struct {
	Why Why
	// Text is the same in sentences, with times. It is fit for the endpoint's owner: it
	// contains no secret and nothing of an answer.
	Text string
	// Wait says why a pending delivery is not being attempted. It is empty unless Why is
	// WhyPending.
	Wait Wait
	// Overdue is for how long a pending delivery has been due, or its attempt should have
	// been reported, by the store's clock; 0 if it waits for something else.
	Overdue time.Duration
	// Last is the newest attempt of a pending delivery that failed or was never reported,
	// without header and body of the answer; nil if there is none.
	Last *store.Attempt
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
	}
	return x, t.explain(ctx, &x, eventID, endpointID)
}

// ExplainDelivery answers the same of one delivery, whatever others there are of its
// event to its endpoint. It returns store.ErrNotFound if the tenant has none of that id
// in this mode.
func (t *Tenant) ExplainDelivery(ctx context.Context, id store.DeliveryID) (Explanation, error) {
	var x Explanation
	if t.err != nil {
		return x, t.err
	}
	d, err := t.sender.st.Delivery(ctx, t.scope, id)
	if err != nil {
		return x, err
	}
	x.Delivery = &d
	return x, t.explain(ctx, &x, d.EventID, d.EndpointID)
}

// explain fills in an Explanation that has its delivery, or none.
func (t *Tenant) explain(ctx context.Context, x *Explanation, eventID, endpointID string) error {
	st := t.sender.st
	var err error
	if x.Event, err = st.Event(ctx, t.scope, eventID); err != nil {
		return fmt.Errorf("event: %w", err)
	}
	x.Event.Body = nil
	ep, err := st.Endpoint(ctx, t.scope, endpointID)
	if err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	x.Endpoint = public(ep)
	switch {
	case x.Delivery == nil:
		history, err := st.EndpointHistory(ctx, t.scope, endpointID)
		if err != nil {
			return err
		}
		return t.sender.fromHistory(ctx, x, history)
	case x.Delivery.State != store.Pending:
		x.fromDelivery()
	case !x.Event.ErasedAt.IsZero():
		x.erased()
	default:
		x.Why = WhyPending
		return t.sender.waiting(ctx, x, &ep)
	}
	return nil
}

// fromDelivery explains a delivery that has ended.
func (x *Explanation) fromDelivery() {
	d := x.Delivery
	switch d.State {
	case store.Delivered:
		x.Why, x.Text = WhyDelivered, fmt.Sprintf("Delivered at %s, after %s.", clockTime(d.FinishedAt), tries(d.Attempts))
		if d.ReachedOnly() {
			x.Why = WhyReached
			x.Text = fmt.Sprintf("Reached at %s, but the test event was not accepted: %s.", clockTime(d.FinishedAt), explainStatus(d.LastStatus))
		}
	case store.Exhausted:
		x.Why, x.Text = WhyExhausted, fmt.Sprintf("Given up at %s, after %s: %s.", clockTime(d.FinishedAt), tries(d.Attempts), d.Reason)
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
	}
}

// fromHistory explains an event that the endpoint has no delivery of.
func (s *Sender) fromHistory(ctx context.Context, x *Explanation, history []store.Change) error {
	if x.fromHistory(history); x.Wait != WaitFanOut {
		return nil
	}
	now, err := s.storeNow(ctx)
	if err != nil {
		return err
	}
	here := s.lanes.standing(x.Endpoint.Num, time.Now())
	if late := now.Sub(x.Event.StoredAt) > time.Minute; late || !here.running {
		x.Text += " " + here.nobody("gone on", late)
	}
	return nil
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
		x.Why, x.Text = WhyDisabled, fmt.Sprintf("The endpoint was disabled%s when the event was stored at %s; only a back-fill or a replay sends it.", because(then.Reason), at)
	case x.Event.Type == testEventType || slices.Contains(x.Event.Refs, exampleRef):
		x.Why, x.Text = WhyNotSelected, "A test event goes only to the endpoint that it is for."
	case !wants.matches(x.Event.Type):
		x.Why, x.Text = WhyNotSelected, fmt.Sprintf("The endpoint did not select %s when the event was stored at %s.", x.Event.Type, at)
	default:
		// The deliveries of an event for very many endpoints are made in steps.
		x.Why, x.Wait = WhyPending, WaitFanOut
		x.Text = fmt.Sprintf("The event was stored at %s and its deliveries are being made.", at)
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
	x.Wait = ""
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
