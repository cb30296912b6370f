package postgres

import (
	"context"
	"math"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

const deliveryColumns = `d.event, d.endpoint, d.round, e.id, e.type, p.id, d.state, p.state, d.reason, d.attempts, d.failures,
	d.last_status, d.created_at, d.first_at, d.due_at, d.finished_at, p.changed_at, d.leased_at, d.lease_until`

func scanDelivery(scan scanner, scope store.Scope) (store.Delivery, error) {
	d := store.Delivery{Scope: scope}
	var state, endpoint int
	var due, changed time.Time
	var firstAt, finished, leasedAt, leaseUntil *time.Time
	err := scan(&d.ID.Event, &d.ID.Endpoint, &d.ID.Round, &d.EventID, &d.EventType, &d.EndpointID, &state, &endpoint, &d.Reason,
		&d.Attempts, &d.Failures, &d.LastStatus, &d.CreatedAt, &firstAt, &due, &finished, &changed, &leasedAt, &leaseUntil)
	d.State, d.CreatedAt, d.FirstAt, d.FinishedAt = publicState(state), d.CreatedAt.UTC(), utc(firstAt), utc(finished)
	switch {
	case d.State != store.Pending:
	case store.EndpointState(endpoint) == store.Deleted:
		d.State, d.Reason, d.FinishedAt = store.Cancelled, store.ReasonDeleted, changed.UTC()
	default:
		d.DueAt = due.UTC()
		if d.InFlight = state == leased; d.InFlight {
			d.LeasedAt, d.LeaseUntil = utc(leasedAt), utc(leaseUntil)
		}
	}
	return d, err
}

// Deliveries implements [store.Log].
func (s *Store) Deliveries(ctx context.Context, scope store.Scope, p store.DeliveryQuery) ([]store.Delivery, error) {
	page, _, err := s.searchDeliveries(ctx, scope, p, 0)
	return page, err
}

// SearchDeliveries implements [store.Log].
func (s *Store) SearchDeliveries(ctx context.Context, scope store.Scope, p store.DeliveryQuery, look int) ([]store.Delivery, store.DeliveryID, error) {
	if err := store.CheckLimit(look); err != nil {
		return nil, store.DeliveryID{}, err
	}
	return s.searchDeliveries(ctx, scope, p, look)
}

// searchDeliveries looks at any number of rows if look is 0.
func (s *Store) searchDeliveries(ctx context.Context, scope store.Scope, p store.DeliveryQuery, look int) (page []store.Delivery, next store.DeliveryID, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, next, err
	}
	limit := pageSize(p.Limit, 100, 1000)
	err = s.read(ctx, func(q querier) error {
		page, next = nil, store.DeliveryID{}
		for _, text := range []string{p.EventID, p.EndpointID, p.Type, p.Ref} {
			if !store.IsText(text) {
				return nil
			}
		}
		t, floor, err := deliveryQuery(ctx, q, scope, p, look)
		if err != nil || t == nil {
			return err
		}
		next.Event = floor
		return q.query(ctx, t.String(), t.args, func(scan scanner) error {
			d, err := scanDelivery(scan, scope)
			if len(page) == limit {
				next = page[limit-1].ID
				return err
			}
			page = append(page, d)
			return err
		})
	})
	if err != nil {
		return nil, store.DeliveryID{}, err
	}
	return page, next, nil
}

// deliveryQuery chooses the way to the rows: which table comes first decides
// how many are read. It returns a statement for one delivery more than a page has,
// and where a search that looks at so many rows ends; 0: at the end of the log. Nil
// means that there can be none.
func deliveryQuery(ctx context.Context, q querier, scope store.Scope, p store.DeliveryQuery, look int) (*text, int64, error) {
	sp, err := newSpan(ctx, q, p.From, p.To)
	if err != nil {
		return nil, 0, err
	}
	if last := p.Before.Event; last > 0 {
		if p.Before.Endpoint > 0 && last < math.MaxInt64 {
			last++ // the event itself may have more
		}
		sp.end = min(sp.end, last)
	}
	// In one order and each once, so that there are few statements, whatever a visitor
	// asks for.
	states := slices.Compact(slices.Sorted(slices.Values(p.States)))
	const fromDelivery = " FROM hookpost.delivery d"
	const event = " JOIN hookpost.event e ON e.num = d.event JOIN hookpost.endpoint p ON p.num = d.endpoint"
	const delivery = " JOIN hookpost.delivery d ON d.event = e.num JOIN hookpost.endpoint p ON p.num = d.endpoint"
	tenant, mode := scope.Tenant, int16(scope.Mode)
	var way trail
	order := " ORDER BY d.event DESC, d.endpoint DESC, d.round DESC"
	switch {
	case p.EventID != "":
		var num int64
		found, err := first(ctx, q, "SELECT e.num"+fromEventByID,
			[]any{tenant, mode, p.EventID}, &num)
		if err != nil || !found {
			return nil, 0, err
		}
		way = trail{fromDelivery, event, " WHERE d.event = ?", "d.event", []any{num}}
		order = " ORDER BY d.endpoint DESC, d.round DESC"
		if p.EndpointID != "" {
			way.where += " AND p.id = ?"
			way.args = append(way.args, p.EndpointID)
		}
		look = 0
	case p.EndpointID != "":
		var num int64
		found, err := first(ctx, q, "SELECT num FROM hookpost.endpoint WHERE tenant = $1 AND mode = $2 AND id = $3",
			[]any{tenant, mode, p.EndpointID}, &num)
		if err != nil || !found {
			return nil, 0, err
		}
		way = trail{fromDelivery, event, " WHERE d.endpoint = ?", "d.event", []any{num}}
		order = " ORDER BY d.event DESC, d.round DESC"
	case p.Ref != "":
		way = trail{
			" FROM hookpost.ref r", " JOIN hookpost.event e ON e.num = r.event" +
				" JOIN hookpost.delivery d ON d.event = r.event JOIN hookpost.endpoint p ON p.num = d.endpoint",
			" WHERE r.tenant = ? AND r.mode = ? AND r.ref = ?", "r.event",
			[]any{tenant, mode, p.Ref},
		}
		order = " ORDER BY r.event DESC, d.endpoint DESC, d.round DESC"
	case len(states) == 1 && states[0] == store.Exhausted:
		way = trail{fromDelivery, event, " WHERE d.state = 4", "d.event", nil}
	default:
		way = trail{" FROM hookpost.event e", delivery, " WHERE e.tenant = ? AND e.mode = ?", "e.num", []any{tenant, mode}}
		order = " ORDER BY e.num DESC, d.endpoint DESC, d.round DESC"
	}
	floor, err := way.floor(ctx, q, sp, look)
	if err != nil {
		return nil, 0, err
	}
	sp.first = max(sp.first, floor)
	t := &text{}
	t.add("SELECT "+deliveryColumns+way.table+way.joins+way.where, way.args...)
	t.during(sp, way.num)
	if way.args == nil {
		// Written so that no index on them can be preferred to the event's number.
		t.add(" AND e.tenant IS NOT DISTINCT FROM ? AND e.mode IS NOT DISTINCT FROM ?", tenant, mode)
	}
	if p.Type != "" {
		t.add(" AND e.type = ?", p.Type)
	}
	if p.Ref != "" && way.num != "r.event" {
		t.add(" AND EXISTS (SELECT FROM hookpost.ref r WHERE r.tenant = ? AND r.mode = ? AND r.ref = ? AND r.event = e.num)", tenant, mode, p.Ref)
	}
	if p.Before != (store.DeliveryID{}) {
		t.add(" AND (d.event, d.endpoint, d.round) < (?, ?, ?)", p.Before.Event, p.Before.Endpoint, int4(p.Before.Round))
	}
	if len(states) > 0 {
		t.add(" AND (false")
		for _, st := range states {
			switch st {
			case store.Pending:
				t.add(" OR d.state <= 2 AND p.state <> 3")
			case store.Delivered:
				t.add(" OR d.state = 3")
			case store.Exhausted:
				t.add(" OR d.state = 4")
			case store.Cancelled:
				t.add(" OR d.state = 5 OR d.state <= 2 AND p.state = 3")
			}
		}
		t.add(")")
	}
	t.add(order+" LIMIT ?", pageSize(p.Limit, 100, 1000)+1)
	return t, floor, nil
}

// deliveryByID returns ErrNotFound if there is none in the scope.
func deliveryByID(ctx context.Context, q querier, scope store.Scope, id store.DeliveryID) (d store.Delivery, err error) {
	found := false
	if id.Round < 0 || id.Round > math.MaxInt32 {
		return d, store.NotFound("delivery", id.String(), scope)
	}
	err = q.query(ctx, "SELECT "+deliveryColumns+` FROM hookpost.delivery d
		JOIN hookpost.event e ON e.num = d.event JOIN hookpost.endpoint p ON p.num = d.endpoint
		WHERE d.event = $1 AND d.endpoint = $2 AND d.round = $3 AND e.tenant = $4 AND e.mode = $5`,
		[]any{id.Event, id.Endpoint, id.Round, scope.Tenant, int16(scope.Mode)}, func(scan scanner) error {
			found = true
			d, err = scanDelivery(scan, scope)
			return err
		})
	if err == nil && !found {
		err = store.NotFound("delivery", id.String(), scope)
	}
	return d, err
}

// Delivery implements [store.Log].
func (s *Store) Delivery(ctx context.Context, scope store.Scope, id store.DeliveryID) (d store.Delivery, err error) {
	if err := store.CheckScope(scope); err != nil {
		return d, err
	}
	err = s.read(ctx, func(q querier) error {
		d, err = deliveryByID(ctx, q, scope, id)
		return err
	})
	return d, err
}

// Attempts implements [store.Log].
func (s *Store) Attempts(ctx context.Context, scope store.Scope, id store.DeliveryID) (list []store.Attempt, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(q querier) error {
		list = nil
		if _, err := deliveryByID(ctx, q, scope, id); err != nil {
			return err
		}
		return q.query(ctx, `SELECT n, outcome, started_at, took, status, url, class, error, response_header, response_body
			FROM hookpost.attempt WHERE event = $1 AND endpoint = $2 AND round = $3
			UNION ALL SELECT attempts, 1, success_at, success_took, last_status, success_url, '', '', NULL, NULL
			FROM hookpost.delivery WHERE event = $1 AND endpoint = $2 AND round = $3 AND success_at IS NOT NULL
			ORDER BY 1`,
			[]any{id.Event, id.Endpoint, id.Round}, func(scan scanner) error {
				a, err := scanAttempt(scan)
				list = append(list, a)
				return err
			})
	})
	return list, err
}

// scanAttempt reads the columns n, outcome, started_at, took, status, url, class,
// error, response_header and response_body.
func scanAttempt(scan scanner) (a store.Attempt, err error) {
	var outcome int16
	var took int64
	err = scan(&a.N, &outcome, &a.StartedAt, &took, &a.Status, &a.URL, &a.Class, &a.Error, &a.ResponseHeader, &a.ResponseBody)
	a.Outcome, a.StartedAt, a.Took = store.Outcome(outcome), a.StartedAt.UTC(), time.Duration(took)*time.Microsecond
	return a, err
}
