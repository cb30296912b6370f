package setup

import (
	"errors"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// A worker reads lines "id type", each an event to be sent, and writes a line with
// the id once Send has returned: from then on the event is acknowledged. Lines that
// begin with these marks are orders to the worker or news from it.
const (
	// Hold and a duration: take all connections of the pool for so long. The worker
	// writes Held when it has them and Freed when it has given them back.
	Hold  = "!hold "
	Held  = "!held"
	Freed = "!freed"
	// Exec and a statement: run it on the shared connections. The worker writes Ran.
	Exec = "!exec "
	Ran  = "!ran"
	// Refused and a [Kind]: a Send has failed and is repeated.
	Refused = "!refused "
	// Hooked: a hook was called, and panics.
	Hooked = "!hooked"
	// Ready: SIGTERM asks the worker to drain from now on, and no longer kills it.
	Ready = "!ready"
	// Drained: attempts under way have finished and the worker ends.
	Drained = "!drained"
)

// Kind names what an error of Send is by the contract, or says that it's none of
// those.
func Kind(err error) string {
	for _, k := range []struct {
		err  error
		name string
	}{
		{sender.ErrOutcomeUnknown, "unknown"},
		{store.ErrUnknownCommit, "unknown"},
		{store.ErrFull, "full"},
		{store.ErrReadOnly, "read-only"},
		{store.ErrBusy, "busy"},
	} {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "other"
}
