package sqlite

import (
	"context"
	"fmt"
	"math"

	"github.com/hookpost/hookpost/store"
)

// Erase implements [store.Log].
func (s *Store) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (out store.Erased, err error) {
	if err := store.CheckErase(scope, p); err != nil {
		return out, err
	}
	p.Limit = pageSize(p.Limit, 1000, 100_000)
	err = s.write(ctx, func(c *conn) error {
		sc, err := scopeOf(c, scope)
		if err == nil {
			out, err = eraseStep(c, sc, p, s.now(), false)
		}
		return err
	})
	if err != nil {
		return store.Erased{}, err
	}
	return out, nil
}

// eraseStep erases what p selects, up to its limit. If all of it is wanted and that is
// more, it erases nothing and returns ErrTooMany.
func eraseStep(x execer, sc scopeRow, p store.EraseParams, now int64, all bool) (store.Erased, error) {
	out := store.Erased{After: p.After}
	events, weight, done, err := toErase(x, sc, p)
	switch {
	case err != nil:
		return out, err
	case all && (!done || weight > p.Limit):
		return out, fmt.Errorf("%w: more than %d events or deliveries", store.ErrTooMany, p.Limit)
	case p.EventID != "" && len(events) == 0 && p.After == 0:
		return out, store.NotFound("event", p.EventID, sc.scope)
	}
	for _, num := range events {
		if err := eraseEvent(x, sc.num, num, now, &out); err != nil {
			return out, err
		}
		out.After = num
	}
	out.Done = done
	return out, nil
}

// toErase returns the events of the next step, what they count for, and whether they
// are the last.
func toErase(x execer, sc scopeRow, p store.EraseParams) (events []int64, weight int, done bool, err error) {
	const deliveries = ", (SELECT count(*) FROM hookpost_delivery d WHERE d.event = e.num)"
	text := "SELECT e.num" + deliveries + " FROM hookpost_event e INDEXED BY hookpost_event_scope WHERE e.scope = ? AND e.num > ? ORDER BY e.num LIMIT ?"
	args := []any{sc.num, p.After, min(p.Limit, math.MaxInt32) + 1}
	switch {
	case p.EventID != "":
		text = "SELECT e.num" + deliveries + " FROM hookpost_event e WHERE e.scope = ? AND e.num > ? AND e.id = ?"
		args[2] = p.EventID
	case p.Ref != "":
		text = "SELECT e.num" + deliveries + ` FROM hookpost_ref r CROSS JOIN hookpost_event e ON e.num = r.event
			WHERE r.scope = ? AND r.ref = ? AND r.event > ? ORDER BY r.event LIMIT ?`
		args = []any{sc.num, p.Ref, p.After, args[2]}
	}
	looked := 0
	err = x.query(func(r row) error {
		if looked++; weight < p.Limit {
			events = append(events, r.int(0))
			weight += int(max(1, r.int(1)))
		}
		return nil
	}, text, args...)
	return events, weight, looked == len(events), err
}

// eraseEvent erases one event and adds to out what it did.
func eraseEvent(x execer, scope, num, now int64, out *store.Erased) error {
	var refs []byte
	var erased bool
	found, err := first(x, func(r row) { refs, erased = r.blob(0), !r.null(1) },
		"SELECT refs, erased_at FROM hookpost_event WHERE num = ?", num)
	if err != nil || !found {
		return err
	}
	if _, err := x.exec("DELETE FROM hookpost_fanout WHERE event = ?", num); err != nil {
		return err
	}
	// What is pending for a deleted endpoint reads as cancelled already.
	const pending = ` FROM hookpost_delivery d JOIN hookpost_lane l ON l.endpoint = d.endpoint
		WHERE d.event = ? AND d.state <= 2 AND l.state <> 3`
	var ids []store.DeliveryID
	var leases []bool
	err = x.query(func(r row) error {
		ids = append(ids, store.DeliveryID{Event: num, Endpoint: r.int(0), Round: int(r.int(1))})
		leases = append(leases, r.int(2) == leased)
		return nil
	}, "SELECT d.endpoint, d.round, d.state"+pending, num)
	if err != nil {
		return err
	}
	for i, id := range ids {
		if err := cancel(x, id, leases[i], store.ReasonErased, now); err != nil {
			return err
		}
	}
	out.Cancelled += len(ids)
	if _, err := x.exec("UPDATE hookpost_attempt SET response_header = NULL, response_body = NULL WHERE event = ? AND "+hasAnswer, num); err != nil {
		return err
	}
	if erased && refs == nil {
		return nil
	}
	if err := deleteRefs(x, scope, num, refs); err != nil {
		return err
	}
	out.Events++
	_, err = x.exec("UPDATE hookpost_event SET body = NULL, refs = NULL, erased_at = coalesce(erased_at, ?) WHERE num = ?", now, num)
	return err
}
