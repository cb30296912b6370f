package txlibs

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	gormpg "gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
	_ "modernc.org/sqlite" // registers the driver "sqlite"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

// inbox is a receiver's database: its own table "paid" and that of a dedupe.
type inbox struct {
	db      *sql.DB
	dialect dedupe.Dialect
	schema  string // "" or with a full stop
	dedupe  *dedupe.SQL
}

// work is done in a transaction: exec executes statements as its library does, tx
// is the same transaction as a dedupe sees it.
type work func(exec func(statement string) error, tx dedupe.Execer) error

// inTx runs f in a transaction of some library and commits it, unless f fails.
type inTx func(ctx context.Context, f work) error

// receivers are the databases and libraries that the tests which follow are run
// with.
var receivers = []struct {
	name string
	open func(t *testing.T) (inbox, inTx)
}{
	{"SQLite", func(t *testing.T) (inbox, inTx) {
		b := sqliteInbox(t, "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
		return b, sqlTx(b.db)
	}},
	{"SQLite, one connection", func(t *testing.T) (inbox, inTx) {
		b := sqliteInbox(t, "_pragma=busy_timeout(5000)")
		b.db.SetMaxOpenConns(1)
		return b, sqlTx(b.db)
	}},
	{"pgx's stdlib", func(t *testing.T) (inbox, inTx) {
		b := postgresInbox(t, openDB(t, "pgx"))
		return b, sqlTx(b.db)
	}},
	{"lib/pq", func(t *testing.T) (inbox, inTx) {
		b := postgresInbox(t, openDB(t, "postgres"))
		return b, sqlTx(b.db)
	}},
	{"pgx", func(t *testing.T) (inbox, inTx) {
		pool, err := pgxpool.New(t.Context(), dsn)
		require.NoError(t, err)
		t.Cleanup(pool.Close)
		db := stdlib.OpenDBFromPool(pool)
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return postgresInbox(t, db), func(ctx context.Context, f work) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				return f(func(s string) error { _, err := tx.Exec(ctx, s); return err }, pgxTx{tx})
			})
		}
	}},
	{"sqlx", func(t *testing.T) (inbox, inTx) {
		b := postgresInbox(t, openDB(t, "pgx"))
		db := sqlx.NewDb(b.db, "pgx")
		return b, func(ctx context.Context, f work) error {
			tx, err := db.BeginTxx(ctx, nil)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			if err := f(func(s string) error { _, err := tx.NamedExecContext(ctx, s, map[string]any{}); return err }, tx); err != nil {
				return err
			}
			return tx.Commit()
		}
	}},
	{"gorm", func(t *testing.T) (inbox, inTx) { return gormInbox(t, &gorm.Config{Logger: logger.Discard}) }},
	{"gorm that prepares", func(t *testing.T) (inbox, inTx) {
		return gormInbox(t, &gorm.Config{Logger: logger.Discard, PrepareStmt: true})
	}},
	{"ent", func(t *testing.T) (inbox, inTx) {
		b := postgresInbox(t, openDB(t, "pgx"))
		drv := entsql.OpenDB(dialect.Postgres, b.db)
		return b, func(ctx context.Context, f work) error {
			tx, err := drv.Tx(ctx)
			if err != nil {
				return err
			}
			defer func() { _ = tx.Rollback() }()
			if err := f(func(s string) error { return tx.Exec(ctx, s, []any{}, nil) }, tx.(*entsql.Tx)); err != nil {
				return err
			}
			return tx.Commit()
		}
	}},
	{"bun", func(t *testing.T) (inbox, inTx) {
		b := postgresInbox(t, openDB(t, "pgx"))
		db := bun.NewDB(b.db, pgdialect.New())
		return b, func(ctx context.Context, f work) error {
			return db.RunInTx(ctx, nil, func(ctx context.Context, tx bun.Tx) error {
				return f(func(s string) error { _, err := tx.NewRaw(s).Exec(ctx); return err }, tx.Tx)
			})
		}
	}},
}

// pgxTx is all that a pgx transaction needs to be a dedupe.Execer.
type pgxTx struct{ pgx.Tx }

func (tx pgxTx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := tx.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}

func sqlTx(db *sql.DB) inTx {
	return func(ctx context.Context, f work) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if err := f(func(s string) error { _, err := tx.ExecContext(ctx, s); return err }, tx); err != nil {
			return err
		}
		return tx.Commit()
	}
}

func gormInbox(t *testing.T, config *gorm.Config) (inbox, inTx) {
	b := postgresInbox(t, openDB(t, "pgx"))
	db, err := gorm.Open(gormpg.New(gormpg.Config{Conn: b.db}), config)
	require.NoError(t, err)
	return b, func(ctx context.Context, f work) error {
		return db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
			return f(func(s string) error { return tx.Exec(s).Error }, tx.Statement.ConnPool)
		})
	}
}

func openDB(t *testing.T, driver string) *sql.DB {
	t.Helper()
	return openDSN(t, driver, dsn)
}

func openDSN(t *testing.T, driver, dsn string) *sql.DB {
	t.Helper()
	db, err := sql.Open(driver, dsn)
	require.NoError(t, err)
	db.SetMaxIdleConns(8)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func sqliteInbox(t *testing.T, params string) inbox {
	t.Helper()
	file := "file:" + (&url.URL{Path: filepath.ToSlash(filepath.Join(t.TempDir(), "inbox.db"))}).EscapedPath()
	db, err := sql.Open("sqlite", file+"?"+params)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return inbox{db: db, dialect: dedupe.SQLite}.prepared(t)
}

func postgresInbox(t *testing.T, db *sql.DB) inbox {
	t.Helper()
	b := inbox{db: db, dialect: dedupe.PostgreSQL, schema: "dedupe_" + strings.ToLower(rand.Text()[:10]) + "."}
	b.exec(t, "CREATE SCHEMA "+strings.TrimSuffix(b.schema, "."))
	t.Cleanup(func() { b.exec(t, "DROP SCHEMA "+strings.TrimSuffix(b.schema, ".")+" CASCADE") })
	return b.prepared(t)
}

func (b inbox) prepared(t *testing.T) inbox {
	t.Helper()
	b.dedupe = b.newDedupe(t, nil)
	require.NoError(t, b.dedupe.Migrate(t.Context()))
	require.NoError(t, b.dedupe.Migrate(t.Context()), "it is there already")
	b.exec(t, "CREATE TABLE "+b.schema+"paid (event text NOT NULL)")
	return b
}

// newDedupe returns another one on the same table.
func (b inbox) newDedupe(t *testing.T, opts *dedupe.SQLOptions) *dedupe.SQL {
	t.Helper()
	if opts == nil {
		opts = &dedupe.SQLOptions{}
	}
	opts.Table = b.schema + dedupe.DefaultTable
	d, err := dedupe.NewSQL(b.db, b.dialect, opts)
	require.NoError(t, err)
	return d
}

func (b inbox) exec(t *testing.T, statement string) {
	t.Helper()
	_, err := b.db.ExecContext(context.WithoutCancel(t.Context()), statement)
	require.NoError(t, err)
}

// count counts the rows of a table.
func (b inbox) count(t *testing.T, table string) (n int) {
	t.Helper()
	require.NoError(t, b.db.QueryRowContext(t.Context(), "SELECT count(*) FROM "+b.schema+table).Scan(&n))
	return n
}

// pass moves the table into the past, which is what time does to it.
func (b inbox) pass(t *testing.T, d time.Duration) {
	t.Helper()
	b.exec(t, fmt.Sprintf("UPDATE %s SET valid_until = valid_until - %d", b.schema+dedupe.DefaultTable, d.Milliseconds()))
}

func (b inbox) pay(event string) string {
	return "INSERT INTO " + b.schema + "paid VALUES ('" + event + "')"
}

func eachReceiver(t *testing.T, f func(t *testing.T, b inbox, tx inTx)) {
	for _, r := range receivers {
		t.Run(r.name, func(t *testing.T) {
			b, tx := r.open(t)
			f(t, b, tx)
		})
	}
}

const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// guard returns a function that delivers an event to handle, behind a
// middleware with d, and returns the status of the answer.
func guard(t *testing.T, d verifier.Dedupe, handle verifier.HandlerFunc) func(id string) int {
	t.Helper()
	mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(context.Context, verifier.Event, error) {}})
	mux.Handle("*", handle)
	v, err := verifier.New(webhookSecret, &verifier.Options{Dedupe: d, OnError: func(_ http.ResponseWriter, _ *http.Request, err error) {
		if !errors.Is(err, verifier.ErrInProgress) {
			t.Errorf("refused: %v", err)
		}
	}})
	require.NoError(t, err)
	handler := v.Middleware(mux)
	return func(id string) int {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, verifiertest.NewRequest(t, webhookSecret, verifier.Event{ID: id}, nil))
		return w.Code
	}
}

var errHandler = errors.New("out of stock")

// The mark and the handler's writes are committed together, or neither is.
func TestDedupeInTransaction(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, tx inTx) {
		var fail error
		runs := 0
		deliver := guard(t, b.dedupe, func(ctx context.Context, e verifier.Event) error {
			runs++
			return tx(ctx, func(exec func(string) error, tx dedupe.Execer) error {
				if err := exec(b.pay(e.ID)); err != nil {
					return err
				}
				if err := b.dedupe.MarkTx(ctx, tx); err != nil {
					return err
				}
				return fail
			})
		})
		fail = errHandler
		require.Equal(t, 500, deliver("evt_1"))
		require.Zero(t, b.count(t, "paid"))
		require.Zero(t, b.count(t, dedupe.DefaultTable), "released")

		fail = nil
		require.Equal(t, 200, deliver("evt_1"))
		require.Equal(t, 200, deliver("evt_1"))
		require.Equal(t, 200, deliver("evt_2"))
		require.Equal(t, 3, runs)
		require.Equal(t, 2, b.count(t, "paid"))

		b.pass(t, dedupe.DefaultKeep-time.Minute)
		require.Equal(t, 200, deliver("evt_1"))
		require.Equal(t, 3, runs, "remembered for 7 days")
		b.pass(t, time.Minute)
		require.Equal(t, 200, deliver("evt_1"))
		require.Equal(t, 4, runs)
	})
}

// A claim whose holder died ends by itself; a holder that was only slow finds
// out before it commits.
func TestDedupeClaimExpires(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, tx inTx) {
		ctx := t.Context()
		event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
		pay := func(ctx context.Context) error {
			return tx(ctx, func(exec func(string) error, tx dedupe.Execer) error {
				if err := exec(b.pay(event.ID)); err != nil {
					return err
				}
				return b.dedupe.MarkTx(ctx, tx)
			})
		}
		unexpected := func(context.Context) error { t.Error("handled"); return nil }

		err := verifier.Once(ctx, b.dedupe, event, func(slow context.Context) error {
			require.ErrorIs(t, verifier.Once(ctx, b.dedupe, event, unexpected), verifier.ErrInProgress)
			b.pass(t, dedupe.DefaultClaimFor-time.Minute)
			require.ErrorIs(t, verifier.Once(ctx, b.dedupe, event, unexpected), verifier.ErrInProgress)
			b.pass(t, time.Minute)
			err := verifier.Once(ctx, b.dedupe, event, func(ctx context.Context) error {
				require.ErrorIs(t, pay(slow), verifier.ErrClaimLost)
				return pay(ctx)
			})
			require.NoError(t, err)
			return pay(slow)
		})
		require.ErrorIs(t, err, verifier.ErrClaimLost)
		require.Equal(t, 1, b.count(t, "paid"))
		require.ErrorIs(t, verifier.Once(ctx, b.dedupe, event, unexpected), verifier.ErrDuplicate,
			"who lost the claim releases nothing")

		// Without MarkTx it is told afterwards.
		event.ID = "evt_2"
		err = verifier.Once(ctx, b.dedupe, event, func(context.Context) error {
			b.pass(t, dedupe.DefaultClaimFor)
			return verifier.Once(ctx, b.dedupe, event, func(context.Context) error { return nil })
		})
		require.ErrorIs(t, err, verifier.ErrClaimLost)

		// Slow, but nobody else came.
		event.ID = "evt_3"
		err = verifier.Once(ctx, b.dedupe, event, func(ctx context.Context) error {
			b.pass(t, dedupe.DefaultClaimFor+30*time.Minute)
			_, err := b.dedupe.Prune(ctx)
			require.NoError(t, err)
			return pay(ctx)
		})
		require.NoError(t, err)
	})
}

// Of many deliveries at once one is handled; the others are told to come back
// or, once it is done, that it is.
func TestDedupeConcurrent(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, tx inTx) {
		const deliveries = 8
		began, proceed := make(chan struct{}), make(chan struct{})
		var runs atomic.Int32
		deliver := guard(t, b.dedupe, func(ctx context.Context, e verifier.Event) error {
			runs.Add(1)
			close(began)
			<-proceed
			return tx(ctx, func(exec func(string) error, tx dedupe.Execer) error {
				if err := exec(b.pay(e.ID)); err != nil {
					return err
				}
				return b.dedupe.MarkTx(ctx, tx)
			})
		})
		var first sync.WaitGroup
		first.Go(func() {
			if status := deliver("evt_1"); status != 200 {
				t.Errorf("the first: %d", status)
			}
		})
		<-began
		var others sync.WaitGroup
		for range deliveries {
			others.Go(func() {
				if status := deliver("evt_1"); status != 409 {
					t.Errorf("another while it runs: %d", status)
				}
			})
		}
		others.Wait()
		close(proceed)
		first.Wait()
		require.Equal(t, 200, deliver("evt_1"))
		require.EqualValues(t, 1, runs.Load())
		require.Equal(t, 1, b.count(t, "paid"))
	})
}

// A handler that has marked its event and not committed yet makes nobody wait: a
// delivery that waited would hold a connection that the handler may need.
func TestDedupeWhileMarked(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, tx inTx) {
		if b.db.Stats().MaxOpenConnections == 1 {
			t.Skip("the handler has the only connection")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
		unexpected := func(context.Context) error { t.Error("handled"); return nil }
		err := verifier.Once(ctx, b.dedupe, event, func(ctx context.Context) error {
			return tx(ctx, func(exec func(string) error, tx dedupe.Execer) error {
				if err := exec(b.pay(event.ID)); err != nil {
					return err
				}
				if err := b.dedupe.MarkTx(ctx, tx); err != nil {
					return err
				}
				require.ErrorIs(t, verifier.Once(ctx, b.dedupe, event, unexpected), verifier.ErrInProgress)
				return nil
			})
		})
		require.NoError(t, err)
		require.ErrorIs(t, verifier.Once(ctx, b.dedupe, event, unexpected), verifier.ErrDuplicate)
	})
}

// Claims that race for one new id, or for one that has expired: one wins.
func TestDedupeRace(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, _ inTx) {
		for _, round := range []string{"new", "expired"} {
			var won atomic.Int32
			var wg sync.WaitGroup
			for range 16 {
				wg.Go(func() {
					switch _, err := b.dedupe.Claim(t.Context(), "evt_1"); {
					case err == nil:
						won.Add(1)
					case !errors.Is(err, verifier.ErrInProgress):
						t.Error(err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, won.Load(), round)
			b.pass(t, dedupe.DefaultClaimFor)
		}
	})
}

// What a handler says counts, whatever became of its transaction.
func TestDedupeHandlersWord(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, tx inTx) {
		for _, c := range []struct {
			name      string
			inTx      error // rolls back
			after     error
			status    int
			duplicate bool
		}{
			{"committed, then failed", nil, errHandler, 500, true},
			{"rolled back, but acknowledged", errHandler, nil, 200, true},
			{"rolled back and failed", errHandler, errHandler, 500, false},
		} {
			id := strings.ReplaceAll(strings.ReplaceAll(c.name, " ", "_"), ",", "")
			runs := 0
			deliver := guard(t, b.dedupe, func(ctx context.Context, _ verifier.Event) error {
				if runs++; runs > 1 {
					return nil
				}
				err := tx(ctx, func(_ func(string) error, tx dedupe.Execer) error {
					require.NoError(t, b.dedupe.MarkTx(ctx, tx))
					return c.inTx
				})
				require.ErrorIs(t, err, c.inTx)
				return c.after
			})
			require.Equal(t, c.status, deliver(id), c.name)
			require.Equal(t, 200, deliver(id), c.name)
			require.Equal(t, c.duplicate, runs == 1, c.name)
		}
	})
}

// Old rows go in steps of a bounded size, and only old ones.
func TestDedupePrune(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, _ inTx) {
		ctx := t.Context()
		fill := b.newDedupe(t, nil)
		for i := range 300 {
			claim, err := fill.Claim(ctx, fmt.Sprintf("evt_%d", i))
			require.NoError(t, err)
			if i%2 == 0 {
				require.NoError(t, claim.Done(ctx))
			}
		}
		require.Equal(t, 300, b.count(t, dedupe.DefaultTable))
		b.pass(t, dedupe.DefaultKeep+30*time.Minute)
		n, err := fill.Prune(ctx)
		require.NoError(t, err)
		require.Equal(t, 150, n, "the claims")
		for i := range 300 {
			_, err := fill.Claim(ctx, fmt.Sprintf("other_%d", i))
			require.NoError(t, err)
		}
		b.pass(t, 10*time.Minute)
		require.Equal(t, 450, b.count(t, dedupe.DefaultTable), "too young")
		b.pass(t, time.Hour)
		_, err = b.dedupe.Claim(ctx, "evt_new")
		require.NoError(t, err)
		require.Equal(t, 450-256+1, b.count(t, dedupe.DefaultTable), "one step with the first claim")
		n, err = fill.Prune(ctx)
		require.NoError(t, err)
		require.Equal(t, 450-256, n)
		require.Equal(t, 1, b.count(t, dedupe.DefaultTable))
	})
}

func TestDedupeOptions(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, tx inTx) {
		ctx := t.Context()
		stripe := b.newDedupe(t, &dedupe.SQLOptions{Source: "stripe", Keep: -1, ClaimFor: time.Minute})
		github := b.newDedupe(t, &dedupe.SQLOptions{Source: "github"})
		for _, d := range []*dedupe.SQL{stripe, github, b.dedupe} {
			claim, err := d.Claim(ctx, "evt_1")
			require.NoError(t, err)
			require.NoError(t, claim.Done(ctx))
		}
		b.pass(t, 10*365*24*time.Hour)
		_, err := stripe.Claim(ctx, "evt_1")
		require.ErrorIs(t, err, verifier.ErrDuplicate, "kept for ever")
		_, err = github.Claim(ctx, "evt_1")
		require.NoError(t, err)

		_, err = stripe.Claim(ctx, "evt_2")
		require.NoError(t, err)
		b.pass(t, time.Minute)
		_, err = stripe.Claim(ctx, "evt_2")
		require.NoError(t, err, "the claim was for a minute")

		// Outside of a handler, and with the claim of another.
		require.ErrorIs(t, tx(ctx, func(_ func(string) error, tx dedupe.Execer) error { return stripe.MarkTx(ctx, tx) }), dedupe.ErrNoClaim)
		event := verifier.Event{ID: "evt_3", Signed: signing.Coverage{ID: true}}
		err = verifier.Once(ctx, github, event, func(ctx context.Context) error {
			return tx(ctx, func(_ func(string) error, tx dedupe.Execer) error { return stripe.MarkTx(ctx, tx) })
		})
		require.ErrorIs(t, err, dedupe.ErrNoClaim)
	})
}

// A sender that hangs up during the claim leaves none behind.
func TestDedupeCancelled(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, _ inTx) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := b.dedupe.Claim(ctx, "evt_1")
		require.ErrorIs(t, err, context.Canceled)
		require.Zero(t, b.count(t, dedupe.DefaultTable))
		claim, err := b.dedupe.Claim(t.Context(), "evt_1")
		require.NoError(t, err)
		require.NoError(t, claim.Release(t.Context()))
	})
}

// Migrate may be called by all processes as they start.
func TestDedupeMigrate(t *testing.T) {
	eachReceiver(t, func(t *testing.T, b inbox, _ inTx) {
		b.exec(t, "DROP TABLE "+b.schema+dedupe.DefaultTable)
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				if err := b.dedupe.Migrate(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		_, err := b.dedupe.Claim(t.Context(), "evt_1")
		require.NoError(t, err)
	})
}
