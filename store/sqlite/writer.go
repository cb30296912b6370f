package sqlite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Bounds of a shared commit: what has arrived beyond them goes into the next.
const (
	maxMembers = 64
	maxRunning = 50 * time.Millisecond
	// gatherTime is how long a transaction waits for the callers of those before it,
	// who come back at once when there is more to do. Without it two streams of calls,
	// such as those that store events and those that settle them, take turns instead
	// of sharing commits.
	gatherTime = 200 * time.Microsecond
	// gatherAfter is how long after a transaction its callers are expected back. So
	// long the writer's goroutine waits for them: a new one would have to grow its
	// stack to what SQLite needs.
	gatherAfter = time.Millisecond
)

// writer runs all calls that write. Those that arrive while a commit is under way run
// together in the next transaction, with those that arrive while it runs, and share
// its commit; each after the first in a savepoint of its own. The writer has a
// goroutine only while there is something to write, and a moment longer.
type writer struct {
	pool    pool
	wait    time.Duration // how long to wait for the write lock
	commits atomic.Int64

	mu      sync.Mutex
	queue   []*member // in order of arrival
	running bool
	arrived chan struct{} // has an element when somebody has joined the queue
	blocked time.Time     // since when the write lock has been refused
}

// member is a call that waits for its turn or runs.
type member struct {
	ctx  context.Context
	run  func(*conn) error
	err  error
	came time.Time
	done chan struct{} // receives once
}

// finish tells the caller that err is set.
func (m *member) finish(err error) {
	m.err = err
	m.done <- struct{}{}
}

// do runs f in a transaction and returns after its commit. If ctx ends before
// f's turn has come, f does not run. f may run more than once and must begin from nothing
// each time.
func (w *writer) do(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m := &member{ctx: ctx, run: f, came: time.Now(), done: make(chan struct{}, 1)}
	w.mu.Lock()
	w.queue = append(w.queue, m)
	if w.arrived == nil {
		w.arrived = make(chan struct{}, 1)
	}
	select {
	case w.arrived <- struct{}{}:
	default:
	}
	if !w.running {
		w.running = true
		go w.work()
	}
	w.mu.Unlock()
	select {
	case <-m.done:
	case <-ctx.Done():
		if w.leave(m) {
			return ctx.Err()
		}
		<-m.done
	}
	return m.err
}

// leave takes m out of the queue, if it is still there.
func (w *writer) leave(m *member) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := slices.Index(w.queue, m)
	if i >= 0 {
		w.queue = slices.Delete(w.queue, i, i+1)
	}
	return i >= 0
}

// work runs transactions until nobody comes any more.
func (w *writer) work() {
	last := 0 // members of the last transaction
	for {
		n := w.waiting()
		if n == 0 {
			if n = w.linger(); n == 0 {
				return
			}
			last-- // one of them has just come
		}
		w.gather(n + last)
		last = w.transaction()
	}
}

// waiting returns how many calls are in the queue.
func (w *writer) waiting() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.queue)
}

// linger waits for the next call and returns how many are then in the queue. If there
// are none, the caller, which is the writer's goroutine, must end.
func (w *writer) linger() int {
	timer := time.NewTimer(gatherAfter)
	defer timer.Stop()
	for {
		select {
		case <-w.arrived:
			if n := w.waiting(); n > 0 {
				return n
			}
		case <-timer.C:
			w.mu.Lock()
			defer w.mu.Unlock()
			w.running = len(w.queue) > 0
			return len(w.queue)
		}
	}
}

// gather waits a moment for want members.
func (w *writer) gather(want int) {
	want = min(want, maxMembers)
	timer := time.NewTimer(gatherTime)
	defer timer.Stop()
	for {
		if n := w.waiting(); n >= want || n == 0 {
			return
		}
		select {
		case <-w.arrived:
		case <-timer.C:
			return
		}
	}
}

// transaction runs those who wait in one transaction and returns how many they were.
func (w *writer) transaction() int {
	batch, errs, err := w.attempt()
	if err != nil && batch == nil {
		batch = w.take()
	}
	for i, m := range batch {
		if errs == nil {
			m.finish(err)
		} else {
			m.finish(errs[i])
		}
	}
	return len(batch)
}

// attempt runs the members of one transaction and returns them with their errors. If
// it can't begin there is only one error, and none if nobody waits any more.
func (w *writer) attempt() (batch []*member, errs []error, err error) {
	s, err := w.acquire()
	if err != nil || s == nil {
		return nil, nil, err
	}
	defer w.pool.put(s)
	// The statements run under no context: one caller's must not end the others'.
	err = s.use(context.Background(), func(c *conn) error {
		restore, err := w.noBusyHandler(c)
		if err != nil {
			return err
		}
		defer restore()
		begun, err := w.begin(c)
		if err != nil || !begun {
			return err
		}
		batch, errs = w.transact(c)
		return nil
	})
	return batch, errs, err
}

// acquire takes the writing connection. It returns nil if nobody waits any more.
func (w *writer) acquire() (*session, error) {
	for w.waiting() > 0 {
		s, err := w.connection()
		switch {
		case err == nil:
			return s, nil
		case errors.Is(err, errNoConn):
			w.expire(err)
		case isBusy(err): // a new one, while another process puts the file into WAL mode
			w.expire(err)
			pause(context.Background())
		default:
			return nil, explain(err)
		}
	}
	return nil, nil
}

// connection gets the writing connection, for which an application with a pool of
// one may have to wait; after noConnGrain it returns errNoConn.
func (w *writer) connection() (*session, error) {
	if w.pool.own {
		return w.pool.get(context.Background())
	}
	ctx, cancel := context.WithTimeout(context.Background(), noConnGrain)
	defer cancel()
	s, err := w.pool.get(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = errNoConn
	}
	return s, err
}

// noConnGrain is how often the wait for a connection looks at who is still waiting.
const noConnGrain = 10 * time.Millisecond

// errNoConn is what was missing when all connections of the application's pool
// stay in use.
var errNoConn = errors.New("sqlite: no connection became free; inside a transaction use SendTx")

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

// begin takes the write lock. It reports false if nobody waits for it any more.
func (w *writer) begin(c *conn) (bool, error) {
	for w.waiting() > 0 {
		_, err := c.exec("BEGIN IMMEDIATE")
		if err == nil || !isBusy(err) {
			w.mu.Lock()
			w.blocked = time.Time{}
			w.mu.Unlock()
			return err == nil, explain(err)
		}
		w.expire(err)
		pause(context.Background())
	}
	return false, nil
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

// expire ends the waiting of all members that the lock was refused to for too long.
func (w *writer) expire(cause error) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.blocked.IsZero() {
		w.blocked = now
	}
	w.queue = slices.DeleteFunc(w.queue, func(q *member) bool {
		since := q.came
		if since.Before(w.blocked) {
			since = w.blocked
		}
		if now.Sub(since) < w.wait {
			return false
		}
		q.finish(fmt.Errorf("%w: waited %v: %w", errBusy, w.wait, cause))
		return true
	})
}

// take empties the queue: what the beginning met would have met all.
func (w *writer) take() []*member {
	w.mu.Lock()
	defer w.mu.Unlock()
	batch := w.queue
	w.queue = nil
	return batch
}

// next takes the first member out of the queue; nil if it is empty.
func (w *writer) next() *member {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.queue) == 0 {
		return nil
	}
	m := w.queue[0]
	w.queue = slices.Delete(w.queue, 0, 1)
	return m
}

// transact runs members in the transaction that has begun, those who come meanwhile
// among them, and commits. It returns those that are done with, with their errors. When one
// takes the whole transaction with it, those before it wait for the next.
func (w *writer) transact(c *conn) (batch []*member, errs []error) {
	began := time.Now()
	ran := false
	for len(batch) < maxMembers && (!ran || time.Since(began) < maxRunning) {
		m := w.next()
		if m == nil {
			break
		}
		err := m.ctx.Err()
		doomed := false
		if err == nil {
			err, doomed = runMember(c, m, ran)
			ran = true
		}
		batch, errs = append(batch, m), append(errs, err)
		if doomed {
			_, _ = c.exec("ROLLBACK")
			return w.again(batch, errs)
		}
	}
	fill(errs, w.commit(c))
	return batch, errs
}

// again puts those who have no error back to the head of the queue, and returns the
// others.
func (w *writer) again(batch []*member, errs []error) (failed []*member, theirs []error) {
	var good []*member
	for i, m := range batch {
		if errs[i] == nil {
			good = append(good, m)
		} else {
			failed, theirs = append(failed, m), append(theirs, errs[i])
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(good, w.queue...)
	return failed, theirs
}

// fill gives err to those who have no error of their own.
func fill(errs []error, err error) {
	for i := range errs {
		if errs[i] == nil {
			errs[i] = err
		}
	}
}

// runMember runs one call so that its failure leaves nothing behind. doomed
// says that the whole transaction is lost, as it is by the failure of one that nobody
// shares it with so far.
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
