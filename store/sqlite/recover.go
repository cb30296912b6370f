package sqlite

import (
	"context"
	"fmt"

	"github.com/hookpost/hookpost/store"
)

// Replay implements [store.Log].
func (s *Store) Replay(ctx context.Context, scope store.Scope, eventID, endpointID string, p store.ReplayParams) (id store.DeliveryID, err error) {
	err = s.write(ctx, func(c *conn) error {
		sc, err := scopeOf(c, scope)
		if err != nil {
			return err
		}
		var event int64
		erased := false
		found, err := first(c, func(r row) { event, erased = r.int(0), !r.null(1) },
			"SELECT num, erased_at FROM hookpost_event WHERE scope = ? AND id = ?", sc.num, eventID)
		if err == nil && !found {
			err = store.NotFound("event", eventID, scope)
		}
		if err != nil {
			return err
		}
		if p.Repeat {
			ep, err := endpointByID(c, scope, endpointID)
			if err != nil {
				return err
			}
			id = store.DeliveryID{Event: event, Endpoint: ep.Num, Round: p.Round}
			there, err := first(c, func(row) {}, "SELECT 1 FROM hookpost_delivery WHERE event = ? AND endpoint = ? AND round = ?", event, ep.Num, p.Round)
			if err != nil || there {
				return err
			}
		}
		ep, err := takesDeliveries(c, scope, endpointID)
		switch {
		case err != nil:
			return err
		case erased:
			return fmt.Errorf("%w: %.80q", store.ErrErased, eventID)
		}
		id, err = again(c, event, ep.Num, s.now())
		if err == nil && p.Round != 0 && p.Round != id.Round {
			err = fmt.Errorf("%w: the next round is %d, not %d", store.ErrChanged, id.Round, p.Round)
		}
		return err
	})
	if err != nil {
		return store.DeliveryID{}, err
	}
	return id, nil
}

// again stores a delivery of an event in the next round.
func again(x execer, event, endpoint, now int64) (store.DeliveryID, error) {
	id := store.DeliveryID{Event: event, Endpoint: endpoint}
	_, err := first(x, func(r row) { id.Round = int(r.int(0)) },
		`INSERT INTO hookpost_delivery (event, endpoint, round, state, due_at, created_at)
		SELECT ?1, ?2, coalesce(max(round), 0) + 1, 1, ?3, ?3 FROM hookpost_delivery WHERE event = ?1 AND endpoint = ?2
		RETURNING round`, event, endpoint, now)
	return id, err
}

// Cancel implements [store.Log].
func (s *Store) Cancel(ctx context.Context, scope store.Scope, id store.DeliveryID, reason string) error {
	return s.write(ctx, func(c *conn) error {
		d, err := deliveryByID(c, scope, id)
		if err != nil {
			return err
		}
		if d.State != store.Pending {
			return fmt.Errorf("%w: %s is %v", store.ErrFinished, id, d.State)
		}
		return cancel(c, id, d.InFlight, reason, s.now())
	})
}

// Recover implements [store.Log]. A step ends with a whole event, so that one
// with a large fan-out is taken up in one step.
func (s *Store) Recover(ctx context.Context, scope store.Scope, p store.RecoverParams) (out store.Recovered, err error) {
	if err := store.CheckScope(scope); err != nil {
		return out, err
	}
	run := func(c *conn) error {
		out, err = recoverStep(c, scope, p, s.now())
		return err
	}
	if p.DryRun {
		err = s.read(ctx, run)
	} else {
		err = s.write(ctx, run)
	}
	if err != nil {
		return store.Recovered{}, err
	}
	return out, nil
}

func recoverStep(x execer, scope store.Scope, p store.RecoverParams, now int64) (store.Recovered, error) {
	out := store.Recovered{After: p.After, Done: true}
	sc, err := scopeOf(x, scope)
	if err != nil || sc.num == 0 {
		return out, err
	}
	from, end, err := numsAt(x, p.From, p.To)
	if err != nil {
		return out, err
	}
	most := pageSize(p.Limit, 1000, 100_000)
	from = max(from, p.After+1)

	var only int64
	text := "SELECT num, type, erased_at FROM hookpost_event INDEXED BY hookpost_event_scope WHERE scope = ? AND num >= ? AND num < ? ORDER BY num LIMIT ?"
	args := []any{sc.num, from, end, most + 1}
	if p.EndpointID != "" {
		found, err := first(x, func(r row) { only = r.int(0) },
			"SELECT num FROM hookpost_endpoint WHERE scope = ? AND id = ?", sc.num, p.EndpointID)
		if err != nil || !found {
			return out, err
		}
		text = `SELECT DISTINCT d.event, e.type, e.erased_at FROM hookpost_delivery d INDEXED BY hookpost_delivery_log
			CROSS JOIN hookpost_event e ON e.num = d.event
			WHERE d.endpoint = ? AND d.event >= ? AND d.event < ? ORDER BY d.event LIMIT ?`
		args[0] = only
	}
	type candidate struct {
		num  int64
		pass bool
	}
	var events []candidate
	err = x.query(func(r row) error {
		pass := !r.null(2) || store.Reserved(r.text(1)) || p.Type != "" && r.text(1) != p.Type
		events = append(events, candidate{r.int(0), pass})
		return nil
	}, text, args...)
	if err != nil {
		return out, err
	}
	looked := 0
	for _, ev := range events {
		if looked >= most {
			out.Done = false
			break
		}
		out.After = ev.num
		n := 0
		if !ev.pass {
			if n, err = recoverEvent(x, ev.num, only, p.DryRun, now, &out); err != nil {
				return out, err
			}
		}
		looked += max(n, 1) // events passed over bound a step too
	}
	return out, nil
}

// recoverEvent takes up the deliveries of one event, or of one endpoint if only
// is not 0, and returns how many it looked at.
func recoverEvent(x execer, event, only int64, dryRun bool, now int64, out *store.Recovered) (looked int, err error) {
	type delivery struct{ endpoint, round, state, failures, lane int64 }
	var all []delivery
	low, high := only, only
	if only == 0 {
		high = 1<<63 - 1
	}
	err = x.query(func(r row) error {
		all = append(all, delivery{r.int(0), r.int(1), r.int(2), r.int(3), r.int(4)})
		return nil
	}, `SELECT d.endpoint, d.round, d.state, d.failures, l.state FROM hookpost_delivery d JOIN hookpost_lane l ON l.endpoint = d.endpoint
		WHERE d.event = ? AND d.endpoint BETWEEN ? AND ? ORDER BY d.endpoint, d.round`, event, low, high)
	if err != nil {
		return 0, err
	}
	for i, d := range all {
		// An exhausted delivery with a later round was recovered or replayed already.
		last := i+1 == len(all) || all[i+1].endpoint != d.endpoint
		switch {
		case d.lane != int64(store.Enabled):
		case d.state == exhausted && last:
			out.Replayed++
			if !dryRun {
				if _, err := again(x, event, d.endpoint, now); err != nil {
					return 0, err
				}
			}
		case d.state == scheduled && d.failures > 0:
			out.Hastened++
			if !dryRun {
				_, err := x.exec("UPDATE hookpost_delivery SET state = 1, due_at = ? WHERE event = ? AND endpoint = ? AND round = ?",
					now, event, d.endpoint, d.round)
				if err != nil {
					return 0, err
				}
			}
		}
	}
	return len(all), nil
}
