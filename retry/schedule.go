// Package retry says when a failed delivery is attempted again.
//
// A [Schedule] is a pure function from what is known about the failure to the
// delay before the next attempt. It keeps no state, so that a schedule gives
// the same answer after a restart and in every process:
//
//   - [Default] is the documented table: 5 minutes, 30 minutes, 2 hours,
//     5 hours, 10 hours, then every 10 hours;
//   - [Steps] lists the delays, [Exponential] computes them, [None] never
//     retries;
//   - [Jitter] spreads the retries of another schedule;
//   - [FromBackOff] adapts a policy written for github.com/cenkalti/backoff/v4.
//
// A schedule doesn't know how long a delivery may take altogether. That is the
// sender's GiveUpAfter, [GiveUpAfter] by default, and [Exhausted] applies it.
package retry

import "time"

// GiveUpAfter is how long after the start of its first attempt a delivery may
// start another one, unless the sender is told otherwise: 72 hours. With
// [Default] that makes 11 attempts, the last one after 67 hours 35 minutes plus
// the time that the attempts themselves took.
const GiveUpAfter = 72 * time.Hour

// Failure describes a delivery whose latest attempt has failed.
type Failure struct {
	// Failed is the number of attempts that have failed so far, the latest
	// included. It starts at 1; schedules read a smaller number as 1.
	Failed int

	// Status is the HTTP status of the latest attempt, or 0 if none came. Every status
	// but 2xx is a failure and 4xx are retried like others, unless the schedule ends
	// them; a 410 never comes here.
	Status int

	// Elapsed is the time from the start of the first attempt to the end of
	// the latest one.
	Elapsed time.Duration

	// Seed makes jitter repeatable. It is the same for every attempt of a
	// delivery, and different deliveries should have different seeds.
	Seed uint64
}

// Schedule decides when the next attempt is made.
//
// Next is given the latest failure and returns how long to wait from the end of
// that attempt to the start of the next; the delay is never negative, and zero
// means at once. If ok is false there is no further attempt and the delay is 0.
//
// Next must be safe for concurrent use, must not block, and should depend on
// nothing but its argument.
type Schedule interface {
	Next(f Failure) (delay time.Duration, ok bool)
}

// Exhausted reports whether an attempt that would start delay after a failure
// comes too late: more than giveUpAfter after the start of the first attempt.
// Elapsed is [Failure.Elapsed]. An attempt exactly giveUpAfter after the first
// is still made.
//
// A giveUpAfter of 0 means [GiveUpAfter]; a negative one never gives up.
// Negative values of elapsed and delay count as 0.
func Exhausted(elapsed, delay, giveUpAfter time.Duration) bool {
	if giveUpAfter == 0 {
		giveUpAfter = GiveUpAfter
	}
	if giveUpAfter < 0 {
		return false
	}
	elapsed, delay = max(elapsed, 0), max(delay, 0)
	// Subtracting can't overflow; elapsed+delay could.
	return delay > giveUpAfter-elapsed
}

// Default is the schedule of deliveries that name no other: retries come
// 5 minutes, 30 minutes, 2 hours, 5 hours and 10 hours after the attempt before
// them, then every 10 hours. The delays are exact, and the schedule has no end
// of its own: see [GiveUpAfter].
var Default = standard{}

// standard is an empty struct so that nobody can assign another value to Default.
type standard struct{}

// Next implements [Schedule].
func (standard) Next(f Failure) (time.Duration, bool) {
	switch {
	case f.Failed <= 1:
		return 5 * time.Minute, true
	case f.Failed == 2:
		return 30 * time.Minute, true
	case f.Failed == 3:
		return 2 * time.Hour, true
	case f.Failed == 4:
		return 5 * time.Hour, true
	default:
		return 10 * time.Hour, true
	}
}

// None never retries: the first failure is final.
var None = none{}

type none struct{}

// Next implements [Schedule].
func (none) Next(Failure) (time.Duration, bool) { return 0, false }
