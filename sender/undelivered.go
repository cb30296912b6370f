package sender

import (
	"context"

	"github.com/hookpost/hookpost/store"
)

// Bounds of one page of Undelivered.
const (
	undeliveredPage  = 100
	undeliveredMost  = 1000
	undeliveredStep  = 1000 // events looked at in one call of the store
	undeliveredSteps = 50
)

// Undelivered is an event that an endpoint has not received.
type Undelivered struct {
	Event store.Event // without its body
	// Why is WhyPending, WhyExhausted, WhyCancelled, WhyErased, or WhyDisabled for what
	// fired while the endpoint was disabled.
	Why Why
	// Delivery is the newest one of the event to the endpoint; nil if there never was one.
	Delivery *store.Delivery
}

// UndeliveredPage is a page of what an endpoint has not received, oldest first.
type UndeliveredPage struct {
	Events []Undelivered
	After  int64 // for the next page's query
	Done   bool  // this page is the last
}

// Undelivered answers what an endpoint has not received of the events that were for
// it, oldest first: what is pending, exhausted, cancelled or erased, and what fired
// while it was disabled. Events that it did not select at the time are not among them.
// What was delivered by a replay was received.
//
// q.From is the "since" of the question. q.Limit bounds the page: default 100, at most
// 1000. A page can be shorter, even empty, without being the last, because one call
// looks at 50,000 events at most; go on with q.After = page.After until page.Done. It
// returns store.ErrNotFound if there is no such endpoint.
func (t *Tenant) Undelivered(ctx context.Context, q store.UndeliveredQuery) (UndeliveredPage, error) {
	page := UndeliveredPage{After: q.After}
	if t.err != nil {
		return page, t.err
	}
	st := t.sender.st
	history, err := st.EndpointHistory(ctx, t.scope, q.EndpointID)
	if err != nil {
		return page, err
	}
	limit := min(q.Limit, undeliveredMost)
	if limit <= 0 {
		limit = undeliveredPage
	}
	q.Limit = undeliveredStep
	for range undeliveredSteps {
		found, after, done, err := st.Undelivered(ctx, t.scope, q)
		if err != nil {
			return page, err
		}
		for i := range found {
			why := whyUndelivered(&found[i], history)
			if why == "" {
				continue
			}
			if len(page.Events) == limit {
				return page, nil
			}
			page.Events = append(page.Events, Undelivered{Event: found[i].Event, Why: why, Delivery: found[i].Last})
			page.After = found[i].Event.Num
		}
		page.After, page.Done = after, done
		if q.After = after; done {
			break
		}
	}
	return page, nil
}

// whyUndelivered returns "" for what was not for the endpoint.
func whyUndelivered(u *store.Undelivered, history []store.Change) Why {
	switch {
	case u.Last == nil && !missed(history, &u.Event):
		return ""
	case u.Last == nil && u.Event.ErasedAt.IsZero():
		return WhyDisabled
	case u.Last == nil:
		return WhyErased
	case u.Last.State == store.Pending:
		return WhyPending
	case u.Last.State == store.Exhausted:
		return WhyExhausted
	case u.Last.Reason == store.ReasonErased:
		return WhyErased
	}
	return WhyCancelled
}
