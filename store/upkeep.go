package store

import (
	"context"
	"time"
)

// Promoted is what a step of [Upkeep.Promote] did.
type Promoted struct {
	Moved int
	// Next is the time until the earliest delivery that still waits is due, at
	// most an hour; 0 if more are due already.
	Next time.Duration
}

// FailingRule says when an endpoint has failed for too long.
type FailingRule struct {
	For    time.Duration // failing at least this long, with a failure in the last 24 hours
	Reason string        // what its record will say
}

// Retention says how long things are kept. Zero or negative keeps forever.
type Retention struct {
	Payloads time.Duration // bodies of events, from when the event was stored
	// Responses is for the headers and bodies of answers, from when the attempt began.
	Responses time.Duration
	Log       time.Duration // events, deliveries, attempts, from when the event was stored
}

// Upkeep holds the steps that keep the queue going. Each is bounded by limit,
// resumable by calling it again, and safe to run in several processes at once.
// The int results are how many rows a step changed: fewer than limit means that
// nothing is left for now.
type Upkeep interface {
	// Promote makes deliveries ready whose time has come: retries, and those that
	// were to be sent later.
	Promote(ctx context.Context, limit int) (Promoted, error)

	// TakeOver ends leases that have expired: the attempt is logged as unknown,
	// the count of unknown attempts grows and the delivery is ready at once. The
	// schedule does not advance.
	TakeOver(ctx context.Context, limit int) (int, error)

	// Expire exhausts, without an attempt, ready deliveries whose window ended
	// while their endpoint was disabled: those of disabled endpoints whose window
	// has ended, and those of enabled ones whose window ended before the endpoint's
	// EnabledAt. The window begins with the first attempt, or for a delivery never
	// attempted when it was due.
	Expire(ctx context.Context, window time.Duration, limit int) (int, error)

	// FanOut turns stored lists of more than MaxFanOut endpoints into deliveries.
	FanOut(ctx context.Context, limit int) (int, error)

	// CancelDeleted marks pending deliveries of deleted endpoints as Cancelled.
	// They read as that already.
	CancelDeleted(ctx context.Context, limit int) (int, error)

	// DisableFailing disables endpoints that rule applies to, of which another
	// endpoint in the store had a success since they began failing: without one
	// the fault is ours. It returns them as they are afterwards.
	DisableFailing(ctx context.Context, rule FailingRule, limit int) ([]Endpoint, error)

	// SealedEndpoints returns endpoints of all scopes that are not deleted, in order
	// of Num, at most limit whose Num is greater than after: what has to be gone
	// through when keys change.
	SealedEndpoints(ctx context.Context, after int64, limit int) ([]Endpoint, error)

	// Reseal replaces the ciphertexts of values that an endpoint still has, by their
	// IDs, and destroys the endpoint's secrets that have expired by the store's
	// clock; an element without values does only that. Neither versions nor history
	// change: to whoever can read the values, nothing has happened. Endpoints that
	// are deleted or do not exist are passed over, as are values they do not have.
	// No endpoint is named twice. It returns how many endpoints it changed.
	Reseal(ctx context.Context, list []Resealed) (int, error)

	// Prune removes whole events with their deliveries and attempts, then payloads,
	// then headers and bodies of answers that are older than r says. Events with
	// pending deliveries are left alone but for the answers. An id that was removed is
	// forgotten: sent again, it is a new event. The result counts events, and attempts
	// that lost their answer.
	Prune(ctx context.Context, r Retention, limit int) (int, error)
}
