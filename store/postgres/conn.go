package postgres

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/hookpost/hookpost/store"
)

// querier runs statements: on a connection of the pool's, or in a transaction of
// whatever kind.
type querier interface {
	// query calls each for every row, with the function that reads its columns.
	query(ctx context.Context, text string, args []any, each func(scan scanner) error) error
	// row reads the columns of the first row. It returns pgx.ErrNoRows or
	// sql.ErrNoRows, which are the same to errors.Is, if there is none.
	row(ctx context.Context, text string, args []any, dest ...any) error
	// exec returns how many rows were changed.
	exec(ctx context.Context, text string, args ...any) (int, error)
}

// scanner reads the columns of a row.
type scanner = func(dest ...any) error

// first is row for queries that may find none.
func first(ctx context.Context, q querier, text string, args []any, dest ...any) (found bool, err error) {
	err = q.row(ctx, text, args, dest...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// each reads all rows and closes them.
func each(rows pgx.Rows, f func(scan scanner) error) error {
	defer rows.Close()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	rows.Close()
	return rows.Err()
}

// pgxQuerier runs statements in a transaction of pgx.
type pgxQuerier struct {
	text *statements
	tx   pgx.Tx
}

func (q pgxQuerier) query(ctx context.Context, text string, args []any, f func(scan scanner) error) error {
	rows, err := q.tx.Query(ctx, q.text.of(text), args...)
	if err != nil {
		return err
	}
	return each(rows, f)
}

func (q pgxQuerier) row(ctx context.Context, text string, args []any, dest ...any) error {
	return q.tx.QueryRow(ctx, q.text.of(text), args...).Scan(dest...)
}

func (q pgxQuerier) exec(ctx context.Context, text string, args ...any) (int, error) {
	tag, err := q.tx.Exec(ctx, q.text.of(text), args...)
	return int(tag.RowsAffected()), err
}

// readQuerier runs statements that read, each with the settings for its plan in a
// round trip and transaction of its own.
type readQuerier struct {
	text *statements
	conn *pgxpool.Conn
}

func (q readQuerier) query(ctx context.Context, text string, args []any, f func(scan scanner) error) error {
	b := &pgx.Batch{}
	b.Queue(ownMark + settingsRead)
	b.Queue(q.text.of(text), args...).Query(func(rows pgx.Rows) error { return each(rows, f) })
	return q.conn.SendBatch(ctx, b).Close()
}

func (q readQuerier) row(ctx context.Context, text string, args []any, dest ...any) error {
	found := false
	err := q.query(ctx, text, args, func(scan scanner) error {
		if found {
			return nil
		}
		found = true
		return scan(dest...)
	})
	if err == nil && !found {
		err = pgx.ErrNoRows
	}
	return err
}

func (q readQuerier) exec(ctx context.Context, text string, args ...any) (int, error) {
	return 0, q.query(ctx, text, args, func(scanner) error { return nil })
}

// read runs f, which only reads. Each of its statements sees a state of its own.
func (s *Store) read(ctx context.Context, f func(q querier) error) error {
	return s.onConn(ctx, func(conn *pgxpool.Conn) error {
		return explain(ctx, f(readQuerier{s.text, conn}))
	})
}

// write runs f in a transaction of several round trips.
func (s *Store) write(ctx context.Context, f func(q querier) error) error {
	return s.writeTx(ctx, settingsWrite, func(tx pgx.Tx) error { return f(pgxQuerier{s.text, tx}) })
}

// writeTx runs f, which may be called again after a try that changed nothing. While
// the server waits for the next statement its patience is txIdle: the locks of a
// machine that dies or freezes in the middle are free after that.
func (s *Store) writeTx(ctx context.Context, settings string, f func(tx pgx.Tx) error) error {
	return s.onConn(ctx, func(conn *pgxpool.Conn) error {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: ownMark + "BEGIN ISOLATION LEVEL READ COMMITTED; " + settings + txIdle})
		if err != nil {
			return explain(ctx, err)
		}
		err = f(tx)
		if err == nil {
			err = ctx.Err() // the last moment to heed it
		}
		if err != nil {
			ended, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
			defer cancel()
			_ = tx.Rollback(ended) // a connection that can't even do that is given up by the pool
			return explain(ctx, err)
		}
		return commit(ctx, tx)
	})
}

// txIdle ends a transaction whose next statement does not come.
const txIdle = `, set_config('idle_in_transaction_session_timeout', '10s', true)`

// commitTime bounds the wait for the answer to a COMMIT.
const commitTime = 5 * time.Second

// commit commits tx. The caller's context has no say in it any more: that it ends
// would make the outcome unknown.
func commit(ctx context.Context, tx pgx.Tx) error {
	if tx.Conn().IsClosed() {
		return explain(ctx, errLostBefore)
	}
	within, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitTime)
	defer cancel()
	return explainCommit(ctx, tx.Commit(within))
}

// onConn runs f with a connection of the pool. If that is lost before it has changed
// anything, f is run again with another one: a pool can be full of connections that
// the server has ended, or that lead to what has become a standby.
func (s *Store) onConn(ctx context.Context, f func(conn *pgxpool.Conn) error) error {
	if err := s.enter(); err != nil {
		return err
	}
	defer s.calls.Done()
	inTurn := false // this call may give up connections to a standby
	for tries := s.pool.Config().MaxConns; ; tries-- {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return explainConnect(ctx, s.pool, err)
		}
		err = f(conn)
		if code(err) == codeReadOnly {
			if inTurn = inTurn || s.demoted.turn(time.Now()); inTurn {
				_ = conn.Conn().Close(ctx) // it stays what it is
			}
		}
		lost := conn.Conn().IsClosed()
		conn.Release()
		if err == nil || !lost || tries <= 0 || errors.Is(err, store.ErrUnknownCommit) || ctx.Err() != nil {
			return err
		}
	}
}

// turns says yes at most once a second.
type turns struct{ last atomic.Int64 }

func (t *turns) turn(now time.Time) bool {
	last := t.last.Load()
	return now.UnixNano()-last >= int64(time.Second) && t.last.CompareAndSwap(last, now.UnixNano())
}

// batch is a pipeline of statements.
type batch struct {
	pgx.Batch
	text *statements
}

// add queues a statement. f is called for every row.
func (b *batch) add(text string, args []any, f func(scan scanner) error) {
	b.Queue(b.text.of(text), args...).Query(func(rows pgx.Rows) error { return each(rows, f) })
}

// addExec queues a statement whose changed rows are added to n.
func (b *batch) addExec(text string, n *int, args ...any) {
	b.Queue(b.text.of(text), args...).Exec(func(tag pgconn.CommandTag) error {
		*n += int(tag.RowsAffected())
		return nil
	})
}

// pipeline runs what fill queues in one round trip and one transaction, in which
// each statement sees what was committed before it began. Where transactions have
// another isolation by default it takes more round trips: only BEGIN can say so.
//
// fill is called again, for a new batch, after a try that changed nothing.
func (s *Store) pipeline(ctx context.Context, settings string, fill func(b *batch)) error {
	if s.fixedViews {
		return s.writeTx(ctx, settings, func(tx pgx.Tx) error {
			b := &batch{text: s.text}
			fill(b)
			return tx.SendBatch(ctx, &b.Batch).Close()
		})
	}
	return s.onConn(ctx, func(conn *pgxpool.Conn) error {
		b := &batch{text: s.text}
		b.Queue(ownMark + settings)
		fill(b)
		return explainPipeline(ctx, conn.SendBatch(ctx, &b.Batch).Close())
	})
}

// sqlConn is what transactions of database/sql's kind have in common.
type sqlConn interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// sqlQuerier runs statements in a transaction of database/sql. Their parameters
// are of the kinds that all drivers know: texts and integers.
type sqlQuerier struct {
	text *statements
	tx   sqlConn
}

func (q sqlQuerier) query(ctx context.Context, text string, args []any, f func(scan scanner) error) (err error) {
	rows, err := q.tx.QueryContext(ctx, q.text.of(text), args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := f(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (q sqlQuerier) row(ctx context.Context, text string, args []any, dest ...any) error {
	found := false
	err := q.query(ctx, text, args, func(scan scanner) error {
		if found {
			return nil
		}
		found = true
		return scan(dest...)
	})
	if err == nil && !found {
		err = sql.ErrNoRows
	}
	return err
}

func (q sqlQuerier) exec(ctx context.Context, text string, args ...any) (int, error) {
	res, err := q.tx.ExecContext(ctx, q.text.of(text), args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

// utc is a time as the contract wants it; nil is none.
func utc(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}
