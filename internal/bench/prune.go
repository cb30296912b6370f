package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

// pruneTest measures what pruning costs those who send: events pass as in a live test,
// on a store with many that are past their retention. In turns, the sender's upkeep
// removes these or finds nothing to do.
type pruneTest struct {
	name   string
	engine engine
	old    int // events past their retention
	turns  [2][]pruneTurn
}

// pruneTurn is a turn without pruning or with it.
type pruneTurn struct {
	rate, removed float64 // events a second
	p99           time.Duration
	step          time.Duration // of pruning, on average
}

// pruneTests returns the tests that cfg.only selects.
func pruneTests(cfg *config, db *database) []*pruneTest {
	var all []*pruneTest
	if cfg.aged == 0 {
		return nil
	}
	for _, e := range engines(db) {
		if t := (&pruneTest{name: e.name + ": prune", engine: e, old: cfg.aged}); e.durable && cfg.only.MatchString(t.name) {
			all = append(all, t)
		}
	}
	return all
}

// ageing is a store in which some events are past their retention.
type ageing struct {
	store.Store
	filled  time.Time // those stored before
	on      atomic.Bool
	removed atomic.Int64
	steps   atomic.Int64
	took    atomic.Int64
}

// Prune implements [store.Upkeep]. While it is off it does nothing and asks to be
// called again.
func (a *ageing) Prune(ctx context.Context, _ store.Retention, limit int) (int, error) {
	if !a.on.Load() {
		return limit, nil
	}
	start := time.Now()
	n, err := a.Store.Prune(ctx, store.Retention{Log: time.Since(a.filled)}, limit)
	a.took.Add(int64(time.Since(start)))
	a.steps.Add(1)
	a.removed.Add(int64(n))
	return n, err
}

func (t *pruneTest) measure(ctx context.Context, cfg *config, rcv *receiver) error {
	run := &run{config: cfg, test: t.name, receiver: rcv, db: t.engine.db}
	var old *ageing
	e := t.engine
	e.open = func(ctx context.Context, dir string) (store.Store, func(), error) {
		st, remove, err := t.engine.open(ctx, dir)
		old = &ageing{Store: st}
		return old, remove, err
	}
	rig, err := e.rig(ctx, run, true)
	if err != nil {
		return err
	}
	defer rig.close()
	if err := old.fill(ctx, run, t.old); err != nil {
		return err
	}
	if pg, ok := old.Store.(*pgStore); ok {
		// What the server would do by itself sooner or later.
		if _, err := pg.pool.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
			return err
		}
		t.engine.db.settle(ctx, pg.pool)
	}
	if err := rig.Start(ctx); err != nil {
		return err
	}
	var turnErr error
	for i := range 1 + 2*cfg.runs {
		with := i % 2
		old.on.Store(with == 1)
		turn, err := rig.pruneTurn(ctx, run, old)
		if turnErr = err; err != nil {
			break
		}
		if i > 0 { // the first is for warming up
			t.turns[with] = append(t.turns[with], turn)
		}
	}
	return errors.Join(turnErr, rig.Stop(ctx))
}

// fill stores n events and has them delivered.
func (a *ageing) fill(ctx context.Context, run *run, n int) error {
	scope := store.Scope{Mode: store.Live}
	set, err := a.EndpointSet(ctx, scope)
	if err != nil {
		return err
	}
	body := envelope(payload(run.payload), eventType(0))
	hash := sha256.Sum256(body)
	for stored := 0; stored < n; {
		p := store.EnqueueParams{Owner: 1, Lease: time.Minute, Events: make([]store.NewEvent, min(n-stored, 1000))}
		for i := range p.Events {
			p.Events[i] = store.NewEvent{
				Event: store.Event{
					Scope: scope, ID: ceilingID(int64(stored + i)), Type: eventType(0), CreatedAt: time.Now(),
					ContentType: "application/json", Body: body, Hash: hash, SetVersion: set.Version,
				},
				For: []store.NewDelivery{{Endpoint: set.Endpoints[i%len(set.Endpoints)].Num, Lease: true}},
			}
		}
		results, err := a.Enqueue(ctx, p)
		if err != nil {
			return err
		}
		reports := make([]store.Settlement, len(results))
		for i, r := range results {
			if !r.Leased {
				return fmt.Errorf("an event has status %d", r.Status)
			}
			reports[i] = store.Settlement{
				ID: store.DeliveryID{Event: r.Event, Endpoint: p.Events[i].For[0].Endpoint}, Token: 1, Verdict: store.Deliver,
				Attempt: &store.Attempt{N: 1, Took: 3 * time.Millisecond, Outcome: store.AttemptDelivered, URL: "https://example.com/hooks/1", Status: 200},
			}
		}
		if _, err := a.Settle(ctx, reports); err != nil {
			return err
		}
		stored += len(results)
	}
	a.filled = time.Now()
	return nil
}

// pruneTurn passes as many events as a live test.
func (r *rig) pruneTurn(ctx context.Context, run *run, old *ageing) (pruneTurn, error) {
	start := time.Now()
	removed, steps, busy := old.removed.Load(), old.steps.Load(), old.took.Load()
	took, err := inParallel(callers, run.n, r.sendAndWait(ctx, run))
	wall := time.Since(start).Seconds()
	t := pruneTurn{rate: float64(run.n) / wall, removed: float64(old.removed.Load()-removed) / wall, p99: quantile(took, 0.99)}
	if n := old.steps.Load() - steps; n > 0 {
		t.step = time.Duration((old.took.Load() - busy) / n)
	}
	return t, err
}

// runPruneTests measures all and prints their table.
func runPruneTests(ctx context.Context, cfg *config, rcv *receiver, tests []*pruneTest) error {
	for i, t := range tests {
		fmt.Fprintf(os.Stderr, "\r\033[K%d of %d: %s", i+1, len(tests), t.name)
		if err := t.measure(ctx, cfg, rcv); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	return printPruning(os.Stdout, cfg, tests)
}

func printPruning(w io.Writer, cfg *config, tests []*pruneTest) error {
	tw := cfg.sheet(w)
	fmt.Fprintf(tw, "live, %d callers\told\twithout/s\twith/s\tratio\tleast..most\tp99 ms\twith\tremoved/s\tstep ms\t\n", callers)
	for _, t := range tests {
		ratios := make([]float64, len(t.turns[1]))
		for i := range ratios {
			ratios[i] = t.turns[1][i].rate / t.turns[0][i].rate
		}
		ratio := spreadOfValues(ratios)
		median := func(with int, figure func(*pruneTurn) float64) float64 {
			values := make([]float64, len(t.turns[with]))
			for i := range values {
				values[i] = figure(&t.turns[with][i])
			}
			return spreadOfValues(values).median
		}
		rate := func(t *pruneTurn) float64 { return t.rate }
		p99 := func(t *pruneTurn) float64 { return micros(t.p99) / 1000 }
		fmt.Fprintf(tw, "%s\t%d\t%.0f\t%.0f\t%.2f\t%.2f..%.2f\t%.1f\t%.1f\t%.0f\t%.1f\t\n", t.name, t.old, median(0, rate), median(1, rate),
			ratio.median, ratio.low, ratio.high, median(0, p99), median(1, p99),
			median(1, func(t *pruneTurn) float64 { return t.removed }), median(1, func(t *pruneTurn) float64 { return micros(t.step) / 1000 }))
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, `
ratio: with pruning of old events to without, in turns on the same store
`)
	return err
}
