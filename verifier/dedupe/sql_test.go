package dedupe_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
)

func TestNewSQL(t *testing.T) {
	for name, c := range map[string]struct {
		db      dedupe.DB
		dialect dedupe.Dialect
		opts    *dedupe.SQLOptions
		want    string
	}{
		"defaults":        {&failing{}, dedupe.SQLite, nil, ""},
		"all options":     {&failing{}, dedupe.PostgreSQL, &dedupe.SQLOptions{Table: "app_1.seen", Source: "Stripe-eu.1", Keep: -1, ClaimFor: time.Second}, ""},
		"no database":     {nil, dedupe.SQLite, nil, "no database"},
		"no dialect":      {&failing{}, 0, nil, "neither SQLite nor PostgreSQL"},
		"table":           {&failing{}, dedupe.SQLite, &dedupe.SQLOptions{Table: `x"; DROP TABLE users; --`}, "table name"},
		"table's end":     {&failing{}, dedupe.SQLite, &dedupe.SQLOptions{Table: "x\n"}, "table name"},
		"long table":      {&failing{}, dedupe.SQLite, &dedupe.SQLOptions{Table: strings.Repeat("x", 51)}, "table name"},
		"source":          {&failing{}, dedupe.SQLite, &dedupe.SQLOptions{Source: "a:b"}, "source"},
		"short keep":      {&failing{}, dedupe.SQLite, &dedupe.SQLOptions{Keep: time.Microsecond}, "at least a millisecond"},
		"no time to work": {&failing{}, dedupe.SQLite, &dedupe.SQLOptions{ClaimFor: -1}, "at least a millisecond"},
	} {
		d, err := dedupe.NewSQL(c.db, c.dialect, c.opts)
		if c.want == "" {
			require.NoError(t, err, name)
			require.NotNil(t, d)
			continue
		}
		require.ErrorContains(t, err, c.want, name)
	}
}

func TestSchema(t *testing.T) {
	for dialect, want := range map[dedupe.Dialect]string{
		dedupe.SQLite:     "CREATE INDEX IF NOT EXISTS app.seen_valid_until ON seen (valid_until)",
		dedupe.PostgreSQL: "CREATE INDEX IF NOT EXISTS seen_valid_until ON app.seen (valid_until)",
	} {
		d, err := dedupe.NewSQL(&failing{}, dialect, &dedupe.SQLOptions{Table: "app.seen"})
		require.NoError(t, err)
		schema := d.Schema()
		require.Len(t, schema, 2)
		require.Contains(t, schema[0], "CREATE TABLE IF NOT EXISTS app.seen (")
		require.Equal(t, want, schema[1])
		schema[0] = "changed"
		require.NotEqual(t, schema, d.Schema())
	}
}

// failing is a database that stops answering after some statements.
type failing struct {
	working int
	seen    []string
}

var errGone = errors.New("database is gone")

func (f *failing) ExecContext(_ context.Context, query string, _ ...any) (sql.Result, error) {
	f.seen = append(f.seen, strings.Fields(query)[0])
	if len(f.seen) > f.working {
		return nil, errGone
	}
	return driver.RowsAffected(1), nil
}

func (f *failing) QueryContext(_ context.Context, query string, _ ...any) (*sql.Rows, error) {
	f.seen = append(f.seen, strings.Fields(query)[0])
	return nil, errGone
}

func TestSQLFails(t *testing.T) {
	event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
	failure := errors.New("out of stock")
	for name, c := range map[string]struct {
		working int
		markTx  bool
		handle  error
		want    string
		calls   string
	}{
		"claim":          {0, false, nil, "dedupe: claiming an event: database is gone", "INSERT"},
		"prune":          {1, false, nil, "not marked so: dedupe: marking an event: database is gone", "INSERT DELETE handle UPDATE"},
		"release":        {1, false, failure, "out of stock\nverifier: releasing the event: dedupe: releasing an event: database is gone", "INSERT DELETE handle DELETE"},
		"mark":           {2, true, nil, "dedupe: marking an event: database is gone", "INSERT DELETE handle UPDATE DELETE"},
		"look at a mark": {3, true, nil, "not marked so: dedupe: marking an event: database is gone", "INSERT DELETE handle UPDATE SELECT"},
	} {
		t.Run(name, func(t *testing.T) {
			db := &failing{working: c.working}
			d, err := dedupe.NewSQL(db, dedupe.PostgreSQL, nil)
			require.NoError(t, err)
			err = verifier.Once(t.Context(), d, event, func(ctx context.Context) error {
				db.seen = append(db.seen, "handle")
				db.working++
				if c.markTx {
					if err := d.MarkTx(ctx, db); err != nil {
						return err
					}
				}
				return c.handle
			})
			require.ErrorContains(t, err, c.want)
			if c.handle != nil {
				require.ErrorIs(t, err, c.handle)
			}
			require.ErrorIs(t, err, errGone)
			require.Equal(t, c.calls, strings.Join(db.seen, " "))
		})
	}
	db := &failing{}
	d, err := dedupe.NewSQL(db, dedupe.SQLite, nil)
	require.NoError(t, err)
	require.ErrorIs(t, d.Migrate(t.Context()), errGone)
	_, err = d.Prune(t.Context())
	require.ErrorIs(t, err, errGone)
	_, err = d.Claim(t.Context(), "evt_1")
	require.ErrorIs(t, err, errGone)
}
