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

// callers is how many call Send at once where nothing else is said.
const callers = 64

func liveName(engine string, callers int) string {
	if callers == 1 {
		return engine + ": live, 1 caller"
	}
	return fmt.Sprintf("%s: live, %d callers", engine, callers)
}

func unwaitedName(engine string) string { return liveName(engine, callers) + " not waiting" }

// live measures how fast events pass that nobody has waiting in store.
func (e engine) live(callers int) measureFunc {
	return func(ctx context.Context, run *run) (result, error) {
		rig, err := e.rig(ctx, run, true)
		if err != nil {
			return result{}, err
		}
		defer rig.close()
		var took []time.Duration
		r, err := rig.measure(ctx, run, e, func() (err error) {
			took, err = inParallel(callers, run.n, rig.sendAndWait(ctx, run))
			return err
		})
		r.p50, r.p99 = quantile(took, 0.50), quantile(took, 0.99)
		return r, err
	}
}

// unwaited is live with callers that send the next event once the one before is
// stored. The clock stops when the last one's result is committed.
func (e engine) unwaited(ctx context.Context, run *run) (result, error) {
	rig, err := e.rig(ctx, run, false)
	if err != nil {
		return result{}, err
	}
	defer rig.close()
	var (
		took []time.Duration
		data = payload(run.payload)
	)
	r, err := rig.measure(ctx, run, e, func() (err error) {
		took, err = inParallel(callers, run.n, func(i int) error {
			_, err := rig.Send(ctx, sender.Event{Type: eventType(i % run.endpoints), Data: data})
			return err
		})
		return errors.Join(err, rig.rec.waitAll(ctx, run.n))
	})
	r.p50, r.p99 = quantile(took, 0.50), quantile(took, 0.99)
	return r, err
}

// sendAndWait returns a call that sends an event and waits for its committed result.
func (r *rig) sendAndWait(ctx context.Context, run *run) func(i int) error {
	types := make([]string, run.endpoints)
	for i := range types {
		types[i] = eventType(i)
	}
	data := payload(run.payload)
	return func(i int) error {
		receipt, err := r.Send(ctx, sender.Event{Type: types[i%len(types)], Data: data})
		if err != nil {
			return err
		}
		return r.rec.wait(ctx, receipt.ID)
	}
}

// inParallel has callers make n calls together, and returns how long each call took,
// sorted. A caller stops at its first error.
func inParallel(callers, n int, call func(i int) error) ([]time.Duration, error) {
	var (
		took = make([]time.Duration, n)
		errs = make([]error, callers)
		next atomic.Int64
		wg   sync.WaitGroup
	)
	for caller := range callers {
		wg.Go(func() {
			for errs[caller] == nil {
				i := int(next.Add(1) - 1)
				if i >= n {
					return
				}
				begun := time.Now()
				errs[caller] = call(i)
				took[i] = time.Since(begun)
			}
		})
	}
	wg.Wait()
	slices.Sort(took)
	return took, errors.Join(errs...)
}
