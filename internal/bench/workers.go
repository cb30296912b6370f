package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/sender"
)

// workerEnv, when set, makes this program a worker; it holds a workerConfig.
const workerEnv = "HOOKPOST_BENCH_WORKER"

// workerConfig says what a worker works on.
type workerConfig struct {
	DSN      string
	Schema   string
	InFlight int
}

// workerReport is a line of a worker's output. The first says that it is ready.
type workerReport struct {
	Delivered int64
	CPU       time.Duration // since it started sending
	Enqueues  int64
	Claims    int64
	Settles   int64
	Steps     int64
	Trips     int64 // round trips to the server
}

// reportEvery is how often a worker tells what it has done.
const reportEvery = 5 * time.Millisecond

// serveWorker is a worker's process. It starts sending at the first byte of its
// standard input, and stops at its end.
func serveWorker(text string) error {
	var cfg workerConfig
	if err := json.Unmarshal([]byte(text), &cfg); err != nil {
		return err
	}
	ctx := context.Background()
	db := &database{dsn: cfg.DSN}
	st, err := db.join(ctx, cfg.Schema, false)
	if err != nil {
		return err
	}
	defer st.Close()
	rec := newRecorder(st, false)
	s, err := sender.New(rec, senderOptions(cfg.InFlight))
	if err != nil {
		return err
	}
	out := json.NewEncoder(os.Stdout)
	if err := out.Encode(workerReport{}); err != nil {
		return err
	}
	if _, err := os.Stdin.Read(make([]byte, 1)); err != nil {
		return nil // not needed any more
	}
	begun, trips := cpuTime(), db.roundTrips()
	if err := s.Start(ctx); err != nil {
		return err
	}
	end := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		close(end)
	}()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	last := int64(0)
	for {
		select {
		case <-end:
			ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
			defer cancel()
			return s.Stop(ctx)
		case <-tick.C:
		}
		if n := rec.delivered.Load(); n != last {
			last = n
			c := rec.calls()
			if err := out.Encode(workerReport{n, cpuTime() - begun, c.enqueues, c.claims, c.settles, c.steps, db.roundTrips() - trips}); err != nil {
				return err
			}
		}
	}
}

// worker is a worker's process, seen from here.
type worker struct {
	cmd   *exec.Cmd
	stdin io.WriteCloser
	last  atomic.Pointer[workerReport]
	ended chan struct{} // closed when no more reports come
}

// startWorker returns a worker that is ready to send.
func startWorker(cfg *workerConfig) (*worker, error) {
	text, err := json.Marshal(cfg)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{cmd: exec.Command(self), ended: make(chan struct{})}
	w.cmd.Env = append(os.Environ(), workerEnv+"="+string(text))
	w.cmd.Stderr = os.Stderr
	if w.stdin, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	ready := make(chan struct{})
	go func() {
		defer close(w.ended)
		for in := json.NewDecoder(stdout); ; {
			r := &workerReport{}
			if in.Decode(r) != nil {
				return
			}
			if w.last.Swap(r) == nil {
				close(ready)
			}
		}
	}()
	select {
	case <-ready:
		return w, nil
	case <-w.ended:
		return nil, errors.Join(errors.New("a worker did not start"), w.stop())
	}
}

func (w *worker) stop() error {
	_ = w.stdin.Close()
	<-w.ended
	return w.cmd.Wait()
}

// processesSeries is a backlog worked off by several processes.
func processesSeries(cfg *config, db *database) *series {
	s := &series{name: "Processes", runs: cfg.rest, print: printThroughput}
	ceiling := s.ceilingAt(cfg, cfg.drainConcurrency())
	for _, e := range engines(db) {
		if e.db == nil {
			continue
		}
		one := s.add(&test{name: drainName(e.name) + " by 1 process", n: cfg.onServer, do: e.drainBy(1), db: db, ceiling: ceiling})
		for _, n := range []int{2, 4} {
			s.add(&test{
				name: fmt.Sprintf("%s by %d processes", drainName(e.name), n), n: cfg.onServer, do: e.drainBy(n),
				db: db, ceiling: ceiling, rivals: []*test{one},
			})
		}
	}
	return s
}

// drainBy measures how fast so many processes work off a backlog in one database.
// Each has as much in flight as the only one of the drain test.
func (e engine) drainBy(processes int) measureFunc {
	return func(ctx context.Context, run *run) (res result, err error) {
		rig, err := e.rig(ctx, run, false)
		if err != nil {
			return res, err
		}
		defer rig.close()
		if err := rig.fill(ctx, run); err != nil {
			return res, err
		}
		cfg := &workerConfig{DSN: run.db.dsn, Schema: rig.rec.Store.(*pgStore).schema, InFlight: run.inFlight}
		workers := make([]*worker, 0, processes)
		defer func() {
			for _, w := range workers {
				err = errors.Join(err, w.stop())
			}
			if err == nil {
				err = rig.check(ctx, run, e, &res)
			}
		}()
		for range processes {
			w, err := startWorker(cfg)
			if err != nil {
				return res, err
			}
			workers = append(workers, w)
		}

		m, err := run.begin()
		if err != nil {
			return res, err
		}
		workErr := watch(ctx, workers, run.n)
		if res, err = m.end(run.n); err != nil || workErr != nil {
			return res, errors.Join(err, workErr)
		}
		res.allocs, res.bytes = 0, 0 // of this process
		for _, w := range workers {
			last := w.last.Load()
			res.cpu += last.CPU / time.Duration(run.n)
			res.trips += last.Trips
			res.calls = res.calls.plus(calls{last.Enqueues, last.Claims, last.Settles, last.Steps})
		}
		return res, nil
	}
}

// watch starts the workers and returns when together they have delivered n.
func watch(ctx context.Context, workers []*worker, n int) error {
	for _, w := range workers {
		if _, err := w.stdin.Write([]byte{'\n'}); err != nil {
			return err
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		delivered := int64(0)
		for _, w := range workers {
			delivered += w.last.Load().Delivered
		}
		if delivered >= int64(n) {
			return nil
		}
		for _, w := range workers {
			select {
			case <-w.ended:
				return fmt.Errorf("a worker ended when %d of %d were delivered", delivered, n)
			default:
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d delivered: %w", delivered, n, ctx.Err())
		}
	}
}
