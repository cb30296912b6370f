package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
)

// notifyEvery is the least time between two notifications of a process: each
// takes a lock that all of the server's notifying commits share.
const notifyEvery = 50 * time.Millisecond

// newsTimeout bounds the wait for a notification that must come.
const newsTimeout = 3 * time.Second

var errNoNews = errors.New("postgres: LISTEN has no effect: no notification arrives through this connection, as behind PgBouncer " +
	"in transaction mode; connect directly, or leave Options.Notify off")

// notifier tells other processes that something is ready.
type notifier struct {
	on   bool
	self string // in every notification, to know one's own by

	mu      sync.Mutex
	running bool
	pending bool
}

// send has other processes told soon, in a statement of its own.
func (n *notifier) send(s *Store) {
	if !n.on {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending = true
	if n.running || s.enter() != nil {
		return
	}
	n.running = true
	go n.run(s)
}

// run notifies as long as there is something to tell.
func (n *notifier) run(s *Store) {
	defer s.calls.Done()
	for {
		n.mu.Lock()
		if !n.pending || s.closing.Err() != nil {
			n.running = false
			n.mu.Unlock()
			return
		}
		n.pending = false
		n.mu.Unlock()
		// That it failed is no harm: the others poll.
		_, _ = s.pool.Exec(s.closing, "SELECT pg_notify($1, $2)", s.schema, n.self)
		select {
		case <-time.After(notifyEvery):
		case <-s.closing.Done():
		}
	}
}

// Listen implements [store.Waker] if [Options.Notify] is set. It keeps one of the
// pool's connections until it returns.
func (s *Store) Listen(ctx context.Context, wake func()) error {
	if !s.notify.on {
		return nil
	}
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.closing, cancel)()
	pooled, err := s.pool.Acquire(ctx)
	if err != nil {
		return explainConnect(ctx, s.pool, err)
	}
	// Nobody else is to get a connection that listens.
	conn := pooled.Hijack()
	defer func() {
		ended, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ended)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+pgx.Identifier{s.schema}.Sanitize()); err != nil {
		return explain(ctx, err)
	}
	if err := s.checkNews(ctx, conn); err != nil {
		return err
	}
	wake()
	for {
		news, err := conn.WaitForNotification(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return fmt.Errorf("postgres: listening: %w", err)
		}
		if news.Payload != s.notify.self {
			wake()
		}
	}
}

// checkNews makes sure that conn, which listens, hears something. Through a proxy
// in transaction mode LISTEN succeeds, on a connection of the server's that is
// somebody else's in the next moment.
func (s *Store) checkNews(ctx context.Context, conn *pgx.Conn) error {
	var backend uint32
	if err := conn.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&backend); err != nil {
		return explain(ctx, err)
	}
	if backend == conn.PgConn().PID() {
		return nil // no proxy; they make up numbers of their own
	}
	soon, cancel := context.WithTimeout(ctx, newsTimeout)
	defer cancel()
	if _, err := s.pool.Exec(soon, "SELECT pg_notify($1, $2)", s.schema, s.notify.self); err != nil {
		return explain(ctx, err)
	}
	for {
		news, err := conn.WaitForNotification(soon)
		switch {
		case err == nil && news.Payload == s.notify.self:
			return nil
		case err == nil: // somebody else's, which proves nothing: it may have been passed on to this client by chance
		case soon.Err() != nil && ctx.Err() == nil:
			return errNoNews
		default:
			return explain(ctx, err)
		}
	}
}
