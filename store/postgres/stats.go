package postgres

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

// backlogText reads a page of endpoints with their backlogs: everything comes from
// the partial indexes, and never more entries of one than the bound, $3.
const backlogText = `SELECT e.num, e.id, e.state,
	(SELECT count(*) FROM (SELECT FROM hookpost.delivery d WHERE d.endpoint = e.num AND d.state = 1 LIMIT $3) x),
	(SELECT count(*) FROM (SELECT FROM hookpost.delivery d
		WHERE d.endpoint = e.num AND d.state = 0 AND d.due_at <= statement_timestamp() LIMIT $3) x),
	least((SELECT d.due_at FROM hookpost.delivery d WHERE d.endpoint = e.num AND d.state = 1 ORDER BY d.due_at LIMIT 1),
		(SELECT d.due_at FROM hookpost.delivery d
			WHERE d.endpoint = e.num AND d.state = 0 AND d.due_at <= statement_timestamp() ORDER BY d.due_at LIMIT 1)),
	(SELECT count(*) FROM (SELECT FROM hookpost.delivery d
		WHERE d.endpoint = e.num AND d.state = 0 AND d.due_at > statement_timestamp() LIMIT $3) x),
	(SELECT count(*) FROM (SELECT FROM hookpost.delivery d WHERE d.endpoint = e.num AND d.state = 4 LIMIT $3) x),
	(SELECT count(*) FROM (SELECT d.event FROM hookpost.delivery d WHERE d.endpoint = e.num AND d.state = 4 LIMIT $3) x
		JOIN hookpost.event e ON e.num = x.event WHERE ` + reserved + `)
	FROM hookpost.endpoint e WHERE e.tenant = $1 AND e.mode = $2 AND e.state <> 3 `

const (
	backlogPage = backlogText + "AND e.num > $4 ORDER BY e.num LIMIT $5"
	backlogOne  = backlogText + "AND e.id = $4"
)

const inFlightText = "SELECT endpoint FROM hookpost.delivery WHERE state = 2 ORDER BY lease_until LIMIT $1"

// Backlogs implements [store.Log].
func (s *Store) Backlogs(ctx context.Context, scope store.Scope, p store.BacklogQuery) (page []store.Backlog, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, err
	}
	bound := min(p.Stop(), 1<<30)
	text, args := backlogPage, []any{scope.Tenant, int16(scope.Mode), bound, p.After, pageSize(p.Limit, 100, 1000)}
	if p.EndpointID != "" {
		text, args = backlogOne, append(args[:3], p.EndpointID)
	}
	err = s.read(ctx, func(q querier) error {
		page = nil
		leases, inFlight := 0, make(map[int64]int)
		err := q.query(ctx, inFlightText, []any{store.MaxInFlightCount}, func(scan scanner) error {
			var endpoint int64
			err := scan(&endpoint)
			leases++
			inFlight[endpoint]++
			return err
		})
		if err != nil || !store.IsText(p.EndpointID) {
			return err
		}
		return q.query(ctx, text, args, func(scan scanner) error {
			var l store.Backlog
			var state, ready, late, scheduled, exhausted, tests int
			var oldest *time.Time
			err := scan(&l.Endpoint, &l.EndpointID, &state, &ready, &late, &oldest, &scheduled, &exhausted, &tests)
			l.State, l.OldestDue = store.EndpointState(state), utc(oldest)
			l.Due, l.Scheduled, l.Exhausted = store.Bounded(ready+late, bound), store.Bounded(scheduled, bound), store.Bounded(exhausted, bound)
			l.Exhausted.N -= tests
			l.InFlight = store.Count{N: inFlight[l.Endpoint], More: leases == store.MaxInFlightCount}
			page = append(page, l)
			return err
		})
	})
	switch {
	case err != nil:
		return nil, err
	case p.EndpointID != "" && len(page) == 0:
		return nil, store.NotFound("endpoint", p.EndpointID, scope)
	}
	return page, nil
}
