package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const riverName = "River"

// riverConnections are more than the sender has: River inserts each job in a
// transaction of its own, and fewer are slower.
const riverConnections = 32

// peer is River, a job queue on PostgreSQL, with a worker that signs and posts:
// what a program would use that has no library for webhooks. It is set up for
// speed; its defaults fetch ten times a second.
type peer struct {
	*river.Client[pgx.Tx]
	pool   *pgxpool.Pool
	events <-chan *river.Event
	close  func()
}

// hook is the job: an event for an endpoint.
type hook struct {
	ID   string          `json:"id"`
	Type string          `json:"type"`
	URL  string          `json:"url"`
	Data json.RawMessage `json:"data"`
}

// Kind implements river.JobArgs.
func (hook) Kind() string { return "hook" }

// hookWorker makes the request.
type hookWorker struct {
	river.WorkerDefaults[hook]
	client *http.Client
	macs   sync.Pool
	sent   func(job int64) // called after each request; nil: nobody wants to know
}

// Work implements river.Worker.
func (w *hookWorker) Work(ctx context.Context, job *river.Job[hook]) error {
	h := w.macs.Get().(mac)
	defer w.macs.Put(h)
	body := fmt.Appendf(nil, `{"id":%q,"type":%q,"created_at":%q,"data":%s}`,
		job.Args.ID, job.Args.Type, job.CreatedAt.UTC().Format("2006-01-02T15:04:05.000000Z"), job.Args.Data)
	if err := postSigned(ctx, w.client, job.Args.URL, body, job.Args.ID, h); err != nil {
		return err
	}
	if w.sent != nil {
		w.sent(job.ID)
	}
	return nil
}

func newPeer(ctx context.Context, run *run, sent func(job int64)) (_ *peer, err error) {
	if err := run.receiver.reset(ctx); err != nil {
		return nil, err
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secretText, "whsec_"))
	if err != nil {
		return nil, err
	}
	pool, err := run.db.pool(ctx, riverConnections)
	if err != nil {
		return nil, err
	}
	schema, drop := run.db.schema()
	workers := run.inFlight
	transport := &http.Transport{MaxIdleConns: workers, MaxIdleConnsPerHost: workers, DisableCompression: true}
	p := &peer{pool: pool}
	p.close = func() {
		transport.CloseIdleConnections()
		pool.Close()
		drop()
	}
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	if _, err := pool.Exec(ctx, "CREATE SCHEMA "+schema); err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Schema: schema, Logger: logger})
	if err != nil {
		return nil, err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, err
	}
	all := river.NewWorkers()
	river.AddWorker(all, &hookWorker{
		client: &http.Client{Transport: transport, Timeout: 10 * time.Second},
		macs:   sync.Pool{New: func() any { return hmac.New(sha256.New, key) }},
		sent:   sent,
	})
	p.Client, err = river.NewClient(driver, &river.Config{
		Schema: schema, Logger: logger, Workers: all,
		Queues:        map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: workers}},
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
	})
	if err != nil {
		return nil, err
	}
	p.events, _ = p.SubscribeConfig(&river.SubscribeConfig{
		ChanSize: run.n, Kinds: []river.EventKind{river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobCancelled},
	})
	run.db.settle(ctx, pool)
	return p, nil
}

// hookOf returns the ith job of a run.
func hookOf(run *run, i int, data json.RawMessage) hook {
	return hook{ID: ceilingID(int64(i)), Type: eventType(i % run.endpoints), URL: run.url(i % run.endpoints), Data: data}
}

// completed waits until all jobs are recorded as completed.
func (p *peer) completed(ctx context.Context, n int) error {
	for i := range n {
		select {
		case e := <-p.events:
			if e.Kind != river.EventKindJobCompleted {
				return fmt.Errorf("job %d: %s", e.Job.ID, e.Kind)
			}
		case <-ctx.Done():
			return fmt.Errorf("%d of %d completed: %w", i, n, ctx.Err())
		}
	}
	return nil
}

// riverDrain is the drain test.
func riverDrain(ctx context.Context, run *run) (result, error) {
	p, err := newPeer(ctx, run, nil)
	if err != nil {
		return result{}, err
	}
	defer p.close()
	data := payload(run.payload)
	for stored := 0; stored < run.n; {
		batch := make([]river.InsertManyParams, min(run.n-stored, 1000))
		for i := range batch {
			batch[i].Args = hookOf(run, stored+i, data)
		}
		if _, err := p.InsertMany(ctx, batch); err != nil {
			return result{}, err
		}
		stored += len(batch)
	}
	return p.measure(ctx, run, func() error { return p.completed(ctx, run.n) })
}

// riverLive is the live test, in the form in which River is fastest. A caller waits
// until the request was made: River gathers results for up to a quarter of a
// second, and callers who wait for those do a tenth of this. The clock stops when
// the last result is recorded.
func riverLive(ctx context.Context, run *run) (result, error) {
	board := newBoard()
	return riverCalls(ctx, run, board.sent, board.wait)
}

// riverUnwaited is the same with callers that insert the next job once the one before
// is stored.
func riverUnwaited(ctx context.Context, run *run) (result, error) {
	return riverCalls(ctx, run, nil, func(context.Context, int64) error { return nil })
}

func riverCalls(ctx context.Context, run *run, sent func(job int64), wait func(ctx context.Context, job int64) error) (result, error) {
	p, err := newPeer(ctx, run, sent)
	if err != nil {
		return result{}, err
	}
	defer p.close()
	var (
		data = payload(run.payload)
		took []time.Duration
	)
	r, err := p.measure(ctx, run, func() (err error) {
		took, err = inParallel(callers, run.n, func(i int) error {
			job, err := p.Insert(ctx, hookOf(run, i, data), nil)
			if err != nil {
				return err
			}
			return wait(ctx, job.Job.ID)
		})
		return errors.Join(err, p.completed(ctx, run.n))
	})
	r.p50, r.p99 = quantile(took, 0.50), quantile(took, 0.99)
	return r, err
}

func (p *peer) measure(ctx context.Context, run *run, work func() error) (result, error) {
	m, err := run.begin()
	if err != nil {
		return result{}, err
	}
	if err := p.Start(ctx); err != nil {
		return result{}, err
	}
	workErr := work()
	res, err := m.end(run.n)
	if err := errors.Join(workErr, err, p.Stop(ctx)); err != nil {
		return res, err
	}
	return res, run.received(ctx, &res)
}

// board says which jobs' requests were made.
type board struct {
	mu   sync.Mutex
	jobs map[int64]chan struct{}
}

func newBoard() *board { return &board{jobs: make(map[int64]chan struct{})} }

// job returns the channel that is closed when a job's request is made.
func (b *board) job(id int64) chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.jobs[id]
	if c == nil {
		c = make(chan struct{})
		b.jobs[id] = c
	}
	return c
}

func (b *board) sent(id int64) { close(b.job(id)) }

func (b *board) wait(ctx context.Context, id int64) error {
	select {
	case <-b.job(id):
		b.mu.Lock()
		delete(b.jobs, id)
		b.mu.Unlock()
		return nil
	case <-ctx.Done():
		return fmt.Errorf("job %d: %w", id, ctx.Err())
	}
}
