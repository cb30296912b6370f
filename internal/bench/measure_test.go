package main

import (
	"math"
	"testing"
	"time"
)

func TestQuantile(t *testing.T) {
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i))
	}
	if p50, p99 := quantile(sorted, 0.5), quantile(sorted, 0.99); p50 != 50 || p99 != 99 {
		t.Errorf("p50 is %d and p99 %d of 0..99, want 50 and 99", p50, p99)
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("the median of nothing is %d", got)
	}
}

func TestSpread(t *testing.T) {
	for name, c := range map[string]struct {
		values []float64
		want   spread
	}{
		"even": {[]float64{4, 1, 3, 2}, spread{median: 2.5, low: 1, high: 4}},
		"odd":  {[]float64{5, 1, 3}, spread{median: 3, low: 1, high: 5}},
		"none": {nil, spread{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spreadOfValues(c.values); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
		})
	}
}

func TestOthersIsWhatTheTestDidNotUse(t *testing.T) {
	r := result{
		events: 1000, wall: time.Second, machine: 1500 * time.Millisecond,
		cpu: 500 * time.Microsecond, receiver: 200 * time.Microsecond, database: 300 * time.Microsecond,
	}
	if got := r.others(); math.Abs(got-0.5) > 1e-9 {
		t.Errorf("others used %v CPUs, want 0.5", got)
	}
	r.machine = 0
	if got := r.others(); got != 0 {
		t.Errorf("others used %v CPUs where the machine does not say", got)
	}
}

func TestParseMachineTime(t *testing.T) {
	for name, c := range map[string]struct {
		line string
		want time.Duration
	}{
		"all kinds":  {"cpu  100 20 30 4000 500 6 7 37 8 9", 2 * time.Second},
		"another":    {"cpu0 100 20 30 4000 500 6 7 37 8 9", 0},
		"too short":  {"cpu  100 20 30 4000", 0},
		"no numbers": {"cpu  a b c d e f g h", 0},
		"nothing":    {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := parseMachineTime(c.line); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}
