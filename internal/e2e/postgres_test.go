//go:build unix

package e2e

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
)

var databases atomic.Int64 // to name them

// createDatabase gives the trial an empty database on PostgreSQL.
func (tr *trial) createDatabase(t *testing.T) {
	t.Helper()
	name := fmt.Sprintf("trial%d", databases.Add(1))
	execute(tr.ctx, t, "postgres", "CREATE DATABASE "+name)
	tr.database, tr.config.DSN = name, server.DSN(name)
	if tr.config.Skew != 0 {
		tr.exec(t, tr.skewed()...)
	}
}

// exec runs statements in the trial's database, each by itself.
func (tr *trial) exec(t *testing.T, statements ...string) {
	t.Helper()
	execute(tr.ctx, t, tr.database, statements...)
}

func execute(ctx context.Context, t *testing.T, database string, statements ...string) {
	t.Helper()
	conn, err := pgx.Connect(ctx, server.DSN(database))
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	for _, text := range statements {
		_, err := conn.Exec(ctx, text)
		require.NoError(t, err, text)
	}
}

// skewed moves the clock that sessions of the database see, by functions that come
// before the server's own.
func (tr *trial) skewed() []string {
	statements := []string{"CREATE SCHEMA skew"}
	for _, clock := range []string{"now", "transaction_timestamp", "statement_timestamp", "clock_timestamp"} {
		volatility := "STABLE"
		if clock == "clock_timestamp" {
			volatility = "VOLATILE"
		}
		statements = append(statements, fmt.Sprintf(
			"CREATE FUNCTION skew.%s() RETURNS timestamptz LANGUAGE sql %s AS $$ SELECT pg_catalog.%[1]s() + interval '%[3]d s' $$",
			clock, volatility, int(tr.config.Skew.Seconds())))
	}
	statements = append(statements, fmt.Sprintf("ALTER DATABASE %s SET search_path = skew, pg_catalog, public", tr.database))
	return statements
}
