package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"
)

// printTable writes one line per test: medians, and the spread where it matters.
func printTable(w io.Writer, cfg *config, db *database, tests []*test) error {
	fmt.Fprintf(w, "%s %s/%s, %d CPUs; %d runs of %d events with %d bytes of data, %d endpoints, MaxInFlight %d\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), cfg.runs, cfg.n, cfg.payload, cfg.endpoints, cfg.inFlight)
	if db.about != "" {
		fmt.Fprintf(w, "%s\n\n", db.about)
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "test\tper second\tleast..most\tof ceiling\tleast..most\tby CPU\tp50 ms\tp99 ms\tCPU us\treceiver\tdatabase\tallocs\tKiB\tcommits\tenqueue+claim+settle+upkeep\t")
	for _, t := range tests {
		rate := spreadOf(t.results, func(r *result) float64 { return r.rate })
		fmt.Fprintf(tw, "%s\t%.0f\t%.0f..%.0f\t%s\t%s\t%.1f\t%.1f\t%s\t%s\t%s\t%s\t\n",
			t.name, rate.median, rate.low, rate.high, t.ratio(), t.latency(),
			spreadOf(t.results, func(r *result) float64 { return micros(r.cpu) }).median,
			spreadOf(t.results, func(r *result) float64 { return micros(r.receiver) }).median,
			t.known(func(r *result) float64 { return micros(r.database) }),
			t.known(func(r *result) float64 { return r.allocs }),
			t.known(func(r *result) float64 { return r.bytes / 1024 }),
			t.calls())
	}
	fmt.Fprintln(tw)
	if err := tw.Flush(); err != nil {
		return err
	}
	printRivals(w, tests)
	_, err := fmt.Fprint(w, `of ceiling: against signed net/http with as many requests at once, in the same round;
            by CPU: the same ratio of the CPU time that all processes need for a delivery, which is
            steadier on a machine that others use, and blind to waiting
p50, p99:   from calling Send to the committed result
CPU, allocs, KiB: per delivery, of this process, net/http's client among it, and live the
            bookkeeping of this program (2 allocs); by other processes: their CPU; receiver and
            database: CPU of the receiver's process and of those of the PostgreSQL server
commits:    transactions per event, as the store counts them, else the calls; calls are per 1,000 events
`)
	return err
}

// printRivals writes how tests compare with others of the same round.
func printRivals(w io.Writer, tests []*test) {
	for _, t := range tests {
		for _, rival := range t.rivals {
			if len(rival.results) != len(t.results) {
				continue
			}
			ratios := make([]float64, len(t.results))
			for i := range t.results {
				ratios[i] = t.results[i].rate / rival.results[i].rate
			}
			s := spreadOfValues(ratios)
			fmt.Fprintf(w, "%s is %.2f times %s (%.2f..%.2f)%s\n", t.name, s.median, rival.name, s.low, s.high, t.slower(rival))
		}
	}
	fmt.Fprintln(w)
}

// slower says how the p99 compares with that of a rival, where both have one.
func (t *test) slower(rival *test) string {
	ratios := make([]float64, len(t.results))
	for i := range t.results {
		if t.results[i].p99 == 0 || rival.results[i].p99 == 0 {
			return ""
		}
		ratios[i] = float64(t.results[i].p99) / float64(rival.results[i].p99)
	}
	s := spreadOfValues(ratios)
	return fmt.Sprintf(", its p99 %.2f times (%.2f..%.2f)", s.median, s.low, s.high)
}

// known returns the median of a figure that is 0 where it is not known.
func (t *test) known(figure func(*result) float64) string {
	if s := spreadOf(t.results, figure); s.high > 0 {
		return fmt.Sprintf("%.1f", s.median)
	}
	return "-"
}

// ratio returns the median ratio to the ceiling of the same round, the spread, and
// the ratio of CPU time.
func (t *test) ratio() string {
	if t.ceiling == nil || len(t.ceiling.results) != len(t.results) {
		return "-\t-\t-"
	}
	byRate, byCPU := make([]float64, len(t.results)), make([]float64, len(t.results))
	for i := range t.results {
		r, top := &t.results[i], &t.ceiling.results[i]
		byRate[i] = r.rate / top.rate
		byCPU[i] = micros(top.cpu+top.receiver) / max(1, micros(r.cpu+r.receiver+r.database))
	}
	s := spreadOfValues(byRate)
	return fmt.Sprintf("%.2f\t%.2f..%.2f\t%.2f", s.median, s.low, s.high, spreadOfValues(byCPU).median)
}

func (t *test) latency() string {
	p50 := spreadOf(t.results, func(r *result) float64 { return micros(r.p50) })
	p99 := spreadOf(t.results, func(r *result) float64 { return micros(r.p99) })
	if p50.high == 0 {
		return "-\t-"
	}
	return fmt.Sprintf("%.2f\t%.2f", p50.median/1000, p99.median/1000)
}

func (t *test) calls() string {
	total := spreadOf(t.results, func(r *result) float64 { return float64(r.calls.sum()) / float64(r.events) }).median
	if total == 0 {
		return "-\t-"
	}
	if commits := spreadOf(t.results, func(r *result) float64 { return float64(r.commits) / float64(r.events) }); commits.low >= 0 {
		total = commits.median
	}
	per := func(n func(calls) int64) float64 {
		return spreadOf(t.results, func(r *result) float64 { return 1000 * float64(n(r.calls)) / float64(r.events) }).median
	}
	return fmt.Sprintf("%.3f\t%.1f+%.1f+%.1f+%.1f", total,
		per(func(c calls) int64 { return c.enqueues }), per(func(c calls) int64 { return c.claims }),
		per(func(c calls) int64 { return c.settles }), per(func(c calls) int64 { return c.steps }))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
