package retry

import "time"

// StepSchedule is a list of delays, made by [Steps]. The zero value never retries.
type StepSchedule struct {
	delays []time.Duration
	repeat bool
}

// Steps returns the schedule whose n-th retry comes the n-th of the delays after
// the attempt before it. After the last delay it ends: three delays make at most
// four attempts. Without delays it never retries.
//
// A delay of 0 retries at once, and a negative delay counts as 0.
func Steps(delays ...time.Duration) StepSchedule {
	s := StepSchedule{delays: make([]time.Duration, len(delays))}
	for i, d := range delays {
		s.delays[i] = max(d, 0)
	}
	return s
}

// Repeat returns a schedule like s that doesn't end but repeats its last delay.
// A last delay of 0 is not repeated, since such retries would have no pause
// between them.
func (s StepSchedule) Repeat() StepSchedule {
	s.repeat = true
	return s
}

// Next implements [Schedule].
func (s StepSchedule) Next(f Failure) (time.Duration, bool) {
	n := len(s.delays)
	i := max(f.Failed, 1) - 1
	if i < n {
		return s.delays[i], true
	}
	if !s.repeat || n == 0 || s.delays[n-1] == 0 {
		return 0, false
	}
	return s.delays[n-1], true
}
