package postgres

import (
	"context"
	"fmt"

	"github.com/hookpost/hookpost/store"
)

// Undelivered implements [store.Log].
func (s *Store) Undelivered(ctx context.Context, scope store.Scope, p store.UndeliveredQuery) (page []store.Undelivered, after int64, done bool, err error) {
	err = s.read(ctx, func(q querier) error {
		page, after, done = nil, p.After, true
		ep, err := endpointByID(ctx, q, scope, p.EndpointID)
		if err != nil {
			return err
		}
		sp, err := newSpan(ctx, q, p.From, p.To)
		if err != nil {
			return err
		}
		sp.first = max(sp.first, p.After+1)
		most := pageSize(p.Limit, 1000, 100_000)
		var t text
		t.add("SELECT "+eventColumns+`,
			EXISTS (SELECT FROM hookpost.delivery d WHERE d.event = e.num AND d.endpoint = ? AND d.state = 3)
				OR EXISTS (SELECT FROM hookpost.fanout f WHERE f.event = e.num AND ? = ANY (f.endpoints)),
			(SELECT max(d.round) FROM hookpost.delivery d WHERE d.event = e.num AND d.endpoint = ?)
			FROM hookpost.event e WHERE e.tenant = ? AND e.mode = ?`, ep.Num, ep.Num, ep.Num, scope.Tenant, int16(scope.Mode))
		t.during(sp, "e.num")
		t.add(" ORDER BY e.num LIMIT ?", most+1)
		looked := 0
		var events, last []int64 // the events that have deliveries, and their newest rounds
		err = q.query(ctx, t.String(), t.args, func(scan scanner) error {
			if looked == most {
				done = false
				return nil
			}
			looked++
			var received bool
			var round *int64
			ev, err := scanEvent(scan, scope, &received, &round)
			after = ev.Num
			if err != nil || received || store.Reserved(ev.Type) || p.Type != "" && ev.Type != p.Type {
				return err
			}
			page = append(page, store.Undelivered{Event: ev})
			if round != nil {
				events, last = append(events, ev.Num), append(last, *round)
			}
			return nil
		})
		if err != nil || len(events) == 0 {
			return err
		}
		newest := make(map[int64]*store.Delivery, len(events))
		err = q.query(ctx, "SELECT "+deliveryColumns+` FROM unnest($1::bigint[], $2::bigint[]) AS s(event, round)
			JOIN hookpost.delivery d ON d.event = s.event AND d.endpoint = $3 AND d.round = s.round
			JOIN hookpost.event e ON e.num = d.event JOIN hookpost.endpoint p ON p.num = d.endpoint`,
			[]any{events, last, ep.Num}, func(scan scanner) error {
				d, err := scanDelivery(scan, scope)
				newest[d.ID.Event] = &d
				return err
			})
		for i := range page {
			page[i].Last = newest[page[i].Event.Num]
		}
		return err
	})
	if err != nil {
		return nil, 0, false, err
	}
	return page, after, done, nil
}

// BackFill implements [store.Log].
func (s *Store) BackFill(ctx context.Context, scope store.Scope, endpointID string, events []int64) (n int, err error) {
	err = s.write(ctx, func(q querier) error {
		ep, err := takesDeliveries(ctx, q, scope, endpointID)
		if err != nil {
			return err
		}
		// The lock keeps replays, other back-fills and erasures away.
		_, err = q.exec(ctx, "SELECT FROM hookpost.event WHERE num = ANY ($1::bigint[]) AND tenant = $2 AND mode = $3 ORDER BY num FOR NO KEY UPDATE",
			orEmpty(events), scope.Tenant, int16(scope.Mode))
		if err != nil {
			return err
		}
		n, err = q.exec(ctx, `INSERT INTO hookpost.delivery (event, endpoint, round, state, due_at, created_at)
			SELECT e.num, $4, 1, 1, statement_timestamp(), statement_timestamp() FROM hookpost.event e
			WHERE e.num = ANY ($1::bigint[]) AND e.tenant = $2 AND e.mode = $3 AND e.erased_at IS NULL
			AND NOT EXISTS (SELECT FROM hookpost.delivery d WHERE d.event = e.num AND d.endpoint = $4)
			AND NOT EXISTS (SELECT FROM hookpost.fanout f WHERE f.event = e.num AND $4 = ANY (f.endpoints))
			ON CONFLICT DO NOTHING`, orEmpty(events), scope.Tenant, int16(scope.Mode), ep.Num)
		return err
	})
	if err != nil {
		return 0, err
	}
	if n > 0 {
		s.notify.send(s)
	}
	return n, nil
}

// takesDeliveries returns an endpoint that is enabled, or why it is not.
func takesDeliveries(ctx context.Context, q querier, scope store.Scope, id string) (store.Endpoint, error) {
	ep, err := endpointByID(ctx, q, scope, id)
	switch {
	case err != nil:
		return ep, err
	case ep.State == store.Deleted:
		return ep, fmt.Errorf("%w: %s", store.ErrDeleted, id)
	case ep.State == store.Disabled:
		return ep, fmt.Errorf("%w: %s", store.ErrDisabled, id)
	}
	return ep, nil
}
