package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// Activity implements [store.Log].
func (s *Store) Activity(ctx context.Context, scope store.Scope, endpointIDs []string, newest int) ([]store.Activity, error) {
	if err := store.CheckLimit(newest); err != nil {
		return nil, err
	}
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	list := make([]store.Activity, len(endpointIDs))
	for i, id := range endpointIDs {
		a := &list[i]
		a.EndpointID = id
		ep, err := s.named(scope, id)
		if err != nil {
			continue
		}
		for d := range ep.newest(newest) {
			if a.Deliveries == 0 {
				a.Last, a.LastState, a.LastStatus, a.LastAt = d.id(), d.visible(), d.status, d.created.time()
			}
			a.Deliveries++
			if store.Reserved(d.event.Type) {
				a.Tests++
				continue
			}
			a.Attempts += d.attempts
			if d.stage == leased {
				a.Attempts--
			}
			switch d.state {
			case store.Delivered:
				a.Delivered++
			case store.Exhausted:
				a.Exhausted++
			case store.Pending, store.Cancelled:
			}
		}
	}
	return list, nil
}

// RecentAttempts implements [store.Log].
func (s *Store) RecentAttempts(ctx context.Context, scope store.Scope, endpointID string, newest int) ([]store.Attempt, error) {
	if err := store.CheckLimit(newest); err != nil {
		return nil, err
	}
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	ep, err := s.named(scope, endpointID)
	if err != nil {
		return nil, err
	}
	var list []store.Attempt
	for d := range ep.newest(newest) {
		for _, a := range d.log {
			if len(list) == 10*newest {
				break
			}
			a.ResponseHeader, a.ResponseBody = nil, nil
			list = append(list, a)
		}
	}
	slices.SortStableFunc(list, func(a, b store.Attempt) int { return cmp.Compare(a.StartedAt.UnixMicro(), b.StartedAt.UnixMicro()) })
	return list, nil
}

// newest returns the endpoint's newest deliveries, at most n.
func (ep *endpoint) newest(n int) func(yield func(*delivery) bool) {
	return func(yield func(*delivery) bool) {
		for _, ev := range slices.Backward(ep.world.log) {
			for _, d := range slices.Backward(ev.rounds(ep.Num)) {
				if n == 0 || !yield(d) {
					return
				}
				n--
			}
		}
	}
}
