package sender

import (
	"context"
	"errors"
	"time"

	"github.com/hookpost/hookpost/store"
)

// maxDelay bounds Event.Delay. What waits is kept whole, whatever the retention.
const maxDelay = 30 * 24 * time.Hour

func checkDelay(d time.Duration) error {
	if d < 0 || d > maxDelay {
		return badEvent("Delay", "is %s; it must be from 0 to %s (30 days)", d, maxDelay)
	}
	return nil
}

// CancelEvent ends all pending deliveries of an event: one that was to be sent later,
// or the retries of one that nobody needs any more. An attempt under way finishes, and
// if it succeeds its delivery is delivered after all. It returns how many it ended,
// which may be none, or store.ErrNotFound. The event remains, and can be replayed.
func (t *Tenant) CancelEvent(ctx context.Context, eventID, reason string) (int, error) {
	if t.err != nil {
		return 0, t.err
	}
	if err := checkText("Reason", reason, maxDescription); err != nil {
		return 0, err
	}
	st := t.sender.st
	ev, err := st.Event(ctx, t.scope, eventID)
	if err != nil {
		return 0, err
	}
	// What is still to be fanned out can only be cancelled once it is there.
	for more := true; more; {
		n, err := st.FanOut(ctx, upkeepStep)
		if err != nil {
			return 0, err
		}
		more = n == upkeepStep
	}
	cancelled := 0
	q := store.DeliveryQuery{EventID: ev.ID, States: []store.State{store.Pending}, Limit: 1000}
	for {
		page, err := st.Deliveries(ctx, t.scope, q)
		if err != nil || len(page) == 0 {
			return cancelled, err
		}
		for i := range page {
			switch err := t.Cancel(ctx, page[i].ID, reason); {
			case err == nil:
				cancelled++
			case !errors.Is(err, store.ErrFinished) && !errors.Is(err, store.ErrNotFound): // it ended by itself
				return cancelled, err
			}
		}
		q.Before = page[len(page)-1].ID
	}
}
