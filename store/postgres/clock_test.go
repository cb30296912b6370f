package postgres

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store/postgres/internal/pgtest"
)

// TestServer is the server of all tests of the package.
var TestServer *pgtest.Server

// Shifted is a store whose clock is ahead of the server's.
type Shifted struct {
	*Store
	shift string
}

// NewShifted migrates and opens a store whose clock can be moved. The shift is kept
// in the schema, so that all stores in it agree.
func NewShifted(t testing.TB, pool *pgxpool.Pool, opts *Options) *Shifted {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	require.NoError(t, Migrate(ctx, pool, opts))
	name := pgx.Identifier{opts.Schema}.Sanitize()
	_, err := pool.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+name+".shift (by interval NOT NULL);"+
		"INSERT INTO "+name+".shift SELECT '0' WHERE NOT EXISTS (SELECT FROM "+name+".shift);"+
		"CREATE OR REPLACE FUNCTION "+name+".shifted() RETURNS interval STABLE LANGUAGE sql AS 'SELECT by FROM "+name+".shift'")
	require.NoError(t, err)
	return openShifted(t, pool, opts)
}

func openShifted(t testing.TB, pool *pgxpool.Pool, opts *Options) *Shifted {
	t.Helper()
	name := pgx.Identifier{opts.Schema}.Sanitize()
	st, err := newStore(pool, opts, name+".shifted()")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	return &Shifted{Store: st, shift: name + ".shift"}
}

// Another opens another store on the same data with the same clock.
func (s *Shifted) Another(t testing.TB, pool *pgxpool.Pool, opts *Options) *Shifted {
	t.Helper()
	return openShifted(t, pool, opts)
}

// Advance moves the clock forward.
func (s *Shifted) Advance(t testing.TB, d time.Duration) {
	t.Helper()
	_, err := s.pool.Exec(context.WithoutCancel(t.Context()), "UPDATE "+s.shift+" SET by = by + $1 * interval '1 microsecond'", d.Microseconds())
	require.NoError(t, err)
}

// Set makes the clock show a time. It runs on from there.
func (s *Shifted) Set(t testing.TB, at time.Time) {
	t.Helper()
	_, err := s.pool.Exec(context.WithoutCancel(t.Context()), "UPDATE "+s.shift+" SET by = $1 - clock_timestamp()", at)
	require.NoError(t, err)
}
