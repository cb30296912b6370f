package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// pageSize applies the contract's bounds to the length of a page.
func pageSize(n, normal, most int) int {
	if n <= 0 {
		return normal
	}
	return min(n, most)
}

const eventColumns = "e.num, e.id, e.type, e.created_at, e.stored_at, e.content_type, e.hash, e.refs::text, e.set_version, e.erased_at"

// scanEvent reads the columns above and what follows them.
func scanEvent(scan scanner, scope store.Scope, more ...any) (store.Event, error) {
	ev := store.Event{Scope: scope}
	var hash []byte
	var refs *string
	var erased *time.Time
	err := scan(append([]any{
		&ev.Num, &ev.ID, &ev.Type, &ev.CreatedAt, &ev.StoredAt, &ev.ContentType, &hash, &refs,
		&ev.SetVersion, &erased,
	}, more...)...)
	if err != nil {
		return ev, err
	}
	ev.CreatedAt, ev.StoredAt, ev.ErasedAt = ev.CreatedAt.UTC(), ev.StoredAt.UTC(), utc(erased)
	copy(ev.Hash[:], hash)
	if refs != nil {
		if err := json.Unmarshal([]byte(*refs), &ev.Refs); err != nil {
			return ev, fmt.Errorf("references of event %s: %w", ev.ID, err)
		}
	}
	return ev, nil
}

// numAt finds the number that divides events stored before a time from the others
// by halving, see hookpost.event. $1 is the time; if NULL, $2 microseconds from now.
const numAt = `WITH RECURSIVE t AS (
	SELECT coalesce($1::timestamptz, statement_timestamp() + $2::bigint * interval '1 microsecond') AS at
), b(low, high) AS (
	SELECT 0::bigint, coalesce((SELECT num + 1 FROM hookpost.event ORDER BY num DESC LIMIT 1), 0)
	UNION ALL
	SELECT CASE WHEN x.stored_at < t.at THEN x.num + 1 ELSE b.low END, CASE WHEN x.stored_at < t.at THEN b.high ELSE (b.low + b.high) / 2 END
	FROM t CROSS JOIN b LEFT JOIN LATERAL (SELECT e.num, e.stored_at FROM hookpost.event e
		WHERE e.num >= (b.low + b.high) / 2 ORDER BY e.num LIMIT 1) x ON true
	WHERE b.low < b.high
) SELECT low FROM b ORDER BY high - low LIMIT 1`

// numSlack is how far numbers may be from the order of their times.
const numSlack = 10 * time.Second

// numsAt turns a span of microseconds from 1970, or negative ones from now, into
// one of numbers, first <= num < end, that holds all events of the span and few
// others.
func numsAt(ctx context.Context, q querier, from, to *int64) (first, end int64, err error) {
	first, end = 0, math.MaxInt64
	at := func(us int64, slack time.Duration) (num int64, err error) {
		var t *time.Time
		if us >= 0 {
			t = new(time.UnixMicro(us).Add(slack))
		}
		err = q.row(ctx, numAt, []any{t, us + micros(slack)}, &num)
		return num, err
	}
	if from != nil {
		if first, err = at(*from, -numSlack); err != nil {
			return 0, 0, err
		}
	}
	if to != nil {
		end, err = at(*to, numSlack)
	}
	return first, end, err
}

// span is a span of time of the contract's, as a condition on an event's number and
// time.
type span struct {
	first, end int64
	from, to   time.Time
}

func newSpan(ctx context.Context, q querier, from, to time.Time) (sp span, err error) {
	at := func(t time.Time) *int64 {
		if t.IsZero() || t.UnixMicro() < 0 {
			return nil
		}
		return new(t.UnixMicro())
	}
	sp = span{from: ceilMicros(from), to: ceilMicros(to)}
	sp.first, sp.end, err = numsAt(ctx, q, at(from), at(to))
	return sp, err
}

// ceilMicros rounds up: a stored time is before t if and only if it is before
// that.
func ceilMicros(t time.Time) time.Time {
	if t.IsZero() || t.Nanosecond()%1000 == 0 {
		return t
	}
	return t.Truncate(time.Microsecond).Add(time.Microsecond)
}

// text builds a statement with numbered parameters.
type text struct {
	strings.Builder
	args []any
}

// add appends a piece in which each ? stands for the next of args.
func (t *text) add(piece string, args ...any) {
	for _, a := range args {
		before, after, _ := strings.Cut(piece, "?")
		t.args = append(t.args, a)
		t.WriteString(before + "$" + strconv.Itoa(len(t.args)))
		piece = after
	}
	t.WriteString(piece)
}

// during appends the condition that event e, whose number is also in column num,
// is of the span.
func (t *text) during(sp span, num string) {
	t.add(" AND "+num+" >= ? AND "+num+" < ?", sp.first, sp.end)
	if !sp.from.IsZero() {
		t.add(" AND e.stored_at >= ?", sp.from)
	}
	if !sp.to.IsZero() {
		t.add(" AND e.stored_at < ?", sp.to)
	}
}

// Event implements [store.Log].
func (s *Store) Event(ctx context.Context, scope store.Scope, id string) (ev store.Event, err error) {
	if err := store.CheckScope(scope); err != nil {
		return store.Event{}, err
	}
	found := false
	err = s.read(ctx, func(q querier) error {
		if !store.IsText(id) {
			return nil
		}
		return q.query(ctx, "SELECT "+eventColumns+", e.body FROM hookpost.event e WHERE e.tenant = $1 AND e.mode = $2 AND e.id = $3",
			[]any{scope.Tenant, int16(scope.Mode), id}, func(scan scanner) error {
				found = true
				var body []byte
				if ev, err = scanEvent(scan, scope, &body); err == nil {
					ev.Body = body
				}
				return err
			})
	})
	if err == nil && !found {
		err = fmt.Errorf("%w: event %.80q in %v", store.ErrNotFound, id, scope)
	}
	if err != nil {
		return store.Event{}, err
	}
	return ev, nil
}

// Events implements [store.Log].
func (s *Store) Events(ctx context.Context, scope store.Scope, p store.EventQuery) (page []store.Event, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(q querier) error {
		page = nil
		if !store.IsText(p.Ref) || !store.IsText(p.Type) {
			return nil
		}
		sp, err := newSpan(ctx, q, p.From, p.To)
		if err != nil {
			return err
		}
		if p.Before > 0 {
			sp.end = min(sp.end, p.Before)
		}
		var t text
		num := "e.num"
		if p.Ref != "" {
			num = "r.event"
			t.add("SELECT "+eventColumns+" FROM hookpost.ref r JOIN hookpost.event e ON e.num = r.event WHERE r.tenant = ? AND r.mode = ? AND r.ref = ?",
				scope.Tenant, int16(scope.Mode), p.Ref)
		} else {
			t.add("SELECT "+eventColumns+" FROM hookpost.event e WHERE e.tenant = ? AND e.mode = ?", scope.Tenant, int16(scope.Mode))
		}
		t.during(sp, num)
		if p.Type != "" {
			t.add(" AND e.type = ?", p.Type)
		}
		t.add(" ORDER BY "+num+" DESC LIMIT ?", pageSize(p.Limit, 100, 1000))
		return q.query(ctx, t.String(), t.args, func(scan scanner) error {
			ev, err := scanEvent(scan, scope)
			page = append(page, ev)
			return err
		})
	})
	return page, err
}

const deliveryColumns = `d.event, d.endpoint, d.round, e.id, e.type, p.id, d.state, p.state, d.reason, d.attempts, d.failures,
	d.last_status, d.created_at, d.first_at, d.due_at, d.finished_at, p.changed_at`

func scanDelivery(scan scanner, scope store.Scope) (store.Delivery, error) {
	d := store.Delivery{Scope: scope}
	var state, endpoint int
	var due, changed time.Time
	var firstAt, finished *time.Time
	err := scan(&d.ID.Event, &d.ID.Endpoint, &d.ID.Round, &d.EventID, &d.EventType, &d.EndpointID, &state, &endpoint, &d.Reason,
		&d.Attempts, &d.Failures, &d.LastStatus, &d.CreatedAt, &firstAt, &due, &finished, &changed)
	d.State, d.CreatedAt, d.FirstAt, d.FinishedAt = publicState(state), d.CreatedAt.UTC(), utc(firstAt), utc(finished)
	switch {
	case d.State != store.Pending:
	case store.EndpointState(endpoint) == store.Deleted:
		d.State, d.Reason, d.FinishedAt = store.Cancelled, store.ReasonDeleted, changed.UTC()
	default:
		d.DueAt = due.UTC()
		d.InFlight = state == leased
	}
	return d, err
}

// Deliveries implements [store.Log].
func (s *Store) Deliveries(ctx context.Context, scope store.Scope, p store.DeliveryQuery) (page []store.Delivery, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, err
	}
	err = s.read(ctx, func(q querier) error {
		page = nil
		for _, text := range []string{p.EventID, p.EndpointID, p.Type, p.Ref} {
			if !store.IsText(text) {
				return nil
			}
		}
		t, err := deliveryQuery(ctx, q, scope, p)
		if err != nil || t == nil {
			return err
		}
		return q.query(ctx, t.String(), t.args, func(scan scanner) error {
			d, err := scanDelivery(scan, scope)
			page = append(page, d)
			return err
		})
	})
	return page, err
}

// deliveryQuery chooses the way to the rows: which table comes first decides
// how many are read. Nil means that there can be none.
func deliveryQuery(ctx context.Context, q querier, scope store.Scope, p store.DeliveryQuery) (*text, error) {
	sp, err := newSpan(ctx, q, p.From, p.To)
	if err != nil {
		return nil, err
	}
	if p.Before.Event > 0 && p.Before.Event < math.MaxInt64 {
		sp.end = min(sp.end, p.Before.Event+1)
	}
	t := &text{}
	t.add("SELECT " + deliveryColumns)
	const joins = " JOIN hookpost.delivery d ON d.event = e.num JOIN hookpost.endpoint p ON p.num = d.endpoint"
	tenant, mode := scope.Tenant, int16(scope.Mode)
	num, order := "e.num", " ORDER BY e.num DESC, d.endpoint DESC, d.round DESC"
	switch {
	case p.EventID != "":
		var event int64
		found, err := first(ctx, q, "SELECT num FROM hookpost.event WHERE tenant = $1 AND mode = $2 AND id = $3",
			[]any{tenant, mode, p.EventID}, &event)
		if err != nil || !found {
			return nil, err
		}
		t.add(` FROM hookpost.delivery d JOIN hookpost.event e ON e.num = d.event
			JOIN hookpost.endpoint p ON p.num = d.endpoint WHERE d.event = ?`, event)
		num, order = "d.event", " ORDER BY d.endpoint DESC, d.round DESC"
		if p.EndpointID != "" {
			t.add(" AND p.id = ?", p.EndpointID)
		}
	case p.EndpointID != "":
		var endpoint int64
		found, err := first(ctx, q, "SELECT num FROM hookpost.endpoint WHERE tenant = $1 AND mode = $2 AND id = $3",
			[]any{tenant, mode, p.EndpointID}, &endpoint)
		if err != nil || !found {
			return nil, err
		}
		t.add(` FROM hookpost.delivery d JOIN hookpost.event e ON e.num = d.event
			JOIN hookpost.endpoint p ON p.num = d.endpoint WHERE d.endpoint = ?`, endpoint)
		num, order = "d.event", " ORDER BY d.event DESC, d.round DESC"
	case p.Ref != "":
		t.add(` FROM hookpost.ref r JOIN hookpost.event e ON e.num = r.event JOIN hookpost.delivery d ON d.event = r.event
			JOIN hookpost.endpoint p ON p.num = d.endpoint WHERE r.tenant = ? AND r.mode = ? AND r.ref = ?`, tenant, mode, p.Ref)
		num, order = "r.event", " ORDER BY r.event DESC, d.endpoint DESC, d.round DESC"
	case len(p.States) == 1 && p.States[0] == store.Exhausted:
		t.add(` FROM hookpost.delivery d JOIN hookpost.event e ON e.num = d.event
			JOIN hookpost.endpoint p ON p.num = d.endpoint WHERE d.state = 4 AND e.tenant = ? AND e.mode = ?`, tenant, mode)
		num, order = "d.event", " ORDER BY d.event DESC, d.endpoint DESC, d.round DESC"
	default:
		t.add(" FROM hookpost.event e"+joins+" WHERE e.tenant = ? AND e.mode = ?", tenant, mode)
	}
	t.during(sp, num)
	if p.Type != "" {
		t.add(" AND e.type = ?", p.Type)
	}
	if p.Ref != "" && num != "r.event" {
		t.add(" AND EXISTS (SELECT FROM hookpost.ref r WHERE r.tenant = ? AND r.mode = ? AND r.ref = ? AND r.event = e.num)", tenant, mode, p.Ref)
	}
	if p.Before != (store.DeliveryID{}) {
		t.add(" AND (d.event, d.endpoint, d.round) < (?, ?, ?)", p.Before.Event, p.Before.Endpoint, p.Before.Round)
	}
	if len(p.States) > 0 {
		t.add(" AND (false")
		for _, st := range p.States {
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
	t.add(order+" LIMIT ?", pageSize(p.Limit, 100, 1000))
	return t, nil
}

// deliveryByID returns ErrNotFound if there is none in the scope.
func deliveryByID(ctx context.Context, q querier, scope store.Scope, id store.DeliveryID) (d store.Delivery, err error) {
	found := false
	if id.Round < 0 || id.Round > math.MaxInt32 {
		return d, fmt.Errorf("%w: delivery %s in %v", store.ErrNotFound, id, scope)
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
		err = fmt.Errorf("%w: delivery %s in %v", store.ErrNotFound, id, scope)
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
				var a store.Attempt
				var outcome int16
				var took int64
				err := scan(&a.N, &outcome, &a.StartedAt, &took, &a.Status, &a.URL, &a.Class, &a.Error, &a.ResponseHeader, &a.ResponseBody)
				a.Outcome, a.StartedAt, a.Took = store.Outcome(outcome), a.StartedAt.UTC(), time.Duration(took)*time.Microsecond
				list = append(list, a)
				return err
			})
	})
	return list, err
}
