package sender

import (
	"context"

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
	return t.sender.st.Cancel(ctx, t.scope, id, reason)
}

// Replay delivers an event to an endpoint once more: any event, to any enabled
// endpoint of its tenant and mode, even one created later or not selecting it. It
// is a new delivery with its own schedule; the event's id stays the same. Errors:
// store.ErrNotFound, store.ErrDisabled, store.ErrDeleted, store.ErrErased.
func (t *Tenant) Replay(ctx context.Context, eventID, endpointID string) (store.DeliveryID, error) {
	if t.err != nil {
		return store.DeliveryID{}, t.err
	}
	id, err := t.sender.st.Replay(ctx, t.scope, eventID, endpointID)
	if err == nil {
		t.sender.Wake()
	}
	return id, err
}
