package memory

import (
	"context"
	"errors"

	"github.com/hookpost/hookpost/store"
)

// ErrTxDone says that a transaction was already committed or rolled back.
var ErrTxDone = errors.New("memory: transaction has already been committed or rolled back")

// Tx is a transaction: what is enqueued through it appears at Commit, and what is
// erased goes then. Until then the ids of its events are blocked for everybody else,
// as they would be in a database. It takes the place of the application's own
// transaction in tests.
//
// Events have their numbers and times from when they were enqueued, so that a late
// commit makes older ones appear.
type Tx struct {
	store  *Store
	done   chan struct{} // closed by Commit and Rollback
	ended  bool          // guarded by store.mu
	events []buffered
	erased []*event // to be, at Commit
}

type buffered struct {
	world *world
	event *event
	list  []store.NewDelivery
}

var _ store.Tx = (*Tx)(nil)

// Begin opens a transaction. It is ended by Commit or Rollback.
func (s *Store) Begin() *Tx {
	return &Tx{store: s, done: make(chan struct{})}
}

// Store returns the store.
func (tx *Tx) Store() store.Store { return tx.store }

// EndpointSet implements [store.Tx]. A transaction sees what is committed.
func (tx *Tx) EndpointSet(ctx context.Context, scope store.Scope) (store.EndpointSet, error) {
	if err := tx.check(); err != nil {
		return store.EndpointSet{}, err
	}
	return tx.store.EndpointSet(ctx, scope)
}

// Enqueue implements [store.Tx].
func (tx *Tx) Enqueue(ctx context.Context, events []store.NewEvent) ([]store.Enqueued, error) {
	if err := tx.check(); err != nil {
		return nil, err
	}
	s := tx.store
	if err := s.lockFor(ctx, events, tx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	for i := range events {
		if err := s.checkTargets(&events[i]); err != nil {
			return nil, err
		}
	}
	now := s.now()
	results := make([]store.Enqueued, len(events))
	for i := range events {
		e := &events[i]
		w := s.world(e.Scope)
		if old := tx.find(w, e.ID); old != nil {
			results[i] = compare(old, e)
			continue
		}
		s.lastEvent++
		ev := newEvent(w, e, s.lastEvent, now)
		list := make([]store.NewDelivery, len(e.For))
		copy(list, e.For)
		tx.events = append(tx.events, buffered{w, ev, list})
		w.reserved[ev.ID] = tx
		results[i] = store.Enqueued{Status: store.Stored, Event: ev.Num}
	}
	return results, nil
}

// find returns the event of that id which the transaction sees.
func (tx *Tx) find(w *world, id string) *event {
	if ev := w.events[id]; ev != nil {
		return ev
	}
	if w.reserved[id] == tx {
		for _, b := range tx.events {
			if b.world == w && b.event.ID == id {
				return b.event
			}
		}
	}
	return nil
}

// Commit makes everything appear at once that was enqueued. It returns ErrTxDone
// if the transaction has ended before, and store.ErrClosed if the store was
// closed meanwhile.
func (tx *Tx) Commit() error {
	return tx.end(func() {
		now := tx.store.now()
		for _, b := range tx.events {
			tx.store.insertEvent(b.world, b.event, b.list, nil, now)
		}
		for _, ev := range tx.erased {
			if tx.store.events[ev.Num] == ev { // else it was pruned meanwhile
				tx.store.eraseEvent(ev, now, new(store.Erased))
			}
		}
	})
}

// Rollback forgets everything that was enqueued. It returns ErrTxDone if the
// transaction has ended before.
func (tx *Tx) Rollback() error { return tx.end(func() {}) }

func (tx *Tx) end(apply func()) error {
	s := tx.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if tx.ended {
		return ErrTxDone
	}
	tx.ended = true
	defer close(tx.done)
	for _, b := range tx.events {
		delete(b.world.reserved, b.event.ID)
	}
	if s.closed {
		return store.ErrClosed
	}
	apply()
	tx.events, tx.erased = nil, nil
	return nil
}

func (tx *Tx) check() error {
	tx.store.mu.Lock()
	defer tx.store.mu.Unlock()
	switch {
	case tx.store.closed:
		return store.ErrClosed
	case tx.ended:
		return ErrTxDone
	}
	return nil
}
