package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	leaseTime = time.Hour      // of every claim, far longer than a test runs
	window    = 72 * time.Hour // ClaimParams.Window, where a check doesn't say otherwise
	me        = 7              // the owner of leases
	many      = 1000           // a limit that no check reaches
)

// world is a store under test and the short forms in which checks talk to it.
// Its methods end the test if a call fails that must not.
type world struct {
	*testing.T
	in    Instance
	st    store.Store
	scope store.Scope

	mu sync.Mutex
	n  int
}

func newWorld(t *testing.T, in Instance) *world {
	return &world{T: t, in: in, st: in.Store, scope: store.Scope{Tenant: "acme", Mode: store.Test}}
}

// as returns the same world seen from another scope.
func (w *world) as(scope store.Scope) *world {
	return &world{T: w.T, in: w.in, st: w.st, scope: scope, n: w.next() * 1_000_000}
}

// part runs a part of a check on the same store, under a name of its own.
func (w *world) part(name string, run func(w *world)) {
	w.Helper()
	n := w.next() * 1_000_000
	w.Run(name, func(t *testing.T) {
		run(&world{T: t, in: w.in, st: w.st, scope: w.scope, n: n})
	})
}

// next returns a number that was not returned before.
func (w *world) next() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return w.n
}

// another returns a second handle on the data, or the first where there is none.
func (w *world) another() store.Store {
	if w.in.Another == nil {
		return w.st
	}
	return w.in.Another(w.T)
}

func (w *world) ctx() context.Context { return w.Context() }

// must ends the test if err is not nil.
func (w *world) must(err error, doing string, args ...any) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: %v", fmt.Sprintf(doing, args...), err)
	}
}

// wantErr reports an error other than the wanted one.
func (w *world) wantErr(err, want error, doing string, args ...any) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: got error %v, want one that is %q", fmt.Sprintf(doing, args...), err, want)
	}
}

// busy repeats a call for as long as it says ErrBusy, which is always safe. It
// is for calls that race with others on purpose.
func busy[T any](call func() (T, error)) (T, error) {
	for i := 0; ; i++ {
		v, err := call()
		if err == nil || i == 100 || !errors.Is(err, store.ErrBusy) {
			return v, err
		}
	}
}

// parallel runs n functions at once and waits for all.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

func (w *world) now() time.Time {
	w.Helper()
	t, err := w.st.Now(w.ctx())
	w.must(err, "Now")
	return t
}

func (w *world) advance(d time.Duration) { w.in.Advance(d) }

// between reports a time that is not within two readings of the store's clock.
func (w *world) between(what string, got, from, to time.Time) {
	w.Helper()
	if got.Before(from.Truncate(time.Microsecond)) || got.After(to) {
		w.Errorf("%s is %v, want a time from %v to %v by the store's clock", what, got, from, to)
	}
	w.stamp(what, got)
}

// stamp reports a time that is not UTC to the microsecond.
func (w *world) stamp(what string, got time.Time) {
	w.Helper()
	if got.Location() != time.UTC {
		w.Errorf("%s is in %v, want UTC", what, got.Location())
	}
	if got.Nanosecond()%1000 != 0 {
		w.Errorf("%s is %v, want whole microseconds", what, got)
	}
}
