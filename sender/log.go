package sender

import (
	"context"
	"errors"
	"fmt"

	"github.com/hookpost/hookpost/store"
)

// Event returns one event with the bytes that are sent, or store.ErrNotFound.
func (t *Tenant) Event(ctx context.Context, id string) (store.Event, error) {
	if t.err != nil {
		return store.Event{}, t.err
	}
	return t.sender.st.Event(ctx, t.scope, id)
}

// Events returns a page of events, newest first, without their bodies. Those that
// matched no endpoint are among them.
func (t *Tenant) Events(ctx context.Context, q store.EventQuery) ([]store.Event, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.sender.st.Events(ctx, t.scope, q)
}

// Deliveries returns a page of the delivery log, newest first. For the next page
// set q.Before to the ID of the last one.
func (t *Tenant) Deliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.sender.st.Deliveries(ctx, t.scope, q)
}

// Delivery returns one delivery and its attempts, or store.ErrNotFound.
func (t *Tenant) Delivery(ctx context.Context, id store.DeliveryID) (store.Delivery, []store.Attempt, error) {
	if t.err != nil {
		return store.Delivery{}, nil, t.err
	}
	d, err := t.sender.st.Delivery(ctx, t.scope, id)
	if err != nil {
		return store.Delivery{}, nil, err
	}
	attempts, err := t.sender.st.Attempts(ctx, t.scope, id)
	return d, attempts, err
}

// Cancel ends a pending delivery. An attempt under way finishes, and if it succeeds
// the delivery is delivered after all. It returns store.ErrNotFound, or
// store.ErrFinished if the delivery is not pending.
func (t *Tenant) Cancel(ctx context.Context, id store.DeliveryID, reason string) error {
	if t.err != nil {
		return t.err
	}
	if err := checkText("Reason", reason, maxDescription); err != nil {
		return err
	}
	return insist(ctx, func(repeat bool) error {
		err := t.sender.st.Cancel(ctx, t.scope, id, reason)
		if repeat && errors.Is(err, store.ErrFinished) {
			d, e := t.sender.st.Delivery(ctx, t.scope, id)
			if e != nil || d.State == store.Cancelled {
				return e
			}
		}
		return err
	})
}

// Replay delivers an event to an endpoint once more: any event, to any enabled
// endpoint of its tenant and mode, even one created later or not selecting it. It
// is a new delivery with its own schedule; the event's id stays the same. Errors:
// store.ErrNotFound, store.ErrDisabled, store.ErrDeleted, store.ErrErased.
func (t *Tenant) Replay(ctx context.Context, eventID, endpointID string) (store.DeliveryID, error) {
	if t.err != nil {
		return store.DeliveryID{}, t.err
	}
	st := t.sender.st
	for range maxEditTries {
		last, err := st.Deliveries(ctx, t.scope, store.DeliveryQuery{EventID: eventID, EndpointID: endpointID, Limit: 1})
		if err != nil {
			return store.DeliveryID{}, err
		}
		next := 1
		if len(last) > 0 {
			next = last[0].ID.Round + 1
		}
		var id store.DeliveryID
		err = insist(ctx, func(repeat bool) (err error) {
			id, err = st.Replay(ctx, t.scope, eventID, endpointID, store.ReplayParams{Round: next, Repeat: repeat})
			return err
		})
		if errors.Is(err, store.ErrChanged) {
			continue // somebody else's replay has the round
		}
		if err == nil {
			t.sender.Wake()
		}
		return id, err
	}
	return store.DeliveryID{}, fmt.Errorf("%w: %s was replayed by others, %d times in a row", store.ErrChanged, eventID, maxEditTries)
}
