// Package dedupe remembers which webhooks were handled, for
// [verifier.Options].Dedupe and [verifier.Once]: [Memory] for one process,
// [SQL] for all processes that share a SQLite or PostgreSQL database.
//
// Webhooks are delivered at least once: a sender repeats what it did not hear
// an answer to, and a captured request stays valid for the verifier's
// tolerance. While a handler runs its event is claimed, and a second delivery
// of it is answered 409. When the handler has succeeded the event is marked as
// done, and repetitions are answered 200 without the handler. When it has
// failed, or when a Mux has no handler for the event, the event is released, and
// the next delivery is handled.
//
// A crash between the handler's work and the mark makes the next delivery
// handle the event again. [SQL.MarkTx] closes that gap for work that is a
// transaction: mark and work are committed together.
package dedupe

import "time"

// DefaultKeep is how long ids are kept by default: 7 days. Senders have given
// up by then (hookpost after 72 hours).
const DefaultKeep = 7 * 24 * time.Hour
