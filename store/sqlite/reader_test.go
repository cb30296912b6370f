package sqlite

import (
	"context"
	"database/sql/driver"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// lateConn is a connection on which every context that can end does so just after
// the statement was run: the driver then reports the context's error.
type lateConn struct{ driver.ConnPrepareContext }

func (c lateConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	st, err := c.ConnPrepareContext.PrepareContext(context.WithoutCancel(ctx), query)
	return lateStmt{st}, err
}

type lateStmt struct{ driver.Stmt }

func (s lateStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	res, err := s.Stmt.(driver.StmtExecContext).ExecContext(context.WithoutCancel(ctx), args)
	if err == nil && ctx.Done() != nil {
		return nil, context.Canceled
	}
	return res, err
}

func (s lateStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

// TestReadCancelledAtItsBeginning: a connection never goes back with a transaction
// that is open, in which everything after it would fail, or not be committed.
func TestReadCancelledAtItsBeginning(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	s, err := st.readers.get(t.Context())
	require.NoError(t, err)
	defer st.readers.put(s)
	require.NoError(t, s.use(t.Context(), func(c *conn) error {
		late := &conn{ctx: t.Context(), raw: lateConn{c.raw}, stmts: make(map[string]*stmt)}
		defer late.forget()
		_ = snapshot(late, func(*conn) error { return nil })
		return snapshot(c, func(*conn) error { return nil })
	}))
}
