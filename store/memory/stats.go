package memory

import (
	"context"

	"github.com/hookpost/hookpost/store"
)

// Backlogs implements [store.Log].
func (s *Store) Backlogs(ctx context.Context, scope store.Scope, q store.BacklogQuery) ([]store.Backlog, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	var page []store.Backlog
	if w := s.worlds[scope]; w != nil {
		late := s.late()
		for _, ep := range w.endpoints {
			if len(page) == pageSize(q.Limit) {
				break
			}
			if ep.State != store.Deleted && ep.Num > q.After && (q.EndpointID == "" || q.EndpointID == ep.ID) {
				page = append(page, ep.backlog(late[ep], q.Stop()))
			}
		}
	}
	if q.EndpointID != "" && len(page) == 0 {
		return nil, store.NotFound("endpoint", q.EndpointID, scope)
	}
	return page, nil
}

// lateness is what of an endpoint waits for a retry whose time has come.
type lateness struct {
	n      int
	oldest micros
}

// late finds what Promote has yet to move. In the heap it is all at the top.
func (s *Store) late() map[*endpoint]lateness {
	now := s.now()
	m := make(map[*endpoint]lateness)
	var visit func(i int)
	visit = func(i int) {
		if i >= len(s.waiting) || s.waiting[i].at > now {
			return
		}
		ep := s.waiting[i].d.endpoint
		l := m[ep]
		if l.n++; l.n == 1 || s.waiting[i].at < l.oldest {
			l.oldest = s.waiting[i].at
		}
		m[ep] = l
		visit(2*i + 1)
		visit(2*i + 2)
	}
	visit(0)
	return m
}

func (ep *endpoint) backlog(late lateness, bound int) store.Backlog {
	oldest := late.oldest
	if len(ep.ready) > 0 && (late.n == 0 || ep.ready[0].at < oldest) {
		oldest = ep.ready[0].at
	}
	return store.Backlog{
		EndpointID: ep.ID,
		Endpoint:   ep.Num,
		State:      ep.State,
		Due:        store.Bounded(ep.in[ready]+late.n, bound),
		OldestDue:  oldest.time(),
		Scheduled:  store.Bounded(ep.in[waiting]-late.n, bound),
		InFlight:   store.Bounded(ep.in[leased], store.MaxInFlightCount),
		Exhausted:  store.Bounded(ep.exhausted, bound),
	}
}
