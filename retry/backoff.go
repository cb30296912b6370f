package retry

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// maxReplay bounds the work of one call. Every policy of backoff/v4 has long
// settled on its largest interval by then.
const maxReplay = 10_000

// FromBackOff returns the schedule that a policy of
// github.com/cenkalti/backoff/v4 describes.
//
// Such a policy counts in its own memory. To survive restarts, each call of Next
// asks newBackOff for a fresh one and draws as many intervals from it as attempts
// have failed; the last of them is the delay. Therefore newBackOff must return a
// new value each time and be safe for concurrent use. From the 10,000th failure
// on the delay is that of the 10,000th.
//
// The schedule ends when the policy returns [backoff.Stop] or another negative
// interval. A nil newBackOff, or one that returns nil, never retries.
//
// The MaxElapsedTime of a [backoff.ExponentialBackOff] is ignored: the policy's
// clock starts anew with each replay and can't know how old a delivery is, and
// its default of 15 minutes would end the schedule long before the sender's
// GiveUpAfter. Inside a wrapper such as [backoff.WithMaxRetries] it can't be
// reached; set it to 0 there.
//
// An ExponentialBackOff is random by default. Its delays then differ from call
// to call, unlike those of other schedules; set its RandomizationFactor to 0 and
// use [Jitter] for delays that can be repeated.
func FromBackOff(newBackOff func() backoff.BackOff) Schedule {
	if newBackOff == nil {
		return None
	}
	return fromBackOff(newBackOff)
}

type fromBackOff func() backoff.BackOff

// Next implements [Schedule].
func (fresh fromBackOff) Next(f Failure) (time.Duration, bool) {
	b := fresh()
	if b == nil {
		return 0, false
	}
	if e, ok := b.(*backoff.ExponentialBackOff); ok {
		if e == nil {
			return 0, false
		}
		e.MaxElapsedTime = 0
		if e.Clock == nil { // a struct literal; Reset would panic
			e.Clock = backoff.SystemClock
		}
	}
	b.Reset()
	var d time.Duration
	for range min(max(f.Failed, 1), maxReplay) {
		if d = b.NextBackOff(); d < 0 {
			return 0, false
		}
	}
	return d, true
}
