package memory

import (
	"bytes"
	"cmp"
	"context"
	"math"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Event implements [store.Log].
func (s *Store) Event(ctx context.Context, scope store.Scope, id string) (store.Event, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return store.Event{}, err
	}
	defer s.mu.Unlock()
	ev, err := s.namedEvent(scope, id)
	if err != nil {
		return store.Event{}, err
	}
	r := ev.record()
	r.Body = bytes.Clone(ev.Body)
	return r, nil
}

// Events implements [store.Log].
func (s *Store) Events(ctx context.Context, scope store.Scope, q store.EventQuery) ([]store.Event, error) {
	page, _, err := s.SearchEvents(ctx, scope, q, math.MaxInt)
	return page, err
}

// SearchEvents implements [store.Log].
func (s *Store) SearchEvents(ctx context.Context, scope store.Scope, q store.EventQuery, look int) (page []store.Event, next int64, err error) {
	if err := store.CheckLimit(look); err != nil {
		return nil, 0, err
	}
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, 0, err
	}
	defer s.mu.Unlock()
	w := s.worlds[scope]
	if w == nil {
		return nil, 0, nil
	}
	log := w.log
	if q.Before > 0 {
		log = log[:w.after(q.Before-1)]
	}
	limit := pageSize(q.Limit)
	for _, ev := range slices.Backward(log) {
		if look == 0 || len(page) == limit {
			return page, ev.Num + 1, nil
		}
		look--
		if ev.matches(q.Type, q.Ref, q.From, q.To) {
			page = append(page, ev.record())
		}
	}
	return page, 0, nil
}

// Deliveries implements [store.Log].
func (s *Store) Deliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery) ([]store.Delivery, error) {
	page, _, err := s.SearchDeliveries(ctx, scope, q, math.MaxInt)
	return page, err
}

// SearchDeliveries implements [store.Log].
func (s *Store) SearchDeliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery, look int) (page []store.Delivery, next store.DeliveryID, err error) {
	if err := store.CheckLimit(look); err != nil {
		return nil, next, err
	}
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, next, err
	}
	defer s.mu.Unlock()
	w := s.worlds[scope]
	if w == nil {
		return nil, next, nil
	}
	var only *endpoint
	if q.EndpointID != "" {
		if only = w.byID[q.EndpointID]; only == nil {
			return nil, next, nil
		}
	}
	log := w.log
	if q.EventID != "" {
		ev := w.events[q.EventID]
		if ev == nil {
			return nil, next, nil
		}
		log, look = []*event{ev}, math.MaxInt
	} else if q.Before.Event > 0 {
		last := q.Before.Event
		if q.Before.Endpoint == 0 {
			last-- // nothing of the event itself comes after that
		}
		log = log[:w.after(last)]
	}
	limit := pageSize(q.Limit)
	for _, ev := range slices.Backward(log) {
		if look == 0 {
			return page, store.DeliveryID{Event: ev.Num + 1}, nil
		}
		look--
		if !ev.matches(q.Type, q.Ref, q.From, q.To) {
			continue
		}
		deliveries := ev.deliveries
		if only != nil {
			deliveries = ev.rounds(only.Num)
		}
		for _, d := range slices.Backward(deliveries) {
			if len(page) == limit {
				return page, page[limit-1].ID, nil
			}
			if q.Before != (store.DeliveryID{}) && compareIDs(d.id(), q.Before) >= 0 {
				continue
			}
			if len(q.States) == 0 || slices.Contains(q.States, d.visible()) {
				page = append(page, d.record())
			}
		}
	}
	return page, next, nil
}

// Delivery implements [store.Log].
func (s *Store) Delivery(ctx context.Context, scope store.Scope, id store.DeliveryID) (store.Delivery, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return store.Delivery{}, err
	}
	defer s.mu.Unlock()
	d, err := s.namedDelivery(scope, id)
	if err != nil {
		return store.Delivery{}, err
	}
	return d.record(), nil
}

// Attempts implements [store.Log].
func (s *Store) Attempts(ctx context.Context, scope store.Scope, id store.DeliveryID) ([]store.Attempt, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	d, err := s.namedDelivery(scope, id)
	if err != nil {
		return nil, err
	}
	log := slices.Clone(d.log)
	for i := range log {
		log[i].ResponseHeader = bytes.Clone(log[i].ResponseHeader)
		log[i].ResponseBody = bytes.Clone(log[i].ResponseBody)
	}
	return log, nil
}

func (s *Store) namedEvent(scope store.Scope, id string) (*event, error) {
	if w := s.worlds[scope]; w != nil && w.events[id] != nil {
		return w.events[id], nil
	}
	return nil, store.NotFound("event", id, scope)
}

func (s *Store) namedDelivery(scope store.Scope, id store.DeliveryID) (*delivery, error) {
	if d := s.delivery(id); d != nil && d.event.Scope == scope {
		return d, nil
	}
	return nil, store.NotFound("delivery", id.String(), scope)
}

// record returns a copy of the event without its body.
func (ev *event) record() store.Event {
	r := ev.Event
	r.Body = nil
	r.Refs = slices.Clone(r.Refs)
	return r
}

// matches reports whether the filters of a query, zero ones aside, let ev pass.
func (ev *event) matches(typ, ref string, from, to time.Time) bool {
	return (typ == "" || ev.Type == typ) &&
		(ref == "" || slices.Contains(ev.Refs, ref)) &&
		(from.IsZero() || !ev.StoredAt.Before(from)) &&
		(to.IsZero() || ev.StoredAt.Before(to))
}

func compareIDs(a, b store.DeliveryID) int {
	return cmp.Or(
		cmp.Compare(a.Event, b.Event),
		cmp.Compare(a.Endpoint, b.Endpoint),
		cmp.Compare(a.Round, b.Round),
	)
}
