package postgres_test

import (
	"context"
	"database/sql"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
	"github.com/hookpost/hookpost/store/postgres/internal/pgtest"
	"github.com/hookpost/hookpost/store/storetest"
)

var server *pgtest.Server

func TestMain(m *testing.M) {
	code := pgtest.Main(m, func(s *pgtest.Server) { server, postgres.TestServer = s, s })
	if code == 0 {
		if err := goleak.Find(); err != nil {
			println(err.Error())
			code = 1
		}
	}
	os.Exit(code)
}

// conform runs the suite with stores on pools that change has changed, and
// transactions that begin begins.
func conform(t *testing.T, change func(*pgxpool.Config), begin func(t *testing.T, pool *pgxpool.Pool, st *postgres.Store) storetest.Transaction) {
	storetest.Run(t, func(t *testing.T) storetest.Instance {
		pool := server.Pool(t, change)
		opts := &postgres.Options{Schema: server.Schema(t, "st_")}
		st := postgres.NewShifted(t, pool, opts)
		return storetest.Instance{
			Store:   st.Store,
			Advance: func(d time.Duration) { st.Advance(t, d) },
			Begin:   func(t *testing.T) storetest.Transaction { return begin(t, pool, st.Store) },
			Another: func(t *testing.T) store.Store { return st.Another(t, pool, opts).Store },
			Elsewhere: func(t *testing.T) (store.Store, func() storetest.Transaction) {
				pool := server.Pool(t, change, database(t, opts.Schema))
				other := postgres.NewShifted(t, pool, opts)
				return other.Store, func() storetest.Transaction { return begin(t, pool, st.Store) }
			},
		}
	})
}

// database makes another database for a test and returns what makes a pool one of it.
func database(t *testing.T, name string) func(*pgxpool.Config) {
	t.Helper()
	server.Exec(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return func(c *pgxpool.Config) { c.ConnConfig.Database = name }
}

func beginPgx(t *testing.T, pool *pgxpool.Pool, st *postgres.Store) storetest.Transaction {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	tx, err := pool.Begin(ctx)
	require.NoError(t, err)
	return storetest.Transaction{
		Tx:       st.Tx(tx),
		Commit:   func() error { return tx.Commit(ctx) },
		Rollback: func() error { return tx.Rollback(ctx) },
	}
}

func TestStore(t *testing.T) { conform(t, func(*pgxpool.Config) {}, beginPgx) }

// sameCode skips what differs from TestStore in how connections are used, and neither in
// what runs at the same time nor in what the module requires.
func sameCode(t *testing.T) {
	t.Helper()
	if testing.Short() || raceEnabled {
		t.Skip("TestStore runs the same code")
	}
}

// Connections that prepare nothing, as proxies may demand, and transactions of
// database/sql on pgx.
func TestStoreUnprepared(t *testing.T) {
	sameCode(t)
	exec := func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec }
	conform(t, exec, func(t *testing.T, pool *pgxpool.Pool, st *postgres.Store) storetest.Transaction {
		db := stdlib.OpenDBFromPool(pool)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return beginSQL(t, db, st)
	})
}

// Connections without parameters in the protocol, and transactions of lib/pq.
func TestStoreSimpleProtocol(t *testing.T) {
	sameCode(t)
	simple := func(c *pgxpool.Config) { c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol }
	conform(t, simple, func(t *testing.T, pool *pgxpool.Pool, st *postgres.Store) storetest.Transaction {
		db, err := sql.Open("postgres", server.DSN+" sslmode=disable dbname="+pool.Config().ConnConfig.Database)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return beginSQL(t, db, st)
	})
}

func beginSQL(t *testing.T, db *sql.DB, st *postgres.Store) storetest.Transaction {
	t.Helper()
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	return storetest.Transaction{Tx: st.SQLTx(tx), Commit: tx.Commit, Rollback: tx.Rollback}
}
