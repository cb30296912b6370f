// Package memory keeps everything in the process's memory. It is the reference
// implementation of the contract in package store, an engine for tests and
// demonstrations, and for applications that can afford to lose what is pending
// when they end.
//
// All of it is guarded by one mutex. Each claim costs the same whether a
// thousand deliveries wait or a million, and whatever the log holds.
//
// One liberty is taken: the bodies that Claim hands out are the stored ones, not
// copies. They must not be modified.
package memory

import (
	"context"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Store is a [store.Store] in memory. Use [New] or [NewWithClock].
type Store struct {
	clock func() time.Time

	mu     sync.Mutex
	closed bool

	worlds    map[store.Scope]*world
	endpoints []*endpoint // by Num, which counts from 1
	lastEvent int64       // the highest Event.Num given out, uncommitted ones included
	events    map[int64]*event

	waiting queue     // retries, by due time
	leases  queue     // leased deliveries, by the lease's end
	open    numberSet // endpoints with ready deliveries
	ready   int       // ready deliveries, of all endpoints
	lists   []*event  // events whose fan-out is not finished, oldest first
	deleted []*endpoint
	answers answers // that the log keeps
}

var _ store.Store = (*Store)(nil)

// New returns an empty store whose clock is [time.Now].
func New() *Store { return NewWithClock(time.Now) }

// NewWithClock returns an empty store that asks clock for the time. The store
// calls it under its mutex, so clock must not call the store.
func NewWithClock(clock func() time.Time) *Store {
	return &Store{
		clock:  clock,
		worlds: make(map[store.Scope]*world),
		events: make(map[int64]*event),
	}
}

// Durable returns false: what is stored ends with the process.
func (s *Store) Durable() bool { return false }

// Close ends the store's use and frees what it holds.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.worlds, s.endpoints, s.events = nil, nil, nil
	s.waiting, s.leases, s.lists, s.deleted, s.answers = nil, nil, nil, nil, nil
	s.open = numberSet{}
	return nil
}

// Now returns the store's clock.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := s.lock(ctx); err != nil {
		return time.Time{}, err
	}
	defer s.mu.Unlock()
	return s.now().time(), nil
}

// lock begins a method. If it returns nil, the caller unlocks s.mu.
func (s *Store) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return store.ErrClosed
	}
	return nil
}

// lockScope is lock for the methods that are bound to a scope.
func (s *Store) lockScope(ctx context.Context, scope store.Scope) error {
	if err := store.CheckScope(scope); err != nil {
		return err
	}
	return s.lock(ctx)
}

// pageSize applies the bounds of the log's pages.
func pageSize(limit int) int {
	if limit <= 0 {
		return 100
	}
	return min(limit, 1000)
}

// micros is an instant in microseconds since 1970; 0 is none.
type micros int64

func (s *Store) now() micros { return toMicros(s.clock()) }

func toMicros(t time.Time) micros {
	if t.IsZero() {
		return 0
	}
	return micros(t.UnixMicro())
}

func (m micros) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(m)).UTC()
}

func (m micros) add(d time.Duration) micros { return m + micros(d.Microseconds()) }

func (m micros) sub(o micros) time.Duration { return time.Duration(m-o) * time.Microsecond }
