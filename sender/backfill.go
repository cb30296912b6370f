package sender

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Missed says what BackFill sends: of the events that fired while an endpoint was
// disabled, those that it would have been sent otherwise. Zero fields select all of
// them.
type Missed struct {
	EndpointID string    // required
	Type       string    // event type, exact
	From, To   time.Time // when the event was stored: From <= t < To
	// DryRun counts and changes nothing.
	DryRun bool
	// Rate caps how many deliveries are made per second. Default: no cap.
	Rate int
	// Progress is called after every step, on the caller's goroutine.
	Progress func(BackFillReport)
}

// BackFillReport counts what a back-fill did, or in a dry run would do. A step whose
// answer the store lost is repeated, and not counted if it had been carried out.
type BackFillReport struct {
	Events int // that got a delivery to the endpoint
}

// BackFill sends an enabled endpoint what it missed while it was disabled, oldest
// first: enabling alone sends none of it. Each event gets a new delivery with its own
// schedule, unless it ever had one for the endpoint, of a replay for instance; whether
// it selected the type is decided by its settings of that time. Events whose payload
// is gone are left out.
//
// It works in steps, at the Rate if given; when ctx ends it stops between two of them
// and returns what was done so far. Run again, or in two places at once, it goes on,
// and nothing is sent twice. Errors: store.ErrNotFound, store.ErrDisabled,
// store.ErrDeleted, and store.ErrInvalid for a Missed that makes no sense.
func (t *Tenant) BackFill(ctx context.Context, m Missed) (BackFillReport, error) {
	var report BackFillReport
	switch {
	case t.err != nil:
		return report, t.err
	case m.Rate < 0:
		return report, fmt.Errorf("%w: Missed.Rate is negative", store.ErrInvalid)
	case m.EndpointID == "":
		return report, fmt.Errorf("%w: Missed needs an EndpointID", store.ErrInvalid)
	}
	pace := pace{s: t.sender, rate: m.Rate, dryRun: m.DryRun}
	err := t.backFill(ctx, &m, pace.step(), func(n int) error {
		report.Events += n
		if m.Progress != nil {
			m.Progress(report)
		}
		return pace.next(ctx, n)
	})
	return report, err
}

// enabled returns an error unless the endpoint is there and enabled.
func (t *Tenant) enabled(ctx context.Context, id string) error {
	ep, err := t.sender.st.Endpoint(ctx, t.scope, id)
	if err == nil && ep.State != store.Enabled {
		err = fmt.Errorf("%w: %s", stateError(ep.State), id)
	}
	return err
}

// backFill looks at limit events in each step and calls next with how many of them
// were missed.
func (t *Tenant) backFill(ctx context.Context, m *Missed, limit int, next func(n int) error) error {
	st := t.sender.st
	if err := t.enabled(ctx, m.EndpointID); err != nil {
		return err
	}
	history, err := st.EndpointHistory(ctx, t.scope, m.EndpointID)
	if err != nil {
		return err
	}
	q := store.UndeliveredQuery{EndpointID: m.EndpointID, Type: m.Type, From: m.From, To: m.To, Limit: limit}
	for {
		page, after, done, err := st.Undelivered(ctx, t.scope, q)
		if err != nil {
			return err
		}
		var events []int64
		for i := range page {
			if u := &page[i]; u.Last == nil && u.Event.ErasedAt.IsZero() && missed(history, &u.Event) {
				events = append(events, u.Event.Num)
			}
		}
		n := len(events)
		if n > 0 && !m.DryRun {
			err := insist(ctx, func(bool) (err error) {
				n, err = st.BackFill(ctx, t.scope, m.EndpointID, events)
				return err
			})
			if err != nil {
				return err
			}
		}
		q.After = after
		if err := next(n); err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// missed reports whether an event would have been for the endpoint of the history, had
// that not been disabled.
func missed(history []store.Change, e *store.Event) bool {
	then, existed := configAt(history, e.SetVersion)
	wants := newSelection(then.EventTypes)
	return existed && then.State == store.Disabled && wants.matches(e.Type) && !slices.Contains(e.Refs, exampleRef)
}
