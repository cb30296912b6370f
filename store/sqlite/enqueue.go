package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// Enqueue implements [store.Queue]. It waits for other writers up to
// Options.BusyTimeout: SQLite locks the file and not the member.
func (s *Store) Enqueue(ctx context.Context, p store.EnqueueParams) (out []store.Enqueued, err error) {
	if err := store.CheckEvents(p.Events, false); err != nil {
		return nil, err
	}
	if len(p.Events) == 0 {
		return nil, s.write(ctx, func(*conn) error { return nil })
	}
	err = s.write(ctx, func(c *conn) error {
		e := enqueuer{x: c, now: s.now(), targets: &s.targets, compare: true, EnqueueParams: p}
		out, err = e.run()
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// enqueuer stores one batch.
type enqueuer struct {
	x       execer
	now     int64
	stored  int64 // now, or the time of the newest event if the clock went back since
	targets *targets
	compare bool // the set version with the current one
	store.EnqueueParams

	out    []store.Enqueued
	scopes []scopeRow
	of     []int32 // index of each event's scope
}

func (e *enqueuer) run() ([]store.Enqueued, error) {
	e.out = make([]store.Enqueued, len(e.Events))
	fresh, err := e.resolve()
	if err != nil || len(fresh) == 0 {
		return e.out, err
	}
	if err := e.checkTargets(fresh); err != nil {
		return nil, err
	}
	for _, i := range fresh {
		if err := e.scopes[e.of[i]].create(e.x); err != nil {
			return nil, err
		}
	}
	if err := e.insertEvents(fresh); err != nil {
		return nil, err
	}
	if err := e.insertDeliveries(); err != nil {
		return nil, err
	}
	return e.out, nil
}

// resolve reads the scopes, sorts the stale members out and returns the indexes
// of the others.
func (e *enqueuer) resolve() (fresh []int, err error) {
	e.of = make([]int32, len(e.Events))
	fresh = make([]int, 0, len(e.Events))
	for i := range e.Events {
		ev := &e.Events[i]
		at := -1
		for k := range e.scopes {
			if e.scopes[k].scope == ev.Scope {
				at = k
				break
			}
		}
		if at < 0 {
			s, err := scopeOf(e.x, ev.Scope)
			if err != nil {
				return nil, err
			}
			at = len(e.scopes)
			e.scopes = append(e.scopes, s)
		}
		e.of[i] = int32(at)
		if e.compare && e.scopes[at].version != ev.SetVersion {
			e.out[i].Status = store.Stale
			continue
		}
		fresh = append(fresh, i)
	}
	return fresh, nil
}

var countTargets = newMulti("SELECT count(*) FROM hookpost_lane WHERE scope = ? AND endpoint IN (", "?", ")")

// checkTargets refuses endpoints that are not of their event's scope.
func (e *enqueuer) checkTargets(fresh []int) error {
	var nums []int64
	var args []any
	for k := range e.scopes {
		nums = nums[:0]
		for _, i := range fresh {
			if int(e.of[i]) != k {
				continue
			}
			nums = e.targets.unknown(nums, &e.Events[i])
		}
		slices.Sort(nums)
		nums = slices.Compact(nums)
		err := inBatches(len(nums), func(from, to int) error {
			args = append(args[:0], e.scopes[k].num)
			for _, num := range nums[from:to] {
				args = append(args, num)
			}
			n := 0
			_, err := first(e.x, func(r row) { n = int(r.int(0)) }, countTargets.rows(to-from), args...)
			if err == nil && n < to-from {
				err = fmt.Errorf("%w: an event is for endpoints that are not of its scope %+v", store.ErrInvalid, e.scopes[k].scope)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// OR FAIL spares SQLite the journal by which it would undo half a statement. The
// transaction or savepoint around it undoes all.
var insertEvent = newMulti(`INSERT OR FAIL INTO hookpost_event
	(num, scope, id, type, created_at, stored_at, set_version, content_type, hash, refs, trace, body) VALUES `,
	"(?,?,?,?,?,?,?,?,?,?,?,?)", " ON CONFLICT (scope, id) DO NOTHING")

// insertEvents stores the members that are new and finds out about the others.
func (e *enqueuer) insertEvents(fresh []int) error {
	var last int64
	_, err := first(e.x, func(r row) {
		last = r.int(0)
		e.stored = max(e.now, r.int(1)) // see hookpost_event
	}, `SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'hookpost_event'), 0),
		(SELECT stored_at FROM hookpost_event ORDER BY num DESC LIMIT 1)`)
	if err != nil {
		return err
	}
	var args []any
	err = inBatches(len(fresh), func(from, to int) error {
		args = args[:0]
		for k := from; k < to; k++ {
			i := fresh[k]
			ev := &e.Events[i]
			var refs, trace any
			if len(ev.Refs) > 0 {
				text, err := json.Marshal(ev.Refs)
				if err != nil {
					return err
				}
				refs = string(text)
			}
			if ev.Trace != "" {
				trace = ev.Trace
			}
			body := ev.Body
			if body == nil {
				body = []byte{} // NULL is for erased ones
			}
			e.out[i] = store.Enqueued{Status: store.Stored, Event: last + int64(k) + 1}
			args = append(args, e.out[i].Event, e.scopes[e.of[i]].num, ev.ID, ev.Type, ev.CreatedAt.UnixMicro(),
				e.stored, ev.SetVersion, ev.ContentType, ev.Hash[:], refs, trace, body)
		}
		n, err := e.x.exec(insertEvent.rows(to-from), args...)
		if err != nil || n == to-from {
			return err
		}
		for _, i := range fresh[from:to] {
			if err := e.lookUp(i); err != nil {
				return err
			}
		}
		return nil
	})
	return err
}

// lookUp decides what member i of a batch with duplicates has become.
func (e *enqueuer) lookUp(i int) error {
	ev := &e.Events[i]
	res := &e.out[i]
	var num int64
	same := false
	_, err := first(e.x, func(r row) {
		num = r.int(0)
		same = r.text(1) == ev.Type && string(r.blob(2)) == string(ev.Hash[:])
	}, "SELECT num, type, hash FROM hookpost_event WHERE scope = ? AND id = ?", e.scopes[e.of[i]].num, ev.ID)
	switch {
	case err != nil || num == res.Event:
		return err
	case !same:
		*res = store.Enqueued{Status: store.Conflict, Event: num}
		return nil
	}
	*res = store.Enqueued{Status: store.Duplicate, Event: num}
	if e.Repeat && len(ev.For) <= store.MaxFanOut {
		res.Leased, err = e.stillLeased(num, ev.For)
	}
	return err
}

// stillLeased reports whether the leases asked for are those of a commit whose
// answer was lost.
func (e *enqueuer) stillLeased(event int64, list []store.NewDelivery) (bool, error) {
	asked := false
	for _, d := range list {
		if !d.Lease {
			continue
		}
		asked = true
		found, err := first(e.x, func(row) {},
			`SELECT 1 FROM hookpost_delivery WHERE event = ? AND endpoint = ? AND round = 0
			AND state = 2 AND token = 1 AND owner = ? AND lease_until > ?`, event, d.Endpoint, e.Owner, e.now)
		if err != nil || !found {
			return false, err
		}
	}
	return asked, nil
}

var (
	insertReady = newMulti(`INSERT OR FAIL INTO hookpost_delivery (event, endpoint, round, state, due_at, created_at) VALUES `,
		"(?,?,0,1,?,?)", "")
	insertLater = newMulti(`INSERT OR FAIL INTO hookpost_delivery (event, endpoint, round, state, due_at, created_at) VALUES `,
		"(?,?,0,0,?,?)", "")
	insertLeased = newMulti(`INSERT OR FAIL INTO hookpost_delivery
		(event, endpoint, round, state, token, attempts, owner, leased_at, lease_until, due_at, created_at, first_at) VALUES `,
		"(?,?,0,2,1,1,?,?,?,?,?,?)", "")
)

// insertDeliveries stores what was decided for the stored members.
func (e *enqueuer) insertDeliveries() error {
	type target struct{ event, endpoint, due int64 }
	var later, ready, leased []target
	for i := range e.Events {
		ev, res := &e.Events[i], &e.out[i]
		if res.Status != store.Stored {
			continue
		}
		if err := e.insertRefs(e.scopes[e.of[i]].num, res.Event, ev.Refs); err != nil {
			return err
		}
		due := e.now
		if ev.Delay > 0 {
			due += ev.Delay.Microseconds()
		}
		if len(ev.For) > store.MaxFanOut {
			if err := insertList(e.x, res.Event, due, ev.For); err != nil {
				return err
			}
			continue
		}
		for _, d := range ev.For {
			t := target{res.Event, d.Endpoint, due}
			switch {
			case ev.Delay > 0:
				later = append(later, t)
			case d.Lease && e.compare:
				leased = append(leased, t)
				res.Leased = true
			default:
				ready = append(ready, t)
			}
		}
	}
	var args []any
	err := inBatches(len(ready), func(from, to int) error {
		args = args[:0]
		for _, t := range ready[from:to] {
			args = append(args, t.event, t.endpoint, e.now, e.stored)
		}
		_, err := e.x.exec(insertReady.rows(to-from), args...)
		return err
	})
	if err != nil {
		return err
	}
	err = inBatches(len(later), func(from, to int) error {
		args = args[:0]
		for _, t := range later[from:to] {
			args = append(args, t.event, t.endpoint, t.due, e.stored)
		}
		_, err := e.x.exec(insertLater.rows(to-from), args...)
		return err
	})
	if err != nil {
		return err
	}
	until := e.now + e.Lease.Microseconds()
	return inBatches(len(leased), func(from, to int) error {
		args = args[:0]
		for _, t := range leased[from:to] {
			args = append(args, t.event, t.endpoint, e.Owner, e.now, until, e.now, e.stored, e.now)
		}
		_, err := e.x.exec(insertLeased.rows(to-from), args...)
		return err
	})
}

func (e *enqueuer) insertRefs(scope, event int64, refs []string) error {
	for _, ref := range refs {
		// The same reference twice is harmless.
		if _, err := e.x.exec("INSERT INTO hookpost_ref (scope, ref, event) VALUES (?, ?, ?) ON CONFLICT DO NOTHING", scope, ref, event); err != nil {
			return err
		}
	}
	return nil
}
