package sqlite_test

import (
	"context"
	"database/sql"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
	"github.com/hookpost/hookpost/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// clock is a store's clock in a test's hands.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func (c *clock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

// noSync spares tests that crash nothing the waiting for the disk.
const noSync = "?_pragma=synchronous(OFF)"

// appDSN is how the documentation of New tells applications to open a file.
func appDSN(path string) string {
	return "file:" + path + "?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=busy_timeout(5000)&_txlock=immediate"
}

func openApp(t testing.TB, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", appDSN(path))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	return db
}

func begin(t *testing.T, db *sql.DB, st *sqlite.Store) storetest.Transaction {
	t.Helper()
	tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
	require.NoError(t, err)
	return storetest.Transaction{Tx: st.Tx(tx), Commit: tx.Commit, Rollback: tx.Rollback}
}

// elsewhere makes other databases, whose transactions st is told are on its own.
func elsewhere(clock *clock, st *sqlite.Store) func(t *testing.T) (store.Store, func() storetest.Transaction) {
	return func(t *testing.T) (store.Store, func() storetest.Transaction) {
		db := openApp(t, filepath.Join(t.TempDir(), "other.db"))
		other, err := sqlite.New(db, &sqlite.Options{Clock: clock.Now})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, other.Close()) })
		return other, func() storetest.Transaction { return begin(t, db, st) }
	}
}

func TestOpen(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Instance {
		clock := newClock()
		path := filepath.Join(t.TempDir(), "hooks.db")
		opts := &sqlite.Options{Clock: clock.Now, BusyTimeout: 300 * time.Millisecond}
		open := func(t *testing.T) *sqlite.Store {
			st, err := sqlite.Open(t.Context(), "file:"+path+noSync, opts)
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, st.Close()) })
			return st
		}
		st, db := open(t), openApp(t, path)
		return storetest.Instance{
			Store:         st,
			Advance:       clock.Advance,
			Begin:         func(t *testing.T) storetest.Transaction { return begin(t, db, st) },
			Elsewhere:     elsewhere(clock, st),
			Another:       func(t *testing.T) store.Store { return open(t) },
			BlocksWriters: true,
		}
	})
}

// large are the checks that make many calls one after the other. With the race
// detector they take minutes; once, by TestOpen, is enough for it.
var large = []string{
	"DeliveryLog", "EraseFanOut", "EveryOrder", "FanOut", "SearchIsBounded", "SendLaterFanOut", "TxEraseBounded", "Undelivered",
}

func TestNew(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Instance {
		if raceEnabled && slices.Contains(large, path.Base(t.Name())) {
			t.Skip("TestOpen runs it with the race detector")
		}
		clock := newClock()
		db := openApp(t, filepath.Join(t.TempDir(), "app.db"))
		open := func(t *testing.T) *sqlite.Store {
			st, err := sqlite.New(db, &sqlite.Options{Clock: clock.Now, BusyTimeout: 300 * time.Millisecond})
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, st.Close()) })
			return st
		}
		st := open(t)
		return storetest.Instance{
			Store:         st,
			Advance:       clock.Advance,
			Begin:         func(t *testing.T) storetest.Transaction { return begin(t, db, st) },
			Elsewhere:     elsewhere(clock, st),
			Another:       func(t *testing.T) store.Store { return open(t) },
			BlocksWriters: true,
		}
	})
}
