package sqlite

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	// failureGap is after how long without one a failure begins a new row of them.
	failureGap = 24 * time.Hour
	// successGrain is how often a success is written that changes nothing else.
	successGrain = time.Minute
)

// health is a row of hookpost_lane, with times in microseconds and nil for none.
type health struct {
	endpoint, version                                 int64
	state                                             store.EndpointState
	holdUntil, failingSince, lastFailure, lastSuccess *int64
	failures                                          int64
	changed                                           bool
}

var selectHealth = newMulti(`SELECT endpoint, version, state, hold_until, failing_since, last_failure, last_success, failures
	FROM hookpost_lane WHERE endpoint IN (`, "?", ")")

// loadHealth fills the map's values in for its keys.
func loadHealth(x execer, lanes map[int64]*health) error {
	keys := make([]any, 0, len(lanes))
	for num := range lanes {
		keys = append(keys, num)
		// A delivery without an endpoint cannot be, but must not stop the queue.
		lanes[num] = &health{endpoint: num, state: store.Deleted}
	}
	return inBatches(len(keys), func(from, to int) error {
		return x.query(func(r row) error {
			lanes[r.int(0)] = &health{
				endpoint:     r.int(0),
				version:      r.int(1),
				state:        store.EndpointState(r.int(2)),
				holdUntil:    r.micros(3),
				failingSince: r.micros(4),
				lastFailure:  r.micros(5),
				lastSuccess:  r.micros(6),
				failures:     r.int(7),
			}
			return nil
		}, selectHealth.rows(to-from), keys[from:to]...)
	})
}

// micros returns nil for NULL.
func (r row) micros(i int) *int64 {
	if v, ok := r[i].(int64); ok {
		return &v
	}
	return nil
}

func (h *health) save(x execer) error {
	if !h.changed {
		return nil
	}
	_, err := x.exec(`UPDATE hookpost_lane SET hold_until = ?, failing_since = ?, last_failure = ?, last_success = ?, failures = ?
		WHERE endpoint = ?`, deref(h.holdUntil), deref(h.failingSince), deref(h.lastFailure), deref(h.lastSuccess), h.failures, h.endpoint)
	return err
}

func deref(p *int64) any {
	if p == nil {
		return nil
	}
	return *p
}

// succeeded notes a success and returns since when the endpoint was failing that
// now is not; zero if it was not.
func (h *health) succeeded(now int64) (since time.Time) {
	if h.failingSince != nil {
		since = fromMicros(*h.failingSince)
	}
	if h.failingSince != nil || h.failures != 0 || h.lastSuccess == nil || now-*h.lastSuccess >= successGrain.Microseconds() {
		h.failingSince, h.failures, h.lastSuccess = nil, 0, &now
		h.changed = true
	}
	return since
}

// failed notes a failure.
func (h *health) failed(now int64) {
	if h.failingSince == nil || h.lastFailure == nil || now-*h.lastFailure > failureGap.Microseconds() {
		h.failingSince = &now
	}
	h.failures++
	h.lastFailure = &now
	h.changed = true
}

// hold keeps claims away for a while.
func (h *health) hold(d time.Duration, now int64) {
	if d <= 0 {
		return
	}
	if until := now + d.Microseconds(); h.holdUntil == nil || until > *h.holdUntil {
		h.holdUntil = &until
		h.changed = true
	}
}

// DisableFailing implements [store.Upkeep].
func (s *Store) DisableFailing(ctx context.Context, rule store.FailingRule, limit int) (out []store.Endpoint, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	const where = `WHERE l.failing_since <= ? AND l.last_failure >= ? AND l.state = 1 AND EXISTS (
		SELECT 1 FROM hookpost_lane o WHERE o.last_success >= l.failing_since AND o.endpoint <> l.endpoint)
		ORDER BY e.num LIMIT ?`
	now := s.now()
	args := []any{now - rule.For.Microseconds(), now - failureGap.Microseconds(), limit}
	var eps []store.Endpoint
	err = s.read(ctx, func(c *conn) error {
		eps, err = endpointsWhere(c, where, args...)
		return err
	})
	if err != nil || len(eps) == 0 {
		return nil, err
	}
	err = s.write(ctx, func(c *conn) error {
		eps, err := endpointsWhere(c, where, args...)
		if err != nil {
			return err
		}
		out = nil
		for _, ep := range eps {
			ep, err := disable(c, ep, now, rule.Reason)
			if err != nil {
				return err
			}
			out = append(out, ep)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
