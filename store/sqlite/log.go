package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
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

const eventColumns = "e.num, e.id, e.type, e.created_at, e.stored_at, e.content_type, e.hash, e.refs, e.set_version, e.erased_at"

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
		if first, err = numAt(x, ceilMicros(from)); err != nil {
			return 0, 0, err
		}
	}
	if !to.IsZero() {
		end, err = numAt(x, ceilMicros(to))
	}
	return first, end, err
}

// ceilMicros rounds up: a stored time is before t if and only if it is before
// that.
func ceilMicros(t time.Time) int64 {
	us := t.UnixMicro()
	if t.Nanosecond()%1000 != 0 {
		us++
	}
	return us
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
				if ev.Body = r.blob(10); ev.Body == nil {
					ev.Body = []byte{}
				}
			}
		}, "SELECT "+eventColumns+", e.body FROM hookpost_event e WHERE e.scope = ? AND e.id = ?", sc.num, id)
		if err == nil && !found {
			err = fmt.Errorf("%w: event %.80q in %v", store.ErrNotFound, id, scope)
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
func (s *Store) Events(ctx context.Context, scope store.Scope, q store.EventQuery) (page []store.Event, err error) {
	err = s.read(ctx, func(c *conn) error {
		page = nil
		sc, err := scopeOf(c, scope)
		if err != nil || sc.num == 0 {
			return err
		}
		from, end, err := numsAt(c, q.From, q.To)
		if err != nil {
			return err
		}
		if q.Before > 0 {
			end = min(end, q.Before)
		}
		text := "SELECT " + eventColumns + " FROM hookpost_event e INDEXED BY hookpost_event_scope WHERE e.scope = ?"
		args := []any{sc.num}
		if q.Ref != "" {
			text = "SELECT " + eventColumns + " FROM hookpost_ref r CROSS JOIN hookpost_event e ON e.num = r.event WHERE r.scope = ? AND r.ref = ?"
			args = append(args, q.Ref)
		}
		num := "e.num"
		if q.Ref != "" {
			num = "r.event"
		}
		text += " AND " + num + " >= ? AND " + num + " < ?"
		args = append(args, from, end)
		if q.Type != "" {
			text += " AND e.type = ?"
			args = append(args, q.Type)
		}
		return c.query(func(r row) error {
			ev, err := scanEvent(r, scope)
			page = append(page, ev)
			return err
		}, text+" ORDER BY "+num+" DESC LIMIT ?", append(args, pageSize(q.Limit, 100, 1000))...)
	})
	return page, err
}

const deliveryColumns = `d.event, d.endpoint, d.round, e.id, e.type, p.id, d.state, p.state, d.reason, d.attempts, d.failures,
	d.last_status, d.created_at, d.first_at, d.due_at, d.finished_at, p.changed_at`

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
		d.InFlight = r.int(6) == leased
	}
	return d
}

// Deliveries implements [store.Log].
func (s *Store) Deliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery) (page []store.Delivery, err error) {
	err = s.read(ctx, func(c *conn) error {
		page = nil
		sc, err := scopeOf(c, scope)
		if err != nil || sc.num == 0 {
			return err
		}
		text, args, err := deliveryQuery(c, sc, q)
		if err != nil || text == "" {
			return err
		}
		return c.query(func(r row) error {
			page = append(page, scanDelivery(r, scope))
			return nil
		}, text, args...)
	})
	return page, err
}

// deliveryQuery chooses the way to the rows: which table comes first decides
// how many are read. An empty text means that there can be none.
func deliveryQuery(c *conn, sc scopeRow, q store.DeliveryQuery) (text string, args []any, err error) {
	from, end, err := numsAt(c, q.From, q.To)
	if err != nil {
		return "", nil, err
	}
	if q.Before.Event > 0 && q.Before.Event < math.MaxInt64 {
		end = min(end, q.Before.Event+1)
	}
	var b strings.Builder
	b.WriteString("SELECT " + deliveryColumns)
	order := " ORDER BY e.num DESC, d.endpoint DESC, d.round DESC"
	num := "e.num"
	switch {
	case q.EventID != "":
		b.WriteString(" FROM hookpost_event e CROSS JOIN hookpost_delivery d ON d.event = e.num JOIN hookpost_endpoint p ON p.num = d.endpoint WHERE e.scope = ? AND e.id = ?")
		args = append(args, sc.num, q.EventID)
		if q.EndpointID != "" {
			b.WriteString(" AND p.id = ?")
			args = append(args, q.EndpointID)
		}
	case q.EndpointID != "":
		var endpoint int64
		found, err := first(c, func(r row) { endpoint = r.int(0) },
			"SELECT num FROM hookpost_endpoint WHERE scope = ? AND id = ?", sc.num, q.EndpointID)
		if err != nil || !found {
			return "", nil, err
		}
		b.WriteString(` FROM hookpost_delivery d INDEXED BY hookpost_delivery_log CROSS JOIN hookpost_event e ON e.num = d.event
			JOIN hookpost_endpoint p ON p.num = d.endpoint WHERE d.endpoint = ?`)
		args = append(args, endpoint)
		num, order = "d.event", " ORDER BY d.event DESC, d.round DESC"
	case q.Ref != "":
		b.WriteString(` FROM hookpost_ref r CROSS JOIN hookpost_event e ON e.num = r.event CROSS JOIN hookpost_delivery d ON d.event = r.event
			JOIN hookpost_endpoint p ON p.num = d.endpoint WHERE r.scope = ? AND r.ref = ?`)
		args = append(args, sc.num, q.Ref)
		num, order = "r.event", " ORDER BY r.event DESC, d.endpoint DESC, d.round DESC"
	case len(q.States) == 1 && q.States[0] == store.Exhausted:
		b.WriteString(` FROM hookpost_delivery d INDEXED BY hookpost_delivery_exhausted CROSS JOIN hookpost_event e ON e.num = d.event
			JOIN hookpost_endpoint p ON p.num = d.endpoint WHERE d.state = 4 AND e.scope = ?`)
		args = append(args, sc.num)
		num, order = "d.event", " ORDER BY d.event DESC, d.endpoint DESC, d.round DESC"
	default:
		b.WriteString(` FROM hookpost_event e INDEXED BY hookpost_event_scope CROSS JOIN hookpost_delivery d ON d.event = e.num
			JOIN hookpost_endpoint p ON p.num = d.endpoint WHERE e.scope = ?`)
		args = append(args, sc.num)
	}
	b.WriteString(" AND " + num + " >= ? AND " + num + " < ?")
	args = append(args, from, end)
	if q.Type != "" {
		b.WriteString(" AND e.type = ?")
		args = append(args, q.Type)
	}
	if q.Ref != "" && num != "r.event" {
		b.WriteString(" AND EXISTS (SELECT 1 FROM hookpost_ref r WHERE r.scope = ? AND r.ref = ? AND r.event = e.num)")
		args = append(args, sc.num, q.Ref)
	}
	if q.Before != (store.DeliveryID{}) {
		b.WriteString(" AND (d.event, d.endpoint, d.round) < (?, ?, ?)")
		args = append(args, q.Before.Event, q.Before.Endpoint, q.Before.Round)
	}
	if len(q.States) > 0 {
		b.WriteString(" AND (0")
		for _, st := range q.States {
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
	return b.String(), append(args, pageSize(q.Limit, 100, 1000)), nil
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
		err = fmt.Errorf("%w: delivery %s in %v", store.ErrNotFound, id, scope)
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
			list = append(list, store.Attempt{
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
			})
			return nil
		}, `SELECT n, outcome, started_at, took, status, url, class, error, response_header, response_body
			FROM hookpost_attempt WHERE event = ?1 AND endpoint = ?2 AND round = ?3
			UNION ALL SELECT attempts, 1, success_at, success_took, last_status, success_url, '', '', NULL, NULL
			FROM hookpost_delivery WHERE event = ?1 AND endpoint = ?2 AND round = ?3 AND success_at IS NOT NULL
			ORDER BY 1`, id.Event, id.Endpoint, id.Round)
	})
	return list, err
}
