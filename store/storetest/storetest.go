// Package storetest is the conformance suite of [store.Store]. Every store of
// hookpost passes it, and a store of your own should before anything is sent
// through it. It uses nothing but package testing.
//
// A test of a store is one function that tells the suite how to make one:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, func(t *testing.T) storetest.Instance {
//			clock := newClock()                   // the store's clock, in the test's hands
//			st, err := mystore.Open(t.TempDir(), &mystore.Options{Now: clock.Now})
//			if err != nil {
//				t.Fatal(err)
//			}
//			t.Cleanup(func() { st.Close() })
//			return storetest.Instance{Store: st, Advance: clock.Advance}
//		})
//	}
//
// The contract never mentions an instant, so a test can move 72 hours in no
// time: the suite calls Advance instead of sleeping. The clock may run on by
// itself in between, as a database server's does, or stand still; it must not
// run backwards.
//
// Where the application's own transactions can carry events, Instance.Begin
// hands out one of them:
//
//	Begin: func(t *testing.T) storetest.Transaction {
//		tx, err := db.BeginTx(context.WithoutCancel(t.Context()), nil)
//		if err != nil {
//			t.Fatal(err)
//		}
//		return storetest.Transaction{Tx: st.Tx(tx), Commit: tx.Commit, Rollback: tx.Rollback}
//	},
//
// and where several processes share the data, Instance.Another opens it a second
// time, so that races are run between two handles and not only between two
// goroutines.
//
// Each subtest gets a store of its own and is named after what it proves. One
// that fails ends with the rule that was broken and why the rule is there, so
// that the output can be worked through without reading the suite. The subtests
// come in the order in which a new store is best made to pass them. Most of what
// they look for only shows under concurrency: run them with -race as well, and
// with -short too where that is slow.
package storetest

import (
	"testing"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Instance is a store under test with what the suite needs to put it through
// its paces.
type Instance struct {
	// Store is empty and ready for use. The suite may close it.
	Store store.Store
	// Advance moves the store's clock forward. Required.
	Advance func(d time.Duration)
	// Begin opens a transaction of the application's on the store's database. It
	// is nil if the store knows no such thing; what concerns transactions is then
	// skipped.
	Begin func(t *testing.T) Transaction
	// Elsewhere makes another database with tables of its own. It returns the store of
	// that, and what begins transactions on it that Store is told are on its own database.
	// It is nil if Store can't be told so.
	Elsewhere func(t *testing.T) (other store.Store, begin func() Transaction)
	// Another opens a second handle on the same data and the same clock, as
	// another process would. It closes it when t ends. It is nil if data cannot be
	// shared; Store then plays both parts.
	Another func(t *testing.T) store.Store
	// BlocksWriters says that an open transaction that has written keeps all other
	// writers out, as SQLite's does.
	BlocksWriters bool
}

// Transaction is a transaction of the application's, seen through the store.
// The suite ends each one it begins with one call of Commit or Rollback.
type Transaction struct {
	store.Tx
	Commit   func() error
	Rollback func() error
}

// Run runs the suite as subtests of t. The function newInstance makes a fresh
// and empty store for each of them and leaves closing it to t.Cleanup.
func Run(t *testing.T, newInstance func(t *testing.T) Instance) {
	t.Helper()
	for _, c := range suite() {
		t.Run(c.name, func(t *testing.T) {
			in := newInstance(t)
			if in.Store == nil || in.Advance == nil {
				t.Fatal("storetest: Instance.Store and Instance.Advance are required")
			}
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("The rule that %s proves: %s", t.Name(), c.rule)
				}
			})
			c.run(newWorld(t, in))
		})
	}
}

// A check is one subtest: a rule of the contract and the proof that it holds.
type check struct {
	name string
	rule string // what must hold and why, for whoever reads the failure
	run  func(w *world)
}

// suite returns all checks in the order in which a store is best made to pass
// them: records first, then the queue, then what can go wrong with it.
func suite() []check {
	var all []check
	for _, part := range [][]check{
		endpointChecks(),
		sealedChecks(),
		enqueueChecks(),
		claimChecks(),
		leaseChecks(),
		settleChecks(),
		orderChecks(),
		disableChecks(),
		healthChecks(),
		logChecks(),
		searchChecks(),
		traceChecks(),
		timeChecks(),
		statsChecks(),
		replayChecks(),
		repeatChecks(),
		recoverChecks(),
		undeliveredChecks(),
		scheduleChecks(),
		upkeepChecks(),
		pruneChecks(),
		eraseChecks(),
		scopeChecks(),
		transactionChecks(),
		callChecks(),
	} {
		all = append(all, part...)
	}
	return all
}
