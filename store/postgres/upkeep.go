package postgres

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

// The steps take rows that nobody else has locked, so that they run anywhere and
// everywhere at once.

const (
	promoteText = `UPDATE hookpost.delivery SET state = 1 WHERE ctid = ANY (ARRAY(
		SELECT ctid FROM hookpost.delivery WHERE state = 0 AND due_at <= statement_timestamp() AND due_at >= coalesce($2::timestamptz, '-infinity')
		ORDER BY due_at LIMIT $1 FOR UPDATE SKIP LOCKED))`
	nextDueText = `SELECT statement_timestamp(), (SELECT due_at FROM hookpost.delivery
		WHERE state = 0 AND due_at >= coalesce($1::timestamptz, '-infinity') ORDER BY due_at LIMIT 1)`
)

// Promote implements [store.Upkeep].
func (s *Store) Promote(ctx context.Context, limit int) (store.Promoted, error) {
	if err := store.CheckLimit(limit); err != nil {
		return store.Promoted{}, err
	}
	from := s.waiting.begin(time.Now())
	out := store.Promoted{Next: time.Hour}
	var now time.Time
	var due *time.Time
	err := s.pipeline(ctx, settingsWrite, func(b *batch) {
		out.Moved = 0
		b.addExec(promoteText, &out.Moved, limit, from)
		b.add(nextDueText, []any{from}, func(scan scanner) error { return scan(&now, &due) })
	})
	if err != nil {
		return store.Promoted{}, err
	}
	if due != nil {
		out.Next = min(out.Next, max(0, due.Sub(now)))
	}
	if out.Next > 0 {
		s.waiting.done(now)
	}
	if out.Moved > 0 {
		s.hot.forgetAll() // their due times are of old
		s.notify.send(s)
	}
	return out, nil
}

// stuckAfter is how long a session may wait for the rest of what it was sent.
const stuckAfter = 10 * time.Second

// endStuck ends sessions of this role that have waited for $1 seconds in the middle of
// a pipeline of a store's, since its machine died or froze and nobody has told them. They
// hold what they have locked, and the server itself limits only waits between requests.
const endStuck = `SELECT count(pg_terminate_backend(a.pid)) FROM pg_stat_activity a
	WHERE a.datname = current_database() AND a.usename = current_user AND a.state = 'active' AND a.wait_event = 'ClientRead'
	AND a.query LIKE '` + ownMark + `%' AND a.query_start < now() - $1::int * interval '1 second'`

const takeOverText = `WITH u AS (
	UPDATE hookpost.delivery SET state = 1, unknown = unknown + 1, owner = NULL, lease_until = NULL, due_at = statement_timestamp()
	WHERE ctid = ANY (ARRAY(SELECT ctid FROM hookpost.delivery
		WHERE state = 2 AND lease_until <= statement_timestamp() AND lease_until >= coalesce($2::timestamptz, '-infinity')
		ORDER BY lease_until LIMIT $1 FOR UPDATE SKIP LOCKED))
	RETURNING event, endpoint, round, attempts, leased_at
), a AS (
	INSERT INTO hookpost.attempt (event, endpoint, round, n, outcome, started_at, took, status, url, class, error)
	SELECT event, endpoint, round, attempts, 3, coalesce(leased_at, statement_timestamp()), 0, 0, '', '', '' FROM u ON CONFLICT DO NOTHING
)
SELECT statement_timestamp(), (SELECT count(*) FROM u)`

// TakeOver implements [store.Upkeep].
func (s *Store) TakeOver(ctx context.Context, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	from := s.leases.begin(time.Now())
	var now time.Time
	err = s.pipeline(ctx, settingsWrite, func(b *batch) {
		b.add(endStuck, []any{int(stuckAfter.Seconds())}, func(scanner) error { return nil })
		b.add(takeOverText, []any{limit, from}, func(scan scanner) error { return scan(&now, &n) })
	})
	if err != nil {
		return 0, err
	}
	if n < limit {
		s.leases.done(now)
	}
	if n > 0 {
		s.notify.send(s)
	}
	return n, nil
}

// expireText exhausts deliveries of endpoints that are or were disabled; those are
// few. %s is a further condition.
const expireText = `UPDATE hookpost.delivery SET state = 4, finished_at = statement_timestamp(), reason = '` + store.ReasonExpired + `'
	WHERE ctid = ANY (ARRAY(SELECT d.tid FROM
		(SELECT l.endpoint, CASE l.state WHEN 2 THEN statement_timestamp() ELSE l.enabled_at END - $1::bigint * interval '1 microsecond' AS before
		 FROM hookpost.lane l WHERE (l.enabled_at IS NOT NULL OR l.state = 2) AND l.state <> 3) l
		CROSS JOIN LATERAL (SELECT q.ctid AS tid FROM hookpost.delivery q WHERE q.endpoint = l.endpoint AND q.state = 1
			AND coalesce(q.first_at, q.due_at) <= l.before AND ($3::boolean OR q.due_at <= l.before)
			LIMIT $2 FOR UPDATE SKIP LOCKED) d
		LIMIT $2))`

// Expire implements [store.Upkeep]. What never was attempted is found by its due
// time. For the rest all that is ready at these endpoints must be read, which is
// done less often where there is much.
func (s *Store) Expire(ctx context.Context, window time.Duration, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if window <= 0 {
		return 0, ctx.Err()
	}
	step := func(limit int, all bool) error {
		before := n
		return s.pipeline(ctx, settingsWrite, func(b *batch) {
			n = before
			b.addExec(expireText, &n, micros(window), limit, all)
		})
	}
	if err := step(limit, false); err != nil {
		return 0, err
	}
	began := time.Now()
	if n >= limit || !s.lapsed.ready(began) {
		return n, nil
	}
	if err := step(limit-n, true); err != nil {
		return n, err
	}
	s.lapsed.took(began, n < limit)
	return n, nil
}

// CancelDeleted implements [store.Upkeep].
func (s *Store) CancelDeleted(ctx context.Context, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	err = s.write(ctx, func(q querier) error {
		n = 0
		for n < limit {
			var endpoint, after int64
			var at time.Time
			found, err := first(ctx, q, `SELECT d.endpoint, d.after, (SELECT p.changed_at FROM hookpost.endpoint p WHERE p.num = d.endpoint)
				FROM hookpost.deleted d ORDER BY d.endpoint LIMIT 1 FOR UPDATE SKIP LOCKED`, nil, &endpoint, &after, &at)
			if err != nil || !found {
				return err
			}
			k, err := cancelPending(ctx, q, endpoint, after, limit-n, at)
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
	dead := s.dead.list()
	if n >= limit || len(dead) == 0 {
		return n, nil
	}
	k, err := s.cancelLate(ctx, dead, limit-n)
	return n + k, err
}

// cancelPending cancels up to limit deliveries of an endpoint deleted at a time, since
// when they read as cancelled, in one pass over its log. What a transaction adds to it
// later is left to cancelLate.
func cancelPending(ctx context.Context, q querier, endpoint, after int64, limit int, at time.Time) (int, error) {
	var ids []store.DeliveryID
	err := q.query(ctx, `SELECT event, round FROM hookpost.delivery
		WHERE endpoint = $1 AND event >= $2 AND state <= 2 ORDER BY event LIMIT $3 FOR UPDATE`, []any{endpoint, after, limit},
		func(scan scanner) error {
			id := store.DeliveryID{Endpoint: endpoint}
			err := scan(&id.Event, &id.Round)
			ids = append(ids, id)
			return err
		})
	if err != nil {
		return 0, err
	}
	if err := cancel(ctx, q, ids, store.ReasonDeleted, &at); err != nil {
		return 0, err
	}
	if len(ids) < limit {
		_, err = q.exec(ctx, "DELETE FROM hookpost.deleted WHERE endpoint = $1", endpoint)
	} else {
		_, err = q.exec(ctx, "UPDATE hookpost.deleted SET after = $2 WHERE endpoint = $1", endpoint, ids[len(ids)-1].Event)
	}
	return len(ids), err
}

// cancelLate cancels deliveries of deleted endpoints that were committed after the
// pass over their log. All such are ready, and claims have met them.
func (s *Store) cancelLate(ctx context.Context, dead []int64, limit int) (n int, err error) {
	err = s.pipeline(ctx, settingsWrite, func(b *batch) {
		n = 0
		b.addExec(`UPDATE hookpost.delivery SET state = 5, reason = '`+store.ReasonDeleted+`',
				finished_at = (SELECT p.changed_at FROM hookpost.endpoint p WHERE p.num = delivery.endpoint)
			WHERE ctid = ANY (ARRAY(SELECT q.tid FROM unnest($1::bigint[]) AS l(endpoint) CROSS JOIN LATERAL (
				SELECT d.ctid AS tid FROM hookpost.delivery d WHERE d.endpoint = l.endpoint AND d.state = 1 LIMIT $2 FOR UPDATE SKIP LOCKED) q
			LIMIT $2))`, &n, dead, limit)
	})
	if err != nil {
		return 0, err
	}
	if n < limit {
		s.dead.buried(dead)
	}
	return n, nil
}

// cancel ends pending deliveries, which must be locked, as of a time; nil is now. An
// attempt under way reads as unknown until it reports: it may never do so.
func cancel(ctx context.Context, q querier, ids []store.DeliveryID, reason string, at *time.Time) error {
	if len(ids) == 0 {
		return nil
	}
	var events, endpoints []int64
	var rounds []int32
	for _, id := range ids {
		events, endpoints, rounds = append(events, id.Event), append(endpoints, id.Endpoint), append(rounds, int32(id.Round))
	}
	const which = ` unnest($1::bigint[], $2::bigint[], $3::int[]) AS s(event, endpoint, round)`
	_, err := q.exec(ctx, `INSERT INTO hookpost.attempt (event, endpoint, round, n, outcome, started_at, took, status, url, class, error)
		SELECT d.event, d.endpoint, d.round, d.attempts, 3, coalesce(d.leased_at, statement_timestamp()), 0, 0, '', '', ''
		FROM`+which+` JOIN hookpost.delivery d USING (event, endpoint, round) WHERE d.state = 2 ON CONFLICT DO NOTHING`, events, endpoints, rounds)
	if err != nil {
		return err
	}
	_, err = q.exec(ctx, `UPDATE hookpost.delivery d SET state = 5, owner = NULL, lease_until = NULL,
		finished_at = coalesce($5::timestamptz, statement_timestamp()), reason = $4
		FROM`+which+` WHERE d.event = s.event AND d.endpoint = s.endpoint AND d.round = s.round AND d.state <= 2`, events, endpoints, rounds, reason, at)
	return err
}

// SealedEndpoints implements [store.Upkeep].
func (s *Store) SealedEndpoints(ctx context.Context, after int64, limit int) (eps []store.Endpoint, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(q querier) error {
		eps, err = endpointsWhere(ctx, q, "WHERE e.num > $1 AND e.state <> 3 ORDER BY e.num LIMIT $2", after, limit)
		return err
	})
	return eps, err
}

// Reseal implements [store.Upkeep]. Rows are locked in order of their numbers, so
// that two steps can't wait for each other.
func (s *Store) Reseal(ctx context.Context, list []store.Resealed) (n int, err error) {
	given := make(map[store.EndpointKey][]store.SealedValue, len(list))
	nums := make([]int64, len(list))
	for i, r := range list {
		nums[i], given[r.EndpointKey] = r.Num, r.Values
	}
	err = s.write(ctx, func(q querier) error {
		n = 0
		var now time.Time
		if err := q.row(ctx, "SELECT statement_timestamp()", nil, &now); err != nil {
			return err
		}
		_, err := q.exec(ctx, "SELECT FROM hookpost.endpoint WHERE num = ANY ($1::bigint[]) ORDER BY num FOR UPDATE", nums)
		if err != nil {
			return err
		}
		stored, err := endpointsWhere(ctx, q, "WHERE e.num = ANY ($1::bigint[]) AND e.state <> 3 ORDER BY e.num", nums)
		if err != nil {
			return err
		}
		for i := range stored {
			ep := &stored[i]
			values, ok := given[store.EndpointKey{Scope: ep.Scope, Num: ep.Num}]
			if !ok {
				continue
			}
			changed := false
			if ep.Sealed, changed = store.ReplaceSealed(ep.Sealed, values, now); !changed {
				continue
			}
			text, err := encodeSealed(ep)
			if err != nil {
				return err
			}
			if _, err := q.exec(ctx, "UPDATE hookpost.endpoint SET secrets = $2::text::json WHERE num = $1", ep.Num, text); err != nil {
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
