package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	// heapEndpoints share the pending deliveries, and all hang.
	heapEndpoints = 100
	// heapSamples are taken, heapPause apart, of which the greatest counts: what is in
	// flight varies.
	heapSamples = 10
	heapPause   = 100 * time.Millisecond
)

// heapTest measures the memory of a started sender that has many deliveries pending
// and as many under way as it holds at once, since no endpoint answers.
type heapTest struct {
	name    string
	engine  engine
	pending int
	results []heapResult
}

// heapResult is what one run measured, in bytes.
type heapResult struct {
	idle, busy footprint
}

// footprint is what this process takes.
type footprint struct {
	live     float64 // reachable on the heap
	resident float64 // all of the process, garbage given back; 0: not known
}

// heapTests returns the tests that cfg.only selects.
func heapTests(cfg *config, db *database) []*heapTest {
	var all []*heapTest
	for _, e := range engines(db) {
		t := &heapTest{name: heapName(e.name, cfg.heap), engine: e, pending: cfg.heap}
		if e.durable && cfg.only.MatchString(t.name) {
			all = append(all, t)
		}
	}
	return all
}

func heapName(engine string, pending int) string {
	return fmt.Sprintf("%s: heap, %s pending", engine, thousands(pending))
}

func (t *heapTest) measure(ctx context.Context, cfg *config, rcv *receiver) (r heapResult, err error) {
	run := &run{config: cfg, test: t.name, receiver: rcv, db: t.engine.db}
	rig, err := t.engine.rig(ctx, run, false)
	if err != nil {
		return r, err
	}
	defer rig.close()
	if err := rig.createHanging(ctx, run, heapEndpoints); err != nil {
		return r, err
	}
	if err := rig.Start(ctx); err != nil {
		return r, err
	}
	r.idle = footprintNow()
	err = rig.fillHanging(ctx, run, heapEndpoints, t.pending)
	for range heapSamples {
		now := footprintNow()
		r.busy.live, r.busy.resident = max(r.busy.live, now.live), max(r.busy.resident, now.resident)
		time.Sleep(heapPause)
	}
	err = errors.Join(err, rig.checkPending(ctx, t.pending))
	cut, cancel := context.WithCancel(ctx)
	cancel() // all that is in flight hangs
	_ = rig.Stop(cut)
	return r, err
}

// footprintNow collects garbage and says what is left. The second time empties the pools.
func footprintNow() footprint {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{live: float64(m.HeapAlloc), resident: float64(residentSize())}
}

// checkPending makes sure that so many deliveries are pending.
func (r *rig) checkPending(ctx context.Context, want int) error {
	page, err := r.rec.Backlogs(ctx, store.Scope{Mode: store.Live}, store.BacklogQuery{Limit: 1000, Bound: want})
	if err != nil {
		return err
	}
	pending := 0
	for _, b := range page {
		pending += b.Due.N + b.Scheduled.N + b.InFlight.N
	}
	if pending != want {
		return fmt.Errorf("%d deliveries are pending, not %d", pending, want)
	}
	return nil
}

// runHeapTests measures all in turns and prints their table.
func runHeapTests(ctx context.Context, cfg *config, rcv *receiver, tests []*heapTest) error {
	for i := range cfg.heapRuns {
		for _, t := range tests {
			fmt.Fprintf(os.Stderr, "\r\033[KHeap, run %d of %d: %s", i+1, cfg.heapRuns, t.name)
			r, err := t.measure(ctx, cfg, rcv)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			t.results = append(t.results, r)
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	fmt.Printf("\nHeap, %d runs\n", cfg.heapRuns)
	return printHeaps(os.Stdout, cfg, tests)
}

// aboveIdle returns what the heap had more than at idle in each run, in MiB.
func (t *heapTest) aboveIdle() []float64 {
	values := make([]float64, len(t.results))
	for i, r := range t.results {
		values[i] = (r.busy.live - r.idle.live) / (1 << 20)
	}
	return values
}

func printHeaps(w io.Writer, cfg *config, tests []*heapTest) error {
	tw := cfg.sheet(w)
	fmt.Fprintln(tw, "MiB\tidle\tpending\tabove idle\tleast..most\tresident idle\tpending\t")
	for _, t := range tests {
		median := func(figure func(heapResult) float64) float64 {
			values := make([]float64, len(t.results))
			for i, r := range t.results {
				values[i] = figure(r) / (1 << 20)
			}
			return spreadOfValues(values).median
		}
		above := spreadOfValues(t.aboveIdle())
		fmt.Fprintf(tw, "%s\t%.1f\t%.1f\t%.1f\t%.1f..%.1f\t%.1f\t%.1f\t\n", t.name,
			median(func(r heapResult) float64 { return r.idle.live }), median(func(r heapResult) float64 { return r.busy.live }),
			above.median, above.low, above.high,
			median(func(r heapResult) float64 { return r.idle.resident }), median(func(r heapResult) float64 { return r.busy.resident }))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
live heap of this process after a garbage collection, once the sender is started, and once so many
          deliveries are pending to %d endpoints that hang, all slots taken; the most of %d samples.
resident: memory of the process, SQLite's own and net/http's among it
`, heapEndpoints, heapSamples)
	return err
}
