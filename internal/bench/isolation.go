package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
)

const (
	isolationEndpoints = 100
	isolationHanging   = 10 // of them, in one of the two tests
)

// isolationScale is how much hangs and for how long the others are measured.
type isolationScale struct {
	pending int // deliveries to the hanging endpoints, stored before the start
	lasts   time.Duration
}

// isolationSeries is what endpoints that hang cost the others.
func isolationSeries(cfg *config, db *database) *series {
	s := &series{name: "Isolation", runs: cfg.rest, print: printThroughput}
	for _, e := range engines(db) {
		if e.durable || e.network && cfg.wholeSet {
			hanging, calm := e.isolation(cfg)
			s.add(calm)
			s.add(hanging)
		}
	}
	return s
}

// isolation returns two tests that measure how fast events pass to endpoints that
// answer: with a tenth of all endpoints hanging and their deliveries waiting, and
// without that tenth.
func (e engine) isolation(cfg *config) (hanging, calm *test) {
	calm = &test{name: e.name + ": isolation, none hangs", do: e.isolated(cfg, 0), db: e.db}
	hanging = &test{
		name: hangingName(e.name),
		do:   e.isolated(cfg, isolationHanging), db: e.db, rivals: []*test{calm},
	}
	return hanging, calm
}

func hangingName(engine string) string {
	return fmt.Sprintf("%s: isolation, %d of %d hang", engine, isolationHanging, isolationEndpoints)
}

func (e engine) isolated(cfg *config, hanging int) measureFunc {
	scale := cfg.isolation
	return func(ctx context.Context, run *run) (result, error) {
		own := *run.config
		own.endpoints = isolationEndpoints - isolationHanging
		run.config = &own
		rig, err := e.rig(ctx, run, false)
		if err != nil {
			return result{}, err
		}
		defer rig.close()
		if hanging > 0 {
			if err := rig.createHanging(ctx, run, hanging); err != nil {
				return result{}, err
			}
			if err := rig.fillHanging(ctx, run, hanging, scale.pending); err != nil {
				return result{}, err
			}
		}
		rig.rec.follow = true // what was stored so far nobody waits for
		return rig.isolated(ctx, run, scale.lasts)
	}
}

// createHanging creates endpoints that don't answer.
func (r *rig) createHanging(ctx context.Context, run *run, endpoints int) error {
	secret, err := signing.ParseSecret(secretText)
	if err != nil {
		return err
	}
	for i := range endpoints {
		_, _, err := r.CreateEndpoint(ctx, sender.EndpointSpec{
			URL: run.receiver.hangs(i), EventTypes: []string{hangingType(i)}, Secret: secret, NoTestEvent: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fillHanging stores deliveries to them.
func (r *rig) fillHanging(ctx context.Context, run *run, endpoints, pending int) error {
	data := payload(run.payload)
	for stored := 0; stored < pending; {
		batch := make([]sender.Event, min(pending-stored, 1000))
		for i := range batch {
			batch[i] = sender.Event{Type: hangingType((stored + i) % endpoints), Data: data}
		}
		if _, err := r.SendBatch(ctx, batch); err != nil {
			return err
		}
		stored += len(batch)
	}
	return nil
}

func hangingType(i int) string { return fmt.Sprintf("payment.stuck.%d", i) }

// isolated lets callers send to the endpoints that answer for so long.
func (r *rig) isolated(ctx context.Context, run *run, lasts time.Duration) (res result, err error) {
	if err := r.Start(ctx); err != nil {
		return res, err
	}
	var (
		data = payload(run.payload)
		took = make([][]time.Duration, callers)
		errs = make([]error, callers)
		wg   sync.WaitGroup
	)
	calls := r.rec.calls()
	m, err := run.begin()
	if err != nil {
		return res, err
	}
	for caller := range callers {
		wg.Go(func() {
			for i := caller; errs[caller] == nil && time.Since(m.start) < lasts; i += callers {
				begun := time.Now()
				var receipt sender.Receipt
				if receipt, errs[caller] = r.Send(ctx, sender.Event{Type: eventType(i % run.endpoints), Data: data}); errs[caller] != nil {
					return
				}
				errs[caller] = r.rec.wait(ctx, receipt.ID)
				took[caller] = append(took[caller], time.Since(begun))
			}
		})
	}
	wg.Wait()
	all := slices.Concat(took...)
	slices.Sort(all)
	res, err = m.end(len(all))
	res.calls = r.rec.calls().minus(calls)
	res.p50, res.p99 = quantile(all, 0.50), quantile(all, 0.99)
	cut, cancel := context.WithCancel(ctx)
	cancel() // whatever hangs is cut off
	_ = r.Stop(cut)
	if err := errors.Join(append(errs, err)...); err != nil {
		return res, err
	}
	run.n = len(all)
	return res, run.received(ctx, &res)
}
