package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/hookpost/hookpost/store"
)

// Tx returns tx, a transaction of the application's on the store's database, as
// the store sees it: what is enqueued or erased through it is so if and only if tx
// commits. For a store of [Open]'s, tx may be of any handle on the same file.
//
// The transaction should begin with the write lock (_txlock=immediate in the
// handle's DSN). One that has read first and finds that somebody else has written
// since gets [store.ErrBusy], however long it waits, and must be rolled back. One that
// SQLite has rolled back by itself gets [sql.ErrTxDone].
//
// One on another database is refused with [store.ErrForeignTx], but for one on a copy of
// the store's file: nothing tells these apart.
func (s *Store) Tx(tx *sql.Tx) store.Tx { return &storeTx{store: s, tx: tx} }

type storeTx struct {
	store *Store
	tx    *sql.Tx
	ours  bool // known to be on the store's database
}

// Store returns the store that made the transaction.
func (t *storeTx) Store() store.Store { return t.store }

// EndpointSet implements [store.Tx].
func (t *storeTx) EndpointSet(ctx context.Context, scope store.Scope) (set store.EndpointSet, err error) {
	err = t.do(ctx, func(x execer) error {
		sc, err := t.scope(x, scope)
		if err == nil {
			set, err = endpointSet(x, sc, t.store.now())
		}
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
		if !t.ours {
			id, err := databaseID(x)
			if err = t.is(id, err); err != nil {
				return err
			}
		}
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
		sc, err := t.scope(x, scope)
		if err == nil {
			out, err = eraseStep(x, sc, p, t.store.now(), true)
		}
		return err
	})
	if err != nil {
		return store.Erased{}, err
	}
	return out, nil
}

// scope is scopeOf in the transaction, which must be on the store's database.
func (t *storeTx) scope(x execer, scope store.Scope) (scopeRow, error) {
	sc, id, err := scopeAndID(x, scope)
	return sc, t.is(id, err)
}

// is takes note of the id of the transaction's database, if reading it gave no error.
func (t *storeTx) is(id int64, err error) error {
	if err == nil && id != t.store.id {
		err = errForeignTx
	}
	t.ours = err == nil
	return err
}

var errForeignTx = fmt.Errorf("%w, or its tables were made anew since the store was opened", store.ErrForeignTx)

// whole runs f so that all of it is done or nothing.
func (t *storeTx) whole(ctx context.Context, f func(x execer) error) error {
	return t.do(ctx, func(x execer) error {
		frame := txConn{context.WithoutCancel(ctx), t.tx} // what is begun must be ended
		if err := stillOpen(frame); err != nil {
			return err
		}
		if _, err := frame.exec("SAVEPOINT hookpost"); err != nil {
			return err
		}
		if err := f(x); err != nil {
			_, e := frame.exec("ROLLBACK TO hookpost")
			_, e2 := frame.exec("RELEASE hookpost")
			return errors.Join(err, e, e2)
		}
		_, err := frame.exec("RELEASE hookpost")
		return err
	})
}

// stillOpen returns an error if SQLite has rolled the transaction back by itself, as it
// does when the disk is full, a statement is interrupted or one says OR ROLLBACK. The
// application may not have noticed, and database/sql does not. A savepoint would then be a
// transaction of its own, committed with its release.
func stillOpen(tx txConn) error {
	_, err := tx.exec("BEGIN")
	switch {
	case err != nil && strings.Contains(err.Error(), "within a transaction"):
		return nil // SQLite says so through every driver
	case err != nil:
		return err
	}
	_, err = tx.exec("ROLLBACK")
	return errors.Join(fmt.Errorf("%w: SQLite has rolled it back", sql.ErrTxDone), err)
}

func (t *storeTx) do(ctx context.Context, f func(execer) error) error {
	if t.tx == nil {
		return fmt.Errorf("%w: the transaction is nil", store.ErrInvalid)
	}
	if err := t.store.enter(); err != nil {
		return err
	}
	defer t.store.calls.Done()
	err := ctxErr(ctx, explain(f(txConn{ctx, t.tx})))
	if errors.Is(err, store.ErrNotMigrated) { // the store's own database is
		err = fmt.Errorf("%w: %w", errForeignTx, err)
	}
	return err
}
