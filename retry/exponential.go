package retry

import (
	"math"
	"time"
)

// Exponential returns the schedule whose first retry comes initial after the
// first attempt and whose every later delay is factor times the one before, up
// to limit. It has no end of its own: see [GiveUpAfter].
//
// A value that makes no sense is replaced: an initial delay that isn't positive
// by 5 minutes, a factor that is less than 1 or not a number by 2, a limit that
// isn't positive by 10 hours, and a limit below the initial delay by that delay.
func Exponential(initial time.Duration, factor float64, limit time.Duration) Schedule {
	if initial <= 0 {
		initial = 5 * time.Minute
	}
	if factor < 1 || math.IsNaN(factor) {
		factor = 2
	}
	if limit <= 0 {
		limit = 10 * time.Hour
	}
	return exponential{initial: initial, factor: factor, limit: max(limit, initial)}
}

type exponential struct {
	initial, limit time.Duration
	factor         float64
}

// Next implements [Schedule].
func (e exponential) Next(f Failure) (time.Duration, bool) {
	// Pow needs no loop, and its overflow to +Inf ends at the limit.
	d := float64(e.initial) * math.Pow(e.factor, float64(max(f.Failed, 1)-1))
	if d >= float64(e.limit) {
		return e.limit, true
	}
	return time.Duration(d), true
}
