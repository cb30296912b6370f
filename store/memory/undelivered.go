package memory

import (
	"context"

	"github.com/hookpost/hookpost/store"
)

// Undelivered implements [store.Log].
func (s *Store) Undelivered(ctx context.Context, scope store.Scope, q store.UndeliveredQuery) ([]store.Undelivered, int64, bool, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, 0, false, err
	}
	defer s.mu.Unlock()
	ep, err := s.named(scope, q.EndpointID)
	if err != nil {
		return nil, 0, false, err
	}
	limit := q.Limit
	if limit <= 0 {
		limit = 1000
	}
	w := ep.world
	after := q.After
	var page []store.Undelivered
	for i, ev := range w.log[w.after(q.After):] {
		if i == limit {
			return page, after, false, nil
		}
		after = ev.Num
		if store.Reserved(ev.Type) || !ev.matches(q.Type, "", q.From, q.To) || ev.isListed(ep.Num) {
			continue
		}
		rounds := ev.rounds(ep.Num)
		if delivered(rounds) {
			continue
		}
		u := store.Undelivered{Event: ev.record()}
		if n := len(rounds); n > 0 {
			last := rounds[n-1].record()
			u.Last = &last
		}
		page = append(page, u)
	}
	return page, after, true, nil
}

func delivered(rounds []*delivery) bool {
	for _, d := range rounds {
		if d.state == store.Delivered {
			return true
		}
	}
	return false
}

// BackFill implements [store.Log].
func (s *Store) BackFill(ctx context.Context, scope store.Scope, endpointID string, events []int64) (int, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	ep, err := s.named(scope, endpointID)
	switch {
	case err != nil:
		return 0, err
	case ep.State == store.Deleted:
		return 0, store.ErrDeleted
	case ep.State == store.Disabled:
		return 0, store.ErrDisabled
	}
	n, now := 0, s.now()
	for _, num := range events {
		ev := s.events[num]
		if ev == nil || ev.Scope != scope || !ev.ErasedAt.IsZero() || ev.isListed(ep.Num) || len(ev.rounds(ep.Num)) > 0 {
			continue
		}
		s.insert(ev, ep, 1, now, now)
		n++
	}
	return n, nil
}
