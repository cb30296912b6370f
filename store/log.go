package store

import (
	"context"
	"time"
)

// DeliveryQuery selects deliveries of a scope. Zero fields select everything.
type DeliveryQuery struct {
	EventID    string
	EndpointID string
	Type       string // event type, exact
	Ref        string
	States     []State
	From, To   time.Time // when the event was stored: From <= t < To
	// Before goes on after a page: only deliveries ordered after this one, the last
	// of the previous page. Zero: from the newest.
	Before DeliveryID
	Limit  int // at most; 0 means 100, more than 1000 means 1000
}

// EventQuery selects events of a scope. Zero fields select everything.
type EventQuery struct {
	Type     string
	Ref      string
	From, To time.Time // when the event was stored: From <= t < To
	// Before goes on after a page: only events whose Num is smaller. 0: from the
	// newest.
	Before int64
	Limit  int // at most; 0 means 100, more than 1000 means 1000
}

// RecoverParams selects the deliveries that [Log.Recover] takes up again.
// Zero fields select everything.
type RecoverParams struct {
	EndpointID string
	Type       string    // event type, exact
	From, To   time.Time // when the event was stored: From <= t < To
	DryRun     bool      // count, change nothing
	// After goes on after a step: only events whose Num is greater.
	After int64
	Limit int // deliveries looked at in one step; 0 means 1000
}

// Recovered is what a step of [Log.Recover] did, or would have done.
type Recovered struct {
	Replayed int // exhausted deliveries that got a new one
	Hastened int // pending deliveries that are due now
	After    int64
	Done     bool // nothing is left after this step
}

// UndeliveredQuery selects events that an endpoint has not received.
type UndeliveredQuery struct {
	EndpointID string
	Type       string    // event type, exact; empty: all
	From, To   time.Time // when the event was stored: From <= t < To
	After      int64     // only events whose Num is greater
	Limit      int       // events looked at; 0 means 1000
}

// Activity sums up the newest deliveries of an endpoint, by Event.
type Activity struct {
	EndpointID string
	Deliveries int // looked at; 0: it never had one
	Tests      int // of them, of webhook.* events, which no count below includes
	Delivered  int // of the others
	Exhausted  int // of the others
	Attempts   int // of the others, those under way aside
	// Last is the newest of them all, with its State, LastStatus and CreatedAt.
	Last       DeliveryID
	LastState  State
	LastStatus int
	LastAt     time.Time
}

// LastReachedOnly is [Delivery.ReachedOnly] of the newest delivery.
func (a Activity) LastReachedOnly() bool { return a.LastState == Delivered && refused(a.LastStatus) }

// Undelivered is an event that an endpoint has not received.
type Undelivered struct {
	Event Event // without its body
	// Last is the delivery of the newest round; nil if there never was one.
	Last *Delivery
}

// ReplayParams makes a replay repeatable after ErrUnknownCommit.
type ReplayParams struct {
	// Round is the one that the new delivery shall have; 0: whichever is next.
	Round int
	// Repeat says that this call may have been committed before: a delivery that is
	// there in that round is the one it stored.
	Repeat bool
}

// Log is the delivery log: what happened, and what a person decides about it.
type Log interface {
	// Event returns one event with its body, or ErrNotFound.
	Event(ctx context.Context, scope Scope, id string) (Event, error)

	// Events returns a page of events without bodies, newest first (by Num).
	Events(ctx context.Context, scope Scope, q EventQuery) ([]Event, error)

	// Deliveries returns a page of deliveries, newest first: by Event descending,
	// then Endpoint and Round descending. A delivery stored while pages are read
	// may be missed; none is returned twice.
	Deliveries(ctx context.Context, scope Scope, q DeliveryQuery) ([]Delivery, error)

	// SearchDeliveries is Deliveries with bounded work, for filters that let little
	// pass: it ends when it has looked at so many events, or at so many entries of a
	// narrower index that it reads instead, be the page full or not. The second
	// result is where to go on, the Before of the next search; it is zero at the end
	// of the log. With an EventID there is no bound. A look below 1 is ErrInvalid.
	SearchDeliveries(ctx context.Context, scope Scope, q DeliveryQuery, look int) ([]Delivery, DeliveryID, error)

	// SearchEvents is to Events what SearchDeliveries is to Deliveries. The second
	// result is the Before of the next search; it is 0 at the end of the log.
	SearchEvents(ctx context.Context, scope Scope, q EventQuery, look int) ([]Event, int64, error)

	// Activity sums up the newest deliveries, at most so many, of each of the
	// endpoints. The result has one element per id, in order; one that is unknown or
	// never had a delivery has the id alone.
	Activity(ctx context.Context, scope Scope, endpointIDs []string, newest int) ([]Activity, error)

	// RecentAttempts returns the attempts, without headers and bodies and in order
	// of their start, of the newest deliveries of an endpoint, at most so many and of
	// them at most ten times as many attempts. It returns ErrNotFound if there is no
	// such endpoint.
	RecentAttempts(ctx context.Context, scope Scope, endpointID string, newest int) ([]Attempt, error)

	// Delivery returns one delivery, or ErrNotFound.
	Delivery(ctx context.Context, scope Scope, id DeliveryID) (Delivery, error)

	// Attempts returns the attempts of a delivery in order of N, or ErrNotFound if
	// there is no such delivery.
	Attempts(ctx context.Context, scope Scope, id DeliveryID) ([]Attempt, error)

	// Replay stores a new delivery of an event for an endpoint, ready at once. It returns
	// ErrNotFound, ErrErased, ErrDisabled or ErrDeleted, and ErrChanged if the round it
	// asks for is not the next one.
	Replay(ctx context.Context, scope Scope, eventID, endpointID string, p ReplayParams) (DeliveryID, error)

	// Cancel ends a pending delivery with a reason. An attempt under way finishes,
	// and if it succeeds the delivery is Delivered after all. It returns
	// ErrNotFound, or ErrFinished if the delivery is not pending.
	Cancel(ctx context.Context, scope Scope, id DeliveryID, reason string) error

	// Recover does one bounded step of taking up what was given up, for enabled
	// endpoints, in order of Event: an exhausted delivery gets a new one in the
	// next round, ready at once, unless a later round of the same event and
	// endpoint exists that is delivered, pending or cancelled; a pending delivery
	// that waits for a retry is due now, but not one that waits for its first
	// attempt (see [NewEvent].Delay). Events erased and webhook.* ones are passed
	// over. Repeating a step or a whole run creates no second delivery.
	Recover(ctx context.Context, scope Scope, p RecoverParams) (Recovered, error)

	// Undelivered returns events, oldest first and without bodies, of which the
	// endpoint has no delivery that is Delivered, whatever the reason, and webhook.*
	// ones excepted. An event whose delivery [Upkeep.FanOut] has yet to make is passed
	// over. The second result is where to go on and the third says that the end was
	// reached. It returns ErrNotFound if there is no such endpoint.
	Undelivered(ctx context.Context, scope Scope, q UndeliveredQuery) ([]Undelivered, int64, bool, error)

	// BackFill stores a delivery, ready at once and in round 1, of each of the events
	// (their Event.Num) of which the endpoint has no delivery in any round and none that
	// FanOut has yet to make, and returns how many that were. Events erased or not of
	// the scope are passed over. However
	// often and wherever it is called, an event gets one such delivery. It returns
	// ErrNotFound, ErrDisabled or ErrDeleted if the endpoint can't have one.
	BackFill(ctx context.Context, scope Scope, endpointID string, events []int64) (int, error)

	// Erase does one bounded step of erasing events, in order of Num. Of each event:
	//
	//   - its body and its references are removed, and it is not found by them any
	//     more; ErasedAt is set, unless it is already;
	//   - its pending deliveries are Cancelled with ReasonErased, and those that FanOut
	//     has yet to make are never made. An attempt under way finishes: its report is
	//     settled as that of any cancelled delivery;
	//   - the headers and bodies of answers to its attempts are removed. Of reports that
	//     come later none is kept, see [Queue.Settle].
	//
	// The rest stays: id, type, times, hash, deliveries and attempts. So the id is not
	// free, and the log shows what became of the event. A step ends with a whole event.
	// Erasing again what is erased changes nothing. It returns ErrNotFound if there is
	// no event of the EventID, and ErrInvalid as CheckErase says.
	Erase(ctx context.Context, scope Scope, p EraseParams) (Erased, error)

	// Backlogs returns what endpoints have waiting, in order of Num. Its cost grows
	// with the endpoints and the bound, and not with the deliveries stored.
	Backlogs(ctx context.Context, scope Scope, q BacklogQuery) ([]Backlog, error)
}
