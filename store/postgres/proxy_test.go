package postgres_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgproxy"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// execModes are all ways of pgx to run statements.
var execModes = []pgx.QueryExecMode{
	pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
	pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
}

// onEachExecMode runs test with a store that reaches the server by one connection
// through a proxy, for all ways of pgx to run statements.
func onEachExecMode(t *testing.T, test func(t *testing.T, st *postgres.Store, p *pgproxy.Proxy, mode pgx.QueryExecMode)) {
	for _, mode := range execModes {
		t.Run(mode.String(), func(t *testing.T) {
			p, through := server.Proxy(t)
			st, _, _ := open(t, through, func(c *pgxpool.Config) {
				c.MaxConns = 1
				c.ConnConfig.DefaultQueryExecMode = mode
				c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
			})
			test(t, st, p, mode)
		})
	}
}

// However statements are run, the proxy knows which they are and counts the round trips
// that there are.
func TestProxyUnderstandsEveryExecMode(t *testing.T) {
	onEachExecMode(t, func(t *testing.T, st *postgres.Store, p *pgproxy.Proxy, mode pgx.QueryExecMode) {
		ep := endpoint(t, st, "ep_1")
		_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, "first_", 3, ep)}) // prepares
		require.NoError(t, err)
		evs := events(t, st, "evt_", 3, ep)
		before, stop := p.Counts(), p.Record()
		_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: evs})
		require.NoError(t, err)

		statements, commits := 0, 0
		var last pgproxy.Message
		for _, last = range stop() {
			if last.From == pgproxy.Client && (last.Type == 'E' || last.Type == 'Q') && strings.Contains(last.Text, ".event") {
				statements++
			}
			if pgproxy.Commits(last) {
				commits++
			}
		}
		trips := 1
		if mode == pgx.QueryExecModeDescribeExec {
			trips = 2
		}
		require.Equal(t, trips, p.Counts().Trips-before.Trips)
		require.Equal(t, trips, commits) // asking for a description commits nothing, but ends so
		require.Equal(t, 1, statements)
		require.Equal(t, "Z I", fmt.Sprintf("%c %s", last.Type, last.Text))
	})
}

// Each fault of the proxy as a pool meets it, and that nothing of either is left.
func TestProxyBreaksConnections(t *testing.T) {
	for _, c := range []struct {
		name  string
		fault pgproxy.Fault
		fails bool
	}{
		{"cut before the answer", pgproxy.Fault{From: pgproxy.Server, Do: pgproxy.Cut}, true},
		{"cut in the question", pgproxy.Fault{From: pgproxy.Client, Byte: 7, Do: pgproxy.Cut}, true},
		{"frozen", pgproxy.Fault{From: pgproxy.Client, When: pgproxy.Commits, Do: pgproxy.Freeze}, true},
		{"mute", pgproxy.Fault{From: pgproxy.Server, Byte: 1, Do: pgproxy.Swallow}, true},
		{"late", pgproxy.Fault{From: pgproxy.Server, Byte: 1, Do: pgproxy.Delay, For: time.Millisecond}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, through := server.Proxy(t)
			pool := server.Pool(t, through)
			query := func(d time.Duration) error {
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				var n int
				return pool.QueryRow(ctx, "SELECT $1::int", 7).Scan(&n)
			}
			require.NoError(t, query(time.Minute))
			fault := p.Inject(c.fault)
			err := query(time.Second)
			require.True(t, fault.Happened())
			require.Equal(t, c.fails, err != nil, "%v", err)
			require.NoError(t, query(time.Minute), "by another connection")
			p.CutAll() // the pool waits for what is frozen
		})
	}
}
