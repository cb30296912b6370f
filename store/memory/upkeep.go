package memory

import (
	"context"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Promote implements [store.Upkeep].
func (s *Store) Promote(ctx context.Context, limit int) (store.Promoted, error) {
	if err := store.CheckLimit(limit); err != nil {
		return store.Promoted{}, err
	}
	if err := s.lock(ctx); err != nil {
		return store.Promoted{}, err
	}
	defer s.mu.Unlock()
	now := s.now()
	p := store.Promoted{Next: time.Hour}
	for len(s.waiting) > 0 && s.waiting[0].at <= now {
		if p.Moved == limit {
			p.Next = 0
			return p, nil
		}
		d := s.waiting[0].d
		s.toReady(d, d.due)
		p.Moved++
	}
	if len(s.waiting) > 0 {
		p.Next = min(p.Next, s.waiting[0].at.sub(now))
	}
	return p, nil
}

// TakeOver implements [store.Upkeep].
func (s *Store) TakeOver(ctx context.Context, limit int) (int, error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	now := s.now()
	n := 0
	for ; n < limit && len(s.leases) > 0 && s.leases[0].at <= now; n++ {
		d := s.leases[0].d
		d.logUnknown()
		d.unknown++
		s.toReady(d, now)
	}
	return n, nil
}

// Expire implements [store.Upkeep].
func (s *Store) Expire(ctx context.Context, window time.Duration, limit int) (int, error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	now := s.now()
	n := 0
	for num := s.open.next(0); num >= 0 && n < limit; num = s.open.next(num + 1) {
		ep := s.endpoint(num)
		if !ep.someLapsed(window, now) {
			continue
		}
		var over []*delivery
		oldest := noneOldest
		for i := range ep.ready {
			switch d := ep.ready[i].d; {
			case !d.lapsed(window, now):
				oldest = min(oldest, d.windowStart())
			case n+len(over) < limit:
				over = append(over, d)
			default:
				oldest = min(oldest, d.windowStart())
			}
		}
		for _, d := range over {
			s.finish(d, store.Exhausted, "its time ended while the endpoint was disabled", now)
		}
		ep.oldest = oldest
		n += len(over)
	}
	return n, nil
}

// FanOut implements [store.Upkeep].
func (s *Store) FanOut(ctx context.Context, limit int) (int, error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	now := s.now()
	n := 0
	for len(s.lists) > 0 && n < limit {
		ev := s.lists[0]
		step := min(limit-n, len(ev.list))
		for _, num := range ev.list[:step] {
			d := s.add(ev, s.endpoint(num), 0, toMicros(ev.StoredAt))
			if ev.due > now {
				s.toWaiting(d, ev.due)
			} else {
				s.toReady(d, now)
			}
		}
		n += step
		if ev.list = ev.list[step:]; len(ev.list) == 0 {
			ev.list = nil
			s.lists = slices.Delete(s.lists, 0, 1)
		}
	}
	return n, nil
}

// CancelDeleted implements [store.Upkeep].
func (s *Store) CancelDeleted(ctx context.Context, limit int) (int, error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	n := 0
	for _, ep := range s.deleted {
		for ep.pending != nil && n < limit {
			s.finish(ep.pending, store.Cancelled, store.ReasonDeleted, toMicros(ep.ChangedAt))
			n++
		}
	}
	return n, nil
}

// SealedEndpoints implements [store.Upkeep].
func (s *Store) SealedEndpoints(ctx context.Context, after int64, limit int) ([]store.Endpoint, error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var page []store.Endpoint
	for num := max(after, 0) + 1; len(page) < limit && num <= int64(len(s.endpoints)); num++ {
		if ep := s.endpoint(num); ep.State != store.Deleted {
			page = append(page, ep.record())
		}
	}
	return page, nil
}

// Reseal implements [store.Upkeep].
func (s *Store) Reseal(ctx context.Context, list []store.Resealed) (int, error) {
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	now := s.now().time()
	n := 0
	for _, r := range list {
		ep := s.endpoint(r.Num)
		if ep == nil || ep.Scope != r.Scope || ep.State == store.Deleted {
			continue
		}
		var changed bool
		if ep.Sealed, changed = store.ReplaceSealed(ep.Sealed, r.Values, now); changed {
			n++
		}
	}
	return n, nil
}
