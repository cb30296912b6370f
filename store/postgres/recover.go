package postgres

import (
	"context"
	"fmt"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// Replay implements [store.Log].
func (s *Store) Replay(ctx context.Context, scope store.Scope, eventID, endpointID string, p store.ReplayParams) (id store.DeliveryID, err error) {
	if err := store.CheckScope(scope); err != nil {
		return store.DeliveryID{}, err
	}
	err = s.write(ctx, func(q querier) error {
		var event int64
		var erased, found bool
		if store.IsText(eventID) {
			// The lock makes replays of one event come one after the other.
			found, err = first(ctx, q, "SELECT num, erased_at IS NOT NULL FROM hookpost.event WHERE tenant = $1 AND mode = $2 AND id = $3 FOR NO KEY UPDATE",
				[]any{scope.Tenant, int16(scope.Mode), eventID}, &event, &erased)
		}
		if err == nil && !found {
			err = store.NotFound("event", eventID, scope)
		}
		if err != nil {
			return err
		}
		if p.Repeat {
			ep, err := endpointByID(ctx, q, scope, endpointID)
			if err != nil {
				return err
			}
			id = store.DeliveryID{Event: event, Endpoint: ep.Num, Round: p.Round}
			there := 0
			stored, err := first(ctx, q, "SELECT 1 FROM hookpost.delivery WHERE event = $1 AND endpoint = $2 AND round = $3",
				[]any{event, ep.Num, int4(p.Round)}, &there)
			if err != nil || stored {
				return err
			}
		}
		ep, err := takesDeliveries(ctx, q, scope, endpointID)
		switch {
		case err != nil:
			return err
		case erased:
			return fmt.Errorf("%w: %.80q", store.ErrErased, eventID)
		}
		id = store.DeliveryID{Event: event, Endpoint: ep.Num}
		err = q.row(ctx, `INSERT INTO hookpost.delivery (event, endpoint, round, state, due_at, created_at)
			SELECT $1, $2, coalesce(max(round), 0) + 1, 1, statement_timestamp(), statement_timestamp()
			FROM hookpost.delivery WHERE event = $1 AND endpoint = $2 RETURNING round`, []any{event, ep.Num}, &id.Round)
		if err == nil && p.Round != 0 && p.Round != id.Round {
			err = fmt.Errorf("%w: the next round is %d, not %d", store.ErrChanged, id.Round, p.Round)
		}
		return err
	})
	if err != nil {
		return store.DeliveryID{}, err
	}
	s.notify.send(s)
	return id, nil
}

// Cancel implements [store.Log].
func (s *Store) Cancel(ctx context.Context, scope store.Scope, id store.DeliveryID, reason string) error {
	if err := store.CheckScope(scope); err != nil {
		return err
	}
	return s.write(ctx, func(q querier) error {
		_, err := q.exec(ctx, "SELECT FROM hookpost.delivery WHERE event = $1 AND endpoint = $2 AND round = $3 FOR UPDATE",
			id.Event, id.Endpoint, int4(id.Round))
		if err != nil {
			return err
		}
		d, err := deliveryByID(ctx, q, scope, id)
		if err != nil {
			return err
		}
		if d.State != store.Pending {
			return fmt.Errorf("%w: %s is %v", store.ErrFinished, id, d.State)
		}
		return cancel(ctx, q, []store.DeliveryID{id}, toText(reason), nil)
	})
}

// Recover implements [store.Log]. A step ends with a whole event, so that one
// with a large fan-out is taken up in one step.
func (s *Store) Recover(ctx context.Context, scope store.Scope, p store.RecoverParams) (out store.Recovered, err error) {
	if err := store.CheckScope(scope); err != nil {
		return out, err
	}
	run := func(q querier) error {
		out, err = recoverStep(ctx, q, scope, p)
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
	if !p.DryRun && out.Replayed+out.Hastened > 0 {
		s.notify.send(s)
	}
	return out, nil
}

func recoverStep(ctx context.Context, q querier, scope store.Scope, p store.RecoverParams) (store.Recovered, error) {
	out := store.Recovered{After: p.After, Done: true}
	if !store.IsText(p.EndpointID) || !store.IsText(p.Type) {
		return out, nil
	}
	sp, err := newSpan(ctx, q, p.From, p.To)
	if err != nil {
		return out, err
	}
	sp.first = max(sp.first, p.After+1)
	most := pageSize(p.Limit, 1000, 100_000)

	var only int64
	var t text
	order := " ORDER BY e.num LIMIT ?"
	if p.EndpointID != "" {
		found, err := first(ctx, q, "SELECT num FROM hookpost.endpoint WHERE tenant = $1 AND mode = $2 AND id = $3",
			[]any{scope.Tenant, int16(scope.Mode), p.EndpointID}, &only)
		if err != nil || !found {
			return out, err
		}
		t.add(`SELECT DISTINCT d.event, e.type, e.erased_at IS NOT NULL FROM hookpost.delivery d JOIN hookpost.event e ON e.num = d.event
			WHERE d.endpoint = ?`, only)
		t.during(sp, "d.event")
		order = " ORDER BY d.event LIMIT ?"
	} else {
		t.add("SELECT e.num, e.type, e.erased_at IS NOT NULL FROM hookpost.event e WHERE e.tenant = ? AND e.mode = ?", scope.Tenant, int16(scope.Mode))
		t.during(sp, "e.num")
	}
	t.add(order, most+1)
	var events []candidate
	err = q.query(ctx, t.String(), t.args, func(scan scanner) error {
		var c candidate
		var typ string
		var erased bool
		err := scan(&c.num, &typ, &erased)
		c.pass = erased || store.Reserved(typ) || p.Type != "" && typ != p.Type
		events = append(events, c)
		return err
	})
	if err != nil {
		return out, err
	}
	if err := loadCandidates(ctx, q, events, only, p.DryRun); err != nil {
		return out, err
	}
	var replays, hastens []store.DeliveryID
	looked := 0
	for _, ev := range events {
		if looked >= most {
			out.Done = false
			break
		}
		out.After = ev.num
		again, sooner := ev.decide()
		replays, hastens = append(replays, again...), append(hastens, sooner...)
		looked += max(len(ev.all), 1) // events passed over bound a step too
	}
	out.Replayed, out.Hastened = len(replays), len(hastens)
	if p.DryRun {
		return out, nil
	}
	return out, takeUp(ctx, q, replays, hastens)
}

// candidate is an event that may have something to recover.
type candidate struct {
	num  int64
	pass bool
	all  []recoverable // in order of endpoint and round
}

type recoverable struct {
	id                    store.DeliveryID
	state, failures, lane int
}

// loadCandidates reads the deliveries of events, or those of one endpoint if only
// is not 0. Unless it is a dry run the events are locked first, which keeps other
// runs and replays away.
func loadCandidates(ctx context.Context, q querier, events []candidate, only int64, dryRun bool) error {
	var nums []int64
	for _, ev := range events {
		if !ev.pass {
			nums = append(nums, ev.num)
		}
	}
	if len(nums) == 0 {
		return nil
	}
	if !dryRun {
		locked := make([]int64, 0, len(nums)) // without what was erased or pruned since it was read
		err := q.query(ctx, "SELECT num FROM hookpost.event WHERE num = ANY ($1::bigint[]) AND erased_at IS NULL ORDER BY num FOR NO KEY UPDATE",
			[]any{nums}, func(scan scanner) error {
				var num int64
				err := scan(&num)
				locked = append(locked, num)
				return err
			})
		if err != nil {
			return err
		}
		nums = locked
	}
	return q.query(ctx, `SELECT d.event, d.endpoint, d.round, d.state, d.failures, l.state FROM hookpost.delivery d JOIN hookpost.lane l ON l.endpoint = d.endpoint
		WHERE d.event = ANY ($1::bigint[]) AND ($2::bigint = 0 OR d.endpoint = $2::bigint) ORDER BY d.event, d.endpoint, d.round`,
		[]any{nums, only}, func(scan scanner) error {
			var d recoverable
			err := scan(&d.id.Event, &d.id.Endpoint, &d.id.Round, &d.state, &d.failures, &d.lane)
			at, _ := slices.BinarySearchFunc(events, d.id.Event, func(c candidate, num int64) int { return int(min(1, max(-1, c.num-num))) })
			events[at].all = append(events[at].all, d)
			return err
		})
}

// decide returns the deliveries to be replayed and those to be made due.
func (c *candidate) decide() (replays, hastens []store.DeliveryID) {
	for i, d := range c.all {
		// An exhausted delivery with a later round was recovered or replayed already.
		last := i+1 == len(c.all) || c.all[i+1].id.Endpoint != d.id.Endpoint
		switch {
		case d.lane != int(store.Enabled):
		case d.state == exhausted && last:
			replays = append(replays, d.id)
		case d.state == scheduled && d.failures > 0:
			hastens = append(hastens, d.id)
		}
	}
	return replays, hastens
}

// takeUp replays deliveries in their next round and makes others due.
func takeUp(ctx context.Context, q querier, replays, hastens []store.DeliveryID) error {
	columns := func(ids []store.DeliveryID) (events, endpoints []int64, rounds []int32) {
		for _, id := range ids {
			events, endpoints, rounds = append(events, id.Event), append(endpoints, id.Endpoint), append(rounds, int32(id.Round))
		}
		return events, endpoints, rounds
	}
	if events, endpoints, rounds := columns(replays); len(events) > 0 {
		_, err := q.exec(ctx, `INSERT INTO hookpost.delivery (event, endpoint, round, state, due_at, created_at)
			SELECT s.event, s.endpoint, s.round + 1, 1, statement_timestamp(), statement_timestamp()
			FROM unnest($1::bigint[], $2::bigint[], $3::int[]) AS s(event, endpoint, round) ON CONFLICT DO NOTHING`, events, endpoints, rounds)
		if err != nil {
			return err
		}
	}
	events, endpoints, rounds := columns(hastens)
	if len(events) == 0 {
		return nil
	}
	_, err := q.exec(ctx, `UPDATE hookpost.delivery d SET state = 1, due_at = statement_timestamp()
		FROM unnest($1::bigint[], $2::bigint[], $3::int[]) AS s(event, endpoint, round)
		WHERE d.event = s.event AND d.endpoint = s.endpoint AND d.round = s.round AND d.state = 0`, events, endpoints, rounds)
	return err
}
