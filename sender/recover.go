package sender

import (
	"context"
	"fmt"
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
	// Missed also does what BackFill does. It needs an EndpointID.
	Missed bool
	// DryRun counts and changes nothing.
	DryRun bool
	// Rate caps how many deliveries are taken up per second. Default: no cap.
	Rate int
	// Progress is called after every step, on the caller's goroutine.
	Progress func(RecoverReport)
}

// RecoverReport counts what a recovery did, or in a dry run would do. A step whose answer
// the store lost is repeated, and not counted if it had been carried out.
type RecoverReport struct {
	Replayed int // exhausted deliveries that were given a new one
	Hastened int // pending deliveries that waited for a retry and are due now
	Missed   int // events of a disabled window that got a delivery
}

// Recover replays what was exhausted: of an enabled endpoint, every exhausted
// delivery of an event that was not delivered and is not pending since gets a new
// delivery, and those that wait for a retry become due now. It works in steps, at the Rate if
// given; when ctx ends it stops between two of them and returns what was done so
// far. Run again it goes on, and nothing is sent twice. It returns when all are queued,
// and the log tells what becomes of them.
//
// Without an EndpointID, endpoints that are not enabled are left out. Errors:
// [store.ErrNotFound], [store.ErrDisabled] and [store.ErrDeleted] of the endpoint, and
// [store.ErrInvalid] for a Recovery that makes no sense.
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
	if r.EndpointID != "" {
		if err := t.enabled(ctx, r.EndpointID); err != nil {
			return report, err
		}
	}
	pace := pace{s: s, rate: r.Rate, dryRun: r.DryRun}
	step := func(n int) error {
		if r.Progress != nil {
			r.Progress(report)
		}
		return pace.next(ctx, n)
	}
	p := store.RecoverParams{EndpointID: r.EndpointID, Type: r.Type, From: r.From, To: r.To, DryRun: r.DryRun, Limit: pace.step()}
	for {
		var done store.Recovered
		err := insist(ctx, func(bool) (err error) {
			done, err = s.st.Recover(ctx, t.scope, p)
			return err
		})
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
	missed := Missed{EndpointID: r.EndpointID, Type: r.Type, From: r.From, To: r.To, DryRun: r.DryRun}
	return report, t.backFill(ctx, &missed, pace.step(), func(n int) error {
		report.Missed += n
		return step(n)
	})
}

// pace bounds the steps of work that makes many deliveries due.
type pace struct {
	s      *Sender
	rate   int // deliveries a second; 0: as fast as it goes
	dryRun bool
}

// step is how much one step may do.
func (p pace) step() int {
	if p.rate > 0 && !p.dryRun {
		return min(recoverStep, max(1, p.rate/10)) // steps of a tenth of a second
	}
	return recoverStep
}

// next ends a step that made n deliveries due: it has them claimed and waits as the
// rate says.
func (p pace) next(ctx context.Context, n int) error {
	if n > 0 && !p.dryRun {
		p.s.Wake()
		if p.rate > 0 {
			return sleep(ctx, time.Duration(n)*time.Second/time.Duration(p.rate))
		}
	}
	return ctx.Err()
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
