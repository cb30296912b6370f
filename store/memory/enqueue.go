package memory

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// blockedFor is how long a member waits for an open transaction that holds its id.
const blockedFor = 100 * time.Millisecond

// Enqueue implements [store.Queue].
func (s *Store) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	if err := s.lockFor(ctx, p.Events, nil); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for i := range p.Events {
		e := &p.Events[i]
		if s.stale(e) {
			continue // its endpoints may be gone
		}
		if err := s.checkTargets(e); err != nil {
			return nil, err
		}
	}
	now := s.now()
	results := make([]store.Enqueued, len(p.Events))
	for i := range p.Events {
		e := &p.Events[i]
		if s.stale(e) {
			results[i].Status = store.Stale
			continue
		}
		w := s.world(e.Scope)
		if old := w.events[e.ID]; old != nil {
			results[i] = compare(old, e)
			results[i].Leased = p.Repeat && results[i].Status == store.Duplicate && old.leasedTo(e, p.Owner, now)
			continue
		}
		s.lastEvent++
		ev := newEvent(w, e, s.lastEvent, now)
		results[i] = store.Enqueued{Status: store.Stored, Event: ev.Num}
		results[i].Leased = s.insertEvent(w, ev, e.For, &p, now)
	}
	return results, nil
}

// lockFor checks events and locks the store once no transaction but own holds an
// id of theirs. It gives up with ErrBusy.
func (s *Store) lockFor(ctx context.Context, events []store.NewEvent, own *Tx) error {
	if err := store.CheckEvents(events, own != nil); err != nil {
		return err
	}
	var timeout *time.Timer
	for {
		if err := s.lock(ctx); err != nil {
			return err
		}
		holder := s.holder(events, own)
		if holder == nil {
			return nil
		}
		s.mu.Unlock()
		if timeout == nil {
			timeout = time.NewTimer(blockedFor)
			defer timeout.Stop()
		}
		select {
		case <-holder.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return fmt.Errorf("%w: it holds one of the event ids", store.ErrBusy)
		}
	}
}

// holder returns a transaction other than own that holds the id of an event.
func (s *Store) holder(events []store.NewEvent, own *Tx) *Tx {
	for i := range events {
		if w := s.worlds[events[i].Scope]; w != nil && len(w.reserved) > 0 {
			if tx := w.reserved[events[i].ID]; tx != nil && tx != own {
				return tx
			}
		}
	}
	return nil
}

// checkTargets refuses an event for endpoints outside of its scope.
func (s *Store) checkTargets(e *store.NewEvent) error {
	for _, t := range e.For {
		if ep := s.endpoint(t.Endpoint); ep == nil || ep.Scope != e.Scope {
			return fmt.Errorf("%w: event %q is for endpoint %d, which is not of its scope", store.ErrInvalid, e.ID, t.Endpoint)
		}
	}
	return nil
}

// targets returns the numbers of the endpoints in order.
func targets(list []store.NewDelivery) []int64 {
	nums := make([]int64, len(list))
	for i, t := range list {
		nums[i] = t.Endpoint
	}
	slices.Sort(nums)
	return nums
}

func (s *Store) stale(e *store.NewEvent) bool {
	var version int64
	if w := s.worlds[e.Scope]; w != nil {
		version = w.setVersion
	}
	return e.SetVersion != version
}

// compare says what an event is that came under the id of old.
func compare(old *event, e *store.NewEvent) store.Enqueued {
	if old.Hash == e.Hash && old.Type == e.Type {
		return store.Enqueued{Status: store.Duplicate, Event: old.Num}
	}
	return store.Enqueued{Status: store.Conflict, Event: old.Num}
}

// leasedTo reports whether the leases that e asks for were given to owner when ev
// was stored, and still stand.
func (ev *event) leasedTo(e *store.NewEvent, owner int64, now micros) bool {
	asked := false
	for _, t := range e.For {
		if !t.Lease {
			continue
		}
		asked = true
		rounds := ev.rounds(t.Endpoint)
		if len(rounds) == 0 {
			return false
		}
		d := rounds[0]
		if d.round != 0 || d.stage != leased || d.owner != owner || d.token != 1 || d.leaseEnd <= now {
			return false
		}
	}
	return asked
}

// newEvent returns the event as it is kept, with room for its deliveries.
func newEvent(w *world, e *store.NewEvent, num int64, now micros) *event {
	var ev *event
	switch n := len(e.For); {
	case n == 1: // by far the most frequent: one allocation for everything
		one := new(struct {
			event    event
			delivery delivery
			list     [1]*delivery
		})
		ev = &one.event
		one.list[0] = &one.delivery
		ev.deliveries = one.list[:]
	case n > store.MaxFanOut:
		ev = &event{list: targets(e.For)}
	default:
		ev = &event{deliveries: make([]*delivery, n)}
		slab := make([]delivery, n)
		for i := range slab {
			ev.deliveries[i] = &slab[i]
		}
	}
	ev.Event = e.Event
	ev.Scope = w.scope
	ev.Num = num
	ev.CreatedAt = e.CreatedAt.UTC().Truncate(time.Microsecond)
	ev.StoredAt, ev.ErasedAt = now.time(), time.Time{}
	if e.Delay > 0 {
		ev.due = now.add(e.Delay)
	}
	ev.Body = bytes.Clone(e.Body)
	ev.Refs = slices.Clone(e.Refs)
	return ev
}

// insertEvent stores ev, which newEvent made, with its deliveries. With p it
// leases those that ask for it and reports whether there were any and all were
// leased.
func (s *Store) insertEvent(w *world, ev *event, list []store.NewDelivery, p *store.EnqueueParams, now micros) bool {
	w.keep(ev)
	s.events[ev.Num] = ev
	if len(ev.list) > 0 {
		s.lists = append(s.lists, ev)
		return false
	}
	granted := false
	stored := toMicros(ev.StoredAt)
	for i, t := range list {
		d := ev.deliveries[i]
		d.event, d.endpoint = ev, s.endpoint(t.Endpoint)
		s.begin(d, stored)
		switch {
		case ev.due != 0:
			s.toWaiting(d, ev.due)
		case t.Lease && p != nil:
			s.toLease(d, now, p.Owner, p.Lease)
			granted = true
		default:
			s.toReady(d, stored)
		}
	}
	byEndpoint := func(a, b *delivery) int { return cmp.Compare(a.endpoint.Num, b.endpoint.Num) }
	if len(list) > 1 && !slices.IsSortedFunc(ev.deliveries, byEndpoint) {
		slices.SortFunc(ev.deliveries, byEndpoint)
	}
	return granted
}
