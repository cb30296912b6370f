package memory

import (
	"bytes"
	"context"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Settle implements [store.Queue].
func (s *Store) Settle(ctx context.Context, batch []store.Settlement) ([]store.Settled, error) {
	if err := store.CheckSettlements(batch); err != nil {
		return nil, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	now := s.now()
	results := make([]store.Settled, len(batch))
	for i := range batch {
		if d := s.delivery(batch[i].ID); d != nil {
			results[i] = s.settle(d, &batch[i], now)
			results[i].State = d.visible()
		}
	}
	return results, nil
}

// settle applies one settlement. The caller fills in the state.
func (s *Store) settle(d *delivery, t *store.Settlement, now micros) (r store.Settled) {
	if t.Attempt == nil {
		if d.stage != leased || d.token != t.Token {
			return r
		}
		r.Accepted = s.settleUnasked(d, t, now)
	} else {
		if !s.report(d, t, now) {
			return r
		}
		r.Accepted = s.settleAttempt(d, t, now)
		switch {
		case t.Quiet:
		case t.Verdict == store.Deliver:
			r.FailingSince = d.endpoint.succeeded(now)
			r.Recovered = !r.FailingSince.IsZero()
		default: // of whatever consequence to the delivery, it tells about the receiver
			d.endpoint.failed(now)
		}
	}
	d.endpoint.hold(t.Hold, now)
	if ep := d.endpoint; t.DisableVersion != 0 && ep.State == store.Enabled && ep.Version == t.DisableVersion {
		ep.disable(t.DisableReason, now)
		r.Disabled = true
	}
	return r
}

// settleUnasked ends a lease under which no request was made: its attempt number
// is free again.
func (s *Store) settleUnasked(d *delivery, t *store.Settlement, now micros) bool {
	d.freeAttempt()
	switch {
	case d.visible() != store.Pending:
		// Cancelled by the endpoint's deletion, though not marked yet.
		s.finish(d, store.Cancelled, store.ReasonDeleted, now)
		return false
	case t.Verdict == store.Release:
		s.toReady(d, d.due)
	case t.Verdict == store.Retry:
		d.failures++
		d.unknown = 0
		s.retry(d, t.Delay, now)
	default:
		s.finish(d, store.Exhausted, t.Reason, now)
	}
	return true
}

// settleAttempt applies a report that is new and reports whether it changed the
// delivery.
func (s *Store) settleAttempt(d *delivery, t *store.Settlement, now micros) bool {
	if t.Verdict == store.Deliver {
		if d.state == store.Delivered {
			return false
		}
		d.answered(t.Attempt)
		s.finish(d, store.Delivered, "", now)
		return true
	}
	if d.state != store.Pending || d.token != t.Token {
		return false
	}
	if d.visible() != store.Pending {
		s.finish(d, store.Cancelled, store.ReasonDeleted, now)
		return false
	}
	d.failures++
	d.answered(t.Attempt)
	if t.Verdict == store.Retry {
		s.retry(d, t.Delay, now)
	} else {
		s.finish(d, store.Exhausted, t.Reason, now)
	}
	return true
}

func (s *Store) retry(d *delivery, delay time.Duration, now micros) {
	if delay <= 0 {
		s.toReady(d, now)
		return
	}
	s.toWaiting(d, now.add(delay))
}

// answered notes an attempt that counts.
func (d *delivery) answered(a *store.Attempt) {
	d.unknown = 0
	if a.Status != 0 {
		d.status = a.Status
	}
}

// report writes the attempt to the log, unless it is there and not unknown.
func (s *Store) report(d *delivery, t *store.Settlement, now micros) bool {
	i, there := d.attempt(t.Attempt.N)
	if there && d.log[i].Outcome != store.AttemptUnknown {
		return false
	}
	a := t.Logged()
	a.StartedAt = now.add(-t.Ago).time()
	a.Took = a.Took.Truncate(time.Microsecond)
	if d.event.ErasedAt.IsZero() {
		a.ResponseHeader, a.ResponseBody = bytes.Clone(a.ResponseHeader), bytes.Clone(a.ResponseBody)
	} else {
		a.ResponseHeader, a.ResponseBody = nil, nil
	}
	if len(a.ResponseHeader)+len(a.ResponseBody) > 0 {
		s.answers.add(answer{at: toMicros(a.StartedAt), d: d, n: a.N})
	}
	d.attempts = max(d.attempts, a.N)
	if there {
		d.log[i] = a
		return true
	}
	d.enter(i, a)
	return true
}

// logUnknown writes that the attempt of the current lease was not reported,
// unless it was.
func (d *delivery) logUnknown() {
	if i, there := d.attempt(d.attempts); !there && d.attempts > 0 {
		d.enter(i, store.Attempt{N: d.attempts, StartedAt: d.leasedAt.time(), Outcome: store.AttemptUnknown})
	}
}

// enter puts a line into the log at place i.
func (d *delivery) enter(i int, a store.Attempt) {
	if d.log == nil {
		d.log = make([]store.Attempt, 1) // most deliveries need no second
		d.log[0] = a
		return
	}
	d.log = slices.Insert(d.log, i, a)
}
