package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/hookpost/hookpost/sender"
)

// warmUpTime is for how long the requests of a latency test are not timed yet.
const warmUpTime = time.Second

// The rates at which requests are timed, in events a second.
const (
	lowRate  = 300
	highRate = 2000
)

// latencySeries times requests of which nobody waits for one before the next.
func latencySeries(cfg *config, db *database) *series {
	s := &series{name: "Send to receipt", runs: cfg.rest, print: printLatency, legend: latencyLegend}
	n := func(rate int) int { return rate * int((warmUpTime+cfg.latency)/time.Second) }
	for _, rate := range []int{lowRate, highRate} {
		for _, e := range engines(db) {
			if e.durable || e.network && cfg.wholeSet {
				s.add(&test{name: latencyName(e.name, rate), n: n(rate), do: e.latency(rate), db: e.db})
			}
		}
	}
	s.add(&test{name: latencyName(riverName, lowRate), n: n(lowRate), do: riverLatency(lowRate), db: db})
	return s
}

func latencyName(engine string, rate int) string {
	return fmt.Sprintf("%s: latency at %d/s", engine, rate)
}

// latency measures how long after Send was called a request is at the receiver's
// handler, at a rate that does not depend on it.
func (e engine) latency(rate int) measureFunc {
	return func(ctx context.Context, run *run) (result, error) {
		run.timed = true
		rig, err := e.rig(ctx, run, false)
		if err != nil {
			return result{}, err
		}
		defer rig.close()
		var late []time.Duration
		res, err := rig.measure(ctx, run, e, func() (err error) {
			late, err = run.paced(ctx, rate, func(i int, data []byte) error {
				_, err := rig.Send(ctx, sender.Event{Type: eventType(i % run.endpoints), Data: data})
				return err
			})
			return errors.Join(err, rig.rec.waitAll(ctx, run.n))
		})
		res.late = p99Of(late)
		return res, err
	}
}

// riverLatency is the same by River.
func riverLatency(rate int) measureFunc {
	return func(ctx context.Context, run *run) (result, error) {
		run.timed = true
		p, err := newPeer(ctx, run, nil)
		if err != nil {
			return result{}, err
		}
		defer p.close()
		var late []time.Duration
		res, err := p.measure(ctx, run, func() (err error) {
			late, err = run.paced(ctx, rate, func(i int, data []byte) error {
				_, err := p.Insert(ctx, hookOf(run, i, data), nil)
				return err
			})
			return errors.Join(err, p.completed(ctx, run.n))
		})
		res.late = p99Of(late)
		return res, err
	}
}

// paced sends run.n events at a rate, each with the time at which send is called, but
// for those of the warm-up. It returns how late those were called that are timed.
func (r *run) paced(ctx context.Context, rate int, send func(i int, data []byte) error) ([]time.Duration, error) {
	data := newTimedPayload(r.payload)
	warm := int(warmUpTime/time.Second) * rate
	late, err := pace(ctx, time.Second/time.Duration(rate), r.n, func(i int) error {
		if i < warm {
			return send(i, data.at(time.Time{}))
		}
		return send(i, data.at(time.Now()))
	})
	return late[min(warm, len(late)):], err
}

func p99Of(durations []time.Duration) time.Duration {
	slices.Sort(durations)
	return quantile(durations, 0.99)
}

// printLatency writes one line per test.
func printLatency(w io.Writer, cfg *config, tests []*test) error {
	tw := cfg.sheet(w)
	fmt.Fprintln(tw, "ms\tp50\tleast..most\tp99\tleast..most\tlate p99\tCPU us\tdatabase\tothers\t")
	for _, t := range tests {
		millis := func(figure func(*result) time.Duration) spread {
			return spreadOf(t.results, func(r *result) float64 { return micros(figure(r)) / 1000 })
		}
		p50 := millis(func(r *result) time.Duration { return r.p50 })
		p99 := millis(func(r *result) time.Duration { return r.p99 })
		fmt.Fprintf(tw, "%s\t%.2f\t%.2f..%.2f\t%.2f\t%.2f..%.2f\t%.2f\t%.0f\t%s\t%s\t\n", t.name,
			p50.median, p50.low, p50.high, p99.median, p99.low, p99.high,
			millis(func(r *result) time.Duration { return r.late }).median,
			spreadOf(t.results, func(r *result) float64 { return micros(r.cpu) }).median,
			t.known("%.1f", func(r *result) float64 { return micros(r.database) }), t.others())
	}
	return tw.Flush()
}

const latencyLegend = `
p50, p99: from the call of Send to the first line of the receiver's handler, by the clock of the machine.
          Calls are at fixed times, whatever became of those before (open loop); those of the first
          second are not counted. late: how long after its time a call was made; p50 and p99 count from the call
CPU:      per event of this process, of the PostgreSQL server, and of others as in the first table
`
