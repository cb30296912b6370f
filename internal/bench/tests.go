package main

import (
	"context"
	"errors"
	"fmt"
	"time"
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
	timed    bool      // events say when they are sent
}

// url returns the URL of the ith endpoint.
func (r *run) url(i int) string {
	if r.timed {
		return r.receiver.timed(i)
	}
	return r.receiver.endpoint(i)
}

// received makes sure that the receiver got everything once, and notes in res what
// that cost it and how long after sending it came.
func (r *run) received(ctx context.Context, res *result) error {
	t, err := r.receiver.tally(ctx)
	if err != nil {
		return err
	}
	res.receiver = t.CPU / time.Duration(r.n)
	if t.P99 > 0 {
		res.p50, res.p99 = t.P50, t.P99
	}
	return t.check(r.n)
}

// test is a line of the table.
type test struct {
	name    string
	n       int // events of one run
	do      measureFunc
	db      *database // that it needs; nil: none
	ceiling *test     // what it is compared with; nil: nothing
	rivals  []*test   // others that it is compared with
	results []result
	beside  []result // of the ceiling just before each run

	isCeiling bool // of others
}

// measure runs the test once more.
func (t *test) measure(ctx context.Context, cfg *config, rcv *receiver) error {
	ctx, cancel := context.WithTimeout(ctx, tooLong)
	defer cancel()
	own := *cfg
	own.n = t.n
	r, err := t.do(ctx, &run{config: &own, test: t.name, receiver: rcv, db: t.db})
	if err != nil {
		return fmt.Errorf("%s: %w", t.name, err)
	}
	t.results = append(t.results, r)
	return nil
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
