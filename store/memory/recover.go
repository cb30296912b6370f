package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// Replay implements [store.Log].
func (s *Store) Replay(ctx context.Context, scope store.Scope, eventID, endpointID string, p store.ReplayParams) (store.DeliveryID, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return store.DeliveryID{}, err
	}
	defer s.mu.Unlock()
	ev, err := s.namedEvent(scope, eventID)
	if err != nil {
		return store.DeliveryID{}, err
	}
	ep, err := s.named(scope, endpointID)
	if err != nil {
		return store.DeliveryID{}, err
	}
	if p.Repeat && slices.ContainsFunc(ev.rounds(ep.Num), func(d *delivery) bool { return d.round == p.Round }) {
		return store.DeliveryID{Event: ev.Num, Endpoint: ep.Num, Round: p.Round}, nil
	}
	switch {
	case ep.State == store.Deleted:
		return store.DeliveryID{}, store.ErrDeleted
	case ep.State == store.Disabled:
		return store.DeliveryID{}, store.ErrDisabled
	case !ev.ErasedAt.IsZero():
		return store.DeliveryID{}, store.ErrErased
	}
	if next := ev.nextRound(ep.Num); p.Round != 0 && p.Round != next {
		return store.DeliveryID{}, fmt.Errorf("%w: the next round is %d, not %d", store.ErrChanged, next, p.Round)
	}
	return s.again(ev, ep, s.now()).id(), nil
}

// again stores a delivery of ev for ep in the next round.
func (s *Store) again(ev *event, ep *endpoint, now micros) *delivery {
	return s.insert(ev, ep, ev.nextRound(ep.Num), now, now)
}

// nextRound is the round of the next replay of ev to an endpoint.
func (ev *event) nextRound(endpoint int64) int {
	if rounds := ev.rounds(endpoint); len(rounds) > 0 {
		return rounds[len(rounds)-1].round + 1
	}
	return 1
}

// Cancel implements [store.Log].
func (s *Store) Cancel(ctx context.Context, scope store.Scope, id store.DeliveryID, reason string) error {
	if err := s.lockScope(ctx, scope); err != nil {
		return err
	}
	defer s.mu.Unlock()
	d, err := s.namedDelivery(scope, id)
	if err != nil {
		return err
	}
	if d.visible() != store.Pending {
		return store.ErrFinished
	}
	s.finish(d, store.Cancelled, reason, s.now())
	return nil
}

// Recover implements [store.Log]. A step ends with a whole event, so that it may
// look at more deliveries than the limit says.
func (s *Store) Recover(ctx context.Context, scope store.Scope, p store.RecoverParams) (store.Recovered, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return store.Recovered{}, err
	}
	defer s.mu.Unlock()
	r := store.Recovered{After: p.After, Done: true}
	w := s.worlds[scope]
	if w == nil {
		return r, nil
	}
	var only *endpoint
	if p.EndpointID != "" {
		if only = w.byID[p.EndpointID]; only == nil {
			return r, nil
		}
	}
	limit := p.Limit
	if limit <= 0 {
		limit = 1000
	}
	now := s.now()
	looked := 0
	for _, ev := range w.log[w.after(p.After):] {
		if looked >= limit {
			r.Done = false
			break
		}
		r.After = ev.Num
		looked++ // the events passed over bound a step too
		if !ev.ErasedAt.IsZero() || store.Reserved(ev.Type) || !ev.matches(p.Type, "", p.From, p.To) {
			continue
		}
		deliveries := ev.deliveries
		if only != nil {
			deliveries = ev.rounds(only.Num)
		}
		looked += max(len(deliveries)-1, 0)
		s.recover(ev, deliveries, p.DryRun, now, &r)
	}
	return r, nil
}

// recover takes up again deliveries of ev, in order of endpoint and round.
func (s *Store) recover(ev *event, deliveries []*delivery, dryRun bool, now micros, r *store.Recovered) {
	var again []*endpoint // insert moves what deliveries is a part of
	for i, d := range deliveries {
		if d.endpoint.State != store.Enabled {
			continue
		}
		last := i+1 == len(deliveries) || deliveries[i+1].endpoint != d.endpoint
		switch {
		case last && d.state == store.Exhausted:
			// If a later round were delivered, pending or cancelled, or exhausted and
			// given another one, this would not be the last.
			r.Replayed++
			again = append(again, d.endpoint)
		case d.stage == waiting && d.failures > 0:
			r.Hastened++
			if !dryRun {
				s.toReady(d, now)
			}
		}
	}
	if dryRun {
		return
	}
	for _, ep := range again {
		s.again(ev, ep, now)
	}
}
