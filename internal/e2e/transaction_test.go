//go:build unix

package e2e

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
	"github.com/hookpost/hookpost/store/sqlite"
)

// Many transactions of an application at once, each with an order and its event.
// Half of them are rolled back, in one way or another: there is an event, and it is
// delivered, if and only if there is the order.
func TestTransactions(t *testing.T) {
	onEachStore(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, unhurried)
		app := tr.newApplication(t, size(64, 250))
		tr.run(t, 2, 0)
		transactions := amount(1000, 1000)
		ids := make([]string, transactions)
		errs := make([]error, transactions)
		var running sync.WaitGroup
		begin := make(chan struct{})
		for i := range transactions {
			line := tr.event()
			ids[i] = lineID(line)
			running.Go(func() {
				<-begin
				errs[i] = app.order(tr.ctx, line, rand.N(4))
			})
		}
		close(begin)
		running.Wait()

		tr.ids = nil
		for i, err := range errs {
			switch {
			case err == nil:
				tr.ids = append(tr.ids, ids[i])
			case errors.Is(err, errRolledBack):
				tr.absent = append(tr.absent, ids[i])
			default:
				require.NoError(t, err)
			}
		}
		tr.faults = len(tr.absent)
		require.ElementsMatch(t, tr.ids, app.orders(tr.ctx, t))
		tr.rcv.wait(tr.ctx, t, len(tr.ids))
		tr.finish(t)
		tr.verdict(t, 0)
	})
}

// A transaction of an application's stays open, with an event in it. Everybody
// else's are delivered meanwhile, and then its own.
func TestOpenTransaction(t *testing.T) {
	onPostgres(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, unhurried)
		app := tr.newApplication(t, 4)
		tr.run(t, 2, 0)
		own := tr.event()
		tx, err := app.db.Pool.BeginTx(tr.ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
		require.NoError(t, err)
		defer func() { _ = tx.Rollback(context.WithoutCancel(tr.ctx)) }()
		require.NoError(t, app.write(tr.ctx, ofPgx(app.db.Store, tx), own))

		parts, events := size(10, 100), amount(2000, 10_000)
		pause := size(3*time.Second, 30*time.Second) / time.Duration(parts)
		for range parts {
			for n := range events / parts {
				tr.procs[n%2].give(tr.event())
			}
			time.Sleep(pause)
		}
		tr.rcv.wait(tr.ctx, t, events)
		require.NotContains(t, tr.rcv.requests(), lineID(own))
		for _, p := range tr.procs { // and all of them are recorded, too
			p.until(t, "all acknowledged", func() bool { return len(p.acked) == len(p.lines) })
		}
		tr.idle(t)
		require.NoError(t, tx.Commit(tr.ctx))
		tr.rcv.wait(tr.ctx, t, events+1)
		tr.finish(t)
		tr.verdict(t, 0)
	})
}

// idle waits until nothing is pending.
func (tr *trial) idle(t *testing.T) {
	t.Helper()
	for {
		pending, err := tr.hooks.Deliveries(tr.ctx, store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1})
		require.NoError(t, err)
		if len(pending) == 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// application has tables of its own in the database.
type application struct {
	db    *setup.Opened
	hooks *sender.Sender // not started: the workers deliver
}

// newApplication makes one that keeps so many connections.
func (tr *trial) newApplication(t *testing.T, connections int) *application {
	t.Helper()
	shared := tr.config.Database
	shared.Connections = connections
	db, err := shared.Open(tr.ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = db.Close() })
	a := &application{db: db}
	a.hooks, err = sender.New(db.Store, tr.config.Options(nil))
	require.NoError(t, err)
	const table = "CREATE TABLE orders (id text PRIMARY KEY)"
	if db.Pool != nil {
		tr.exec(t, table)
	} else {
		require.NoError(t, db.Exec(tr.ctx, table))
	}
	return a
}

var errRolledBack = errors.New("rolled back")

// order places one in a transaction, which ends as fate says.
func (a *application) order(ctx context.Context, line string, fate int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tx, err := a.begin(ctx)
	if err != nil {
		return err
	}
	if err := a.write(ctx, tx, line); err != nil {
		return errors.Join(err, tx.rollback(ctx))
	}
	switch fate {
	case 0:
		return errors.Join(errRolledBack, tx.rollback(ctx))
	case 1:
		cancel() // the request that it belongs to is gone
		_ = tx.rollback(ctx)
		return errRolledBack
	}
	return tx.commit(ctx)
}

func (a *application) write(ctx context.Context, tx *transaction, line string) error {
	id, typ, _ := strings.Cut(line, " ")
	if err := tx.exec(ctx, "INSERT INTO orders (id) VALUES ($1)", id); err != nil {
		return err
	}
	_, err := a.hooks.SendTx(ctx, tx.Tx, setup.Event(id, typ))
	return err
}

func (a *application) orders(ctx context.Context, t *testing.T) (ids []string) {
	t.Helper()
	const query = "SELECT id FROM orders"
	if a.db.Pool != nil {
		rows, err := a.db.Pool.Query(ctx, query)
		require.NoError(t, err)
		ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
		require.NoError(t, err)
		return ids
	}
	rows, err := a.db.DB.QueryContext(ctx, query)
	require.NoError(t, err)
	defer rows.Close()
	for rows.Next() {
		var id string
		require.NoError(t, rows.Scan(&id))
		ids = append(ids, id)
	}
	require.NoError(t, rows.Err())
	return ids
}

// transaction is one of the application's, of either kind.
type transaction struct {
	store.Tx
	exec     func(ctx context.Context, query string, arg any) error
	commit   func(ctx context.Context) error
	rollback func(ctx context.Context) error
}

func (a *application) begin(ctx context.Context) (*transaction, error) {
	if a.db.Pool != nil {
		tx, err := a.db.Pool.Begin(ctx)
		if err != nil {
			return nil, err
		}
		return ofPgx(a.db.Store, tx), nil
	}
	tx, err := a.db.DB.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	return ofSQL(a.db.Store, tx), nil
}

func ofPgx(st store.Store, tx pgx.Tx) *transaction {
	return &transaction{
		Tx: st.(*postgres.Store).Tx(tx),
		exec: func(ctx context.Context, query string, arg any) error {
			_, err := tx.Exec(ctx, query, arg)
			return err
		},
		commit:   tx.Commit,
		rollback: tx.Rollback,
	}
}

func ofSQL(st store.Store, tx *sql.Tx) *transaction {
	return &transaction{
		Tx: st.(*sqlite.Store).Tx(tx),
		exec: func(ctx context.Context, query string, arg any) error {
			_, err := tx.ExecContext(ctx, query, arg)
			return err
		},
		commit:   func(context.Context) error { return tx.Commit() },
		rollback: func(context.Context) error { return tx.Rollback() },
	}
}
