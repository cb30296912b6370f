package postgres

import (
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/stretchr/testify/require"
)

// A session whose machine died between two messages of a pipeline is ended, so that
// what it has locked is free. The application's sessions are its own affair.
func TestStuckSessionsAreEnded(t *testing.T) {
	pool := TestServer.Pool(t)
	opts := &Options{Schema: TestServer.Schema(t, "stuck_")}
	require.NoError(t, Migrate(t.Context(), pool, opts))
	st, err := New(pool, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })

	// half sends a statement without the Sync that would end its transaction.
	half := func(text string) *pgconn.PgConn {
		conn, err := pgconn.Connect(t.Context(), TestServer.DSN)
		require.NoError(t, err)
		t.Cleanup(func() { _ = conn.Close(t.Context()) })
		conn.Frontend().SendParse(&pgproto3.Parse{Query: text})
		conn.Frontend().SendBind(&pgproto3.Bind{})
		conn.Frontend().SendExecute(&pgproto3.Execute{})
		conn.Frontend().Send(&pgproto3.Flush{})
		require.NoError(t, conn.Frontend().Flush())
		return conn
	}
	own := half(st.text.of("SELECT pg_advisory_xact_lock(4711)"))
	others := half("SELECT pg_advisory_xact_lock(4712)")
	state := func(pid uint32) (state string) {
		err := pool.QueryRow(t.Context(), "SELECT coalesce((SELECT state || ' ' || wait_event FROM pg_stat_activity WHERE pid = $1), 'gone')", pid).Scan(&state)
		require.NoError(t, err)
		return state
	}
	for _, conn := range []*pgconn.PgConn{own, others} {
		require.Eventually(t, func() bool { return state(conn.PID()) == "active ClientRead" }, 10*time.Second, time.Millisecond)
	}
	end := func(after int) (n int) {
		require.NoError(t, pool.QueryRow(t.Context(), endStuck, after).Scan(&n))
		return n
	}
	require.Zero(t, end(60), "it may be slow")
	require.Equal(t, 1, end(0))
	require.Eventually(t, func() bool { return state(own.PID()) == "gone" }, 10*time.Second, time.Millisecond)
	require.Equal(t, "active ClientRead", state(others.PID()))
}
