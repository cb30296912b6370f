package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/sender"
)

// tooLong ends a run that hangs.
const tooLong = 2 * time.Minute

type measureFunc func(ctx context.Context, run *run) (result, error)

// run is one run of a test.
type run struct {
	*config
	test     string // its name
	receiver *receiver
	db       *database // nil: not used
}

// received makes sure that the receiver got everything once, and notes in res what
// that cost it.
func (r *run) received(ctx context.Context, res *result) error {
	t, err := r.receiver.tally(ctx)
	if err != nil {
		return err
	}
	res.receiver = t.CPU / time.Duration(r.n)
	return t.check(r.n)
}

// test is a line of the table.
type test struct {
	name    string
	do      measureFunc
	db      *database // that it needs; nil: none
	ceiling *test     // what it is compared with; nil: nothing
	rivals  []*test   // others that it is compared with
	results []result
}

// measure runs the test once.
func (t *test) measure(ctx context.Context, cfg *config, rcv *receiver) (result, error) {
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	return t.do(ctx, &run{config: cfg, test: t.name, receiver: rcv, db: t.db})
}

// allTests returns the tests that cfg.only selects.
func allTests(cfg *config, db *database) []*test {
	var all []*test
	add := func(t *test) *test {
		all = append(all, t)
		return t
	}
	ceilings := make(map[int]*test)
	ceilingAt := func(concurrency int) *test {
		if ceilings[concurrency] == nil {
			ceilings[concurrency] = add(&test{name: fmt.Sprintf("signed net/http, %d at once", concurrency), do: ceiling(concurrency)})
		}
		return ceilings[concurrency]
	}
	// One endpoint gets at most half of the slots.
	drainCeiling := ceilingAt(min(cfg.inFlight, cfg.endpoints*max(1, cfg.inFlight/2)))
	liveCeiling := ceilingAt(cfg.callers)
	for _, e := range engines(db) {
		drain := add(&test{name: e.name + ": drain", do: e.drain, db: e.db})
		live := add(&test{name: fmt.Sprintf("%s: live, %d callers", e.name, cfg.callers), do: e.live, db: e.db})
		if e.network {
			drain.ceiling, live.ceiling = drainCeiling, liveCeiling
		}
		if e.network {
			hanging, calm := e.isolation(cfg)
			add(calm)
			add(hanging)
		}
		if e.db == nil {
			continue
		}
		one := add(&test{name: e.name + ": drain by 1 process", do: e.drainBy(1), db: db, ceiling: drainCeiling})
		for _, n := range []int{2, 4} {
			add(&test{name: fmt.Sprintf("%s: drain by %d processes", e.name, n), do: e.drainBy(n), db: db, ceiling: drainCeiling, rivals: []*test{one}})
		}
		drain.rivals = []*test{add(&test{name: "River: drain", do: riverDrain, db: db, ceiling: drainCeiling})}
		live.rivals = []*test{add(&test{name: fmt.Sprintf("River: live, %d callers", cfg.callers), do: riverLive, db: db, ceiling: liveCeiling})}
	}
	return slices.DeleteFunc(all, func(t *test) bool { return !cfg.only.MatchString(t.name) })
}

// drain measures how fast a backlog is worked off.
func (e engine) drain(ctx context.Context, run *run) (result, error) {
	rig, err := e.rig(ctx, run, false)
	if err != nil {
		return result{}, err
	}
	defer rig.close()
	if err := rig.fill(ctx, run); err != nil {
		return result{}, err
	}
	return rig.measure(ctx, run, e, func() error { return rig.rec.waitAll(ctx, run.n) })
}

// live measures how fast events pass that nobody has waiting in store.
func (e engine) live(ctx context.Context, run *run) (result, error) {
	rig, err := e.rig(ctx, run, true)
	if err != nil {
		return result{}, err
	}
	defer rig.close()
	var (
		data  = payload(run.payload)
		took  = make([]time.Duration, run.n)
		errs  = make([]error, run.callers)
		next  atomic.Int64
		types = make([]string, run.endpoints)
	)
	for i := range types {
		types[i] = eventType(i)
	}
	r, err := rig.measure(ctx, run, e, func() error {
		var wg sync.WaitGroup
		for caller := range run.callers {
			wg.Go(func() {
				for errs[caller] == nil {
					i := int(next.Add(1) - 1)
					if i >= run.n {
						return
					}
					begun := time.Now()
					var receipt sender.Receipt
					if receipt, errs[caller] = rig.Send(ctx, sender.Event{Type: types[i%run.endpoints], Data: data}); errs[caller] != nil {
						return
					}
					errs[caller] = rig.rec.wait(ctx, receipt.ID)
					took[i] = time.Since(begun)
				}
			})
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	slices.Sort(took)
	r.p50, r.p99 = quantile(took, 0.50), quantile(took, 0.99)
	return r, err
}

// measure starts the sender, runs work and stops the sender. What Stop does is
// not measured.
func (r *rig) measure(ctx context.Context, run *run, e engine, work func() error) (result, error) {
	calls, commits := r.rec.calls(), r.rec.commits()
	m, err := run.begin()
	if err != nil {
		return result{}, err
	}
	if err := r.Start(ctx); err != nil {
		return result{}, err
	}
	workErr := work()
	res, err := m.end(run.n)
	res.calls = r.rec.calls().minus(calls)
	if commits >= 0 {
		res.commits = r.rec.commits() - commits
	}
	if err := errors.Join(workErr, err, r.Stop(ctx)); err != nil {
		return res, err
	}
	err = r.check(ctx, run, e, &res)
	return res, err
}
