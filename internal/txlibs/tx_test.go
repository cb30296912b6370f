package txlibs

import (
	"context"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jmoiron/sqlx"
	"github.com/stretchr/testify/require"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	gormpg "gorm.io/driver/postgres"
	"gorm.io/gorm"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// An event that needs all that a statement carries: references, text outside ASCII,
// and what libraries take for parameters of their own.
func order(id string) sender.Event {
	return sender.Event{
		ID:   "evt_" + id,
		Type: "order.placed",
		Data: map[string]string{"order": id, "note": `? ?? $1 :name @name ?0 '"\ für 茶`},
		Refs: []string{"order_" + id, "customer ? $1 :name"},
	}
}

// eachLibrary runs f with a world and every library.
func eachLibrary(t *testing.T, f func(t *testing.T, w *world, begin func() transaction)) {
	for _, lib := range libraries {
		t.Run(lib.name, func(t *testing.T) {
			w := newWorld(t)
			f(t, w, func() transaction {
				t.Helper()
				return lib.begin(t, w)
			})
		})
	}
}

// The event arrives with the row, once the transaction has committed.
func TestCommit(t *testing.T) {
	eachLibrary(t, func(t *testing.T, w *world, begin func() transaction) {
		tx := begin()
		require.NoError(t, tx.exec(w.insertOrder("1")))
		first, err := w.hooks.SendTx(t.Context(), tx.through(w.store), order("1"))
		require.NoError(t, err)
		require.NoError(t, tx.exec(w.insertOrder("2")), "the transaction goes on")
		_, err = w.hooks.SendTx(t.Context(), tx.through(w.store), order("2"))
		require.NoError(t, err)
		require.Zero(t, w.orders(t))
		_, err = w.hooks.Event(t.Context(), first.ID)
		require.ErrorIs(t, err, store.ErrNotFound, "nobody else sees it before the commit")

		require.NoError(t, tx.commit())
		w.hooks.Wake()
		arrived := make(map[string]string)
		for _, r := range w.receiver.Wait(2) {
			arrived[r.Header.Get("Webhook-Id")] = string(r.Body)
		}
		require.Len(t, arrived, 2)
		require.Contains(t, arrived["evt_1"], `"note":"? ?? $1 :name @name ?0 '\"\\ für 茶"`)
		require.Equal(t, 2, w.orders(t))
		events, err := w.hooks.Events(t.Context(), store.EventQuery{Ref: "customer ? $1 :name"})
		require.NoError(t, err)
		require.Len(t, events, 2)
		for id := range arrived {
			why, err := w.hooks.Explain(t.Context(), id, w.endpoint)
			require.NoError(t, err)
			require.NotNil(t, why.Delivery)
		}
	})
}

// Nothing is left of a transaction that was rolled back.
func TestRollback(t *testing.T) {
	eachLibrary(t, func(t *testing.T, w *world, begin func() transaction) {
		tx := begin()
		require.NoError(t, tx.exec(w.insertOrder("1")))
		_, err := w.hooks.SendTx(t.Context(), tx.through(w.store), order("1"))
		require.NoError(t, err)
		require.NoError(t, tx.rollback())
		w.hooks.Wake()

		_, err = w.hooks.Event(t.Context(), "evt_1")
		require.ErrorIs(t, err, store.ErrNotFound)
		deliveries, err := w.hooks.Deliveries(t.Context(), store.DeliveryQuery{})
		require.NoError(t, err)
		require.Empty(t, deliveries)
		require.Zero(t, w.orders(t))

		// The id is free, and only what is committed later arrives.
		_, err = w.hooks.Send(t.Context(), order("1"))
		require.NoError(t, err)
		require.Len(t, w.receiver.Wait(1), 1)
	})
}

// An event that contradicts a stored one is refused, one that repeats it is not,
// and the transaction is as good as before.
func TestConflict(t *testing.T) {
	eachLibrary(t, func(t *testing.T, w *world, begin func() transaction) {
		_, err := w.hooks.Send(t.Context(), order("1"))
		require.NoError(t, err)
		other := order("1")
		other.Data = "something else"

		tx := begin()
		require.NoError(t, tx.exec(w.insertOrder("1")))
		_, err = w.hooks.SendTx(t.Context(), tx.through(w.store), other)
		require.ErrorIs(t, err, store.ErrConflict)
		require.NoError(t, tx.exec(w.insertOrder("2")))
		receipt, err := w.hooks.SendTx(t.Context(), tx.through(w.store), order("1"))
		require.NoError(t, err)
		require.True(t, receipt.Duplicate)
		_, err = w.hooks.SendTx(t.Context(), tx.through(w.store), order("2"))
		require.NoError(t, err)
		require.NoError(t, tx.commit())
		w.hooks.Wake()
		require.Len(t, w.receiver.Wait(2), 2)
		require.Equal(t, 2, w.orders(t))
	})
}

// A transaction that has ended, or that failed, says so.
func TestEnded(t *testing.T) {
	eachLibrary(t, func(t *testing.T, w *world, begin func() transaction) {
		committed, rolledBack, failed := begin(), begin(), begin()
		require.NoError(t, committed.commit())
		require.NoError(t, rolledBack.rollback())
		for _, tx := range []transaction{committed, rolledBack} {
			_, err := w.hooks.SendTx(t.Context(), tx.through(w.store), order("1"))
			require.ErrorContains(t, err, "the transaction was already committed or rolled back")
		}
		require.Error(t, failed.exec("SELECT 1/0"))
		_, err := w.hooks.SendTx(t.Context(), failed.through(w.store), order("1"))
		require.ErrorContains(t, err, "the transaction failed earlier and can only be rolled back")
		require.NoError(t, failed.rollback())
	})
}

// A transaction that another store was given is refused before anything is done.
func TestForeign(t *testing.T) {
	another, err := postgres.New(newWorld(t).pool, nil)
	require.ErrorIs(t, err, store.ErrNotMigrated)
	require.Nil(t, another)

	stranger := newWorld(t)
	eachLibrary(t, func(t *testing.T, w *world, begin func() transaction) {
		tx := begin()
		_, err := w.hooks.SendTx(t.Context(), tx.through(stranger.store), order("1"))
		require.ErrorIs(t, err, sender.ErrForeignTx)
		_, err = w.hooks.SendTx(t.Context(), tx.through(w.store), order("1"))
		require.NoError(t, err)
		require.NoError(t, tx.commit())
		w.hooks.Wake()
		require.Len(t, w.receiver.Wait(1), 1)
	})
}

// bun.Tx has the two methods, but they interpret parameters in bun's own way. Its
// users are told what to pass.
func TestBunItself(t *testing.T) {
	w := newWorld(t)
	ctx := context.WithoutCancel(t.Context())
	tx, err := bun.NewDB(w.db(t, "pgx"), pgdialect.New()).BeginTx(ctx, nil)
	require.NoError(t, err)
	defer func() { _ = tx.Rollback() }()
	_, err = w.hooks.SendTx(ctx, w.store.SQLTx(tx), order("1"))
	require.ErrorIs(t, err, store.ErrInvalid)
	require.ErrorContains(t, err, "tx.Tx")
	require.NoError(t, tx.Rollback())
	_, err = w.hooks.Event(ctx, "evt_1")
	require.ErrorIs(t, err, store.ErrNotFound)
}

// A handle has the two methods as well. Nothing would be part of a transaction.
func TestPoolIsNoTransaction(t *testing.T) {
	w := newWorld(t)
	ctx := context.WithoutCancel(t.Context())
	db := w.db(t, "pgx")
	prepares, err := gorm.Open(gormpg.New(gormpg.Config{Conn: db}), &gorm.Config{PrepareStmt: true})
	require.NoError(t, err)
	for name, tx := range map[string]store.Tx{
		"database/sql":       w.store.SQLTx(db),
		"sqlx":               w.store.SQLTx(sqlx.NewDb(db, "pgx")),
		"gorm that prepares": w.store.SQLTx(prepares.Statement.ConnPool),
		"ent":                w.store.SQLTx(entsql.OpenDB(dialect.Postgres, db)),
	} {
		_, err := w.hooks.SendTx(ctx, tx, order("1"))
		require.ErrorIs(t, err, store.ErrInvalid, name)
	}
	_, err = w.hooks.Event(ctx, "evt_1")
	require.ErrorIs(t, err, store.ErrNotFound)
}
