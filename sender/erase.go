package sender

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/store"
)

// eraseStep is how much one step of an erasure takes: events, or their deliveries
// where those are more.
const eraseStep = 500

// Erasure says what Erase erases: exactly one of EventID, Ref and All is set.
type Erasure struct {
	EventID string // this event
	Ref     string // every event with this reference, see Event.Refs
	// All is every event of the tenant in this mode. The other mode is another Tenant.
	All bool
	// DeleteEndpoints, which goes with All, deletes the tenant's endpoints first: their
	// secrets are destroyed and nothing is sent to them any more. Without it they stay
	// and go on receiving what is sent later. The URLs, descriptions and history of
	// deleted endpoints stay readable.
	DeleteEndpoints bool
	// After goes on where an earlier run ended, with its report's After, instead of at
	// the oldest event.
	After int64
	// Progress is called after every step, on the caller's goroutine.
	Progress func(EraseReport)
}

// EraseReport counts what an erasure did. A step whose answer the store lost is repeated,
// and not counted if it had been carried out.
type EraseReport struct {
	Events    int   // that were erased, and had not been before
	Cancelled int   // deliveries that were pending
	Endpoints int   // that were deleted
	After     int64 // where it ended
}

// Erase erases events for good: the payload, the references, and what receivers
// answered to failed attempts. Pending deliveries are cancelled; an attempt under way
// finishes, and its success counts, but an answer is not kept. What remains says that
// there was an event and that it was erased: id, type, times, a SHA-256 of type and
// data, and the log of its deliveries with URLs, statuses and our words for errors.
// [Tenant.Explain] answers WhyErased, [Tenant.Replay] returns store.ErrErased, and the
// id stays taken. That the receivers forget it too is not in our hands; nor is what
// the database has in backups, or a disk in blocks that are not used again yet.
//
// It works in steps that leave at least half of the time to others. When ctx ends it
// stops between two of them and returns what was done so far; run again it goes on.
// What is sent meanwhile, or committed by a transaction that was open, may be left:
// stop sending first, or run it again.
//
// Errors: store.ErrNotFound for an unknown EventID, store.ErrInvalid for an Erasure
// that makes no sense.
func (t *Tenant) Erase(ctx context.Context, e Erasure) (EraseReport, error) {
	report := EraseReport{After: e.After}
	if err := t.checkErasure(&e); err != nil {
		return report, err
	}
	if e.DeleteEndpoints {
		if err := t.deleteEndpoints(ctx, &e, &report); err != nil {
			return report, err
		}
	}
	p := store.EraseParams{EventID: e.EventID, Ref: e.Ref, All: e.All, After: e.After, Limit: eraseStep}
	for {
		begun := time.Now()
		var done store.Erased
		err := insist(ctx, func(bool) (err error) {
			done, err = t.sender.st.Erase(ctx, t.scope, p)
			return err
		})
		if err != nil {
			return report, err
		}
		report.Events += done.Events
		report.Cancelled += done.Cancelled
		report.After, p.After = done.After, done.After
		if e.Progress != nil {
			e.Progress(report)
		}
		if done.Done {
			return report, nil
		}
		if err := sleep(ctx, time.Since(begun)); err != nil {
			return report, err
		}
	}
}

// EraseTx is [Tenant.Erase] in the application's own transaction, such as the one that
// deletes the customer: it is erased if and only if that commits. tx comes from the
// store's Tx or SQLTx method. Until then reports on deliveries of these events wait,
// so commit soon.
//
// It takes everything at once, at most store.MaxEraseTx events or deliveries; if that
// is not enough it returns store.ErrTooMany, nothing was erased, and the transaction
// remains as it was. It does not delete endpoints, and After and Progress are not used.
// Errors are those of Erase and ErrForeignTx; after one that is none of these roll back.
func (t *Tenant) EraseTx(ctx context.Context, tx store.Tx, e Erasure) (EraseReport, error) {
	if tx == nil || tx.Store() != t.sender.st.Store {
		return EraseReport{}, ErrForeignTx
	}
	if err := t.checkErasure(&e); err != nil {
		return EraseReport{}, err
	}
	if e.DeleteEndpoints {
		return EraseReport{}, fmt.Errorf("%w: EraseTx deletes no endpoints; call DeleteEndpoint, or Erase with DeleteEndpoints", store.ErrInvalid)
	}
	done, err := tx.Erase(ctx, t.scope, store.EraseParams{EventID: e.EventID, Ref: e.Ref, All: e.All})
	if errors.Is(err, store.ErrTooMany) {
		err = fmt.Errorf("%w; erase it in steps with Erase, after the commit", err)
	}
	return EraseReport{Events: done.Events, Cancelled: done.Cancelled, After: done.After}, err
}

func (t *Tenant) checkErasure(e *Erasure) error {
	if t.err != nil {
		return t.err
	}
	if e.DeleteEndpoints && !e.All {
		return fmt.Errorf("%w: Erasure.DeleteEndpoints goes with All", store.ErrInvalid)
	}
	return store.CheckErase(t.scope, store.EraseParams{EventID: e.EventID, Ref: e.Ref, All: e.All})
}

// deleteEndpoints deletes all endpoints of the tenant.
func (t *Tenant) deleteEndpoints(ctx context.Context, e *Erasure, report *EraseReport) error {
	for {
		page, err := t.Endpoints(ctx, store.EndpointQuery{})
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			switch err := t.DeleteEndpoint(ctx, page[i].ID); {
			case err == nil:
				report.Endpoints++
			case !errors.Is(err, store.ErrDeleted):
				return err
			}
		}
		if e.Progress != nil {
			e.Progress(*report)
		}
	}
}
