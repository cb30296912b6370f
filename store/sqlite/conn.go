package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// execer runs statements on one connection: a conn of ours, or the
// application's transaction.
type execer interface {
	// exec returns how many rows were changed.
	exec(query string, args ...any) (int, error)
	// query calls each for every row. The row is valid during the call, the texts
	// and blobs taken from it remain.
	query(each func(row) error, query string, args ...any) error
}

// row holds the columns of a result as the driver gave them.
type row []driver.Value

func (r row) int(i int) int64 { v, _ := r[i].(int64); return v }

func (r row) null(i int) bool { return r[i] == nil }

func (r row) text(i int) string {
	switch v := r[i].(type) {
	case string:
		return v
	case []byte:
		return string(v)
	}
	return ""
}

func (r row) blob(i int) []byte {
	switch v := r[i].(type) {
	case []byte:
		return v
	case string:
		return []byte(v)
	}
	return nil
}

// time returns the zero time for NULL.
func (r row) time(i int) time.Time {
	if v, ok := r[i].(int64); ok {
		return fromMicros(v)
	}
	return time.Time{}
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// conn is the driver's connection with its prepared statements. It goes below
// database/sql, which costs more per statement than SQLite needs to run one.
type conn struct {
	ctx   context.Context // a context that can end costs the driver a goroutine per statement
	raw   driver.ConnPrepareContext
	stmts map[string]*stmt
	args  []driver.NamedValue // reused
}

type stmt struct {
	driver.Stmt
	execer  driver.StmtExecContext
	queryer driver.StmtQueryContext
	dest    row // reused, unless busy
	busy    bool
}

func (c *conn) prepare(query string) (*stmt, error) {
	if st := c.stmts[query]; st != nil {
		return st, nil
	}
	ds, err := c.raw.PrepareContext(c.ctx, query)
	if err != nil {
		return nil, err
	}
	st := &stmt{Stmt: ds}
	var ok1, ok2 bool
	st.execer, ok1 = ds.(driver.StmtExecContext)
	st.queryer, ok2 = ds.(driver.StmtQueryContext)
	if !ok1 || !ok2 {
		_ = ds.Close()
		return nil, fmt.Errorf("%w: driver statement %T has no ExecContext and QueryContext", store.ErrInvalid, ds)
	}
	c.stmts[query] = st
	return st, nil
}

// bind turns args into the driver's form. The slice is good until the next bind.
func (c *conn) bind(args []any) []driver.NamedValue {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: bindValue(a)})
	}
	return c.args
}

func bindValue(a any) driver.Value {
	switch v := a.(type) {
	case int:
		return int64(v)
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case uint8:
		return int64(v)
	}
	return a
}

func (c *conn) exec(query string, args ...any) (int, error) {
	st, err := c.prepare(query)
	if err != nil {
		return 0, err
	}
	res, err := st.execer.ExecContext(c.ctx, c.bind(args))
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (c *conn) query(each func(row) error, query string, args ...any) (err error) {
	st, err := c.prepare(query)
	if err != nil {
		return err
	}
	if st.busy {
		return fmt.Errorf("statement is in use: %s", query)
	}
	st.busy = true
	defer func() { st.busy = false }()
	rows, err := st.queryer.QueryContext(c.ctx, c.bind(args))
	if err != nil {
		return err
	}
	defer func() {
		if e := rows.Close(); err == nil {
			err = e
		}
	}()
	if st.dest == nil {
		st.dest = make(row, len(rows.Columns()))
	}
	for {
		switch err := rows.Next(st.dest); {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
		if err := each(st.dest); err != nil {
			return err
		}
	}
}

// script runs a file of several statements.
func (c *conn) script(text string) error {
	x, ok := c.raw.(driver.ExecerContext)
	if !ok {
		return fmt.Errorf("%w: driver connection %T has no ExecContext", store.ErrInvalid, c.raw)
	}
	_, err := x.ExecContext(c.ctx, text, nil)
	return err
}

// forget closes all prepared statements.
func (c *conn) forget() {
	for _, st := range c.stmts {
		_ = st.Close()
	}
	clear(c.stmts)
}

// first runs a query of at most one row and reports whether there was one.
func first(x execer, each func(row), query string, args ...any) (found bool, err error) {
	err = x.query(func(r row) error {
		if !found {
			found = true
			each(r)
		}
		return nil
	}, query, args...)
	return found, err
}

// session is a connection of database/sql's and the statements prepared on it.
type session struct {
	sql   *sql.Conn
	stmts map[string]*stmt
	args  []driver.NamedValue
	dead  bool
}

// use runs f on the connection below.
func (s *session) use(ctx context.Context, f func(*conn) error) error {
	err := s.sql.Raw(func(dc any) error {
		raw, ok := dc.(driver.ConnPrepareContext)
		if !ok {
			return fmt.Errorf("%w: driver connection %T has no PrepareContext", store.ErrInvalid, dc)
		}
		c := &conn{ctx: ctx, raw: raw, stmts: s.stmts, args: s.args}
		err := f(c)
		clear(c.args[:cap(c.args)]) // the last statement's are not all
		s.args = c.args
		return err
	})
	s.dead = s.dead || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone)
	return err
}

// close gives the connection back to its pool, without our statements.
func (s *session) close() error {
	_ = s.use(context.Background(), func(c *conn) error { c.forget(); return nil })
	return s.sql.Close()
}

// txConn runs statements in a transaction of the application's. If ctx ends, the next
// one is not run. None is interrupted: SQLite would roll the whole transaction back, and run
// what the application does next outside of any.
type txConn struct {
	ctx context.Context
	tx  *sql.Tx
}

func (c txConn) exec(query string, args ...any) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	for i, a := range args {
		args[i] = bindValue(a)
	}
	res, err := c.tx.ExecContext(context.WithoutCancel(c.ctx), query, args...)
	if err != nil {
		return 0, err
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (c txConn) query(each func(row) error, query string, args ...any) (err error) {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	rows, err := c.tx.QueryContext(context.WithoutCancel(c.ctx), query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	cols, err := rows.Columns()
	if err != nil {
		return err
	}
	vals := make([]any, len(cols))
	dest := make([]any, len(cols))
	for i := range vals {
		dest[i] = &vals[i]
	}
	r := make(row, len(cols))
	for rows.Next() {
		if err := rows.Scan(dest...); err != nil {
			return err
		}
		for i, v := range vals {
			r[i] = v
		}
		if err := each(r); err != nil {
			return err
		}
	}
	return rows.Err()
}

// batchSizes are the row counts for which multi-row statements are prepared.
var batchSizes = [...]int{64, 32, 16, 8, 4, 2, 1}

// inBatches splits n rows into the sizes above and calls f for each piece.
func inBatches(n int, f func(from, to int) error) error {
	for from := 0; from < n; {
		for _, size := range batchSizes {
			if n-from >= size {
				if err := f(from, from+size); err != nil {
					return err
				}
				from += size
				break
			}
		}
	}
	return nil
}

// multi is a statement with a list of equal tuples in the middle.
type multi struct {
	text [len(batchSizes)]string
}

func newMulti(head, tuple, tail string) *multi {
	var m multi
	for i, size := range batchSizes {
		m.text[i] = head + strings.Repeat(tuple+",", size-1) + tuple + tail
	}
	return &m
}

// rows returns the statement for n tuples, n being one of the batch sizes.
func (m *multi) rows(n int) string {
	for i, size := range batchSizes {
		if size == n {
			return m.text[i]
		}
	}
	return ""
}
