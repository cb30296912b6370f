package store

import "context"

// Store is a database of hookpost: the union of four small interfaces. All
// methods are safe for concurrent use.
type Store interface {
	Queue
	Endpoints
	Log
	Upkeep

	// Durable reports whether what is stored outlives the process. A durable
	// store wants its secrets sealed; see sender.ErrNoKeyring.
	Durable() bool

	// Close ends the store's use; later calls return ErrClosed. It closes the
	// database only if the store opened it. Closing twice is allowed.
	Close() error
}

// Tx is a transaction of the application's, seen by the store that the
// application's data lives beside. Stores make one from the database's own kind
// of transaction, by a method such as (*sqlite.Store).Tx(*sql.Tx). What is
// enqueued or erased through it is so if and only if the application commits.
//
// A transaction can be on another database that has hookpost's tables too: of another
// tenant, or a test's. Its methods return [ErrForeignTx] then and write nothing.
//
// A Tx is used by one goroutine at a time, like the transaction below it.
type Tx interface {
	// Store returns the store that made the Tx.
	Store() Store

	// EndpointSet is [Endpoints.EndpointSet] as the transaction sees it.
	EndpointSet(ctx context.Context, scope Scope) (EndpointSet, error)

	// Enqueue is [Queue.Enqueue] inside the transaction: nothing is leased, and
	// the endpoint set's version is recorded and not compared, because it was
	// read through the same transaction. Errors of a member leave the transaction
	// usable; an error of the whole call may have doomed it.
	Enqueue(ctx context.Context, events []NewEvent) ([]Enqueued, error)

	// Erase is [Log.Erase] inside the transaction and of everything at once: After and
	// Limit are ignored, and Erased.Done is true. If that is more than MaxEraseTx it
	// returns ErrTooMany and has changed nothing. Events that were enqueued through the
	// transaction are erased too. ErrTooMany and ErrNotFound leave the transaction
	// usable.
	Erase(ctx context.Context, scope Scope, p EraseParams) (Erased, error)
}
