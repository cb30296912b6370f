package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"time"

	"github.com/hookpost/hookpost/internal/pgserver"
)

// plan is everything that is to be run, and what it has found.
type plan struct {
	cfg *config
	lib *libraries
	db  *database

	ops    []*operation
	series []*series
	heaps  []*heapTest
	claims []*claimTest
	stats  []*statsTest
	prunes []*pruneTest
}

// newPlan returns what cfg.only selects.
func newPlan(cfg *config) (*plan, error) {
	lib, err := newLibraries()
	if err != nil {
		return nil, err
	}
	db := &database{}
	p := &plan{
		cfg: cfg, lib: lib, db: db,
		ops: signatureOperations(cfg, lib),
		series: []*series{
			throughputSeries(cfg, db), callersSeries(cfg, db), latencySeries(cfg, db),
			isolationSeries(cfg, db), processesSeries(cfg, db),
		},
		heaps: heapTests(cfg, db), claims: claimTests(cfg, db), stats: statsTests(cfg, db), prunes: pruneTests(cfg, db),
	}
	p.series = keepTests(p.series, func(t *test) bool { return cfg.only.MatchString(t.name) })
	return p, nil
}

// keepTests returns the series with the tests that are wanted. A series of which only
// ceilings are left is dropped, except the first: there they are measured for themselves.
func keepTests(all []*series, wanted func(*test) bool) []*series {
	var kept []*series
	for i, s := range all {
		own := *s
		own.keep(wanted)
		if len(own.tests) > 0 && (i == 0 || !own.onlyCeilings()) {
			kept = append(kept, &own)
		}
	}
	return kept
}

// withoutServer returns those that need no PostgreSQL.
func (p *plan) withoutServer() *plan {
	local := *p
	local.series = keepTests(p.series, func(t *test) bool { return t.db == nil })
	local.heaps = without(p.heaps, func(t *heapTest) engine { return t.engine })
	local.claims = without(p.claims, func(t *claimTest) engine { return t.engine })
	local.stats = without(p.stats, func(t *statsTest) engine { return t.engine })
	local.prunes = without(p.prunes, func(t *pruneTest) engine { return t.engine })
	return &local
}

func without[T any](tests []T, of func(T) engine) []T {
	var local []T
	for _, t := range tests {
		if of(t).db == nil {
			local = append(local, t)
		}
	}
	return local
}

// count returns how many need more than this process.
func (p *plan) count() int {
	n := len(p.heaps) + len(p.claims) + len(p.stats) + len(p.prunes)
	for _, s := range p.series {
		n += len(s.tests)
	}
	return n
}

// bench runs everything that cfg.only selects.
func bench(ctx context.Context, cfg *config) (err error) {
	start := time.Now()
	p, err := newPlan(cfg)
	if err != nil {
		return err
	}
	fmt.Printf("%s %s/%s, %d CPUs; %d bytes of data, %d endpoints, MaxInFlight %d\n%s\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.GOMAXPROCS(0), cfg.payload, cfg.endpoints, cfg.inFlight, cfg.form)
	if local := p.withoutServer(); local.count() < p.count() {
		started := p.db.start(ctx)
		switch {
		case started == nil:
			defer func() { err = errors.Join(err, p.db.end()) }()
			fmt.Println(p.db.about)
		case errors.Is(started, pgserver.ErrNone) && os.Getenv("CI") != "true":
			fmt.Fprintln(os.Stderr, "bench: skipping what needs PostgreSQL:", started)
			p = local
		default:
			return started
		}
	}
	if len(p.ops) > 0 {
		if err := runOperations(ctx, cfg, p.lib, p.ops); err != nil {
			return err
		}
	}
	if p.count() > 0 {
		if err := p.run(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nAll took %s\n", time.Since(start).Round(time.Second))
	f := &findings{series: p.series, ops: p.ops, heaps: p.heaps, claims: p.claims}
	return errors.Join(printOverview(os.Stdout, cfg, f), printGoals(os.Stdout, cfg, f.goals()))
}

// run runs all but the operations.
func (p *plan) run(ctx context.Context) error {
	rcv, err := startReceiver()
	if err != nil {
		return err
	}
	defer rcv.stop()
	for _, s := range p.series {
		if err := s.run(ctx, p.cfg, rcv); err != nil {
			return err
		}
	}
	if len(p.heaps) > 0 {
		if err := runHeapTests(ctx, p.cfg, rcv, p.heaps); err != nil {
			return err
		}
	}
	if len(p.claims) > 0 {
		if err := runClaimTests(ctx, p.cfg, p.claims); err != nil {
			return err
		}
	}
	if len(p.stats) > 0 {
		if err := runStatsTests(ctx, p.cfg, p.stats); err != nil {
			return err
		}
	}
	if len(p.prunes) > 0 {
		return runPruneTests(ctx, p.cfg, rcv, p.prunes)
	}
	return nil
}
