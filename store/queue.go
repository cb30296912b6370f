package store

import (
	"context"
	"time"
)

// MaxFanOut is how many deliveries are stored together with their event. Of an
// event that is for more endpoints, the decided list is stored with it and
// turned into deliveries by [Upkeep.FanOut].
const MaxFanOut = 1000

// MaxUnknown is how many attempts of a delivery in a row may end unknown before
// the sender counts a failure.
const MaxUnknown = 5

// NewEvent is an event to be stored with the deliveries decided for it.
type NewEvent struct {
	// Event's Num, StoredAt and ErasedAt are ignored.
	Event
	// For lists the endpoints, each at most once.
	For []NewDelivery
	// Delay, if positive, is how long after the event is stored its deliveries are due.
	// They are pending until then and none is leased, whatever For asks.
	Delay time.Duration
}

// NewDelivery is a delivery to be stored with its event.
type NewDelivery struct {
	Endpoint int64 // Endpoint.Num
	// Lease asks for the delivery to be stored leased to the caller, who attempts
	// it at once: token 1, attempt 1.
	Lease bool
}

// EnqueueParams is a batch of events.
type EnqueueParams struct {
	Events []NewEvent // each scope and id at most once
	Owner  int64      // who takes the leases
	Lease  time.Duration
	// Repeat says that this very batch may have been committed before, its answer
	// lost. See [Enqueued.Leased].
	Repeat bool
}

// EnqueueStatus is what became of a member of a batch.
type EnqueueStatus uint8

// What becomes of a member.
const (
	Stored    EnqueueStatus = 1 // it and its deliveries were written
	Duplicate EnqueueStatus = 2 // an equal event was there; nothing was written
	Conflict  EnqueueStatus = 3 // the id belongs to an event of other content; nothing was written
	Stale     EnqueueStatus = 4 // the endpoint set has changed since SetVersion; nothing was written
)

// Enqueued is the result for one member of a batch.
type Enqueued struct {
	Status EnqueueStatus
	Event  int64 // Event.Num; 0 if Stale
	// Leased says that leases were asked for and all of them are the caller's. In a
	// repeated batch it is true for a Duplicate whose deliveries are still leased to
	// Owner under token 1, as the lost answer would have said.
	Leased bool
}

// ClaimParams says how much the caller can take.
type ClaimParams struct {
	Owner int64
	Lease time.Duration
	Limit int // deliveries, at least 1
	Bytes int // of bodies; reaching it ends the claim, though the first delivery always comes. 0: no bound
	// Room is how many deliveries each endpoint may get in this claim, by
	// Endpoint.Num; DefaultRoom is for all others. 0 or less: none.
	Room        map[int64]int
	DefaultRoom int
	// After is where to go on: endpoints are visited in order of Num, beginning
	// after this one, and from the start again when the end is reached.
	After int64
	// Endpoints bounds how many endpoints with ready deliveries are looked at;
	// 0 means 500.
	Endpoints int
	// Window is the sender's GiveUpAfter. A delivery whose window ended while its
	// endpoint was disabled is not claimed: it belongs to [Upkeep.Expire], which says
	// when a window begins.
	Window time.Duration
}

// Claims is what a claim found.
type Claims struct {
	Deliveries []Claimed
	// After is the endpoint visited last, for the next claim.
	After int64
	// More says that the claim ended by one of its bounds and that another may
	// find something at once. It can stay true for ever if more endpoints than
	// ClaimParams.Endpoints are on hold.
	More bool
	Now  time.Time // the store's clock
}

// Claimed is a delivery leased to the caller.
type Claimed struct {
	ID    DeliveryID
	Token int64 // fencing token of the lease; only ever grows
	Scope

	EventID     string
	EventType   string
	ContentType string
	Body        []byte // nil if erased
	Erased      bool
	Trace       string // Event.Trace

	EndpointVersion int64

	Attempt  int // number of the attempt to be made
	Failures int // what the schedule has counted so far
	Unknown  int // attempts in a row that ended unknown, just before this one
	// Elapsed is the time since the first attempt began; 0 for the first.
	Elapsed time.Duration
}

// Verdict is what becomes of a delivery when its attempt is settled.
type Verdict uint8

// The verdicts.
const (
	Deliver Verdict = 1 // success: always ends in Delivered
	Retry   Verdict = 2 // pending again, after Delay; counts a failure
	Exhaust Verdict = 3 // ends in Exhausted
	// Release gives the lease back unused: the delivery is ready again, the attempt
	// number is free again, nothing is logged and nothing is charged.
	Release Verdict = 4
)

// Settlement reports on a lease.
type Settlement struct {
	ID      DeliveryID
	Token   int64
	Verdict Verdict
	// Attempt is what happened; its StartedAt is ignored in favour of Ago. It is
	// nil if no request was made: with Release always, with Retry and Exhaust when
	// the sender decided without asking the receiver.
	Attempt *Attempt
	// Ago is how long ago the attempt began.
	Ago time.Duration
	// Delay is the time from now to the next attempt, with Retry.
	Delay time.Duration
	// Reason says why the delivery ends, with Exhaust.
	Reason string
	// Hold keeps the whole endpoint from being claimed for this long from now, if
	// longer than what holds it already.
	Hold time.Duration
	// Quiet leaves the endpoint's health alone.
	Quiet bool
	// DisableVersion, if not 0, disables the endpoint in the same commit with
	// DisableReason, provided it is enabled and this is still its version.
	DisableVersion int64
	DisableReason  string
}

// Plain reports whether s is a success with nothing else to say, as nearly all
// settlements are.
func (s *Settlement) Plain() bool {
	return s.Verdict == Deliver && s.Hold <= 0 && s.DisableVersion == 0 && s.Attempt != nil &&
		(s.Attempt.Outcome == AttemptDelivered || s.Attempt.Outcome == 0) &&
		s.Attempt.Status != 0 && s.Attempt.Class == "" && s.Attempt.Error == ""
}

// Logged returns what the log keeps of the settlement's attempt, which there must
// be: an outcome that fits the verdict, and of the answer no more than
// MaxResponseHeader and MaxResponseBody, nothing at all if it was 2xx.
func (s *Settlement) Logged() Attempt {
	a := *s.Attempt
	if a.Outcome != AttemptDelivered && a.Outcome != AttemptFailed {
		a.Outcome = AttemptFailed
		if s.Verdict == Deliver {
			a.Outcome = AttemptDelivered
		}
	}
	if a.Outcome == AttemptDelivered && !a.ReachedOnly() {
		a.ResponseHeader, a.ResponseBody = nil, nil
	}
	a.ResponseHeader = a.ResponseHeader[:min(len(a.ResponseHeader), MaxResponseHeader)]
	a.ResponseBody = a.ResponseBody[:min(len(a.ResponseBody), MaxResponseBody)]
	return a
}

// Settled is the result for one settlement.
type Settled struct {
	// Accepted says that the report changed the delivery. A stale report, or one
	// repeated, is at most written to the log.
	Accepted bool
	State    State // of the delivery afterwards; 0 if it is gone
	// Busy says that somebody else holds what the report would change: nothing of it was
	// written, and it is to be made again.
	Busy bool
	// Disabled says that this settlement disabled the endpoint.
	Disabled bool
	// Recovered says that the endpoint was failing and this success ended it.
	Recovered bool
	// FailingSince is when the endpoint began failing that has now recovered.
	FailingSince time.Time
}

// Queue is the hot path: events in, deliveries out, results in, each in batches
// of one round trip and one commit.
type Queue interface {
	// Now returns the store's clock.
	Now(ctx context.Context) (time.Time, error)

	// Enqueue stores events together with their deliveries, each member wholly or
	// not at all. The result has one element per member, in order.
	//
	// A member whose Event.SetVersion is not the current version of its scope's
	// endpoint set is Stale. Else, a member whose id exists is a Duplicate or, if hash
	// or type differ, a Conflict. All others are Stored: the event even if it is for
	// nobody. Deliveries are due at once, leased where asked and ready otherwise,
	// unless the member has a Delay;
	// the lists beyond MaxFanOut are kept with the event and none is leased.
	//
	// It writes only rows of its own. If another transaction holds up a member for
	// longer than about 100 ms (where one locks the whole database: as long as the
	// store's own bound says), it returns ErrBusy and nothing was written. After
	// ErrUnknownCommit the same batch may be sent again with Repeat set.
	//
	// The whole call fails with ErrInvalid, and nothing is written, if a member is for
	// an endpoint of another scope or for one twice, or if an id is in the batch twice.
	Enqueue(ctx context.Context, p EnqueueParams) ([]Enqueued, error)

	// Claim leases deliveries that are ready, of enabled endpoints that are not on
	// hold, oldest due first within an endpoint. Each gets the next token and the
	// next attempt number. No delivery has two live leases.
	Claim(ctx context.Context, p ClaimParams) (Claims, error)

	// Settle reports on leases. A batch holds each delivery at most once. The
	// result has one element per settlement, in order. Calling it again after a
	// lost answer changes nothing. It does not wait for what others hold: a settlement
	// whose delivery or endpoint another transaction holds for longer than about 100 ms
	// is Busy, and the others are committed. (Where one locks the whole database, all
	// wait, as long as the store's own bound says.)
	//
	// A settlement with an Attempt is new if the log has no row for the attempt's
	// number or an unknown one, which it then becomes. If new:
	//
	//   - Deliver makes the delivery Delivered, from any state and under any token;
	//   - Retry and Exhaust count if the delivery is pending and nobody has leased
	//     it again, that is its token is still Token, be the lease expired or taken
	//     over meanwhile;
	//   - otherwise the delivery stays as it is and only the log is written.
	//
	// A settlement without an Attempt counts only while the lease itself stands:
	// leased, under Token. Its attempt number is free again, since no request was
	// made; Retry counts a failure all the same.
	//
	// A lease that somebody else has ended, by cancelling or deleting, leaves its
	// attempt in the log as unknown until its holder reports.
	//
	// Of an event that was erased, the attempt is logged without the answer's header and
	// body.
	//
	// A success or a counted failure resets the count of unknown attempts. Whatever a
	// new Attempt means to its delivery, unless Quiet it tells about the endpoint: a
	// success clears FailingSince and Failures; a failure adds to Failures and sets
	// FailingSince if that is zero or if the last failure is more than 24 hours old.
	// Hold and disabling apply as well.
	//
	// Deliver without an Attempt, and Release with one, are ErrInvalid.
	Settle(ctx context.Context, s []Settlement) ([]Settled, error)
}
