package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// Erase implements [store.Log].
func (s *Store) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	if err := store.CheckErase(scope, p); err != nil {
		return store.Erased{}, err
	}
	if err := s.lock(ctx); err != nil {
		return store.Erased{}, err
	}
	defer s.mu.Unlock()
	limit := p.Limit
	if limit <= 0 {
		limit = 1000
	}
	r := store.Erased{After: p.After, Done: true}
	if p.EventID != "" {
		if _, err := s.namedEvent(scope, p.EventID); err != nil {
			return store.Erased{}, err
		}
	}
	w := s.worlds[scope]
	if w == nil {
		return r, nil
	}
	now := s.now()
	looked := 0
	for _, ev := range w.log[w.after(p.After):] {
		if !ev.selected(p) {
			continue
		}
		if looked >= limit {
			r.Done = false
			break
		}
		looked += ev.weight()
		r.After = ev.Num
		s.eraseEvent(ev, now, &r)
	}
	return r, nil
}

// selected reports whether the event is one of those to be erased.
func (ev *event) selected(p store.EraseParams) bool {
	return p.All || p.EventID != "" && ev.ID == p.EventID || p.Ref != "" && slices.Contains(ev.Refs, p.Ref)
}

// weight is what the event takes of the limit of a step.
func (ev *event) weight() int { return max(1, len(ev.deliveries)) }

// erased reports whether body and references are gone.
func (ev *event) erased() bool { return !ev.ErasedAt.IsZero() && len(ev.Refs) == 0 }

// eraseEvent erases one event.
func (s *Store) eraseEvent(ev *event, now micros, r *store.Erased) {
	if len(ev.list) > 0 {
		ev.list = nil
		s.lists = slices.DeleteFunc(s.lists, func(e *event) bool { return e == ev })
	}
	for _, d := range ev.deliveries {
		if d.visible() == store.Pending {
			s.finish(d, store.Cancelled, store.ReasonErased, now)
			r.Cancelled++
		}
		for i := range d.log {
			d.log[i].ResponseHeader, d.log[i].ResponseBody = nil, nil
		}
	}
	if !ev.erased() {
		r.Events++
	}
	ev.Body, ev.Refs = nil, nil
	if ev.ErasedAt.IsZero() {
		ev.ErasedAt = now.time()
	}
}

// Erase implements [store.Tx]. Nothing is erased before Commit; the result says what
// will be, if nobody changes it meanwhile.
func (tx *Tx) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	if err := tx.check(); err != nil {
		return store.Erased{}, err
	}
	if err := store.CheckErase(scope, p); err != nil {
		return store.Erased{}, err
	}
	s := tx.store
	if err := s.lock(ctx); err != nil {
		return store.Erased{}, err
	}
	defer s.mu.Unlock()
	r := store.Erased{Done: true}
	weight := 0
	var chosen []*event
	choose := func(ev *event, pending int) {
		if !ev.selected(p) || slices.Contains(tx.erased, ev) {
			return
		}
		chosen = append(chosen, ev)
		weight += ev.weight()
		if !ev.erased() {
			r.Events++
		}
		r.Cancelled += pending
		r.After = max(r.After, ev.Num)
	}
	if w := s.worlds[scope]; w != nil {
		for _, ev := range w.log {
			choose(ev, ev.pending)
		}
	}
	for _, b := range tx.events {
		if b.world.scope == scope {
			choose(b.event, len(b.event.deliveries))
		}
	}
	switch {
	case p.EventID != "" && len(chosen) == 0 && tx.find(s.world(scope), p.EventID) == nil:
		return store.Erased{}, store.NotFound("event", p.EventID, scope)
	case weight > store.MaxEraseTx:
		return store.Erased{}, fmt.Errorf("%w: %d deliveries or events, more than %d", store.ErrTooMany, weight, store.MaxEraseTx)
	}
	tx.erased = append(tx.erased, chosen...)
	return r, nil
}
