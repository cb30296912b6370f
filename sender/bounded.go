package sender

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/store"
)

// callTimeout bounds the wait for the store's answer, whatever the context of the
// caller: as long as a commit of Send may take.
const callTimeout = commitTimeout

// errNoAnswer is what a call returns that the store has not answered in time.
var errNoAnswer = fmt.Errorf("%w: the store gave no answer for %v; if no connection became free, "+
	"transactions hold them all; inside a transaction use SendTx", store.ErrBusy, callTimeout)

// boundedStore is a store in which no call waits for ever: for a connection of a pool that
// is in use, by the caller's own transaction perhaps, or for a server that hangs. Enqueue
// and Settle are as they are: their callers bound the tries together.
type boundedStore struct{ store.Store }

// bound returns the context for a call, and what ends it.
func bound(parent context.Context) (context.Context, func(err *error)) {
	ctx, cancel := context.WithTimeout(parent, callTimeout)
	return ctx, func(err *error) {
		late := ctx.Err() != nil && parent.Err() == nil
		cancel()
		if late && *err != nil && !errors.Is(*err, store.ErrBusy) && !errors.Is(*err, store.ErrUnknownCommit) {
			*err = fmt.Errorf("%w: %w", errNoAnswer, *err)
		}
	}
}

func (b boundedStore) CreateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (v store.Endpoint, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.CreateEndpoint(ctx, ep, p)
}

func (b boundedStore) UpdateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (v store.Endpoint, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.UpdateEndpoint(ctx, ep, p)
}

func (b boundedStore) Endpoint(ctx context.Context, scope store.Scope, id string) (v store.Endpoint, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Endpoint(ctx, scope, id)
}

func (b boundedStore) ListEndpoints(ctx context.Context, scope store.Scope, q store.EndpointQuery) (v []store.Endpoint, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.ListEndpoints(ctx, scope, q)
}

func (b boundedStore) EndpointSet(ctx context.Context, scope store.Scope) (v store.EndpointSet, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.EndpointSet(ctx, scope)
}

func (b boundedStore) LoadEndpoints(ctx context.Context, keys []store.EndpointKey) (v []store.Endpoint, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.LoadEndpoints(ctx, keys)
}

func (b boundedStore) EndpointHistory(ctx context.Context, scope store.Scope, id string) (v []store.Change, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.EndpointHistory(ctx, scope, id)
}

func (b boundedStore) Event(ctx context.Context, scope store.Scope, id string) (v store.Event, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Event(ctx, scope, id)
}

func (b boundedStore) Events(ctx context.Context, scope store.Scope, q store.EventQuery) (v []store.Event, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Events(ctx, scope, q)
}

func (b boundedStore) Deliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery) (v []store.Delivery, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Deliveries(ctx, scope, q)
}

func (b boundedStore) SearchDeliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery, look int) (v []store.Delivery, w store.DeliveryID, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.SearchDeliveries(ctx, scope, q, look)
}

func (b boundedStore) SearchEvents(ctx context.Context, scope store.Scope, q store.EventQuery, look int) (v []store.Event, w int64, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.SearchEvents(ctx, scope, q, look)
}

func (b boundedStore) Activity(ctx context.Context, scope store.Scope, endpointIDs []string, newest int) (v []store.Activity, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Activity(ctx, scope, endpointIDs, newest)
}

func (b boundedStore) RecentAttempts(ctx context.Context, scope store.Scope, endpointID string, newest int) (v []store.Attempt, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.RecentAttempts(ctx, scope, endpointID, newest)
}

func (b boundedStore) Delivery(ctx context.Context, scope store.Scope, id store.DeliveryID) (v store.Delivery, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Delivery(ctx, scope, id)
}

func (b boundedStore) Attempts(ctx context.Context, scope store.Scope, id store.DeliveryID) (v []store.Attempt, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Attempts(ctx, scope, id)
}

func (b boundedStore) Replay(ctx context.Context, scope store.Scope, eventID, endpointID string, p store.ReplayParams) (v store.DeliveryID, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Replay(ctx, scope, eventID, endpointID, p)
}

func (b boundedStore) Cancel(ctx context.Context, scope store.Scope, id store.DeliveryID, reason string) (err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Cancel(ctx, scope, id, reason)
}

func (b boundedStore) Recover(ctx context.Context, scope store.Scope, p store.RecoverParams) (v store.Recovered, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Recover(ctx, scope, p)
}

func (b boundedStore) Undelivered(ctx context.Context, scope store.Scope, q store.UndeliveredQuery) (v []store.Undelivered, w int64, x bool, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Undelivered(ctx, scope, q)
}

func (b boundedStore) BackFill(ctx context.Context, scope store.Scope, endpointID string, events []int64) (v int, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.BackFill(ctx, scope, endpointID, events)
}

func (b boundedStore) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (v store.Erased, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Erase(ctx, scope, p)
}

func (b boundedStore) Backlogs(ctx context.Context, scope store.Scope, q store.BacklogQuery) (v []store.Backlog, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Backlogs(ctx, scope, q)
}

func (b boundedStore) Now(ctx context.Context) (v time.Time, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Now(ctx)
}

func (b boundedStore) Claim(ctx context.Context, p store.ClaimParams) (v store.Claims, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Claim(ctx, p)
}

func (b boundedStore) Promote(ctx context.Context, limit int) (v store.Promoted, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Promote(ctx, limit)
}

func (b boundedStore) TakeOver(ctx context.Context, limit int) (v int, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.TakeOver(ctx, limit)
}

func (b boundedStore) Expire(ctx context.Context, window time.Duration, limit int) (v int, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Expire(ctx, window, limit)
}

func (b boundedStore) FanOut(ctx context.Context, limit int) (v int, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.FanOut(ctx, limit)
}

func (b boundedStore) CancelDeleted(ctx context.Context, limit int) (v int, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.CancelDeleted(ctx, limit)
}

func (b boundedStore) DisableFailing(ctx context.Context, rule store.FailingRule, limit int) (v []store.Endpoint, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.DisableFailing(ctx, rule, limit)
}

func (b boundedStore) SealedEndpoints(ctx context.Context, after int64, limit int) (v []store.Endpoint, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.SealedEndpoints(ctx, after, limit)
}

func (b boundedStore) Reseal(ctx context.Context, list []store.Resealed) (v int, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Reseal(ctx, list)
}

func (b boundedStore) Prune(ctx context.Context, r store.Retention, limit int) (v int, err error) {
	ctx, done := bound(ctx)
	defer done(&err)
	return b.Store.Prune(ctx, r, limit)
}
