package store

import (
	"context"
	"fmt"
	"time"
)

// EndpointState says whether an endpoint takes deliveries.
type EndpointState uint8

// The states of an endpoint.
const (
	Enabled  EndpointState = 1
	Disabled EndpointState = 2 // keeps its URL, secrets and pending deliveries; gets nothing
	Deleted  EndpointState = 3 // secrets destroyed, URL free; the log stays readable
)

// String returns "enabled", "disabled" or "deleted".
func (s EndpointState) String() string {
	switch s {
	case Enabled:
		return "enabled"
	case Disabled:
		return "disabled"
	case Deleted:
		return "deleted"
	}
	return fmt.Sprintf("state(%d)", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s EndpointState) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *EndpointState) UnmarshalText(text []byte) error {
	for _, v := range []EndpointState{Enabled, Disabled, Deleted} {
		if v.String() == string(text) {
			*s = v
			return nil
		}
	}
	return fmt.Errorf("%w: endpoint state %q", ErrInvalid, text)
}

// MaxTimeout is the longest Config.Timeout.
const MaxTimeout = 30 * time.Second

// Endpoint is a receiver's URL, its secrets and the event types it wants.
type Endpoint struct {
	Scope
	ID  string // "ep_" and a UUID, chosen by the sender
	Num int64  // the store's number for it, unique in the store, positive

	Config
	// URLKey is the normalised URL in ASCII, unique among the scope's endpoints that
	// are not deleted. Stores compare it byte for byte.
	URLKey string
	// Sealed holds the signing secrets and the values of custom headers. Deleting
	// destroys them.
	Sealed

	// Version starts at 1 and grows by one with every change of Config, URLKey or
	// Sealed that somebody makes. Health does not change it, nor does Reseal.
	Version int64

	CreatedAt time.Time
	ChangedAt time.Time
	// EnabledAt is when the endpoint was last enabled after having been disabled;
	// zero if never.
	EnabledAt time.Time

	Health
}

// Config is the part of an endpoint that people set and its history records.
type Config struct {
	URL         string            `json:"url"`
	EventTypes  []string          `json:"event_types"` // the selection: "*", "payment.*", exact types
	State       EndpointState     `json:"state"`
	Reason      string            `json:"reason,omitempty"`   // why it is disabled
	Schedule    string            `json:"schedule,omitempty"` // name of one of the sender's schedules; empty: its default
	Schemes     []string          `json:"schemes,omitempty"`  // names of the sender's signature schemes; empty: its default
	Timeout     time.Duration     `json:"timeout,omitempty"`  // of an attempt, at most MaxTimeout; 0: the sender's default
	Headers     []string          `json:"headers,omitempty"`  // canonical names of custom headers, sorted; their values are sealed
	Description string            `json:"description,omitempty"`
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// Health is what attempts have told about an endpoint. Settle writes it only
// when it changes, and LastSuccess at most once a minute.
type Health struct {
	FailingSince time.Time // of the first failure after the last success; zero: not failing
	LastFailure  time.Time
	Failures     int // failed attempts in a row
	LastSuccess  time.Time
	HoldUntil    time.Time // no claims before: the receiver asked for a pause
}

// EndpointSet is what fan-out is decided on.
type EndpointSet struct {
	// Version grows with every change of any endpoint of the scope; 0 while the
	// scope never had one.
	Version int64
	// Endpoints holds the enabled ones, in order of Num.
	Endpoints []Endpoint
	// Now is the store's clock when it was read. It spares a transaction of the
	// application's a second connection that it might have to wait for.
	Now time.Time
}

// Action names what was done to an endpoint.
type Action string

// The actions in an endpoint's history.
const (
	Created       Action = "created"
	Imported      Action = "imported"
	Edited        Action = "edited"
	WasDisabled   Action = "disabled"
	WasEnabled    Action = "enabled"
	WasDeleted    Action = "deleted"
	SecretRotated Action = "secret rotated"
	SecretRevoked Action = "secret revoked"
	// HeadersSet is an edit that gave custom headers values, which are not shown. It
	// may have changed other things as well.
	HeadersSet Action = "headers set"
)

// Change is one line of an endpoint's history: who did what, when, with the
// values before and after. Secrets are not part of it.
type Change struct {
	EndpointID string
	Version    int64 // of the endpoint, after the change
	SetVersion int64 // of the scope's endpoint set, after the change
	At         time.Time
	Action     Action
	Actor      string // who, as the application named them; empty: unknown
	Op         string // of the call that made the change, see [ChangeParams]
	Old        Config // zero for the first line
	New        Config
}

// ChangeParams says what a change of an endpoint is, and whose.
type ChangeParams struct {
	Action Action
	Actor  string // empty: nobody asked for it, or it is unknown who
	// Op, unless empty, is a text of the caller's that no other change has. A call whose
	// Op the endpoint's history has already returns the endpoint as it is now and changes
	// nothing: so a call can be repeated after ErrUnknownCommit. At most 64 bytes.
	Op string
}

// EndpointKey names an endpoint by scope and number.
type EndpointKey struct {
	Scope
	Num int64
}

// EndpointQuery selects endpoints of a scope, oldest first.
type EndpointQuery struct {
	States []EndpointState // empty: enabled and disabled
	// Search, unless empty, selects those of which the id, the URL or the description
	// contains it, ASCII letters in either case.
	Search string
	After  int64 // only those whose Num is greater: the last one of the previous page
	Limit  int   // at most; 0 means 100, more than 1000 means 1000
}

// Endpoints manages endpoints. Each change raises the version of the endpoint
// and of its scope's set and adds a line of history, all in one commit.
type Endpoints interface {
	// CreateEndpoint stores a new endpoint. ID, Scope, Config, URLKey and Sealed
	// are the caller's; everything else is the store's. It returns ErrDuplicateURL
	// if another endpoint of the scope that is not deleted has the URLKey. The Op is
	// looked for first, under the ID.
	CreateEndpoint(ctx context.Context, ep Endpoint, p ChangeParams) (Endpoint, error)

	// UpdateEndpoint replaces Config, URLKey and Sealed of the endpoint with ep's
	// scope and ID, if its version is still ep.Version; else it returns ErrChanged.
	// Other errors: ErrNotFound, ErrDeleted, ErrDuplicateURL. The Op is looked for before
	// all of these but ErrNotFound. Sealed values that the
	// endpoint has already, by their IDs, keep the ciphertext that is stored: they
	// may have been sealed anew since ep was read.
	//
	// A change of State to Enabled sets EnabledAt and clears FailingSince, Failures
	// and HoldUntil. A change to Deleted empties Sealed and frees the URL
	// whatever ep says. Pending deliveries are not touched: claims look at the
	// endpoint every time.
	UpdateEndpoint(ctx context.Context, ep Endpoint, p ChangeParams) (Endpoint, error)

	// Endpoint returns one endpoint, deleted ones included, or ErrNotFound.
	Endpoint(ctx context.Context, scope Scope, id string) (Endpoint, error)

	// ListEndpoints returns a page of endpoints.
	ListEndpoints(ctx context.Context, scope Scope, q EndpointQuery) ([]Endpoint, error)

	// EndpointSet returns the scope's enabled endpoints and the set's version.
	EndpointSet(ctx context.Context, scope Scope) (EndpointSet, error)

	// LoadEndpoints returns those of the named endpoints that exist, deleted ones
	// included, in any order.
	LoadEndpoints(ctx context.Context, keys []EndpointKey) ([]Endpoint, error)

	// EndpointHistory returns all changes of an endpoint, oldest first, or
	// ErrNotFound.
	EndpointHistory(ctx context.Context, scope Scope, id string) ([]Change, error)
}
