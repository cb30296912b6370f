package sender

import (
	"context"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

// statsBound is where counts stop, unless asked to go on: reading fifty entries of an
// index costs little more than finding the first.
const statsBound = 50

// Stats tells how the deliveries of a tenant stand.
type Stats struct {
	// Total is the sum of all endpoints. Its OldestDue is that of the enabled ones:
	// how late sending is.
	Total Tally
	// Endpoints are those not deleted, in the order in which they were created.
	Endpoints []EndpointStats
}

// EndpointStats tells how the deliveries of an endpoint stand.
type EndpointStats struct {
	EndpointID string
	State      store.EndpointState
	Tally
}

// Tally is how deliveries stand. What is pending is disjoint: Due, Scheduled and
// InFlight together.
//
// The counts come from the store, are the same for every process, and exact unless
// they say that there may be more.
type Tally struct {
	// Due are those whose time has come and that nobody attempts: they wait for a
	// free worker, or for their endpoint to be enabled or its hold to end.
	Due store.Count
	// OldestDue is when the one became due that waits longest, by the store's clock;
	// zero if none is.
	OldestDue time.Time
	// Scheduled are those that wait for the time of their retry.
	Scheduled store.Count
	// InFlight are those that a worker holds: one that attempts them, records their
	// result, or died with them, until its lease is taken over.
	InFlight store.Count
	// Exhausted are those that were given up and are still in the log, see
	// Options.KeepLog, replayed since or not. Test events are not among them.
	Exhausted store.Count
	// Here is what this Sender did, not what others on the same store did.
	Here Counters
}

// Pending returns what is still to be delivered.
func (t Tally) Pending() store.Count { return t.Due.Plus(t.Scheduled).Plus(t.InFlight) }

// Counters count results that one Sender has recorded, without those of test events.
// They begin at zero with the process, and for an endpoint without any result for a
// day.
type Counters struct {
	Since     time.Time // when counting began; of a sum the latest
	Delivered int64     // deliveries
	Failed    int64     // attempts
	Exhausted int64     // deliveries
}

// Stats returns how the tenant's deliveries stand, in all and by endpoint. Each
// endpoint's counts stop at 50, those in flight when 10,000 are in the whole store.
// The cost grows with the number of endpoints and not with that of deliveries.
func (t *Tenant) Stats(ctx context.Context) (Stats, error) {
	if t.err != nil {
		return Stats{}, t.err
	}
	var s Stats
	q := store.BacklogQuery{Limit: 1000, Bound: statsBound}
	for {
		page, err := t.sender.st.Backlogs(ctx, t.scope, q)
		if err != nil {
			return Stats{}, err
		}
		for i := range page {
			ep := t.sender.counts.stats(&page[i])
			s.Total.add(&ep)
			s.Endpoints = append(s.Endpoints, ep)
		}
		if len(page) < q.Limit {
			return s, nil
		}
		q.After = page[len(page)-1].Endpoint
	}
}

// EndpointStats returns how the deliveries of one endpoint stand. Counts stop at upTo,
// which 0 makes 50; one that goes on to 10,000 takes a millisecond or two. The error
// is a store.ErrNotFound if there is no such endpoint or it is deleted.
func (t *Tenant) EndpointStats(ctx context.Context, endpointID string, upTo int) (EndpointStats, error) {
	if t.err != nil {
		return EndpointStats{}, t.err
	}
	if endpointID == "" {
		return EndpointStats{}, store.ErrNotFound
	}
	if upTo <= 0 {
		upTo = statsBound
	}
	page, err := t.sender.st.Backlogs(ctx, t.scope, store.BacklogQuery{EndpointID: endpointID, Bound: upTo})
	if err != nil {
		return EndpointStats{}, err
	}
	return t.sender.counts.stats(&page[0]), nil
}

// add adds what an endpoint has.
func (t *Tally) add(ep *EndpointStats) {
	t.Due = t.Due.Plus(ep.Due)
	t.Scheduled = t.Scheduled.Plus(ep.Scheduled)
	t.InFlight = t.InFlight.Plus(ep.InFlight)
	t.Exhausted = t.Exhausted.Plus(ep.Exhausted)
	if ep.State == store.Enabled && !ep.OldestDue.IsZero() && (t.OldestDue.IsZero() || ep.OldestDue.Before(t.OldestDue)) {
		t.OldestDue = ep.OldestDue
	}
	t.Here.Delivered += ep.Here.Delivered
	t.Here.Failed += ep.Here.Failed
	t.Here.Exhausted += ep.Here.Exhausted
	if ep.Here.Since.After(t.Here.Since) {
		t.Here.Since = ep.Here.Since
	}
}

// idleCounters is how long those of an endpoint without results are kept.
const idleCounters = 24 * time.Hour

// counters holds those of the endpoints that had results lately.
type counters struct {
	mu sync.Mutex
	// since is from when on an endpoint that is not in the map had no result.
	since time.Time
	of    map[int64]*counting
}

type counting struct {
	Counters
	last time.Time
}

func newCounters() *counters {
	return &counters{since: time.Now(), of: make(map[int64]*counting)}
}

// count counts a recorded result.
func (c *counters) count(r *report, done store.Settled) {
	if !done.Accepted || r.Verdict == store.Release || r.Quiet {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.of[r.ID.Endpoint]
	if n == nil {
		n = &counting{Counters: Counters{Since: c.since}}
		c.of[r.ID.Endpoint] = n
	}
	n.last = time.Now()
	switch r.Verdict {
	case store.Deliver:
		n.Delivered++
		return
	case store.Exhaust:
		n.Exhausted++
	}
	if r.Attempt != nil {
		n.Failed++
	}
}

// forget drops the counters of endpoints that had no result for a day.
func (c *counters) forget(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for num, n := range c.of {
		if now.Sub(n.last) >= idleCounters {
			delete(c.of, num)
			c.since = now
		}
	}
}

// stats adds what was counted here to what the store tells.
func (c *counters) stats(b *store.Backlog) EndpointStats {
	ep := EndpointStats{EndpointID: b.EndpointID, State: b.State, Tally: Tally{
		Due: b.Due, OldestDue: b.OldestDue, Scheduled: b.Scheduled, InFlight: b.InFlight, Exhausted: b.Exhausted,
	}}
	c.mu.Lock()
	defer c.mu.Unlock()
	ep.Here.Since = c.since
	if n := c.of[b.Endpoint]; n != nil {
		ep.Here = n.Counters
	}
	return ep
}
