// Package sqlite keeps hookpost's queue, endpoints and log in a SQLite file: the
// embedded default, for one machine, with nothing to install. The engine is
// modernc.org/sqlite, which needs no C compiler.
//
// [Open] makes a file of hookpost's own, [New] lives in a database of the
// application's, and [Store.Tx] stores events in the application's own
// transaction.
//
// SQLite has one writer at a time. The store makes that cheap: calls that arrive
// while a commit is under way share the next one, and with it the wait for the
// disk. Several processes may use one file; they take turns. But a transaction of
// the application's that stays open after it has written holds up everything that
// writes, the store included, and a Send (not SendTx) from inside such a
// transaction waits for itself until it gets [store.ErrBusy].
package sqlite
