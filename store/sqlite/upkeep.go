package sqlite

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

// The steps look with a reader first, so that those that find nothing, most of
// them, do not ask for the write lock.

// Promote implements [store.Upkeep].
func (s *Store) Promote(ctx context.Context, limit int) (out store.Promoted, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return out, err
	}
	if wait, err := s.untilDue(ctx); err != nil || wait > 0 {
		return store.Promoted{Next: wait}, err
	}
	err = s.write(ctx, func(c *conn) error {
		now := s.now()
		n, err := c.exec(`UPDATE hookpost_delivery SET state = 1 WHERE (event, endpoint, round) IN (
			SELECT event, endpoint, round FROM hookpost_delivery WHERE state = 0 AND due_at <= ? ORDER BY due_at LIMIT ?)`, now, limit)
		if err != nil {
			return err
		}
		out.Moved = n
		out.Next, err = untilDue(c, now)
		return err
	})
	if err != nil {
		return store.Promoted{}, err
	}
	return out, nil
}

func (s *Store) untilDue(ctx context.Context) (wait time.Duration, err error) {
	err = s.read(ctx, func(c *conn) error {
		wait, err = untilDue(c, s.now())
		return err
	})
	return wait, err
}

// untilDue returns the time until the earliest retry, from 0 to an hour.
func untilDue(x execer, now int64) (time.Duration, error) {
	wait := time.Hour
	_, err := first(x, func(r row) {
		wait = min(wait, max(0, time.Duration(r.int(0)-now)*time.Microsecond))
	}, "SELECT due_at FROM hookpost_delivery WHERE state = 0 ORDER BY due_at LIMIT 1")
	return wait, err
}

// TakeOver implements [store.Upkeep].
func (s *Store) TakeOver(ctx context.Context, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	const expired = "FROM hookpost_delivery WHERE state = 2 AND lease_until <= ?"
	if found, err := s.any(ctx, "SELECT 1 "+expired+" LIMIT 1", s.now()); err != nil || !found {
		return 0, err
	}
	err = s.write(ctx, func(c *conn) error {
		now := s.now()
		var log []logged
		err := c.query(func(r row) error {
			log = append(log, logged{
				id:        store.DeliveryID{Event: r.int(0), Endpoint: r.int(1), Round: int(r.int(2))},
				Attempt:   store.Attempt{N: int(r.int(3)), Outcome: store.AttemptUnknown},
				startedAt: r.int(4),
			})
			return nil
		}, "SELECT event, endpoint, round, attempts, leased_at "+expired+" ORDER BY lease_until LIMIT ?", now, limit)
		if err != nil {
			return err
		}
		if err := insertAttempts(c, log); err != nil {
			return err
		}
		n = len(log)
		for i := range log {
			id := log[i].id
			_, err := c.exec(`UPDATE hookpost_delivery SET state = 1, unknown = unknown + 1, owner = NULL, leased_at = NULL,
				lease_until = NULL, due_at = ? WHERE event = ? AND endpoint = ? AND round = ?`, now, id.Event, id.Endpoint, id.Round)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// Expire implements [store.Upkeep].
func (s *Store) Expire(ctx context.Context, window time.Duration, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil || window <= 0 {
		return 0, err
	}
	// The lanes in question are few: disabled ones and those that once were.
	const over = `FROM hookpost_lane l INDEXED BY hookpost_lane_enabled
		CROSS JOIN hookpost_delivery d INDEXED BY hookpost_delivery_ready ON d.endpoint = l.endpoint AND d.state = 1
		WHERE (l.enabled_at IS NOT NULL OR l.state = 2) AND l.state <> 3
		AND coalesce(d.first_at, d.due_at) <= CASE l.state WHEN 2 THEN ?1 ELSE l.enabled_at END - ?2`
	us := window.Microseconds()
	if found, err := s.any(ctx, "SELECT 1 "+over+" LIMIT 1", s.now(), us); err != nil || !found {
		return 0, err
	}
	err = s.write(ctx, func(c *conn) error {
		now := s.now()
		n, err = c.exec(`UPDATE hookpost_delivery SET state = 4, finished_at = ?1, reason = ?3 WHERE (event, endpoint, round) IN (
			SELECT d.event, d.endpoint, d.round `+over+" LIMIT ?4)", now, us, store.ReasonExpired, limit)
		return err
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// CancelDeleted implements [store.Upkeep].
func (s *Store) CancelDeleted(ctx context.Context, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if found, err := s.any(ctx, "SELECT 1 FROM hookpost_deleted LIMIT 1"); err != nil || !found {
		return 0, err
	}
	err = s.write(ctx, func(c *conn) error {
		n = 0
		for n < limit {
			var endpoint, after, at int64
			found, err := first(c, func(r row) { endpoint, after, at = r.int(0), r.int(1), r.int(2) },
				`SELECT d.endpoint, d.after, e.changed_at FROM hookpost_deleted d JOIN hookpost_endpoint e ON e.num = d.endpoint
				ORDER BY d.endpoint LIMIT 1`)
			if err != nil || !found {
				return err
			}
			k, err := cancelPending(c, endpoint, after, limit-n, at)
			if err != nil {
				return err
			}
			n += k
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// cancelPending cancels up to limit deliveries of an endpoint deleted at a time, since
// when they read as cancelled. Nothing is ever added to those, so one pass over its
// log is enough.
func cancelPending(c *conn, endpoint, after int64, limit int, at int64) (int, error) {
	var ids []store.DeliveryID
	var leases []bool
	err := c.query(func(r row) error {
		ids = append(ids, store.DeliveryID{Event: r.int(0), Endpoint: endpoint, Round: int(r.int(1))})
		leases = append(leases, r.int(2) == leased)
		return nil
	}, `SELECT event, round, state FROM hookpost_delivery INDEXED BY hookpost_delivery_log
		WHERE endpoint = ? AND event >= ? AND state <= 2 ORDER BY event LIMIT ?`, endpoint, after, limit)
	if err != nil {
		return 0, err
	}
	for i, id := range ids {
		if err := cancel(c, id, leases[i], store.ReasonDeleted, at); err != nil {
			return 0, err
		}
	}
	if len(ids) < limit {
		_, err = c.exec("DELETE FROM hookpost_deleted WHERE endpoint = ?", endpoint)
	} else {
		_, err = c.exec("UPDATE hookpost_deleted SET after = ? WHERE endpoint = ?", ids[len(ids)-1].Event, endpoint)
	}
	return len(ids), err
}

// cancel ends a pending delivery. An attempt under way reads as unknown until it
// reports: it may never do so.
func cancel(x execer, id store.DeliveryID, isLeased bool, reason string, at int64) error {
	if isLeased {
		_, err := x.exec(`INSERT INTO hookpost_attempt (event, endpoint, round, n, outcome, started_at, took, status, url, class, error)
			SELECT event, endpoint, round, attempts, 3, coalesce(leased_at, ?), 0, 0, '', '', '' FROM hookpost_delivery
			WHERE event = ? AND endpoint = ? AND round = ? ON CONFLICT DO NOTHING`, at, id.Event, id.Endpoint, id.Round)
		if err != nil {
			return err
		}
	}
	_, err := x.exec(`UPDATE hookpost_delivery SET state = 5, owner = NULL, leased_at = NULL, lease_until = NULL, finished_at = ?, reason = ?
		WHERE event = ? AND endpoint = ? AND round = ?`, at, reason, id.Event, id.Endpoint, id.Round)
	return err
}

// SealedEndpoints implements [store.Upkeep].
func (s *Store) SealedEndpoints(ctx context.Context, after int64, limit int) (eps []store.Endpoint, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(c *conn) error {
		eps, err = endpointsWhere(c, "WHERE e.num > ? AND e.state <> 3 ORDER BY e.num LIMIT ?", after, limit)
		return err
	})
	return eps, err
}

// Reseal implements [store.Upkeep].
func (s *Store) Reseal(ctx context.Context, list []store.Resealed) (n int, err error) {
	err = s.write(ctx, func(c *conn) error {
		n = 0
		now := fromMicros(s.now())
		for _, r := range list {
			stored, err := endpointsWhere(c, "WHERE e.num = ? AND s.tenant = ? AND s.mode = ? AND e.state <> 3",
				r.Num, r.Tenant, int(r.Mode))
			if err != nil {
				return err
			}
			if len(stored) == 0 {
				continue
			}
			ep, changed := &stored[0], false
			if ep.Sealed, changed = store.ReplaceSealed(ep.Sealed, r.Values, now); !changed {
				continue
			}
			text, err := encodeSealed(ep)
			if err != nil {
				return err
			}
			if _, err := c.exec("UPDATE hookpost_endpoint SET secrets = ? WHERE num = ?", text, ep.Num); err != nil {
				return err
			}
			n++
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	return n, nil
}

// any reports whether a query finds a row.
func (s *Store) any(ctx context.Context, query string, args ...any) (found bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		found, err = first(c, func(row) {}, query, args...)
		return err
	})
	return found, err
}
