package sqlite

import (
	"context"

	"github.com/hookpost/hookpost/store"
)

// backlogText reads a page of endpoints with their backlogs: everything comes from
// the partial indexes, and never more entries of one than the bound. ?1 is the scope,
// ?2 the endpoint to go on after, ?3 the time now, ?4 the bound, and ?5 the limit, or
// the id of the only endpoint.
const backlogText = `SELECT e.num, e.id, e.state,
	(SELECT count(*) FROM (SELECT 1 FROM hookpost_delivery d INDEXED BY hookpost_delivery_ready
		WHERE d.endpoint = e.num AND d.state = 1 LIMIT ?4)),
	(SELECT count(*) FROM (SELECT 1 FROM hookpost_delivery d INDEXED BY hookpost_delivery_later
		WHERE d.endpoint = e.num AND d.state = 0 AND d.due_at <= ?3 LIMIT ?4)),
	(SELECT d.due_at FROM hookpost_delivery d INDEXED BY hookpost_delivery_ready
		WHERE d.endpoint = e.num AND d.state = 1 ORDER BY d.due_at LIMIT 1),
	(SELECT d.due_at FROM hookpost_delivery d INDEXED BY hookpost_delivery_later
		WHERE d.endpoint = e.num AND d.state = 0 AND d.due_at <= ?3 ORDER BY d.due_at LIMIT 1),
	(SELECT count(*) FROM (SELECT 1 FROM hookpost_delivery d INDEXED BY hookpost_delivery_later
		WHERE d.endpoint = e.num AND d.state = 0 AND d.due_at > ?3 LIMIT ?4)),
	(SELECT count(*) FROM (SELECT 1 FROM hookpost_delivery d INDEXED BY hookpost_delivery_lost
		WHERE d.endpoint = e.num AND d.state = 4 LIMIT ?4)),
	(SELECT coalesce(sum(` + reserved + `), 0) FROM (SELECT d.event FROM hookpost_delivery d INDEXED BY hookpost_delivery_lost
		WHERE d.endpoint = e.num AND d.state = 4 LIMIT ?4) x CROSS JOIN hookpost_event e ON e.num = x.event)
	FROM hookpost_endpoint e `

const (
	backlogPage = backlogText + `INDEXED BY hookpost_endpoint_list WHERE e.scope = ?1 AND e.num > ?2 AND e.state <> 3 ORDER BY e.num LIMIT ?5`
	backlogOne  = backlogText + `WHERE e.scope = ?1 AND e.num > ?2 AND e.state <> 3 AND e.id = ?5`
)

const inFlightText = `SELECT endpoint FROM hookpost_delivery INDEXED BY hookpost_delivery_leased WHERE state = 2 LIMIT ?`

// Backlogs implements [store.Log].
func (s *Store) Backlogs(ctx context.Context, scope store.Scope, q store.BacklogQuery) (page []store.Backlog, err error) {
	err = s.read(ctx, func(c *conn) error {
		page = nil
		sc, err := scopeOf(c, scope)
		if err != nil {
			return err
		}
		leases, inFlight := 0, make(map[int64]int)
		err = c.query(func(r row) error {
			leases++
			inFlight[r.int(0)]++
			return nil
		}, inFlightText, store.MaxInFlightCount)
		if err != nil {
			return err
		}
		bound := q.Stop()
		text, last := backlogPage, any(pageSize(q.Limit, 100, 1000))
		if q.EndpointID != "" {
			text, last = backlogOne, q.EndpointID
		}
		err = c.query(func(r row) error {
			b := store.Backlog{
				Endpoint:   r.int(0),
				EndpointID: r.text(1),
				State:      store.EndpointState(r.int(2)),
				Due:        store.Bounded(int(r.int(3)+r.int(4)), bound),
				OldestDue:  r.time(5),
				Scheduled:  store.Bounded(int(r.int(7)), bound),
				InFlight:   store.Count{N: inFlight[r.int(0)], More: leases == store.MaxInFlightCount},
				Exhausted:  store.Bounded(int(r.int(8)), bound),
			}
			b.Exhausted.N -= int(r.int(9))
			if late := r.time(6); !late.IsZero() && (b.OldestDue.IsZero() || late.Before(b.OldestDue)) {
				b.OldestDue = late
			}
			page = append(page, b)
			return nil
		}, text, sc.num, q.After, s.now(), bound, last)
		if err == nil && q.EndpointID != "" && len(page) == 0 {
			err = store.NotFound("endpoint", q.EndpointID, scope)
		}
		return err
	})
	return page, err
}
