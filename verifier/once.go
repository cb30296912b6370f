package verifier

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/signing"
)

// What [Dedupe] and [Once] say about an event that they don't let through.
var (
	// ErrDuplicate: the event was handled before. It should be acknowledged.
	ErrDuplicate = errors.New("verifier: the event was handled before")

	// ErrInProgress: a handler is at work on the same event now. The sender
	// should come back later: that handler may still fail.
	ErrInProgress = errors.New("verifier: the event is being handled")

	// ErrClaimLost: the handler ran for so long that its claim expired, and
	// another run may have begun.
	ErrClaimLost = errors.New("verifier: the claim on the event has expired")
)

// A Dedupe remembers which events were handled, so that an event which is
// delivered again does not reach its handler again. Package verifier/dedupe
// has one in memory and one in SQL. Implementations must be safe for
// concurrent use.
type Dedupe interface {
	// Claim takes a key for one run of a handler. Of several calls with one
	// key at most one has a claim at a time. The error is [ErrDuplicate] after
	// a claim that was done, for as long as the Dedupe remembers,
	// [ErrInProgress] while another holds one, and anything else if it can't
	// be known. An implementation that outlives processes must let the claims
	// of dead ones expire.
	//
	// Keys are those of [DedupeKey]: not empty, at most 71 bytes of ASCII.
	Claim(ctx context.Context, key string) (Claim, error)
}

// A Claim is the right of one run of a handler to its event. One of its
// methods is called when the run has ended.
type Claim interface {
	// Done remembers that the event was handled. The error is [ErrClaimLost]
	// if another has claimed the event meanwhile.
	Done(ctx context.Context) error

	// Release forgets the event, so that it can be claimed again. It changes
	// nothing if the event is already marked as done or another has claimed
	// it.
	Release(ctx context.Context) error
}

// DedupeKey returns the key by which repetitions of e are told: its ID, "" if
// it has none. An id that is none by [signing.ValidID] is hashed, and one that
// is not signed together with type and body: who replays a captured request
// under another id or type must not make a genuine event pass for a repetition.
func DedupeKey(e Event) string {
	switch {
	case e.ID == "":
		return ""
	case e.Signed.ID && signing.ValidID(e.ID):
		return e.ID
	}
	id := sha256.Sum256([]byte(e.ID))
	sum := sha256.New()
	sum.Write(id[:])
	if !e.Signed.ID {
		typ := sha256.Sum256([]byte(e.Type))
		sum.Write(typ[:])
		sum.Write(e.Body)
	}
	return "sha256:" + hex.EncodeToString(sum.Sum(nil))
}

// settleTimeout bounds Done and Release, which run even if the sender has hung
// up.
const settleTimeout = 5 * time.Second

// Once calls handle unless d knows the event. If handle returns nil the event
// is marked as done; if it returns an error or panics, the event is released
// for the next delivery. An event without an ID is handled every time.
//
// An error that says that there is nothing to do, such as [ErrNoHandler] from
// [Mux.Dispatch], releases the event too: a later version of the program may
// handle it.
//
// The error is handle's, or [ErrDuplicate], [ErrInProgress] or another one of
// d's. The context that handle gets has the claim in it ([ClaimFromContext]).
//
// [Verifier.Middleware] does this if Options.Dedupe is set. Once is for those
// who call ConstructEvent themselves, or take events from a queue.
func Once(ctx context.Context, d Dedupe, e Event, handle func(context.Context) error) error {
	key := DedupeKey(e)
	if key == "" {
		return handle(ctx)
	}
	claim, err := d.Claim(ctx, key)
	if err != nil {
		return err
	}
	settle := func(how func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTimeout)
		defer cancel()
		return how(ctx)
	}
	returned := false
	defer func() {
		if !returned { // handle panicked: what Release says can't be told to anybody
			_ = settle(claim.Release)
		}
	}()
	err = handle(context.WithValue(ctx, claimKey{}, claim))
	returned = true
	if err != nil {
		if failed := settle(claim.Release); failed != nil {
			err = errors.Join(err, fmt.Errorf("verifier: releasing the event: %w", failed))
		}
		return err
	}
	if err := settle(claim.Done); err != nil {
		return fmt.Errorf("verifier: the event was handled, but not marked so: %w", err)
	}
	return nil
}

type claimKey struct{}

// ClaimFromContext returns the claim under which a handler runs. It is for
// implementations of [Dedupe] that mark an event in the handler's transaction.
func ClaimFromContext(ctx context.Context) (Claim, bool) {
	c, ok := ctx.Value(claimKey{}).(Claim)
	return c, ok
}
