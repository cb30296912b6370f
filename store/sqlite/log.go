package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"slices"
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

const eventColumns = "e.num, e.id, e.type, e.created_at, e.stored_at, e.content_type, e.hash, e.refs, e.set_version, e.erased_at, e.trace"

func scanEvent(r row, scope store.Scope) (store.Event, error) {
	ev := store.Event{
		Scope:       scope,
		Num:         r.int(0),
		ID:          r.text(1),
		Type:        r.text(2),
		CreatedAt:   r.time(3),
		StoredAt:    r.time(4),
		ContentType: r.text(5),
		SetVersion:  r.int(8),
		ErasedAt:    r.time(9),
		Trace:       r.text(10),
	}
	copy(ev.Hash[:], r.blob(6))
	if !r.null(7) {
		if err := json.Unmarshal(r.blob(7), &ev.Refs); err != nil {
			return ev, fmt.Errorf("sqlite: references of event %s: %w", ev.ID, err)
		}
	}
	return ev, nil
}

// numsAt turns a span of time into one of numbers: from <= num < to.
func numsAt(x execer, from, to time.Time) (first, end int64, err error) {
	first, end = 0, math.MaxInt64
	if !from.IsZero() {
		if first, err = numAt(x, store.CeilMicros(from).UnixMicro()); err != nil {
			return 0, 0, err
		}
	}
	if !to.IsZero() {
		end, err = numAt(x, store.CeilMicros(to).UnixMicro())
	}
	return first, end, err
}

// numAt returns a number that divides the events stored before t from the
// others. It halves the range, see hookpost_event.
func numAt(x execer, t int64) (int64, error) {
	var low, high int64
	_, err := first(x, func(r row) { high = r.int(0) + 1 }, "SELECT max(num) FROM hookpost_event")
	if err != nil {
		return 0, err
	}
	for low < high {
		mid := low + (high-low)/2
		var num, at int64
		found, err := first(x, func(r row) { num, at = r.int(0), r.int(1) },
			"SELECT num, stored_at FROM hookpost_event WHERE num >= ? ORDER BY num LIMIT 1", mid)
		if err != nil {
			return 0, err
		}
		if found && at < t {
			low = num + 1
		} else {
			high = mid
		}
	}
	return low, nil
}

// Event implements [store.Log].
func (s *Store) Event(ctx context.Context, scope store.Scope, id string) (ev store.Event, err error) {
	err = s.read(ctx, func(c *conn) error {
		sc, err := scopeOf(c, scope)
		if err != nil {
			return err
		}
		var bad error
		found, err := first(c, func(r row) {
			ev, bad = scanEvent(r, scope)
			if ev.ErasedAt.IsZero() {
				if ev.Body = r.blob(11); ev.Body == nil {
					ev.Body = []byte{}
				}
			}
		}, "SELECT "+eventColumns+", e.body FROM hookpost_event e WHERE e.scope = ? AND e.id = ?", sc.num, id)
		if err == nil && !found {
			err = store.NotFound("event", id, scope)
		}
		if err == nil {
			err = bad
		}
		return err
	})
	if err != nil {
		return store.Event{}, err
	}
	return ev, nil
}

// Events implements [store.Log].
func (s *Store) Events(ctx context.Context, scope store.Scope, q store.EventQuery) ([]store.Event, error) {
	page, _, err := s.searchEvents(ctx, scope, q, 0)
	return page, err
}

// SearchEvents implements [store.Log].
func (s *Store) SearchEvents(ctx context.Context, scope store.Scope, q store.EventQuery, look int) ([]store.Event, int64, error) {
	if err := store.CheckLimit(look); err != nil {
		return nil, 0, err
	}
	return s.searchEvents(ctx, scope, q, look)
}

// searchEvents looks at any number of events if look is 0.
func (s *Store) searchEvents(ctx context.Context, scope store.Scope, q store.EventQuery, look int) (page []store.Event, next int64, err error) {
	limit := pageSize(q.Limit, 100, 1000)
	err = s.read(ctx, func(c *conn) error {
		page, next = nil, 0
		sc, err := scopeOf(c, scope)
		if err != nil || sc.num == 0 {
			return err
		}
		text, args, floor, err := eventQuery(c, sc, q, look)
		if err != nil {
			return err
		}
		next = floor
		return c.query(func(r row) error {
			if len(page) == limit {
				next = page[limit-1].Num
				return nil
			}
			ev, err := scanEvent(r, scope)
			page = append(page, ev)
			return err
		}, text, append(args, limit+1)...)
	})
	if err != nil {
		return nil, 0, err
	}
	return page, next, nil
}

// eventQuery returns a statement without the value of its limit, and where a
// search that looks at so many events ends; 0: at the end of the log.
func eventQuery(c *conn, sc scopeRow, q store.EventQuery, look int) (text string, args []any, floor int64, err error) {
	from, end, err := numsAt(c, q.From, q.To)
	if err != nil {
		return "", nil, 0, err
	}
	if q.Before > 0 {
		end = min(end, q.Before)
	}
	way := trail{" FROM hookpost_event e INDEXED BY hookpost_event_scope", "", " WHERE e.scope = ?", "e.num", []any{sc.num}}
	if q.Ref != "" {
		way = trail{" FROM hookpost_ref r", " CROSS JOIN hookpost_event e ON e.num = r.event", " WHERE r.scope = ? AND r.ref = ?", "r.event", []any{sc.num, q.Ref}}
	}
	if floor, err = way.floor(c, from, end, look); err != nil {
		return "", nil, 0, err
	}
	text = "SELECT " + eventColumns + way.table + way.joins + way.where + " AND " + way.num + " >= ? AND " + way.num + " < ?"
	args = append(way.args, max(from, floor), end)
	if q.Type != "" {
		text += " AND e.type = ?"
		args = append(args, q.Type)
	}
	return text + " ORDER BY " + way.num + " DESC LIMIT ?", args, floor, nil
}

const deliveryColumns = `d.event, d.endpoint, d.round, e.id, e.type, p.id, d.state, p.state, d.reason, d.attempts, d.failures,
	d.last_status, d.created_at, d.first_at, d.due_at, d.finished_at, p.changed_at, d.leased_at, d.lease_until`

func scanDelivery(r row, scope store.Scope) store.Delivery {
	d := store.Delivery{
		ID:         store.DeliveryID{Event: r.int(0), Endpoint: r.int(1), Round: int(r.int(2))},
		Scope:      scope,
		EventID:    r.text(3),
		EventType:  r.text(4),
		EndpointID: r.text(5),
		State:      publicState(r.int(6)),
		Reason:     r.text(8),
		Attempts:   int(r.int(9)),
		Failures:   int(r.int(10)),
		LastStatus: int(r.int(11)),
		CreatedAt:  r.time(12),
		FirstAt:    r.time(13),
		FinishedAt: r.time(15),
	}
	switch {
	case d.State != store.Pending:
	case r.int(7) == int64(store.Deleted):
		d.State, d.Reason, d.FinishedAt = store.Cancelled, store.ReasonDeleted, r.time(16)
	default:
		d.DueAt = r.time(14)
		if d.InFlight = r.int(6) == leased; d.InFlight {
			d.LeasedAt, d.LeaseUntil = r.time(17), r.time(18)
		}
	}
	return d
}

// Deliveries implements [store.Log].
func (s *Store) Deliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery) ([]store.Delivery, error) {
	page, _, err := s.searchDeliveries(ctx, scope, q, 0)
	return page, err
}

// SearchDeliveries implements [store.Log].
func (s *Store) SearchDeliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery, look int) ([]store.Delivery, store.DeliveryID, error) {
	if err := store.CheckLimit(look); err != nil {
		return nil, store.DeliveryID{}, err
	}
	return s.searchDeliveries(ctx, scope, q, look)
}

// searchDeliveries looks at any number of rows if look is 0.
func (s *Store) searchDeliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery, look int) (page []store.Delivery, next store.DeliveryID, err error) {
	limit := pageSize(q.Limit, 100, 1000)
	err = s.read(ctx, func(c *conn) error {
		page, next = nil, store.DeliveryID{}
		sc, err := scopeOf(c, scope)
		if err != nil || sc.num == 0 {
			return err
		}
		text, args, floor, err := deliveryQuery(c, sc, q, look)
		if err != nil || text == "" {
			return err
		}
		next.Event = floor
		return c.query(func(r row) error {
			if len(page) == limit {
				next = page[limit-1].ID
				return nil
			}
			page = append(page, scanDelivery(r, scope))
			return nil
		}, text, append(args, limit+1)...)
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

// floor returns the number of the event at which one over [from, end) has seen
// look rows; 0: it sees fewer, or look is 0 and it has no bound.
func (w *trail) floor(c *conn, from, end int64, look int) (num int64, err error) {
	if look == 0 {
		return 0, nil
	}
	text, args := w.floorQuery(from, end, look)
	_, err = first(c, func(r row) { num = r.int(0) }, text, args...)
	return num, err
}

func (w *trail) floorQuery(from, end int64, look int) (text string, args []any) {
	return "SELECT " + w.num + w.table + w.where + " AND " + w.num + " >= ? AND " + w.num + " < ? ORDER BY " + w.num + " DESC LIMIT 1 OFFSET ?",
		append(slices.Clone(w.args), from, end, look-1)
}

// deliveryQuery chooses the way to the rows: which table comes first decides
// how many are read. It returns a statement without the value of its limit, and
// where a search that looks at so many rows ends; 0: at the end of the log. An
// empty text means that there can be none.
func deliveryQuery(c *conn, sc scopeRow, q store.DeliveryQuery, look int) (text string, args []any, floor int64, err error) {
	from, end, err := numsAt(c, q.From, q.To)
	if err != nil {
		return "", nil, 0, err
	}
	if last := q.Before.Event; last > 0 {
		if q.Before.Endpoint > 0 && last < math.MaxInt64 {
			last++ // the event itself may have more
		}
		end = min(end, last)
	}
	// In one order and each once, so that there are few statements, which are kept,
	// whatever a visitor asks for.
	states := slices.Compact(slices.Sorted(slices.Values(q.States)))
	const endpoint = " JOIN hookpost_endpoint p ON p.num = d.endpoint"
	const event = " CROSS JOIN hookpost_event e ON e.num = d.event" + endpoint
	var way trail
	order := " ORDER BY e.num DESC, d.endpoint DESC, d.round DESC"
	switch {
	case q.EventID != "":
		way = trail{
			" FROM hookpost_event e", " CROSS JOIN hookpost_delivery d ON d.event = e.num" + endpoint,
			" WHERE e.scope = ? AND e.id = ?", "e.num",
			[]any{sc.num, q.EventID},
		}
		if q.EndpointID != "" {
			way.where += " AND p.id = ?"
			way.args = append(way.args, q.EndpointID)
		}
		look = 0
	case q.EndpointID != "":
		var endpoint int64
		found, err := first(c, func(r row) { endpoint = r.int(0) },
			"SELECT num FROM hookpost_endpoint WHERE scope = ? AND id = ?", sc.num, q.EndpointID)
		if err != nil || !found {
			return "", nil, 0, err
		}
		way = trail{" FROM hookpost_delivery d INDEXED BY hookpost_delivery_log", event, " WHERE d.endpoint = ?", "d.event", []any{endpoint}}
		order = " ORDER BY d.event DESC, d.round DESC"
	case q.Ref != "":
		way = trail{
			" FROM hookpost_ref r", " CROSS JOIN hookpost_event e ON e.num = r.event CROSS JOIN hookpost_delivery d ON d.event = r.event" + endpoint,
			" WHERE r.scope = ? AND r.ref = ?", "r.event",
			[]any{sc.num, q.Ref},
		}
		order = " ORDER BY r.event DESC, d.endpoint DESC, d.round DESC"
	case len(states) == 1 && states[0] == store.Exhausted:
		way = trail{" FROM hookpost_delivery d INDEXED BY hookpost_delivery_exhausted", event, " WHERE d.state = 4", "d.event", nil}
		order = " ORDER BY d.event DESC, d.endpoint DESC, d.round DESC"
	default:
		way = trail{
			" FROM hookpost_event e INDEXED BY hookpost_event_scope", " CROSS JOIN hookpost_delivery d ON d.event = e.num" + endpoint,
			" WHERE e.scope = ?", "e.num",
			[]any{sc.num},
		}
	}
	if floor, err = way.floor(c, from, end, look); err != nil {
		return "", nil, 0, err
	}
	var b strings.Builder
	b.WriteString("SELECT " + deliveryColumns + way.table + way.joins + way.where + " AND " + way.num + " >= ? AND " + way.num + " < ?")
	args = append(way.args, max(from, floor), end)
	if way.num == "d.event" {
		b.WriteString(" AND e.scope = ?")
		args = append(args, sc.num)
	}
	if q.Type != "" {
		b.WriteString(" AND e.type = ?")
		args = append(args, q.Type)
	}
	if q.Ref != "" && way.num != "r.event" {
		b.WriteString(" AND EXISTS (SELECT 1 FROM hookpost_ref r WHERE r.scope = ? AND r.ref = ? AND r.event = e.num)")
		args = append(args, sc.num, q.Ref)
	}
	if q.Before != (store.DeliveryID{}) {
		b.WriteString(" AND (d.event, d.endpoint, d.round) < (?, ?, ?)")
		args = append(args, q.Before.Event, q.Before.Endpoint, q.Before.Round)
	}
	if len(states) > 0 {
		b.WriteString(" AND (0")
		for _, st := range states {
			switch st {
			case store.Pending:
				b.WriteString(" OR d.state <= 2 AND p.state <> 3")
			case store.Delivered:
				b.WriteString(" OR d.state = 3")
			case store.Exhausted:
				b.WriteString(" OR d.state = 4")
			case store.Cancelled:
				b.WriteString(" OR d.state = 5 OR d.state <= 2 AND p.state = 3")
			}
		}
		b.WriteString(")")
	}
	b.WriteString(order + " LIMIT ?")
	return b.String(), args, floor, nil
}

// deliveryByID returns ErrNotFound if there is none in the scope.
func deliveryByID(x execer, scope store.Scope, id store.DeliveryID) (d store.Delivery, err error) {
	sc, err := scopeOf(x, scope)
	if err != nil {
		return d, err
	}
	found, err := first(x, func(r row) { d = scanDelivery(r, scope) }, "SELECT "+deliveryColumns+` FROM hookpost_delivery d
		JOIN hookpost_event e ON e.num = d.event JOIN hookpost_endpoint p ON p.num = d.endpoint
		WHERE d.event = ? AND d.endpoint = ? AND d.round = ? AND e.scope = ?`, id.Event, id.Endpoint, id.Round, sc.num)
	if err == nil && !found {
		err = store.NotFound("delivery", id.String(), scope)
	}
	return d, err
}

// Delivery implements [store.Log].
func (s *Store) Delivery(ctx context.Context, scope store.Scope, id store.DeliveryID) (d store.Delivery, err error) {
	err = s.read(ctx, func(c *conn) error {
		d, err = deliveryByID(c, scope, id)
		return err
	})
	return d, err
}

// Attempts implements [store.Log].
func (s *Store) Attempts(ctx context.Context, scope store.Scope, id store.DeliveryID) (list []store.Attempt, err error) {
	err = s.read(ctx, func(c *conn) error {
		list = nil
		if _, err := deliveryByID(c, scope, id); err != nil {
			return err
		}
		return c.query(func(r row) error {
			list = append(list, scanAttempt(r))
			return nil
		}, `SELECT n, outcome, started_at, took, status, url, class, error, response_header, response_body
			FROM hookpost_attempt WHERE event = ?1 AND endpoint = ?2 AND round = ?3
			UNION ALL SELECT attempts, 1, success_at, success_took, last_status, success_url, '', '', NULL, NULL
			FROM hookpost_delivery WHERE event = ?1 AND endpoint = ?2 AND round = ?3 AND success_at IS NOT NULL
			ORDER BY 1`, id.Event, id.Endpoint, id.Round)
	})
	return list, err
}

// scanAttempt reads the columns n, outcome, started_at, took, status, url, class,
// error, response_header and response_body.
func scanAttempt(r row) store.Attempt {
	return store.Attempt{
		N:              int(r.int(0)),
		Outcome:        store.Outcome(r.int(1)),
		StartedAt:      r.time(2),
		Took:           time.Duration(r.int(3)) * time.Microsecond,
		Status:         int(r.int(4)),
		URL:            r.text(5),
		Class:          r.text(6),
		Error:          r.text(7),
		ResponseHeader: r.blob(8),
		ResponseBody:   r.blob(9),
	}
}
