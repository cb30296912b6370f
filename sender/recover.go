package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// recoverStep is how many deliveries one step of a recovery looks at.
const recoverStep = 1000

// Recovery says what Recover takes up again. Zero fields select everything.
type Recovery struct {
	EndpointID string
	Type       string    // event type, exact
	From, To   time.Time // when the event was stored: From <= t < To
	// Missed also sends events that fired while the endpoint was disabled and that
	// it would have been sent otherwise. It needs an EndpointID.
	Missed bool
	// DryRun counts and changes nothing.
	DryRun bool
	// Rate caps how many deliveries are taken up per second. Default: no cap.
	Rate int
	// Progress is called after every step, on the caller's goroutine.
	Progress func(RecoverReport)
}

// RecoverReport counts what a recovery did, or in a dry run would do.
type RecoverReport struct {
	Replayed int // exhausted deliveries that were given a new one
	Hastened int // pending deliveries that waited for a retry and are due now
	Missed   int // events of a disabled window that got a delivery
}

// Recover replays what was exhausted: of an enabled endpoint, every exhausted
// delivery of an event that was not delivered and is not pending since gets a new
// delivery, and pending ones become due now. It works in steps, at the Rate if
// given; when ctx ends it stops between two of them and returns what was done so
// far. Run again it goes on, and nothing is sent twice.
func (t *Tenant) Recover(ctx context.Context, r Recovery) (RecoverReport, error) {
	var report RecoverReport
	switch {
	case t.err != nil:
		return report, t.err
	case r.Rate < 0:
		return report, fmt.Errorf("%w: Recovery.Rate is negative", store.ErrInvalid)
	case r.Missed && r.EndpointID == "":
		return report, fmt.Errorf("%w: Recovery.Missed needs an EndpointID", store.ErrInvalid)
	}
	s := t.sender
	step := func(n int) error {
		if n > 0 && !r.DryRun {
			s.Wake()
		}
		if r.Progress != nil {
			r.Progress(report)
		}
		if r.Rate > 0 && !r.DryRun && n > 0 {
			return sleep(ctx, time.Duration(n)*time.Second/time.Duration(r.Rate))
		}
		return ctx.Err()
	}
	limit := recoverStep
	if r.Rate > 0 && !r.DryRun {
		limit = min(limit, max(1, r.Rate/10)) // steps of a tenth of a second
	}
	p := store.RecoverParams{EndpointID: r.EndpointID, Type: r.Type, From: r.From, To: r.To, DryRun: r.DryRun, Limit: limit}
	for {
		done, err := s.st.Recover(ctx, t.scope, p)
		if err != nil {
			return report, err
		}
		report.Replayed += done.Replayed
		report.Hastened += done.Hastened
		p.After = done.After
		if err := step(done.Replayed + done.Hastened); err != nil {
			return report, err
		}
		if done.Done {
			break
		}
	}
	if !r.Missed {
		return report, nil
	}
	return report, t.recoverMissed(ctx, r, limit, &report.Missed, step)
}

// recoverMissed sends what fired while the endpoint was disabled.
func (t *Tenant) recoverMissed(ctx context.Context, r Recovery, limit int, count *int, step func(int) error) error {
	s := t.sender
	ep, err := s.st.Endpoint(ctx, t.scope, r.EndpointID)
	if err != nil {
		return err
	}
	if ep.State != store.Enabled {
		return fmt.Errorf("%w: %s", stateError(ep.State), r.EndpointID)
	}
	history, err := s.st.EndpointHistory(ctx, t.scope, r.EndpointID)
	if err != nil {
		return err
	}
	q := store.MissedQuery{EndpointID: r.EndpointID, From: r.From, To: r.To, Limit: limit}
	for {
		events, after, done, err := s.st.Missed(ctx, t.scope, q)
		if err != nil {
			return err
		}
		n := 0
		for i := range events {
			e := &events[i]
			if r.Type != "" && e.Type != r.Type || slices.Contains(e.Refs, exampleRef) {
				continue
			}
			then, existed := configAt(history, e.SetVersion)
			wants := newSelection(then.EventTypes)
			if !existed || then.State != store.Disabled || !wants.matches(e.Type) {
				continue
			}
			if !r.DryRun {
				_, err = s.st.Replay(ctx, t.scope, e.ID, r.EndpointID)
				if errors.Is(err, store.ErrErased) {
					continue
				}
				if err != nil {
					return err
				}
			}
			n++
		}
		*count += n
		q.After = after
		if err := step(n); err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// configAt returns an endpoint's settings as fan-out saw them at a version of the
// endpoint set, and whether it existed.
func configAt(history []store.Change, setVersion int64) (store.Config, bool) {
	var then store.Config
	existed := false
	for i := range history {
		if history[i].SetVersion > setVersion {
			break
		}
		then, existed = history[i].New, true
	}
	return then, existed
}

// stateError is the error for an endpoint that is not enabled.
func stateError(s store.EndpointState) error {
	if s == store.Deleted {
		return store.ErrDeleted
	}
	return store.ErrDisabled
}
