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
	sp = span{from: store.CeilMicros(from), to: store.CeilMicros(to)}
	sp.first, sp.end, err = numsAt(ctx, q, at(sp.from), at(sp.to))
	return sp, err
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
		err = store.NotFound("event", id, scope)
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
