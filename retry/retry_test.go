package retry_test

import (
	"math"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
)

// starts returns when the attempts of a delivery start, counted from the first,
// if none of them takes any time and all fail.
func starts(s retry.Schedule, giveUpAfter time.Duration) []time.Duration {
	at := []time.Duration{0}
	for {
		elapsed := at[len(at)-1]
		delay, ok := s.Next(retry.Failure{Failed: len(at), Elapsed: elapsed})
		if !ok || retry.Exhausted(elapsed, delay, giveUpAfter) {
			return at
		}
		at = append(at, elapsed+delay)
	}
}

func clock(hours, minutes int) time.Duration {
	return time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
}

func TestDefaultTable(t *testing.T) {
	want := []time.Duration{
		0,
		clock(0, 5),
		clock(0, 35),
		clock(2, 35),
		clock(7, 35),
		clock(17, 35), // the last of the table; from here every 10 hours
		clock(27, 35),
		clock(37, 35),
		clock(47, 35),
		clock(57, 35),
		clock(67, 35), // the next would be at 77 h 35 min
	}
	require.Equal(t, want, starts(retry.Default, retry.GiveUpAfter))
	require.Len(t, want, 11)
	require.Equal(t, want, starts(retry.Default, 0), "0 means GiveUpAfter")
	require.Equal(t, 72*time.Hour, retry.GiveUpAfter)
}

func TestExhausted(t *testing.T) {
	const h = time.Hour
	for _, tc := range []struct {
		elapsed, delay, giveUpAfter time.Duration
		want                        bool
	}{
		{67 * h, 5 * h, 0, false},
		{67 * h, 5*h + 1, 0, true},
		{72 * h, 0, 0, false},
		{72*h + 1, 0, 0, true},
		{0, h, h, false},
		{1, h, h, true},
		{math.MaxInt64, math.MaxInt64, 0, true},
		{math.MaxInt64, math.MaxInt64, math.MaxInt64, true},
		{math.MaxInt64, math.MaxInt64, -1, false},
		{math.MinInt64, math.MinInt64, h, false},
		{-5 * h, 2 * h, h, true},
	} {
		require.Equal(t, tc.want, retry.Exhausted(tc.elapsed, tc.delay, tc.giveUpAfter), "%+v", tc)
	}
}

// delays returns the delays after the first n failures; -1 is the end.
func delays(s retry.Schedule, n int) []time.Duration {
	var ds []time.Duration
	for failed := 1; failed <= n; failed++ {
		d, ok := s.Next(retry.Failure{Failed: failed, Seed: 7})
		if !ok {
			return append(ds, -1)
		}
		ds = append(ds, d)
	}
	return ds
}

func TestSchedules(t *testing.T) {
	const s = time.Second
	for name, tc := range map[string]struct {
		schedule retry.Schedule
		want     []time.Duration
	}{
		"none":                      {retry.None, []time.Duration{-1}},
		"steps end":                 {retry.Steps(s, 2*s), []time.Duration{s, 2 * s, -1}},
		"steps repeat":              {retry.Steps(s, 2*s).Repeat(), []time.Duration{s, 2 * s, 2 * s, 2 * s}},
		"no steps":                  {retry.Steps(), []time.Duration{-1}},
		"no steps repeat":           {retry.Steps().Repeat(), []time.Duration{-1}},
		"zero StepSchedule":         {retry.StepSchedule{}, []time.Duration{-1}},
		"negative step":             {retry.Steps(-s, s), []time.Duration{0, s, -1}},
		"last zero not repeated":    {retry.Steps(s, 0).Repeat(), []time.Duration{s, 0, -1}},
		"exponential":               {retry.Exponential(s, 2, 5*s), []time.Duration{s, 2 * s, 4 * s, 5 * s, 5 * s}},
		"exponential constant":      {retry.Exponential(s, 1, 5*s), []time.Duration{s, s, s}},
		"exponential defaults":      {retry.Exponential(0, 0, 0), []time.Duration{clock(0, 5), clock(0, 10), clock(0, 20)}},
		"exponential NaN":           {retry.Exponential(s, math.NaN(), 5*s), []time.Duration{s, 2 * s, 4 * s}},
		"exponential infinite":      {retry.Exponential(s, math.Inf(1), 5*s), []time.Duration{s, 5 * s, 5 * s}},
		"exponential limit too low": {retry.Exponential(5*s, 2, s), []time.Duration{5 * s, 5 * s}},
		"no jitter":                 {retry.Jitter(retry.Steps(s), 0), []time.Duration{s, -1}},
		"jitter NaN":                {retry.Jitter(retry.Steps(s), math.NaN()), []time.Duration{s, -1}},
		"jitter of nil":             {retry.Jitter(nil, -1), []time.Duration{clock(0, 5), clock(0, 30)}},
		"backoff constant":          {retry.FromBackOff(func() backoff.BackOff { return backoff.NewConstantBackOff(s) }), []time.Duration{s, s, s}},
		"backoff stop":              {retry.FromBackOff(func() backoff.BackOff { return &backoff.StopBackOff{} }), []time.Duration{-1}},
		"backoff max retries": {retry.FromBackOff(func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewConstantBackOff(s), 2)
		}), []time.Duration{s, s, -1}},
		"backoff nil func":    {retry.FromBackOff(nil), []time.Duration{-1}},
		"backoff nil":         {retry.FromBackOff(func() backoff.BackOff { return nil }), []time.Duration{-1}},
		"backoff nil pointer": {retry.FromBackOff(func() backoff.BackOff { return (*backoff.ExponentialBackOff)(nil) }), []time.Duration{-1}},
		"backoff literal no clock": {retry.FromBackOff(func() backoff.BackOff {
			return &backoff.ExponentialBackOff{InitialInterval: s, Multiplier: 2, MaxInterval: 3 * s}
		}), []time.Duration{s, 2 * s, 3 * s, 3 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, tc.want, delays(tc.schedule, len(tc.want)))
			// Everything below 1 reads as 1, and no number of failures is too much.
			first, ok := tc.schedule.Next(retry.Failure{Failed: 1, Seed: 7})
			for _, failed := range []int{0, -1, math.MinInt} {
				d, ok2 := tc.schedule.Next(retry.Failure{Failed: failed, Seed: 7})
				require.Equal(t, first, d)
				require.Equal(t, ok, ok2)
			}
			last, _ := tc.schedule.Next(retry.Failure{Failed: math.MaxInt, Elapsed: math.MaxInt64, Status: -1})
			require.GreaterOrEqual(t, last, time.Duration(0))
		})
	}
}

func TestStepsKeepsItsOwnDelays(t *testing.T) {
	list := []time.Duration{time.Second, time.Minute}
	s := retry.Steps(list...)
	list[0] = time.Hour
	require.Equal(t, []time.Duration{time.Second, time.Minute, -1}, delays(s, 3))
	s.Repeat()
	require.Equal(t, []time.Duration{time.Second, time.Minute, -1}, delays(s, 3), "Repeat leaves its receiver alone")
}

func TestJitter(t *testing.T) {
	s := retry.Jitter(retry.Default, 0.1)
	var sum float64
	const seeds = 2000
	seen := map[time.Duration]bool{}
	for seed := range uint64(seeds) {
		f := retry.Failure{Failed: 3, Seed: seed}
		d, ok := s.Next(f)
		require.True(t, ok)
		require.GreaterOrEqual(t, d, 2*time.Hour)
		require.LessOrEqual(t, d, 2*time.Hour+12*time.Minute)
		again, _ := s.Next(f)
		require.Equal(t, d, again)
		seen[d] = true
		sum += float64(d - 2*time.Hour)
	}
	require.Greater(t, len(seen), seeds*9/10)
	require.InDelta(t, float64(6*time.Minute), sum/seeds, float64(20*time.Second))

	third, _ := s.Next(retry.Failure{Failed: 6, Seed: 1})
	fourth, _ := s.Next(retry.Failure{Failed: 7, Seed: 1})
	require.NotEqual(t, third, fourth, "every retry of a delivery is jittered anew")

	huge := retry.Jitter(retry.Steps(math.MaxInt64), 5)
	d, ok := huge.Next(retry.Failure{Failed: 1, Seed: 3})
	require.True(t, ok)
	require.Equal(t, time.Duration(math.MaxInt64), d)
}

type negative struct{}

func (negative) Next(retry.Failure) (time.Duration, bool) { return -time.Hour, true }

func TestJitterOfANegativeDelay(t *testing.T) {
	d, ok := retry.Jitter(negative{}, 0.5).Next(retry.Failure{Failed: 1})
	require.True(t, ok)
	require.Zero(t, d)
}

func TestFromBackOffIgnoresMaxElapsedTime(t *testing.T) {
	s := retry.FromBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(time.Minute),
			backoff.WithMultiplier(2),
			backoff.WithRandomizationFactor(0),
			backoff.WithMaxInterval(10*time.Hour),
			// MaxElapsedTime is 15 minutes unless said otherwise.
		)
	})
	d, ok := s.Next(retry.Failure{Failed: 8, Elapsed: 70 * time.Hour})
	require.True(t, ok)
	require.Equal(t, 128*time.Minute, d)
}

func TestFromBackOffReplayIsBounded(t *testing.T) {
	calls := 0
	s := retry.FromBackOff(func() backoff.BackOff { return counting{&calls} })
	_, ok := s.Next(retry.Failure{Failed: math.MaxInt})
	require.True(t, ok)
	require.Equal(t, 10_000, calls)
}

type counting struct{ calls *int }

func (c counting) NextBackOff() time.Duration { *c.calls++; return time.Second }
func (counting) Reset()                       {}

func FuzzNoDelayIsNegative(f *testing.F) {
	f.Add(1, 200, int64(time.Hour), uint64(1), int64(time.Second), 2.0, int64(time.Hour), 0.1)
	f.Add(math.MaxInt, 0, int64(-1), uint64(math.MaxUint64), int64(math.MaxInt64), 1e308, int64(math.MaxInt64), 1.0)
	f.Add(math.MinInt, -5, int64(math.MinInt64), uint64(0), int64(math.MinInt64), -3.0, int64(-7), math.Inf(1))
	f.Fuzz(func(t *testing.T, failed, status int, elapsed int64, seed uint64, initial int64, factor float64, limit int64, fraction float64) {
		in, li := time.Duration(initial), time.Duration(limit)
		failure := retry.Failure{Failed: failed, Status: status, Elapsed: time.Duration(elapsed), Seed: seed}
		for _, s := range []retry.Schedule{
			retry.Default, retry.None,
			retry.Steps(in, li), retry.Steps(in, li).Repeat(),
			retry.Exponential(in, factor, li),
			retry.FromBackOff(func() backoff.BackOff {
				return &backoff.ExponentialBackOff{InitialInterval: in, Multiplier: factor, MaxInterval: li, RandomizationFactor: fraction}
			}),
		} {
			d, ok := s.Next(failure)
			require.GreaterOrEqual(t, d, time.Duration(0))
			require.True(t, ok || d == 0)
		}
		for _, s := range []retry.Schedule{retry.Default, retry.Steps(in, li).Repeat(), retry.Exponential(in, factor, li)} {
			exact, ok := s.Next(failure)
			late, lateOK := retry.Jitter(s, fraction).Next(failure)
			require.Equal(t, ok, lateOK)
			require.GreaterOrEqual(t, late, exact, "jitter is never earlier")
			again, _ := retry.Jitter(s, fraction).Next(failure)
			require.Equal(t, late, again)
		}
	})
}
