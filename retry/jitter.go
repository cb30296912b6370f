package retry

import (
	"math"
	"time"
)

// Jitter returns a schedule that waits as long as s and then up to the given
// fraction of that delay longer, so that deliveries which failed together are
// not all retried together. A retry is never earlier than s wants it, and the
// schedule ends when s ends.
//
// The addition depends only on [Failure.Seed] and [Failure.Failed]: the same
// delivery gets the same delays in every process. A fraction that isn't positive
// adds nothing, and one above 1 counts as 1. A nil s means [Default].
func Jitter(s Schedule, fraction float64) Schedule {
	if s == nil {
		s = Default
	}
	if fraction <= 0 || math.IsNaN(fraction) {
		return s
	}
	return jitter{schedule: s, fraction: min(fraction, 1)}
}

type jitter struct {
	schedule Schedule
	fraction float64
}

// Next implements [Schedule].
func (j jitter) Next(f Failure) (time.Duration, bool) {
	d, ok := j.schedule.Next(f)
	if !ok {
		return 0, false
	}
	d = max(d, 0)
	extra := float64(d) * j.fraction * uniform(f.Seed, f.Failed)
	if extra >= float64(math.MaxInt64-d) {
		return math.MaxInt64, true
	}
	return d + time.Duration(extra), true
}

// uniform returns a number in [0, 1) that looks random and depends on nothing
// but its arguments: the output function of SplitMix64.
func uniform(seed uint64, failed int) float64 {
	z := seed + uint64(max(failed, 1))*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	z ^= z >> 31
	return float64(z>>11) / (1 << 53)
}
