package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Bounds of a shared commit: what has arrived beyond them goes into the next.
const (
	maxMembers = 64
	maxRunning = 50 * time.Millisecond
)

// writer runs all calls that write. Those that arrive while a commit is under
// way run together in the next transaction, each in a savepoint of its own, and
// share its commit. There is no goroutine: the call that has waited longest
// leads, that is, does the work of all.
type writer struct {
	pool    pool
	wait    time.Duration // how long to wait for the write lock
	commits atomic.Int64

	mu      sync.Mutex
	queue   []*member // the leader first
	leading bool
	blocked time.Time // since when the write lock has been refused
}

// member is a call that waits for its turn or runs.
type member struct {
	ctx  context.Context
	run  func(*conn) error
	err  error
	came time.Time
	turn chan struct{} // receives once: finished, or to lead
	// Guarded by writer.mu.
	lead bool
	done bool
}

// do runs f in a transaction and returns after its commit. If ctx ends before
// f's turn has come, f does not run.
func (w *writer) do(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := &member{ctx: ctx, run: f, came: time.Now()}
	w.mu.Lock()
	w.queue = append(w.queue, m)
	if !w.leading {
		w.leading = true
		w.mu.Unlock()
	} else {
		m.turn = make(chan struct{}, 1)
		w.mu.Unlock()
		select {
		case <-m.turn:
		case <-ctx.Done():
			if w.leave(m) {
				return ctx.Err()
			}
			<-m.turn
		}
		if m.done {
			return m.err
		}
	}
	w.lead(m)
	return m.err
}

// leave takes m out of the queue, if it is still only waiting.
func (w *writer) leave(m *member) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if m.lead {
		return false
	}
	return w.remove(m)
}

func (w *writer) remove(m *member) bool {
	for i, q := range w.queue {
		if q == m {
			w.queue = append(w.queue[:i], w.queue[i+1:]...)
			return true
		}
	}
	return false
}

// lead runs m, the first of the queue, and those behind it, and passes the lead
// on.
func (w *writer) lead(m *member) {
	var batch []*member
	defer func() {
		w.mu.Lock()
		w.remove(m) // still there if the transaction could not begin
		for _, b := range batch {
			if b != m {
				b.done = true
				b.turn <- struct{}{}
			}
		}
		if len(w.queue) > 0 {
			next := w.queue[0]
			next.lead = true
			next.turn <- struct{}{}
		} else {
			w.leading = false
		}
		w.mu.Unlock()
	}()

	s, err := w.acquire(m)
	if err != nil {
		m.err = err
		return
	}
	defer w.pool.put(s)
	// The statements run under no context: one caller's must not end the others'.
	err = s.use(context.Background(), func(c *conn) error {
		restore, err := w.noBusyHandler(c)
		if err != nil {
			return err
		}
		defer restore()
		if err := w.begin(m, c); err != nil {
			return err
		}
		batch = w.take()
		batch = w.transact(c, batch)
		return nil
	})
	if err != nil && batch == nil {
		m.err = err
	}
}

// acquire takes the writing connection, for which an application with a pool of
// one may have to wait.
func (w *writer) acquire(m *member) (*session, error) {
	if w.pool.own {
		s, err := w.pool.get(m.ctx)
		return s, explain(err)
	}
	w.mu.Lock()
	if w.blocked.IsZero() {
		w.blocked = time.Now()
	}
	w.mu.Unlock()
	// Somebody who does not want to wait still lets a connection be opened.
	ctx, cancel := context.WithTimeout(m.ctx, max(w.wait, 50*time.Millisecond))
	defer cancel()
	s, err := w.pool.get(ctx)
	switch {
	case err == nil:
		return s, nil
	case m.ctx.Err() != nil:
		return nil, m.ctx.Err()
	case ctx.Err() != nil:
		w.expire(m, errNoConn)
		return nil, fmt.Errorf("%w: waited %v: %w", errBusy, w.wait, errNoConn)
	}
	return nil, explain(err)
}

// errNoConn is what was missing when all connections of the application's pool
// stay in use.
var errNoConn = errors.New("sqlite: no connection of the application's pool became free")

// noBusyHandler switches SQLite's own waiting off: it is unfair and hears of no
// context. Connections of the application's get theirs back.
func (w *writer) noBusyHandler(c *conn) (restore func(), err error) {
	if w.pool.own {
		return func() {}, nil
	}
	var ms int64
	if _, err := first(c, func(r row) { ms = r.int(0) }, "PRAGMA busy_timeout"); err != nil {
		return nil, explain(err)
	}
	if ms == 0 {
		return func() {}, nil
	}
	set := func(ms int64) error {
		return c.query(func(row) error { return nil }, fmt.Sprintf("PRAGMA busy_timeout = %d", ms))
	}
	if err := set(0); err != nil {
		return nil, explain(err)
	}
	return func() { _ = set(ms) }, nil
}

// begin takes the write lock.
func (w *writer) begin(m *member, c *conn) error {
	for {
		if err := m.ctx.Err(); err != nil {
			return err
		}
		_, err := c.exec("BEGIN IMMEDIATE")
		if err == nil || !isBusy(err) {
			w.mu.Lock()
			w.blocked = time.Time{}
			w.mu.Unlock()
			return explain(err)
		}
		if w.expire(m, err) {
			return m.err
		}
		pause(m.ctx)
	}
}

// pause is the wait between two tries for a lock: randomised, so that several
// processes get it in turn.
func pause(ctx context.Context) {
	t := time.NewTimer(200*time.Microsecond + rand.N(1800*time.Microsecond))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// expire ends the waiting of all members that the lock was refused to for too
// long, and reports whether m, the leader, is one of them.
func (w *writer) expire(m *member, cause error) bool {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blocked.IsZero() {
		w.blocked = now
	}
	out := false
	kept := w.queue[:0]
	for _, q := range w.queue {
		since := q.came
		if since.Before(w.blocked) {
			since = w.blocked
		}
		if now.Sub(since) < w.wait {
			kept = append(kept, q)
			continue
		}
		q.err = fmt.Errorf("%w: waited %v: %w", errBusy, w.wait, cause)
		if q == m {
			out = true
			continue
		}
		q.done = true
		q.turn <- struct{}{}
	}
	clear(w.queue[len(kept):])
	w.queue = kept
	return out
}

// take removes the members of the next transaction from the queue.
func (w *writer) take() []*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(len(w.queue), maxMembers)
	batch := make([]*member, n)
	for i := range batch {
		batch[i] = w.queue[i]
		batch[i].err = errAbandoned
	}
	rest := copy(w.queue, w.queue[n:])
	clear(w.queue[rest:])
	w.queue = w.queue[:rest]
	return batch
}

// giveBack puts members that were not run to the front of the queue.
func (w *writer) giveBack(rest []*member) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(append(make([]*member, 0, len(rest)+len(w.queue)), rest...), w.queue...)
}

// errAbandoned is what the others of a transaction hear if one of them panicked.
var errAbandoned = errors.New("sqlite: the transaction was abandoned by a panic; nothing was written")

// transact runs the members in the transaction that has begun, commits, and
// sets their errors. It returns those it ran.
func (w *writer) transact(c *conn, batch []*member) []*member {
	ended := false
	defer func() {
		if !ended {
			_, _ = c.exec("ROLLBACK")
		}
	}()
	began := time.Now()
	errs := make([]error, len(batch))
	for i, m := range batch {
		if i > 0 && time.Since(began) > maxRunning {
			w.giveBack(batch[i:])
			batch = batch[:i]
			break
		}
		if errs[i] = m.ctx.Err(); errs[i] != nil {
			continue
		}
		var doomed bool
		if errs[i], doomed = runMember(c, m, len(batch) > 1); doomed {
			for k, b := range batch {
				if b.err = errs[k]; b.err == nil {
					b.err = errs[i]
				}
			}
			return batch
		}
	}
	err := w.commit(c)
	ended = true
	for i, m := range batch {
		if m.err = errs[i]; m.err == nil {
			m.err = err
		}
	}
	return batch
}

// runMember runs one call so that its failure leaves nothing behind. doomed
// says that the whole transaction is lost.
func runMember(c *conn, m *member, shared bool) (err error, doomed bool) {
	if !shared {
		err = explain(m.run(c))
		return err, err != nil
	}
	if _, err := c.exec("SAVEPOINT hookpost"); err != nil {
		return explain(err), true
	}
	err = m.run(c)
	if err != nil {
		if fatal(err) {
			return explain(err), true
		}
		if _, e := c.exec("ROLLBACK TO hookpost"); e != nil {
			return explain(err), true
		}
	}
	if _, e := c.exec("RELEASE hookpost"); e != nil {
		return explain(e), true
	}
	return explain(err), false
}

// commit ends the transaction, either way.
func (w *writer) commit(c *conn) error {
	deadline := time.Now().Add(w.wait)
	for {
		_, err := c.exec("COMMIT")
		switch {
		case err == nil:
			w.commits.Add(1)
			return nil
		case isBusy(err) && time.Now().Before(deadline):
			// Without WAL, readers hold up a commit. The transaction is still open.
			pause(context.Background())
			continue
		case code(err) == codeIOErr:
			// The pages may have reached the disk before the failure.
			err = fmt.Errorf("%w: %w", store.ErrUnknownCommit, err)
		default:
			err = explain(err)
		}
		_, _ = c.exec("ROLLBACK")
		return err
	}
}
