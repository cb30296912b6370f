package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// pool hands out sessions. One of our own keeps its connections and their
// prepared statements; of the application's, connections are borrowed for one
// transaction each, because a pool of one connection must stay usable.
type pool struct {
	db   *sql.DB
	own  bool
	idle chan *session // own: free ones, nil for those not opened yet
}

// newPool makes a pool of n connections of our own.
func newPool(db *sql.DB, n int) pool {
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	p := pool{db: db, own: true, idle: make(chan *session, n)}
	for range n {
		p.idle <- nil
	}
	return p
}

func (p pool) get(ctx context.Context) (*session, error) {
	var s *session
	if p.own {
		select {
		case s = <-p.idle:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if s != nil {
			return s, nil
		}
	}
	c, err := p.db.Conn(ctx)
	if err != nil {
		if p.own {
			p.idle <- nil
		}
		return nil, err
	}
	return &session{sql: c, stmts: make(map[string]*stmt)}, nil
}

// getBy is get, but of the application's pool it waits until the deadline and no longer:
// its only connection may be the one of a transaction that waits for this call. It takes
// one that is free in any case.
func (p pool) getBy(ctx context.Context, deadline time.Time) (*session, error) {
	if p.own {
		return p.get(ctx)
	}
	within, cancel := context.WithTimeout(ctx, max(time.Until(deadline), noConnGrain))
	defer cancel()
	s, err := p.get(within)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		err = fmt.Errorf("%w: %w", errBusy, errNoConn)
	}
	return s, err
}

func (p pool) put(s *session) {
	switch {
	case p.own && !s.dead:
		p.idle <- s
	case p.own:
		_ = s.close()
		p.idle <- nil // opened again when needed
	default:
		_ = s.close()
	}
}

// close closes a pool of our own that nobody uses any more.
func (p pool) close() error {
	if !p.own {
		return nil
	}
	for range cap(p.idle) {
		if s := <-p.idle; s != nil {
			_ = s.close()
		}
	}
	return p.db.Close()
}
