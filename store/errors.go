package store

import "errors"

// The errors of the contract. Stores wrap them with what was wrong; callers
// use errors.Is.
var (
	// ErrNotFound says that no such endpoint, event or delivery exists in the scope.
	ErrNotFound = errors.New("store: not found")
	// ErrInvalid says that an argument is out of the contract.
	ErrInvalid = errors.New("store: invalid argument")
	// ErrConflict says that the event id is taken by an event of other content.
	ErrConflict = errors.New("store: event id exists with other content")
	// ErrDuplicateURL says that another endpoint of the scope has this URL.
	ErrDuplicateURL = errors.New("store: another endpoint has this URL")
	// ErrChanged says that the endpoint has changed since it was read.
	ErrChanged = errors.New("store: endpoint was changed meanwhile")
	// ErrDisabled says that the endpoint is disabled.
	ErrDisabled = errors.New("store: endpoint is disabled")
	// ErrDeleted says that the endpoint is deleted.
	ErrDeleted = errors.New("store: endpoint is deleted")
	// ErrErased says that the event's payload was erased or pruned.
	ErrErased = errors.New("store: event payload is erased")
	// ErrFinished says that the delivery is no longer pending.
	ErrFinished = errors.New("store: delivery is already finished")
	// ErrBusy says that somebody else's open transaction was in the way for longer
	// than the store waits, that no connection became free, or that other calls came first
	// for too long. Nothing was written; trying again is safe.
	ErrBusy = errors.New("store: busy")
	// ErrForeignTx says that a transaction is on another database than the store whose Tx
	// it is. Nothing was written.
	ErrForeignTx = errors.New("store: the transaction is on another database")
	// ErrUnknownCommit says that the connection failed while a commit was under
	// way: it may or may not have happened. Repeating the call is safe where its
	// method says so.
	ErrUnknownCommit = errors.New("store: outcome of the commit is unknown")
	// ErrTooMany says that a transaction was to erase more than MaxEraseTx; nothing
	// was erased. Outside of a transaction any number is erased, in steps.
	ErrTooMany = errors.New("store: too much to erase in one transaction")
	// ErrClosed says that the store was closed.
	ErrClosed = errors.New("store: closed")
	// ErrReadOnly says that the database refuses writes.
	ErrReadOnly = errors.New("store: database is read-only")
	// ErrFull says that the database has no room left.
	ErrFull = errors.New("store: database is full")
	// ErrNotMigrated says that the database's tables are missing or older than this
	// version needs; run Migrate.
	ErrNotMigrated = errors.New("store: database is not migrated")
	// ErrNewerSchema says that the database was written by a newer version of hookpost.
	ErrNewerSchema = errors.New("store: database is from a newer version")
)
