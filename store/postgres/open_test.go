package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// open migrates and opens a store in a schema of its own.
func open(t *testing.T, change ...func(*pgxpool.Config)) (*postgres.Store, *pgxpool.Pool, *postgres.Options) {
	t.Helper()
	pool := server.Pool(t, change...)
	opts := &postgres.Options{Schema: server.Schema(t, "open_")}
	require.NoError(t, postgres.Migrate(t.Context(), pool, opts))
	st, err := postgres.New(pool, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return st, pool, opts
}

func TestManyMigrateAtOnce(t *testing.T) {
	pool := server.Pool(t, func(c *pgxpool.Config) { c.MaxConns = 20 })
	opts := &postgres.Options{Schema: server.Schema(t, "many_")}
	errs := make([]error, 20)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = postgres.Migrate(t.Context(), pool, opts) })
	}
	wg.Wait()
	require.NoError(t, errors.Join(errs...))
	st, err := postgres.New(pool, opts)
	require.NoError(t, err)
	require.NoError(t, st.Close())
}

func TestNotMigrated(t *testing.T) {
	_, err := postgres.New(server.Pool(t), &postgres.Options{Schema: "nothing_here"})
	require.ErrorIs(t, err, store.ErrNotMigrated)
	require.ErrorContains(t, err, "Migrate")
}

func TestTablesDroppedLater(t *testing.T) {
	st, _, opts := open(t)
	server.Exec(t, "DROP SCHEMA "+opts.Schema+" CASCADE")
	_, err := st.Claim(t.Context(), store.ClaimParams{Limit: 1})
	require.ErrorIs(t, err, store.ErrNotMigrated)
}

func TestNewerSchema(t *testing.T) {
	_, pool, opts := open(t)
	server.Exec(t, "INSERT INTO "+opts.Schema+".migration (version) VALUES (1000)")
	_, err := postgres.New(pool, opts)
	require.ErrorIs(t, err, store.ErrNewerSchema)
	require.ErrorIs(t, postgres.Migrate(t.Context(), pool, opts), store.ErrNewerSchema)
}

func TestSchemaWithOddCharacters(t *testing.T) {
	for _, prefix := range []string{`O'Neill "& Sons" `, "hookpost.", "ünï 世界 $1 ", "select", "a;b--\nc "} {
		pool := server.Pool(t)
		opts := &postgres.Options{Schema: server.Schema(t, prefix)}
		require.NoError(t, postgres.Migrate(t.Context(), pool, opts))
		st, err := postgres.New(pool, opts)
		require.NoError(t, err, prefix)
		ep := endpoint(t, st, "ep_1")
		rs, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_1", ep)}})
		require.NoError(t, err)
		require.Equal(t, store.Stored, rs[0].Status)
		claims, err := st.Claim(t.Context(), store.ClaimParams{Limit: 1, DefaultRoom: 1})
		require.NoError(t, err)
		require.Len(t, claims.Deliveries, 1)
		require.NoError(t, st.Close())
	}
	for _, bad := range []string{"pg_mine", "a\x00b", "\xff", strings.Repeat("x", 64)} {
		_, err := postgres.New(server.Pool(t), &postgres.Options{Schema: bad})
		require.ErrorIs(t, err, store.ErrInvalid, bad)
		require.ErrorIs(t, postgres.Migrate(t.Context(), server.Pool(t), &postgres.Options{Schema: bad}), store.ErrInvalid)
	}
}

// as returns a pool of a role that has no rights of its own.
func as(t *testing.T, role string) *pgxpool.Pool {
	t.Helper()
	server.Exec(t, "DROP ROLE IF EXISTS "+role, "CREATE ROLE "+role+" LOGIN")
	t.Cleanup(func() { server.Exec(t, "DROP OWNED BY "+role, "DROP ROLE "+role) })
	return server.Pool(t, func(c *pgxpool.Config) { c.ConnConfig.User = role })
}

func TestMissingRights(t *testing.T) {
	_, _, opts := open(t)
	pool := as(t, "hookpost_test_role")
	err := postgres.Migrate(t.Context(), pool, &postgres.Options{Schema: "hookpost_test_none"})
	require.ErrorContains(t, err, "CREATE in the database")

	_, err = postgres.New(pool, opts)
	require.ErrorContains(t, err, "lacks rights")
	server.Exec(t, "GRANT USAGE ON SCHEMA "+opts.Schema+" TO hookpost_test_role",
		"GRANT SELECT ON ALL TABLES IN SCHEMA "+opts.Schema+" TO hookpost_test_role")
	_, err = postgres.New(pool, opts)
	require.ErrorContains(t, err, "event_num")
	require.ErrorContains(t, err, "needs SELECT, INSERT, UPDATE and DELETE")

	server.Exec(t, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA "+opts.Schema+" TO hookpost_test_role",
		"GRANT USAGE ON ALL SEQUENCES IN SCHEMA "+opts.Schema+" TO hookpost_test_role")
	require.NoError(t, postgres.Migrate(t.Context(), pool, opts), "there is nothing to do")
	st, err := postgres.New(pool, opts)
	require.NoError(t, err)
	defer st.Close()
	ep := endpoint(t, st, "ep_1")
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_1", ep)}})
	require.NoError(t, err)
}

func TestReadOnly(t *testing.T) {
	_, _, opts := open(t)
	pool := server.Pool(t, func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["default_transaction_read_only"] = "on" })
	_, err := postgres.New(pool, opts)
	require.ErrorIs(t, err, store.ErrReadOnly)
	err = postgres.Migrate(t.Context(), pool, &postgres.Options{Schema: "hookpost_test_none"})
	require.ErrorIs(t, err, store.ErrReadOnly)

	// A failover while the store is in use.
	var standby atomic.Bool
	changing := server.Pool(t, func(c *pgxpool.Config) {
		c.PrepareConn = func(ctx context.Context, conn *pgx.Conn) (bool, error) {
			if standby.Load() {
				_, err := conn.Exec(ctx, "SET default_transaction_read_only = on")
				return true, err
			}
			return true, nil
		}
	})
	st, err := postgres.New(changing, opts)
	require.NoError(t, err)
	defer st.Close()
	ep := endpoint(t, st, "ep_1")
	standby.Store(true)
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_1", ep)}})
	require.ErrorIs(t, err, store.ErrReadOnly)
	_, err = st.UpdateEndpoint(t.Context(), ep, store.ChangeParams{Action: store.Edited})
	require.ErrorIs(t, err, store.ErrReadOnly)
}

// What is stored is UTF-8, so that no other encoding holds all of it.
func TestEncoding(t *testing.T) {
	ctx := t.Context()
	to := func(database, client string) func(*pgxpool.Config) {
		return func(c *pgxpool.Config) {
			c.ConnConfig.Database = database
			c.ConnConfig.RuntimeParams["client_encoding"] = client
		}
	}
	for _, encoding := range []string{"EUC_JP", "EUC_KR", "LATIN1", "WIN1252", "SQL_ASCII"} {
		database := "hookpost_test_" + strings.ToLower(encoding)
		server.Exec(t, "DROP DATABASE IF EXISTS "+database,
			"CREATE DATABASE "+database+" ENCODING '"+encoding+"' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
		t.Cleanup(func() { server.Exec(t, "DROP DATABASE "+database+" WITH (FORCE)") })
		for _, client := range []string{encoding, "UTF8"} {
			pool := server.Pool(t, to(database, client))
			err := postgres.Migrate(ctx, pool, nil)
			require.ErrorIs(t, err, postgres.ErrEncoding, encoding)
			require.ErrorContains(t, err, "server_encoding is "+encoding)
			require.ErrorContains(t, err, "ENCODING 'UTF8' TEMPLATE template0")
			var tables int
			require.NoError(t, pool.QueryRow(ctx, "SELECT count(*) FROM pg_namespace WHERE nspname = 'hookpost'").Scan(&tables))
			require.Zero(t, tables, "nothing was made")

			// By a migration tool.
			_, err = postgres.New(pool, nil)
			require.ErrorIs(t, err, postgres.ErrEncoding, encoding)
		}
	}

	_, pool, opts := open(t)
	database := pool.Config().ConnConfig.Database
	for _, client := range []string{"LATIN1", "EUC_JP", "SQL_ASCII"} {
		other := server.Pool(t, to(database, client))
		for _, err := range []error{
			postgres.Migrate(ctx, other, opts),
			func() error { _, err := postgres.New(other, opts); return err }(),
		} {
			require.ErrorIs(t, err, postgres.ErrEncoding, client)
			require.ErrorContains(t, err, "client_encoding is "+client)
		}
	}
}

func TestNowhere(t *testing.T) {
	for _, dsn := range []string{
		"postgres://nobody@127.0.0.1:1/none?connect_timeout=2",
		strings.Replace(server.DSN, "dbname=postgres", "dbname=not_there", 1),
	} {
		pool, err := pgxpool.New(t.Context(), dsn)
		require.NoError(t, err)
		_, err = postgres.New(pool, nil)
		require.Error(t, err)
		require.Regexp(t, "^postgres: ", err.Error())
		require.Error(t, postgres.Migrate(t.Context(), pool, nil))
		pool.Close()
	}
	_, err := postgres.New(nil, nil)
	require.ErrorIs(t, err, store.ErrInvalid)
	require.ErrorIs(t, postgres.Migrate(t.Context(), nil, nil), store.ErrInvalid)
}

// The files run in order by any tool, into a schema that it made.
func TestMigrationsByAnotherTool(t *testing.T) {
	schema := server.Schema(t, "tool_")
	server.Exec(t, "CREATE SCHEMA "+schema)
	files, err := fs.Glob(postgres.Migrations(), "*.sql")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, name := range files {
		text, err := fs.ReadFile(postgres.Migrations(), name)
		require.NoError(t, err)
		server.Exec(t, strings.ReplaceAll(string(text), "hookpost.", schema+"."))
	}
	opts := &postgres.Options{Schema: schema}
	require.NoError(t, postgres.Migrate(t.Context(), server.Pool(t), opts))
	st, err := postgres.New(server.Pool(t), opts)
	require.NoError(t, err)
	require.NoError(t, st.Close())
}

var scope = store.Scope{Tenant: "acme", Mode: store.Live}

func endpoint(t testing.TB, st *postgres.Store, id string) store.Endpoint {
	t.Helper()
	ep, err := st.CreateEndpoint(t.Context(), store.Endpoint{
		Scope: scope, ID: id, URLKey: id,
		Config: store.Config{URL: "https://example.com/" + id, EventTypes: []string{"*"}, State: store.Enabled},
	}, store.ChangeParams{Action: store.Created})
	require.NoError(t, err)
	return ep
}

// event returns an event for endpoints, decided on the current set.
func event(t testing.TB, st *postgres.Store, id string, eps ...store.Endpoint) store.NewEvent {
	t.Helper()
	set, err := st.EndpointSet(t.Context(), scope)
	require.NoError(t, err)
	ev := store.NewEvent{Event: store.Event{Scope: scope, ID: id, Type: "a.b", Body: []byte("{}"), SetVersion: set.Version}}
	for _, ep := range eps {
		ev.For = append(ev.For, store.NewDelivery{Endpoint: ep.Num})
	}
	return ev
}

func events(t testing.TB, st *postgres.Store, prefix string, n int, ep store.Endpoint) []store.NewEvent {
	t.Helper()
	first := event(t, st, prefix, ep)
	evs := make([]store.NewEvent, n)
	for i := range evs {
		evs[i] = first
		evs[i].ID = fmt.Sprintf("%s%d", prefix, i)
	}
	return evs
}

// begin opens a transaction that is rolled back if the test does not end it.
func begin(t *testing.T, pool *pgxpool.Pool, level pgx.TxIsoLevel) pgx.Tx {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	tx, err := pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: level})
	require.NoError(t, err)
	t.Cleanup(func() { _ = tx.Rollback(ctx) })
	return tx
}
