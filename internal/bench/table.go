package main

import (
	"fmt"
	"io"
	"time"
)

// printThroughput writes two lines per test: how fast it was, and what it cost. Both
// have medians, and the spread where it matters.
func printThroughput(w io.Writer, cfg *config, tests []*test) error {
	tw := cfg.sheet(w)
	fmt.Fprintln(tw, "by the clock\tevents\tper second\tleast..most\tof ceiling\tleast..most\tp50 ms\tp99 ms\tothers\t")
	for _, t := range tests {
		rate := spreadOf(t.results, rateOf)
		fmt.Fprintf(tw, "%s\t%.0f\t%.0f\t%.0f..%.0f\t%s\t%s\t%s\t\n",
			t.name, spreadOf(t.results, func(r *result) float64 { return float64(r.events) }).median,
			rate.median, rate.low, rate.high, t.ofCeiling(rateOf), t.latency(), t.others())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	if err := printCosts(w, cfg, tests); err != nil {
		return err
	}
	printRivals(w, tests)
	return nil
}

// printCosts writes what a delivery of each test costs.
func printCosts(w io.Writer, cfg *config, tests []*test) error {
	tw := cfg.sheet(w)
	fmt.Fprintln(tw, "by CPU\tof ceiling\tleast..most\tapp/rcv\tserver/rcv\tCPU us\treceiver\tserver\tallocs\tKiB\twritten\tcommits\ttrips\tenqueue+claim+settle+upkeep\t")
	for _, t := range tests {
		fmt.Fprintf(tw, "%s\t%s\t%.2f\t%s\t%.1f\t%.1f\t%s\t%s\t%s\t%s\t%s\t\n",
			t.name, t.ofCeiling(perCPU),
			spreadOf(t.results, func(r *result) float64 { return toReceiver(r, r.cpu) }).median,
			t.known("%.2f", func(r *result) float64 { return toReceiver(r, r.database) }),
			spreadOf(t.results, func(r *result) float64 { return micros(r.cpu) }).median,
			spreadOf(t.results, func(r *result) float64 { return micros(r.receiver) }).median,
			t.known("%.1f", func(r *result) float64 { return micros(r.database) }),
			t.known("%.1f", func(r *result) float64 { return r.allocs }),
			t.known("%.1f", func(r *result) float64 { return r.bytes / 1024 }),
			t.known("%.1f", func(r *result) float64 { return r.written / 1024 }),
			t.calls())
	}
	return tw.Flush()
}

// perCPU is how many deliveries all processes make in a second of CPU.
func perCPU(r *result) float64 { return 1 / max(1e-9, (r.cpu+r.receiver+r.database).Seconds()) }

// toReceiver compares CPU with what the receiver used in the same run; 0 where it used none.
func toReceiver(r *result, cpu time.Duration) float64 {
	if r.receiver == 0 {
		return 0
	}
	return float64(cpu) / float64(r.receiver)
}

// others returns how many CPUs others used, at the median and at most.
func (t *test) others() string {
	s := spreadOf(t.results, (*result).others)
	return fmt.Sprintf("%.2f..%.2f", s.median, s.high)
}

// throughputLegend says what the columns of printThroughput mean.
const throughputLegend = `
events:     of each run
of ceiling: against signed net/http with as many requests at once, each time just before. By CPU it is
            (client alone + receiver) / (application + server + receiver), each per delivery, which
            is steadier on a machine that others use, and blind to waiting
app/rcv:    CPU of this process against that of the receiver's in the same run; server/rcv: that of
            the PostgreSQL server
p50, p99:   from calling Send to the committed result; by callers not waiting: until Send returns
CPU, allocs, KiB: per delivery, of this process, net/http's client among it, and live the
            bookkeeping of this program (2 allocs); by other processes: their CPU; receiver and
            server: CPU of the receiver's process and of those of the PostgreSQL server
others:     CPUs that processes used meanwhile which have no part in this, at the median and at most:
            the higher, the less the line is to be trusted
written:    KiB per delivery, to disk by this process, or into the log of the PostgreSQL server
commits:    transactions per event, as the store counts them, else the calls; calls are per 1,000 events
trips:      round trips to the PostgreSQL server per call of the store
`

// printRivals writes how tests compare with others of the same round.
func printRivals(w io.Writer, tests []*test) {
	before := "\n"
	for _, t := range tests {
		for _, rival := range t.rivals {
			rates := ratios(t.results, rival.results, rateOf)
			if rates == nil {
				continue
			}
			s := spreadOfValues(rates)
			fmt.Fprintf(w, "%s%s is %.2f times %s (%.2f..%.2f)", before, t.name, s.median, rival.name, s.low, s.high)
			if p99s := ratios(t.results, rival.results, func(r *result) float64 { return float64(r.p99) }); p99s != nil {
				s := spreadOfValues(p99s)
				fmt.Fprintf(w, ", its p99 %.2f times (%.2f..%.2f)", s.median, s.low, s.high)
			}
			fmt.Fprintln(w)
			before = ""
		}
	}
}

func rateOf(r *result) float64 { return r.rate }

// ratios returns how a figure compares with that of other results in the same round,
// for each; nil where one of them is not known.
func ratios(results, others []result, figure func(*result) float64) []float64 {
	if len(others) != len(results) {
		return nil
	}
	ratios := make([]float64, len(results))
	for i := range results {
		ours, theirs := figure(&results[i]), figure(&others[i])
		if ours == 0 || theirs == 0 {
			return nil
		}
		ratios[i] = ours / theirs
	}
	return ratios
}

// known returns the median of a figure that is 0 where it is not known.
func (t *test) known(format string, figure func(*result) float64) string {
	if s := spreadOf(t.results, figure); s.high > 0 {
		return fmt.Sprintf(format, s.median)
	}
	return "-"
}

// ofCeiling returns how a figure compares with the ceiling's: the median and the spread.
func (t *test) ofCeiling(figure func(*result) float64) string {
	if len(t.beside) == 0 {
		return "-\t-"
	}
	s := spreadOfValues(ratios(t.results, t.beside, figure))
	return fmt.Sprintf("%.2f\t%.2f..%.2f", s.median, s.low, s.high)
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
		return "-\t-\t-"
	}
	if commits := spreadOf(t.results, func(r *result) float64 { return float64(r.commits) / float64(r.events) }); commits.low >= 0 {
		total = commits.median
	}
	per := func(n func(calls) int64) float64 {
		return spreadOf(t.results, func(r *result) float64 { return 1000 * float64(n(r.calls)) / float64(r.events) }).median
	}
	trips := t.known("%.2f", func(r *result) float64 { return float64(r.trips) / float64(r.calls.sum()) })
	return fmt.Sprintf("%.3f\t%s\t%.1f+%.1f+%.1f+%.1f", total, trips,
		per(func(c calls) int64 { return c.enqueues }), per(func(c calls) int64 { return c.claims }),
		per(func(c calls) int64 { return c.settles }), per(func(c calls) int64 { return c.steps }))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
