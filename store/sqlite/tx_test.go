package sqlite_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	modernc "modernc.org/sqlite"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

// whileWriting is called by the SQL function of that name.
var whileWriting func()

var registerWhileWriting = sync.OnceFunc(func() {
	modernc.MustRegisterScalarFunction("while_writing", 0, func(*modernc.FunctionContext, []driver.Value) (driver.Value, error) {
		whileWriting()
		return int64(0), nil
	})
})

// payments returns a store in an application's database and a transaction of the
// application's in which a payment was made.
func payments(t *testing.T) (*sqlite.Store, *sql.DB, *sql.Tx) {
	t.Helper()
	registerWhileWriting()
	db := openApp(t, filepath.Join(t.TempDir(), "app.db"))
	st, err := sqlite.New(db, nil)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	_, err = db.Exec("CREATE TABLE payment (id INTEGER PRIMARY KEY)")
	require.NoError(t, err)
	tx, err := db.Begin()
	require.NoError(t, err)
	_, err = tx.Exec("INSERT INTO payment VALUES (1)")
	require.NoError(t, err)
	return st, db, tx
}

func countPayments(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRow("SELECT count(*) FROM payment").Scan(&n))
	return n
}

// TestTxThatSQLiteRolledBack: what is enqueued in a transaction that is no more must
// not be committed on its own.
func TestTxThatSQLiteRolledBack(t *testing.T) {
	st, db, tx := payments(t)
	_, err := tx.Exec("INSERT OR ROLLBACK INTO payment VALUES (1)")
	require.Error(t, err)
	_, err = st.Tx(tx).Enqueue(t.Context(), []store.NewEvent{event("evt_1", nil)})
	require.ErrorIs(t, err, sql.ErrTxDone)
	_, err = st.Tx(tx).Erase(t.Context(), scope, store.EraseParams{All: true})
	require.ErrorIs(t, err, sql.ErrTxDone)
	require.Error(t, tx.Commit())
	_, err = st.Event(t.Context(), scope, "evt_1")
	require.ErrorIs(t, err, store.ErrNotFound)
	require.Zero(t, countPayments(t, db))
}

// TestTxOutlivesContext: a context that ends while a call runs leaves the application's
// transaction as it was.
func TestTxOutlivesContext(t *testing.T) {
	st, db, tx := payments(t)
	_, err := tx.Exec("CREATE TEMP TRIGGER t AFTER INSERT ON hookpost_event BEGIN SELECT while_writing(); END")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	whileWriting = func() {
		cancel()
		time.Sleep(50 * time.Millisecond) // an interruption would come now
	}
	_, err = st.Tx(tx).Enqueue(ctx, []store.NewEvent{event("evt_1", nil), event("evt_2", nil), event("evt_3", nil)})
	require.ErrorIs(t, err, context.Canceled)
	_, err = tx.Exec("INSERT INTO payment VALUES (2)")
	require.NoError(t, err)
	whileWriting = func() {}
	_, err = st.Tx(tx).Enqueue(t.Context(), []store.NewEvent{event("evt_1", nil)})
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	require.Equal(t, 2, countPayments(t, db))
	evs, err := st.Events(t.Context(), scope, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, 1, "a call that failed left nothing")
}

// The transaction of another database that has hookpost's tables too is refused, through a
// Sender as well, and so is one of a database that has none.
func TestTxOfAnotherDatabase(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	db, otherDB, bare := openApp(t, filepath.Join(dir, "app.db")), openApp(t, filepath.Join(dir, "other.db")), openApp(t, filepath.Join(dir, "bare.db"))
	st, err := sqlite.New(db, nil)
	require.NoError(t, err)
	other, err := sqlite.New(otherDB, nil)
	require.NoError(t, err)
	hooks, err := sender.New(st, &sender.Options{PlaintextSecrets: true})
	require.NoError(t, err)
	require.NoError(t, send(other, "evt_1"))
	for _, elsewhere := range []*sql.DB{otherDB, bare} {
		tx, err := elsewhere.Begin()
		require.NoError(t, err)
		_, err = hooks.SendTx(ctx, st.Tx(tx), sender.Event{Type: "a.b"})
		require.ErrorIs(t, err, sender.ErrForeignTx)
		_, err = hooks.EraseTx(ctx, st.Tx(tx), sender.Erasure{All: true})
		require.ErrorIs(t, err, sender.ErrForeignTx)
		_, err = hooks.SendTx(ctx, other.Tx(tx), sender.Event{Type: "a.b"})
		require.ErrorIs(t, err, sender.ErrForeignTx)
		require.NoError(t, tx.Commit())
	}
	evs, err := other.Events(ctx, scope, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, 1)

	// Any handle on the store's own file will do.
	again := openApp(t, filepath.Join(dir, "app.db"))
	tx, err := again.Begin()
	require.NoError(t, err)
	_, err = hooks.SendTx(ctx, st.Tx(tx), sender.Event{Type: "a.b"})
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
}
