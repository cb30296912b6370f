package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
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

// int4 is a number as an integer column takes it. What does not fit becomes the end
// that is next to it.
func int4[N int | int64](n N) int32 {
	return int32(min(max(int64(n), math.MinInt32), math.MaxInt32))
}

const eventColumns = "e.num, e.id, e.type, e.created_at, e.stored_at, e.content_type, e.hash, e.refs::text, e.set_version, e.erased_at, coalesce(e.trace, '')"

// fromEventByID finds the event of a scope, $1 and $2, by its id, $3. It is a range
// in order of ids because of servers that have no statistics yet: to them the index
// on (tenant, mode, num) is as good for an equality, and it would be read whole.
const fromEventByID = " FROM hookpost.event e WHERE e.tenant = $1 AND e.mode = $2 AND e.id >= $3 AND e.id <= $3 ORDER BY e.id LIMIT 1"

// scanEvent reads the columns above and what follows them.
func scanEvent(scan scanner, scope store.Scope, more ...any) (store.Event, error) {
	ev := store.Event{Scope: scope}
	var hash []byte
	var refs *string
	var erased *time.Time
	err := scan(append([]any{
		&ev.Num, &ev.ID, &ev.Type, &ev.CreatedAt, &ev.StoredAt, &ev.ContentType, &hash, &refs,
		&ev.SetVersion, &erased, &ev.Trace,
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
		return q.query(ctx, "SELECT "+eventColumns+", e.body"+fromEventByID,
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
func (s *Store) Events(ctx context.Context, scope store.Scope, p store.EventQuery) ([]store.Event, error) {
	page, _, err := s.searchEvents(ctx, scope, p, 0)
	return page, err
}

// SearchEvents implements [store.Log].
func (s *Store) SearchEvents(ctx context.Context, scope store.Scope, p store.EventQuery, look int) ([]store.Event, int64, error) {
	if err := store.CheckLimit(look); err != nil {
		return nil, 0, err
	}
	return s.searchEvents(ctx, scope, p, look)
}

// searchEvents looks at any number of events if look is 0.
func (s *Store) searchEvents(ctx context.Context, scope store.Scope, p store.EventQuery, look int) (page []store.Event, next int64, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, 0, err
	}
	limit := pageSize(p.Limit, 100, 1000)
	err = s.read(ctx, func(q querier) error {
		page, next = nil, 0
		if !store.IsText(p.Ref) || !store.IsText(p.Type) {
			return nil
		}
		t, floor, err := eventQuery(ctx, q, scope, p, look)
		if err != nil {
			return err
		}
		next = floor
		return q.query(ctx, t.String(), t.args, func(scan scanner) error {
			ev, err := scanEvent(scan, scope)
			if len(page) == limit {
				next = page[limit-1].Num
				return err
			}
			page = append(page, ev)
			return err
		})
	})
	if err != nil {
		return nil, 0, err
	}
	return page, next, nil
}

// eventQuery returns a statement for one event more than a page has, and where a
// search that looks at so many ends; 0: at the end of the log.
func eventQuery(ctx context.Context, q querier, scope store.Scope, p store.EventQuery, look int) (*text, int64, error) {
	sp, err := newSpan(ctx, q, p.From, p.To)
	if err != nil {
		return nil, 0, err
	}
	if p.Before > 0 {
		sp.end = min(sp.end, p.Before)
	}
	way := trail{" FROM hookpost.event e", "", " WHERE e.tenant = ? AND e.mode = ?", "e.num", []any{scope.Tenant, int16(scope.Mode)}}
	if p.Ref != "" {
		way = trail{
			" FROM hookpost.ref r", " JOIN hookpost.event e ON e.num = r.event", " WHERE r.tenant = ? AND r.mode = ? AND r.ref = ?", "r.event",
			[]any{scope.Tenant, int16(scope.Mode), p.Ref},
		}
	}
	floor, err := way.floor(ctx, q, sp, look)
	if err != nil {
		return nil, 0, err
	}
	sp.first = max(sp.first, floor)
	t := &text{}
	t.add("SELECT "+eventColumns+way.table+way.joins+way.where, way.args...)
	t.during(sp, way.num)
	if p.Type != "" {
		t.add(" AND e.type = ?", p.Type)
	}
	t.add(" ORDER BY "+way.num+" DESC LIMIT ?", pageSize(p.Limit, 100, 1000)+1)
	return t, floor, nil
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

// A trail is a way through the log, from the newest event to the oldest: the table
// whose index is followed, what is joined to its rows, which rows, and the column
// with the event's number.
type trail struct {
	table, joins, where, num string
	args                     []any
}

// floor returns the number of the event at which one over a span has seen look
// rows; 0: it sees fewer, or look is 0 and it has no bound.
func (w *trail) floor(ctx context.Context, q querier, sp span, look int) (num int64, err error) {
	if look == 0 {
		return 0, nil
	}
	t := w.floorQuery(sp, look)
	_, err = first(ctx, q, t.String(), t.args, &num)
	return num, err
}

func (w *trail) floorQuery(sp span, look int) *text {
	t := &text{}
	t.add("SELECT "+w.num+w.table+w.where, w.args...)
	t.add(" AND "+w.num+" >= ? AND "+w.num+" < ? ORDER BY "+w.num+" DESC OFFSET ? LIMIT 1", sp.first, sp.end, look-1)
	return t
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
