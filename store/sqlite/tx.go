package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/hookpost/hookpost/store"
)

// Tx returns tx, a transaction of the application's on the store's database, as
// the store sees it: what is enqueued or erased through it is so if and only if tx
// commits. For a store of [Open]'s, tx may be of any handle on the same file.
//
// The transaction should begin with the write lock (_txlock=immediate in the
// handle's DSN). One that has read first and finds that somebody else has written
// since gets [store.ErrBusy], however long it waits, and must be rolled back.
func (s *Store) Tx(tx *sql.Tx) store.Tx { return &storeTx{s, tx} }

type storeTx struct {
	store *Store
	tx    *sql.Tx
}

// Store returns the store that made the transaction.
func (t *storeTx) Store() store.Store { return t.store }

// EndpointSet implements [store.Tx].
func (t *storeTx) EndpointSet(ctx context.Context, scope store.Scope) (set store.EndpointSet, err error) {
	err = t.do(ctx, func(x execer) error {
		set, err = endpointSet(x, scope, t.store.now())
		return err
	})
	return set, err
}

// Enqueue implements [store.Tx]. A call that fails leaves nothing of it in the
// transaction.
func (t *storeTx) Enqueue(ctx context.Context, events []store.NewEvent) (out []store.Enqueued, err error) {
	if err := store.CheckEvents(events, true); err != nil {
		return nil, err
	}
	if len(events) == 0 {
		return nil, nil
	}
	err = t.whole(ctx, func(x execer) error {
		e := enqueuer{x: x, now: t.store.now(), targets: &t.store.targets, EnqueueParams: store.EnqueueParams{Events: events}}
		out, err = e.run()
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// Erase implements [store.Tx]. A call that fails leaves nothing of it in the
// transaction.
func (t *storeTx) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (out store.Erased, err error) {
	if err := store.CheckErase(scope, p); err != nil {
		return out, err
	}
	p.After, p.Limit = 0, store.MaxEraseTx
	err = t.whole(ctx, func(x execer) error {
		out, err = eraseStep(x, scope, p, t.store.now(), true)
		return err
	})
	if err != nil {
		return store.Erased{}, err
	}
	return out, nil
}

// whole runs f so that all of it is done or nothing.
func (t *storeTx) whole(ctx context.Context, f func(x execer) error) error {
	return t.do(ctx, func(x execer) error {
		if _, err := x.exec("SAVEPOINT hookpost"); err != nil {
			return err
		}
		if err := f(x); err != nil {
			// With a context that has ended, nothing could be undone.
			clean := txConn{context.WithoutCancel(ctx), t.tx}
			_, e := clean.exec("ROLLBACK TO hookpost")
			_, e2 := clean.exec("RELEASE hookpost")
			return errors.Join(err, e, e2)
		}
		_, err := x.exec("RELEASE hookpost")
		return err
	})
}

func (t *storeTx) do(ctx context.Context, f func(execer) error) error {
	if t.tx == nil {
		return fmt.Errorf("%w: the transaction is nil", store.ErrInvalid)
	}
	if err := t.store.enter(); err != nil {
		return err
	}
	defer t.store.calls.Done()
	return ctxErr(ctx, explain(f(txConn{ctx, t.tx})))
}
