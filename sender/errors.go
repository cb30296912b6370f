package sender

import (
	"errors"
	"fmt"

	"github.com/hookpost/hookpost/store"
)

// Errors of the Sender. Those of a store (store.ErrNotFound, store.ErrConflict,
// store.ErrDuplicateURL, …) pass through and work with errors.Is.
var (
	// ErrNoStore says that New was given no store.
	ErrNoStore = errors.New("sender: New needs a store; memory.New() keeps everything in memory")
	// ErrNoKeyring says that a durable store was given without a way to seal secrets.
	ErrNoKeyring = errors.New("sender: a durable store needs Options.Keyring to seal secrets at rest; Options.PlaintextSecrets stores them readable")
	// ErrInvalidOptions says that an option is out of its range.
	ErrInvalidOptions = errors.New("sender: invalid option")
	// ErrInvalidEndpoint says that an endpoint's settings are not acceptable.
	ErrInvalidEndpoint = errors.New("sender: invalid endpoint")
	// ErrStarted says that Start was called twice.
	ErrStarted = errors.New("sender: already started")
	// ErrStopped says that Start was called after Stop; make a new Sender.
	ErrStopped = errors.New("sender: stopped; make a new Sender")
	// ErrOutcomeUnknown says that nobody knows whether a call was carried out: the
	// caller's context ended while its commit was under way, the store did not answer
	// for 30 s, or it was closed after an answer was lost. An event may be sent again
	// with the receipt's id; of other calls the log and the endpoint's history tell.
	ErrOutcomeUnknown = errors.New("sender: gave up waiting for the store's answer; it may have been done")
	// ErrQueueFull says that more events wait for the store than Options.MaxQueued allows, or
	// more than 64 MiB of their bodies. The event was not stored; trying again later is safe.
	ErrQueueFull = errors.New("sender: too many events wait for the store; this one was not stored")
	// ErrForeignTx says that a transaction is of another store than the Sender's, or on
	// another database than that. It is store.ErrForeignTx.
	ErrForeignTx = store.ErrForeignTx
)

// EndpointError says which setting of an endpoint is not acceptable and why. It
// is an ErrInvalidEndpoint.
type EndpointError struct {
	Field   string // the field of EndpointSpec or EndpointEdit
	Problem string // what is wrong and what would be right
}

func (e *EndpointError) Error() string {
	return fmt.Sprintf("sender: endpoint %s: %s", e.Field, e.Problem)
}

// Is makes errors.Is(err, ErrInvalidEndpoint) true.
func (e *EndpointError) Is(target error) bool { return target == ErrInvalidEndpoint }

// BatchError is returned by SendBatch when some events were not stored. It has
// one element per event, nil where the event was stored. errors.Is and errors.As
// look into all of them.
type BatchError struct {
	Errs []error
}

func (e *BatchError) Error() string {
	failed, first := 0, -1
	for i, err := range e.Errs {
		if err != nil {
			if first < 0 {
				first = i
			}
			failed++
		}
	}
	if first < 0 {
		return "sender: no event failed"
	}
	return fmt.Sprintf("sender: %d of %d events were not stored; event %d: %v", failed, len(e.Errs), first, e.Errs[first])
}

// Unwrap returns the errors of the events that failed.
func (e *BatchError) Unwrap() []error {
	var errs []error
	for _, err := range e.Errs {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}
