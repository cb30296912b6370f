package store

import "time"

// Event is something that happened, immutable, with the exact bytes that are
// sent.
type Event struct {
	Scope
	ID  string // "evt_…", the webhook-id; unique in the scope
	Num int64  // the store's number for it, positive, growing roughly with time

	Type        string
	CreatedAt   time.Time // as the envelope says, to the microsecond; of a year from 0 to 9999 in UTC, as RFC 3339 and JSON have them
	StoredAt    time.Time // when the store took it
	ContentType string
	Body        []byte // the request body; nil once erased
	// Hash is the SHA-256 of type and data: what decides whether an event sent
	// again is the same.
	Hash [32]byte
	Refs []string // at most 8, never sent: filters of the log, keys for erasure; nil once erased by request
	// Trace is the W3C trace context in which the event was sent: a traceparent, and
	// after a space the tracestate if there is one. Empty: none. It is no part of Hash.
	Trace string
	// SetVersion is the version of the endpoint set that fan-out was decided on.
	SetVersion int64
	ErasedAt   time.Time // when the payload was pruned or erased; zero: it is there
}
