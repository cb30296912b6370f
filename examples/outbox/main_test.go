package main

import (
	"bytes"
	"context"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hookpost/hookpost/internal/pgserver"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSQLite(t *testing.T) {
	out := shopping(t, "")
	path := regexp.MustCompile(`database +SQLite (\S+)`).FindStringSubmatch(out)[1]
	require.NoDirExists(t, filepath.Dir(path))
}

func TestPostgres(t *testing.T) {
	dsn := pgserver.ForTest(t)
	out := shopping(t, dsn)
	schema := regexp.MustCompile(`schema (\w+)`).FindStringSubmatch(out)[1]

	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, dsn)
	require.NoError(t, err)
	defer conn.Close(ctx)
	var left bool
	require.NoError(t, conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1)", schema).Scan(&left))
	require.False(t, left)
}

func shopping(t *testing.T, dsn string) string {
	t.Helper()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), dsn, 150, &out), out.String())
	require.Contains(t, out.String(), "orders     100 committed, 50 rolled back\nevents     100 stored, 100 verified by the receiver\n")
	require.Contains(t, out.String(), "\nExactly the 100 committed orders arrived, and none of those rolled back.\n")
	return out.String()
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, run(ctx, "", 10, &bytes.Buffer{}), context.Canceled)
}

// A DSN to nowhere is an error at once.
func TestNoDatabase(t *testing.T) {
	err := run(t.Context(), "host=/nonexistent user=nobody", 1, &bytes.Buffer{})
	require.ErrorContains(t, err, "no connection")
}
