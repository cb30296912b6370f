//go:build unix

package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/internal/pgserver"
	"github.com/hookpost/hookpost/store"
)

// The server is lost while two workers send and deliver, and its standby becomes the
// server. Commits wait for the standby, so that what was acknowledged is there, and
// the workers find it by themselves.
func TestFailover(t *testing.T) {
	onPostgres(t, func(t *testing.T, kind string) {
		primary, err := pgserver.Start(t.Context())
		require.NoError(t, err)
		t.Cleanup(func() { _ = primary.Stop() })
		standby, err := primary.Standby(t.Context())
		if errors.Is(err, pgserver.ErrNoBackup) {
			t.Skip(err)
		}
		require.NoError(t, err)
		t.Cleanup(func() { _ = standby.Stop() })
		synchronous(t.Context(), t, primary)

		tr := newTrial(t, kind, func(c *setup.Config) {
			c.Patient = true
			c.DSN = fmt.Sprintf("host=%s,%s user=postgres dbname=postgres target_session_attrs=read-write", host(t, primary), host(t, standby))
		})
		alone := setup.Database{DSN: standby.DSN("postgres"), Name: "test"}
		_, err = alone.Open(tr.ctx)
		require.ErrorIs(t, err, store.ErrReadOnly)
		require.ErrorContains(t, err, "a standby") // whether it has the tables by now or not

		tr.faults = 1
		tr.run(t, 2, amount(2000, 10_000))
		tr.arrived(t, 1, 2)
		require.NoError(t, primary.Stop())
		time.Sleep(tr.config.Lease + time.Second) // without a server that can be written to
		require.NoError(t, standby.Promote(tr.ctx))
		tr.finish(t)
		tr.calm(t)
		tr.verdict(t, tr.faults*2*tr.config.MaxInFlight)
	})
}

// host is the directory of a server's socket.
func host(t *testing.T, s *pgserver.Server) string {
	t.Helper()
	config, err := pgx.ParseConfig(s.DSN("postgres"))
	require.NoError(t, err)
	return config.Host
}

// synchronous makes the server's commits wait for its standby from now on.
func synchronous(ctx context.Context, t *testing.T, primary *pgserver.Server) {
	t.Helper()
	conn, err := pgx.Connect(ctx, primary.DSN("postgres"))
	require.NoError(t, err)
	defer conn.Close(context.WithoutCancel(ctx))
	for _, text := range []string{"ALTER SYSTEM SET synchronous_standby_names = standby", "SELECT pg_reload_conf()"} {
		_, err = conn.Exec(ctx, text)
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool {
		var n int
		err := conn.QueryRow(ctx, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'").Scan(&n)
		return err == nil && n == 1
	}, time.Minute, 10*time.Millisecond)
}
