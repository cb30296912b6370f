package memory

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	// A failure that comes later than this after the one before begins a new row.
	failureGap = 24 * time.Hour
	// LastSuccess is not written more often than this.
	successGrain = time.Minute
)

// succeeded notes a success and returns since when the endpoint was failing that
// now is not; zero if it was not.
func (ep *endpoint) succeeded(now micros) time.Time {
	since := ep.FailingSince
	ep.FailingSince, ep.Failures = time.Time{}, 0
	if t := now.time(); !since.IsZero() || ep.LastSuccess.IsZero() || t.Sub(ep.LastSuccess) >= successGrain {
		ep.LastSuccess = t
	}
	return since
}

// failed notes a failure.
func (ep *endpoint) failed(now micros) {
	t := now.time()
	if ep.FailingSince.IsZero() || t.Sub(ep.LastFailure) > failureGap {
		ep.FailingSince = t
	}
	ep.Failures++
	ep.LastFailure = t
}

// hold keeps claims away for a while.
func (ep *endpoint) hold(d time.Duration, now micros) {
	if d <= 0 {
		return
	}
	if until := now.add(d).time(); until.After(ep.HoldUntil) {
		ep.HoldUntil = until
	}
}

// DisableFailing implements [store.Upkeep].
func (s *Store) DisableFailing(ctx context.Context, rule store.FailingRule, limit int) ([]store.Endpoint, error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	now := s.now()

	// The latest success, and the latest of all endpoints but that one.
	var best, second *endpoint
	for _, ep := range s.endpoints {
		switch {
		case ep.LastSuccess.IsZero():
		case best == nil || ep.LastSuccess.After(best.LastSuccess):
			best, second = ep, best
		case second == nil || ep.LastSuccess.After(second.LastSuccess):
			second = ep
		}
	}
	var disabled []store.Endpoint
	for _, ep := range s.endpoints {
		if len(disabled) == limit {
			break
		}
		if ep.State != store.Enabled || ep.FailingSince.IsZero() {
			continue
		}
		other := best
		if other == ep {
			other = second
		}
		t := now.time()
		if other != nil && !other.LastSuccess.Before(ep.FailingSince) &&
			t.Sub(ep.FailingSince) >= rule.For && t.Sub(ep.LastFailure) <= failureGap {
			ep.disable(rule.Reason, now)
			disabled = append(disabled, ep.record())
		}
	}
	return disabled, nil
}
