package sqlite

import (
	"context"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// reserved is store.Reserved of an event e.
const reserved = "e.type GLOB 'webhook.*'"

// Both statements read a bounded piece of the end of hookpost_delivery_log,
// whatever lies before it.
const (
	activityText = `SELECT count(*), coalesce(sum(d.test), 0), coalesce(sum(d.state = 3 AND NOT d.test), 0),
		coalesce(sum(d.state = 4 AND NOT d.test), 0), coalesce(sum((d.attempts - (d.state = 2)) * (1 - d.test)), 0)
		FROM (SELECT d.state, d.attempts, ` + reserved + ` AS test FROM hookpost_delivery d INDEXED BY hookpost_delivery_log
			CROSS JOIN hookpost_event e ON e.num = d.event
			WHERE d.endpoint = ? ORDER BY d.event DESC, d.round DESC LIMIT ?) d`

	recentText = `WITH d AS MATERIALIZED (SELECT * FROM hookpost_delivery INDEXED BY hookpost_delivery_log
			WHERE endpoint = ?1 ORDER BY event DESC, round DESC LIMIT ?2)
		SELECT a.n, a.outcome, a.started_at, a.took, a.status, a.url, a.class, a.error, NULL, NULL FROM d
		CROSS JOIN hookpost_attempt a ON a.event = d.event AND a.endpoint = d.endpoint AND a.round = d.round
		UNION ALL SELECT attempts, 1, success_at, success_took, last_status, success_url, '', '', NULL, NULL FROM d WHERE success_at IS NOT NULL
		LIMIT 10 * ?2`
)

// Activity implements [store.Log].
func (s *Store) Activity(ctx context.Context, scope store.Scope, endpointIDs []string, newest int) (list []store.Activity, err error) {
	if err := store.CheckLimit(newest); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(c *conn) error {
		list = make([]store.Activity, len(endpointIDs))
		sc, err := scopeOf(c, scope)
		if err != nil {
			return err
		}
		for i, id := range endpointIDs {
			list[i].EndpointID = id
			if err := activity(c, sc, &list[i], newest); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return list, nil
}

// activity fills in all but the id.
func activity(c *conn, sc scopeRow, a *store.Activity, newest int) error {
	var endpoint int64
	found, err := first(c, func(r row) { endpoint = r.int(0) }, "SELECT num FROM hookpost_endpoint WHERE scope = ? AND id = ?", sc.num, a.EndpointID)
	if err != nil || !found {
		return err
	}
	_, err = first(c, func(r row) {
		a.Deliveries, a.Tests, a.Delivered, a.Exhausted, a.Attempts = int(r.int(0)), int(r.int(1)), int(r.int(2)), int(r.int(3)), int(r.int(4))
	}, activityText, endpoint, newest)
	if err != nil || a.Deliveries == 0 {
		return err
	}
	_, err = first(c, func(r row) {
		d := scanDelivery(r, sc.scope)
		a.Last, a.LastState, a.LastStatus, a.LastAt = d.ID, d.State, d.LastStatus, d.CreatedAt
	}, "SELECT "+deliveryColumns+` FROM hookpost_delivery d INDEXED BY hookpost_delivery_log CROSS JOIN hookpost_event e ON e.num = d.event
		JOIN hookpost_endpoint p ON p.num = d.endpoint WHERE d.endpoint = ? ORDER BY d.event DESC, d.round DESC LIMIT 1`, endpoint)
	return err
}

// RecentAttempts implements [store.Log].
func (s *Store) RecentAttempts(ctx context.Context, scope store.Scope, endpointID string, newest int) (list []store.Attempt, err error) {
	if err := store.CheckLimit(newest); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(c *conn) error {
		list = nil
		sc, err := scopeOf(c, scope)
		if err != nil {
			return err
		}
		var endpoint int64
		found, err := first(c, func(r row) { endpoint = r.int(0) }, "SELECT num FROM hookpost_endpoint WHERE scope = ? AND id = ?", sc.num, endpointID)
		if err == nil && !found {
			err = store.NotFound("endpoint", endpointID, scope)
		}
		if err != nil {
			return err
		}
		return c.query(func(r row) error {
			list = append(list, scanAttempt(r))
			return nil
		}, recentText, endpoint, newest)
	})
	if err != nil {
		return nil, err
	}
	slices.SortStableFunc(list, func(a, b store.Attempt) int { return a.StartedAt.Compare(b.StartedAt) })
	return list, nil
}
