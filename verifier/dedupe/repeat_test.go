package dedupe_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
)

// sqlState is an error as pgx and lib/pq have them.
type sqlState string

func (e sqlState) Error() string    { return "ERROR: something (SQLSTATE " + string(e) + ")" }
func (e sqlState) SQLState() string { return string(e) }

// resultCode is an error as modernc.org/sqlite has them.
type resultCode int

func (e resultCode) Error() string { return fmt.Sprintf("something (%d)", int(e)) }
func (e resultCode) Code() int     { return int(e) }

// unsent is an error of pgx's about a connection that was closed before.
type unsent bool

func (unsent) Error() string       { return "conn closed" }
func (e unsent) SafeToRetry() bool { return bool(e) }

// flaky is a database of which each statement fails some times.
type flaky struct {
	failure error
	times   int
	seen    []string
	failed  map[string]int
}

func (f *flaky) fail(query string) error {
	word := strings.Fields(query)[0]
	if f.failed == nil {
		f.failed = map[string]int{}
	}
	f.seen = append(f.seen, word)
	if f.failed[word] < f.times {
		f.failed[word]++
		return fmt.Errorf("driver: %w", f.failure)
	}
	return nil
}

func (f *flaky) ExecContext(_ context.Context, query string, _ ...any) (sql.Result, error) {
	return driver.RowsAffected(1), f.fail(query)
}

func (f *flaky) QueryContext(_ context.Context, query string, _ ...any) (*sql.Rows, error) {
	return nil, f.fail(query)
}

func TestSQLRepeats(t *testing.T) {
	const pg, lite = dedupe.PostgreSQL, dedupe.SQLite
	event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
	failure := errors.New("out of stock")
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	for _, c := range []struct {
		dialect dedupe.Dialect
		err     error
		passes  bool
	}{
		{pg, sqlState("40001"), true},
		{pg, sqlState("40P01"), true},
		{pg, sqlState("55P03"), true},
		{pg, sqlState("57014"), true},
		{pg, sqlState("57P01"), true},
		{pg, sqlState("57P02"), true},
		{pg, sqlState("57P03"), true},
		{pg, sqlState("53300"), true},
		{pg, sqlState("08006"), true},
		{pg, sqlState("42P01"), false},
		{pg, sqlState("42501"), false},
		{pg, sqlState("25006"), false},
		{pg, sqlState("53100"), false},
		{pg, driver.ErrBadConn, true},
		{pg, io.EOF, true},
		{pg, io.ErrUnexpectedEOF, true},
		{pg, net.ErrClosed, true},
		{pg, syscall.ECONNRESET, true},
		{pg, syscall.EPIPE, true},
		{pg, refused, true},
		{pg, unsent(true), true},
		{pg, unsent(false), false},
		{pg, resultCode(5), false},
		{pg, errors.New("database is locked"), false},
		{pg, sql.ErrNoRows, false},
		{lite, resultCode(5), true},
		{lite, resultCode(6), true},
		{lite, resultCode(5 | 1<<8), true}, // SQLITE_BUSY_RECOVERY
		{lite, resultCode(5 | 2<<8), true}, // SQLITE_BUSY_SNAPSHOT
		{lite, resultCode(6 | 1<<8), true}, // SQLITE_LOCKED_SHAREDCACHE
		{lite, resultCode(1), false},
		{lite, resultCode(8), false},
		{lite, resultCode(13), false},
		{lite, resultCode(19), false},
		// As mattn/go-sqlite3 and ncruces/go-sqlite3 have them.
		{lite, errors.New("database is locked"), true},
		{lite, errors.New("database table is locked: webhook_dedupe"), true},
		{lite, errors.New("sqlite3: database is locked"), true},
		{lite, errors.New("no such table: webhook_dedupe"), false},
	} {
		t.Run(fmt.Sprintf("%d %v", c.dialect, c.err), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := &flaky{failure: c.err, times: 3}
				d, err := dedupe.NewSQL(db, c.dialect, nil)
				require.NoError(t, err)
				if c.dialect == lite {
					// The look before a claim can't be answered by a fake.
					require.ErrorIs(t, d.Migrate(t.Context()), errOf(c.passes, c.err))
					if c.passes {
						require.Equal(t, strings.Repeat("CREATE ", 3+2), strings.Join(db.seen, " ")+" ")
					}
					return
				}
				ran := 0
				once := func(result error) error {
					return verifier.Once(t.Context(), d, event, func(context.Context) error { ran++; return result })
				}
				if !c.passes {
					require.ErrorIs(t, once(nil), c.err)
					require.Equal(t, []string{"INSERT"}, db.seen)
					require.Zero(t, ran)
					return
				}
				require.NoError(t, once(nil))
				require.Equal(t, "INSERT INSERT INSERT INSERT DELETE UPDATE UPDATE UPDATE UPDATE", strings.Join(db.seen, " "))
				db.seen, db.failed = nil, nil
				require.Equal(t, failure, once(failure), "and nothing about the release")
				require.Equal(t, "INSERT INSERT INSERT INSERT DELETE DELETE DELETE DELETE", strings.Join(db.seen, " "))
				require.Equal(t, 2, ran)
			})
		})
	}
}

// errOf is what errors.Is finds in the error of a call: nil where it succeeds.
func errOf(passes bool, err error) error {
	if passes {
		return nil
	}
	return err
}

// The repetitions end after 5 s, or with the context, and the error says why they were
// needed.
func TestSQLRepeatsForAWhile(t *testing.T) {
	event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
	for name, c := range map[string]struct {
		limit time.Duration // of the context; 0: none
		from  time.Duration
		to    time.Duration
	}{
		"5 s":           {0, 5*time.Second + 500*time.Millisecond, 6 * time.Second}, // with the release of what may have been claimed
		"the context's": {time.Second, time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db := &flaky{failure: sqlState("40001"), times: 1 << 30}
				d, err := dedupe.NewSQL(db, dedupe.PostgreSQL, nil)
				require.NoError(t, err)
				ctx := t.Context()
				if c.limit > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, c.limit)
					defer cancel()
				}
				begun := time.Now()
				err = verifier.Once(ctx, d, event, func(context.Context) error { t.Error("handled"); return nil })
				took := time.Since(begun)
				require.ErrorIs(t, err, sqlState("40001"))
				if c.limit > 0 {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				require.GreaterOrEqual(t, took, c.from)
				require.LessOrEqual(t, took, c.to)
				require.Less(t, len(db.seen), 2000, "it pauses")
			})
		})
	}
}

// A statement in the handler's transaction is never repeated: it would be one of a
// transaction that has failed.
func TestMarkTxIsNotRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d, err := dedupe.NewSQL(&flaky{}, dedupe.PostgreSQL, nil)
		require.NoError(t, err)
		tx := &flaky{failure: sqlState("40001"), times: 3}
		event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
		err = verifier.Once(t.Context(), d, event, func(ctx context.Context) error { return d.MarkTx(ctx, tx) })
		require.ErrorIs(t, err, sqlState("40001"))
		require.Equal(t, []string{"UPDATE"}, tx.seen)
	})
}
