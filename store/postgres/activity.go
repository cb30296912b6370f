package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// Both statements read a bounded piece of the end of delivery_log, whatever lies
// before it. $1 to $3 are tenant, mode and endpoints or endpoint, $4 is how many
// deliveries.
const (
	activityText = `SELECT p.id, p.state, n.deliveries, n.tests, n.delivered, n.exhausted, n.attempts,
			l.event, p.num, l.round, l.state, l.last_status, l.created_at
		FROM hookpost.endpoint p
		CROSS JOIN LATERAL (SELECT event, round, state, last_status, created_at FROM hookpost.delivery
			WHERE endpoint = p.num ORDER BY event DESC, round DESC LIMIT 1) l
		CROSS JOIN LATERAL (SELECT count(*) AS deliveries, count(*) FILTER (WHERE d.test) AS tests,
			count(*) FILTER (WHERE d.state = 3 AND NOT d.test) AS delivered, count(*) FILTER (WHERE d.state = 4 AND NOT d.test) AS exhausted,
			coalesce(sum(d.attempts - (d.state = 2)::int) FILTER (WHERE NOT d.test), 0) AS attempts
			FROM (SELECT d.state, d.attempts, ` + reserved + ` AS test
				FROM (SELECT event, round, state, attempts FROM hookpost.delivery WHERE endpoint = p.num ORDER BY event DESC, round DESC LIMIT $4) d
				JOIN hookpost.event e ON e.num = d.event) d) n
		WHERE p.tenant = $1 AND p.mode = $2 AND p.id = ANY ($3::text[])`

	recentText = `SELECT a.n, a.outcome, a.started_at, a.took, a.status, a.url, a.class, a.error, NULL::bytea, NULL::bytea
		FROM hookpost.endpoint p
		CROSS JOIN LATERAL (SELECT * FROM hookpost.delivery
			WHERE endpoint = p.num ORDER BY event DESC, round DESC LIMIT $4) d
		CROSS JOIN LATERAL (SELECT a.n, a.outcome, a.started_at, a.took, a.status, a.url, a.class, a.error
			FROM hookpost.attempt a WHERE a.event = d.event AND a.endpoint = d.endpoint AND a.round = d.round
			UNION ALL SELECT d.attempts, 1, d.success_at, d.success_took, d.last_status, d.success_url, '', ''
			WHERE d.success_at IS NOT NULL) a
		WHERE p.tenant = $1 AND p.mode = $2 AND p.id = $3 LIMIT 10 * $4::bigint`
)

// Activity implements [store.Log].
func (s *Store) Activity(ctx context.Context, scope store.Scope, endpointIDs []string, newest int) (list []store.Activity, err error) {
	if err := store.CheckLimit(newest); err != nil {
		return nil, err
	}
	if err := store.CheckScope(scope); err != nil {
		return nil, err
	}
	known := slices.DeleteFunc(slices.Clone(endpointIDs), func(id string) bool { return !store.IsText(id) })
	found := make(map[string]store.Activity, len(known))
	err = s.read(ctx, func(q querier) error {
		return q.query(ctx, activityText, []any{scope.Tenant, int16(scope.Mode), known, newest}, func(scan scanner) error {
			var a store.Activity
			var endpoint, state int
			err := scan(&a.EndpointID, &endpoint, &a.Deliveries, &a.Tests, &a.Delivered, &a.Exhausted, &a.Attempts,
				&a.Last.Event, &a.Last.Endpoint, &a.Last.Round, &state, &a.LastStatus, &a.LastAt)
			a.LastAt, a.LastState = a.LastAt.UTC(), publicState(state)
			if a.LastState == store.Pending && store.EndpointState(endpoint) == store.Deleted {
				a.LastState = store.Cancelled
			}
			found[a.EndpointID] = a
			return err
		})
	})
	if err != nil {
		return nil, err
	}
	list = make([]store.Activity, len(endpointIDs))
	for i, id := range endpointIDs {
		list[i] = found[id]
		list[i].EndpointID = id
	}
	return list, nil
}

// RecentAttempts implements [store.Log].
func (s *Store) RecentAttempts(ctx context.Context, scope store.Scope, endpointID string, newest int) (list []store.Attempt, err error) {
	if err := store.CheckLimit(newest); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(q querier) error {
		list = nil
		if _, err := endpointByID(ctx, q, scope, endpointID); err != nil {
			return err
		}
		return q.query(ctx, recentText, []any{scope.Tenant, int16(scope.Mode), endpointID, newest}, func(scan scanner) error {
			a, err := scanAttempt(scan)
			list = append(list, a)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("recent attempts of %.80q: %w", endpointID, err)
	}
	slices.SortStableFunc(list, func(a, b store.Attempt) int { return a.StartedAt.Compare(b.StartedAt) })
	return list, nil
}
