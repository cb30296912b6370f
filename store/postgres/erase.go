package postgres

import (
	"context"
	"fmt"

	"github.com/hookpost/hookpost/store"
)

// Erase implements [store.Log].
func (s *Store) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (out store.Erased, err error) {
	if err := store.CheckErase(scope, p); err != nil {
		return out, err
	}
	p.Limit = pageSize(p.Limit, 1000, 100_000)
	err = s.write(ctx, func(q querier) error {
		out, err = eraseStep(ctx, q, scope, p, nil)
		return err
	})
	if err != nil {
		return store.Erased{}, err
	}
	return out, nil
}

// eraseStep erases what p selects, up to its limit. In a transaction of the application's,
// which must be on the database with the id in, all of it is wanted: if that is more it
// erases nothing and returns ErrTooMany.
//
// Parameters are texts and integers, for the sake of transactions of database/sql.
func eraseStep(ctx context.Context, q querier, scope store.Scope, p store.EraseParams, in *int64) (store.Erased, error) {
	out := store.Erased{After: p.After, Done: true}
	var events []int64
	weight, done, foreign := 0, true, false
	var err error
	if store.IsText(p.EventID) && store.IsText(p.Ref) { // else there is none
		var id int64
		events, weight, done, id, err = toErase(ctx, q, scope, p)
		foreign = in != nil && id != *in
	}
	switch {
	case err != nil:
		return out, err
	case foreign:
		return out, errForeignTx
	case in != nil && (!done || weight > p.Limit):
		return out, fmt.Errorf("%w: more than %d events or deliveries", store.ErrTooMany, p.Limit)
	case p.EventID != "" && len(events) == 0 && p.After == 0:
		return out, store.NotFound("event", p.EventID, scope)
	case len(events) == 0:
		return out, nil
	}
	out.After, out.Done = events[len(events)-1], done

	// The events first: replays lock them. Then what makes deliveries, and all of these,
	// as reports do: whoever reports later sees that the event is erased, and of the
	// earlier ones the answers are seen here, because each statement looks anew.
	list := literal(events)
	for _, text := range []string{
		"SELECT FROM hookpost.event WHERE num = ANY ($1::text::bigint[]) ORDER BY num FOR UPDATE",
		"DELETE FROM hookpost.fanout WHERE event = ANY ($1::text::bigint[])",
		"SELECT FROM hookpost.delivery WHERE event = ANY ($1::text::bigint[]) ORDER BY event, endpoint, round FOR UPDATE",
		`INSERT INTO hookpost.attempt (event, endpoint, round, n, outcome, started_at, took, status, url, class, error)
			SELECT d.event, d.endpoint, d.round, d.attempts, 3, coalesce(d.leased_at, statement_timestamp()), 0, 0, '', '', ''
			FROM hookpost.delivery d JOIN hookpost.lane l ON l.endpoint = d.endpoint
			WHERE d.event = ANY ($1::text::bigint[]) AND d.state = 2 AND l.state <> 3 ON CONFLICT DO NOTHING`,
	} {
		if _, err := q.exec(ctx, text, list); err != nil {
			return out, err
		}
	}
	// What is pending for a deleted endpoint reads as cancelled already.
	out.Cancelled, err = q.exec(ctx, `UPDATE hookpost.delivery d SET state = 5, owner = NULL, lease_until = NULL,
		finished_at = statement_timestamp(), reason = $2::text
		FROM hookpost.lane l WHERE d.event = ANY ($1::text::bigint[]) AND d.state <= 2 AND l.endpoint = d.endpoint AND l.state <> 3`,
		list, store.ReasonErased)
	if err != nil {
		return out, err
	}
	for _, text := range []string{
		"UPDATE hookpost.attempt a SET response_header = NULL, response_body = NULL WHERE a.event = ANY ($1::text::bigint[]) AND " + hasAnswer,
		deleteRefs,
	} {
		if _, err := q.exec(ctx, text, list); err != nil {
			return out, err
		}
	}
	out.Events, err = q.exec(ctx, `UPDATE hookpost.event SET body = NULL, refs = NULL, erased_at = coalesce(erased_at, statement_timestamp())
		WHERE num = ANY ($1::text::bigint[]) AND (erased_at IS NULL OR refs IS NOT NULL)`, list)
	return out, err
}

// toErase returns the events of the next step, what they count for, whether they are the
// last, and the id of the database that they are in.
func toErase(ctx context.Context, q querier, scope store.Scope, p store.EraseParams) (events []int64, weight int, done bool, id int64, err error) {
	const deliveries = "(SELECT count(*) FROM hookpost.delivery d WHERE d.event = e.num)"
	var t text
	t.add("SELECT s.id, x.num, x.n FROM hookpost.store s LEFT JOIN (")
	switch {
	case p.All:
		t.add("SELECT e.num, "+deliveries+" FROM hookpost.event e WHERE e.tenant = ? AND e.mode = ? AND e.num > ? ORDER BY e.num LIMIT ?",
			scope.Tenant, int64(scope.Mode), p.After, int64(p.Limit)+1)
	case p.Ref != "":
		t.add("SELECT r.event, (SELECT count(*) FROM hookpost.delivery d WHERE d.event = r.event) FROM hookpost.ref r"+
			" WHERE r.tenant = ? AND r.mode = ? AND r.ref = ? AND r.event > ? ORDER BY r.event LIMIT ?",
			scope.Tenant, int64(scope.Mode), p.Ref, p.After, int64(p.Limit)+1)
	default:
		t.add("SELECT e.num, "+deliveries+" FROM hookpost.event e WHERE e.tenant = ? AND e.mode = ? AND e.id = ? AND e.num > ?",
			scope.Tenant, int64(scope.Mode), p.EventID, p.After)
	}
	t.add(") AS x(num, n) ON true ORDER BY x.num")
	looked := 0
	err = q.query(ctx, t.String(), t.args, func(scan scanner) error {
		var num, n *int64 // NULL if there is none
		if err := scan(&id, &num, &n); err != nil || num == nil {
			return err
		}
		if looked++; weight < p.Limit {
			events = append(events, *num)
			weight += int(max(1, *n))
		}
		return nil
	})
	return events, weight, looked == len(events), id, err
}
