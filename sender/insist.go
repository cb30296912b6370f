package sender

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/store"
)

// insistFor bounds how long a call is repeated whose commit's answer was lost. It is
// longer than a store lets a transaction be idle, whose locks the repetition may meet.
const insistFor = 30 * time.Second

// insist calls f, and again with repeat set while nobody knows whether it was carried
// out, until ctx ends. f must be repeatable: by an Op, by a round, or because doing it
// twice does nothing more. If it remains unknown the error is an ErrOutcomeUnknown.
func insist(ctx context.Context, f func(repeat bool) error) error {
	err := f(false)
	if !errors.Is(err, store.ErrUnknownCommit) {
		return err
	}
	within, cancel := context.WithTimeout(ctx, insistFor)
	defer cancel()
	for {
		if sleep(within, retryUnknown) != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
		if err = f(true); err == nil || isVerdict(err) {
			return err
		}
	}
}

// isVerdict reports whether err is the store's decision about a call, and no trouble
// in reaching it.
func isVerdict(err error) bool {
	for _, verdict := range []error{
		store.ErrNotFound, store.ErrInvalid, store.ErrConflict, store.ErrDuplicateURL, store.ErrChanged,
		store.ErrDisabled, store.ErrDeleted, store.ErrErased, store.ErrFinished,
	} {
		if errors.Is(err, verdict) {
			return true
		}
	}
	return false
}

// newOp returns a store.ChangeParams.Op: one for each call of the application's.
func newOp() string { return rand.Text() }
