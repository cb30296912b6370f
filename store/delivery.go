package store

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// DeliveryID names a delivery within its store.
type DeliveryID struct {
	Event    int64 // Event.Num
	Endpoint int64 // Endpoint.Num
	Round    int   // 0 is the fan-out, n the nth replay of the event to the endpoint
}

// String returns the id as "dlv_<event>_<endpoint>_<round>".
func (id DeliveryID) String() string {
	return fmt.Sprintf("dlv_%d_%d_%d", id.Event, id.Endpoint, id.Round)
}

// ParseDeliveryID is the inverse of [DeliveryID.String].
func ParseDeliveryID(s string) (DeliveryID, error) {
	var id DeliveryID
	rest, ok := strings.CutPrefix(s, "dlv_")
	parts := strings.Split(rest, "_")
	if ok && len(parts) == 3 {
		var e1, e2, e3 error
		id.Event, e1 = strconv.ParseInt(parts[0], 10, 64)
		id.Endpoint, e2 = strconv.ParseInt(parts[1], 10, 64)
		id.Round, e3 = strconv.Atoi(parts[2])
		if e1 == nil && e2 == nil && e3 == nil && id.String() == s {
			return id, nil
		}
	}
	return DeliveryID{}, fmt.Errorf("%w: delivery id %.40q is not of the form dlv_1_2_0", ErrInvalid, s)
}

// MarshalText implements encoding.TextMarshaler.
func (id DeliveryID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *DeliveryID) UnmarshalText(text []byte) error {
	v, err := ParseDeliveryID(string(text))
	if err == nil {
		*id = v
	}
	return err
}

// State is where a delivery stands.
type State uint8

// The states of a delivery. All but Pending are final, except that a success
// reported late turns any of them into Delivered.
const (
	Pending   State = 1
	Delivered State = 2
	Exhausted State = 3
	Cancelled State = 4
)

// String returns "pending", "delivered", "exhausted" or "cancelled".
func (s State) String() string {
	switch s {
	case Pending:
		return "pending"
	case Delivered:
		return "delivered"
	case Exhausted:
		return "exhausted"
	case Cancelled:
		return "cancelled"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// ParseState is the inverse of [State.String].
func ParseState(s string) (State, error) {
	for _, v := range []State{Pending, Delivered, Exhausted, Cancelled} {
		if v.String() == s {
			return v, nil
		}
	}
	return 0, fmt.Errorf("%w: state %q is none of pending, delivered, exhausted, cancelled", ErrInvalid, s)
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	v, err := ParseState(string(text))
	if err == nil {
		*s = v
	}
	return err
}

// Delivery is one event for one endpoint, through all its attempts.
type Delivery struct {
	ID DeliveryID
	Scope
	EventID    string
	EventType  string
	EndpointID string
	// State is Cancelled for a pending delivery whose endpoint is deleted.
	State State
	// Reason says in plain words why the delivery ended without success.
	Reason   string
	InFlight bool // pending, and leased to a worker now
	// LeasedAt and LeaseUntil are when that lease began and ends, whether it has ended
	// or not; zero unless InFlight.
	LeasedAt, LeaseUntil time.Time
	// Attempts is how many attempts were begun, unknown ones included.
	Attempts int
	// Failures is how many failed attempts the schedule has counted.
	Failures   int
	LastStatus int       // HTTP status of the last answer; 0: none yet
	CreatedAt  time.Time // when the event was stored, or the replay asked for
	FirstAt    time.Time // start of the first attempt; zero: none yet
	DueAt      time.Time // of the next attempt, while pending
	FinishedAt time.Time // zero while pending; of what was pending at a deleted endpoint, when that was deleted
}

// ReachedOnly reports whether the receiver of a test event answered, and not with
// 2xx. Such a delivery is Delivered, since a test asks whether the endpoint is reached,
// but the receiver did not accept it. LastStatus is its answer.
func (d Delivery) ReachedOnly() bool { return d.State == Delivered && refused(d.LastStatus) }

// ReachedOnly reports the same of the attempt. Status is the answer.
func (a Attempt) ReachedOnly() bool { return a.Outcome == AttemptDelivered && refused(a.Status) }

// refused reports whether an answer is not 2xx; 0 is no answer.
func refused(status int) bool { return status != 0 && (status < 200 || status > 299) }

// Outcome is what became of an attempt.
type Outcome uint8

// The outcomes of an attempt.
const (
	AttemptDelivered Outcome = 1
	AttemptFailed    Outcome = 2
	AttemptUnknown   Outcome = 3 // its worker never reported back
)

// String returns "delivered", "failed" or "unknown".
func (o Outcome) String() string {
	switch o {
	case AttemptDelivered:
		return "delivered"
	case AttemptFailed:
		return "failed"
	case AttemptUnknown:
		return "unknown"
	}
	return fmt.Sprintf("outcome(%d)", uint8(o))
}

// MarshalText implements encoding.TextMarshaler.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// Attempt is one HTTP request of a delivery.
type Attempt struct {
	N         int       // counts from 1 within the delivery
	StartedAt time.Time // by the store's clock
	Took      time.Duration
	Outcome   Outcome
	URL       string // where it went; empty if unknown
	Status    int    // of the answer; 0: none
	// Class is the kind of failure in a word, such as "timeout"; empty on success.
	Class string
	// Error is the failure in plain words; empty on success.
	Error string
	// ResponseHeader and ResponseBody are those of an answer other than 2xx, at most
	// 4 KiB and 16 KiB. The header is in wire format.
	ResponseHeader []byte
	ResponseBody   []byte
}
