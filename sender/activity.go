package sender

import (
	"context"

	"github.com/hookpost/hookpost/store"
)

// SearchDeliveries is Deliveries with bounded work: it looks at about so many
// entries of the log, whatever lies behind them, and returns where to go on, as the
// Before of the next search. That is zero at the end of the log; before it, a page
// may well be short or empty.
func (t *Tenant) SearchDeliveries(ctx context.Context, q store.DeliveryQuery, look int) ([]store.Delivery, store.DeliveryID, error) {
	if t.err != nil {
		return nil, store.DeliveryID{}, t.err
	}
	return t.sender.st.SearchDeliveries(ctx, t.scope, q, look)
}

// SearchEvents is to Events what SearchDeliveries is to Deliveries.
func (t *Tenant) SearchEvents(ctx context.Context, q store.EventQuery, look int) ([]store.Event, int64, error) {
	if t.err != nil {
		return nil, 0, t.err
	}
	return t.sender.st.SearchEvents(ctx, t.scope, q, look)
}

// Activity sums up the newest deliveries, at most so many, of each of the
// endpoints, in the order of their ids.
func (t *Tenant) Activity(ctx context.Context, endpointIDs []string, newest int) ([]store.Activity, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.sender.st.Activity(ctx, t.scope, endpointIDs, newest)
}

// RecentAttempts returns the attempts of the newest deliveries, at most so many,
// of an endpoint, in order of their start and without what the receiver answered.
// It returns store.ErrNotFound if there is no such endpoint.
func (t *Tenant) RecentAttempts(ctx context.Context, endpointID string, newest int) ([]store.Attempt, error) {
	if t.err != nil {
		return nil, t.err
	}
	return t.sender.st.RecentAttempts(ctx, t.scope, endpointID, newest)
}

// EndpointsOf returns the endpoints of deliveries of this tenant and mode, deleted
// ones included, by their ids.
func (t *Tenant) EndpointsOf(ctx context.Context, deliveries []store.Delivery) (map[string]store.Endpoint, error) {
	if t.err != nil {
		return nil, t.err
	}
	var keys []store.EndpointKey
	seen := make(map[int64]bool)
	for i := range deliveries {
		if num := deliveries[i].ID.Endpoint; !seen[num] {
			seen[num] = true
			keys = append(keys, store.EndpointKey{Scope: t.scope, Num: num})
		}
	}
	found := make(map[string]store.Endpoint, len(keys))
	if len(keys) == 0 {
		return found, nil
	}
	list, err := t.sender.st.LoadEndpoints(ctx, keys)
	for _, ep := range list {
		found[ep.ID] = public(ep)
	}
	return found, err
}
