package postgres_test

import (
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgserver"
	"github.com/hookpost/hookpost/store/postgres"
)

// throughBouncer starts a PgBouncer in front of the server and returns what leads
// pools through it.
func throughBouncer(t *testing.T, mode pgx.QueryExecMode, prepared int) func(*pgxpool.Config) {
	t.Helper()
	to, err := pgx.ParseConfig(server.DSN)
	require.NoError(t, err)
	b := pgserver.BouncerForTest(t, pgserver.Upstream{Host: to.Host, Port: to.Port, User: to.User, Password: to.Password}, prepared)
	config, err := pgxpool.ParseConfig(b.DSN(to.Database))
	require.NoError(t, err)
	config.ConnConfig.DefaultQueryExecMode = mode
	return func(c *pgxpool.Config) { c.ConnConfig = config.ConnConfig.Copy() }
}

// PgBouncer in transaction mode, with the setting that docs/many-machines.md
// demands.
func TestStoreThroughPgBouncer(t *testing.T) {
	sameCode(t)
	conform(t, throughBouncer(t, pgx.QueryExecModeExec, 0), beginPgx)
}

// One that follows prepared statements, with pgx's defaults.
func TestStoreThroughPreparingPgBouncer(t *testing.T) {
	sameCode(t)
	conform(t, throughBouncer(t, pgx.QueryExecModeCacheStatement, 100), beginPgx)
}

// Without either of them statements fail as soon as PgBouncer has more than one
// connection to the server, and the error names both.
func TestPreparedThroughPgBouncer(t *testing.T) {
	st, pool, _ := open(t, throughBouncer(t, pgx.QueryExecModeCacheStatement, 0))
	for _, tx := range []pgx.Tx{begin(t, pool, ""), begin(t, pool, "")} { // two at once
		require.NoError(t, tx.Rollback(t.Context()))
	}
	var err error
	for range 3 {
		if _, err = st.Now(t.Context()); err != nil {
			break
		}
	}
	require.ErrorContains(t, err, "default_query_exec_mode=exec")
	require.ErrorContains(t, err, "max_prepared_statements")
}

// Nothing is heard through PgBouncer in transaction mode, which Listen says instead
// of waiting for it.
func TestListenThroughPgBouncer(t *testing.T) {
	change := throughBouncer(t, pgx.QueryExecModeExec, 0)
	_, pool, opts := open(t, change)
	opts.Notify = true
	st, err := postgres.New(pool, opts)
	require.NoError(t, err)
	defer st.Close()
	err = st.Listen(t.Context(), func() { t.Error("it hears something") })
	require.ErrorContains(t, err, "PgBouncer in transaction mode")
}
