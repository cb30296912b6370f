package sender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Bounds of a shared commit. A member beyond them goes alone.
const (
	shareEvents     = 256
	shareBytes      = 4 << 20
	shareDeliveries = 1000
	// retryUnknown is the pause before a batch is repeated whose answer was lost.
	retryUnknown = 50 * time.Millisecond
	// repeatTogether is how often a batch is tried before its members are tried alone
	// although it is unknown whether they are stored.
	repeatTogether = 5
	aloneAtOnce    = 8
	// commitTimeout bounds the tries of one batch together.
	commitTimeout = 30 * time.Second
)

// enqueuer lets concurrent Sends share a commit: the first goes at once, those that
// arrive while a commit is under way go together in the next. It has a goroutine
// only while there is something to store.
type enqueuer struct {
	st      store.Queue
	observe *observing
	leases  *leaseLength

	mu      sync.Mutex
	pending []*member
	leading bool
}

// member is one event on its way into the store.
type member struct {
	event store.NewEvent
	size  int

	ownID   bool // the event's id was made here: nobody else has it
	example bool // for the one endpoint that event.For names

	begun    time.Time // our time just before the commit began: what its lease counts from
	lease    time.Duration
	repeated bool // the answer to a commit of it was lost
	result   store.Enqueued
	err      error
	done     chan struct{}
}

func newMember(ev store.Event) *member {
	return &member{event: store.NewEvent{Event: ev}, size: len(ev.Body), done: make(chan struct{}, 1)}
}

// aimed reports whether the event is for one endpoint, whatever that selects.
func (m *member) aimed() bool { return m.example || m.event.Type == testEventType }

// put hands a member over. Its done has an element when result or err is set.
// The batch does not run under the caller's context: what has joined is stored.
func (q *enqueuer) put(members ...*member) {
	q.mu.Lock()
	q.pending = append(q.pending, members...)
	lead := !q.leading
	if lead {
		q.leading = true
	}
	q.mu.Unlock()
	if lead {
		go q.lead()
	}
}

// lead stores batches until none is left.
func (q *enqueuer) lead() {
	for {
		q.mu.Lock()
		batch := q.next()
		if len(batch) == 0 {
			q.leading = false
			q.mu.Unlock()
			return
		}
		q.mu.Unlock()
		q.store(batch)
	}
}

// next cuts the next batch from what is pending. q.mu is held.
func (q *enqueuer) next() []*member {
	var size, deliveries, n int
	for _, m := range q.pending {
		size += m.size
		deliveries += len(m.event.For)
		if n > 0 && (n == shareEvents || size > shareBytes || deliveries > shareDeliveries) {
			break
		}
		n++
	}
	sorted := slices.Clone(q.pending[:n])
	// One order for all batches, so that two of them can't wait for each other.
	slices.SortStableFunc(sorted, compareMembers)
	// Of the same id only the first: the later ones wait for the next batch.
	batch := sorted[:0]
	var again []*member
	for _, m := range sorted {
		if len(batch) > 0 && compareMembers(batch[len(batch)-1], m) == 0 {
			again = append(again, m)
			continue
		}
		batch = append(batch, m)
	}
	rest := q.pending[n:]
	if len(rest) == 0 && len(again) == 0 {
		clear(q.pending)
		q.pending = q.pending[:0]
	} else {
		q.pending = append(again, rest...)
	}
	return batch
}

func compareMembers(a, b *member) int {
	return cmp.Or(
		cmp.Compare(a.event.Tenant, b.event.Tenant),
		cmp.Compare(a.event.Mode, b.event.Mode),
		cmp.Compare(a.event.ID, b.event.ID),
	)
}

// store commits a batch. If it fails, each member is repeated alone and gets its
// own error.
func (q *enqueuer) store(batch []*member) {
	first := commit{batch: batch}
	err := q.commit(&first)
	switch {
	case err == nil:
	case len(batch) == 1 || errors.Is(err, store.ErrClosed) || errors.Is(err, ErrOutcomeUnknown):
		for _, m := range batch {
			m.err = err
		}
	default:
		limit := make(chan struct{}, aloneAtOnce)
		for _, m := range batch {
			limit <- struct{}{}
			go func() {
				m.err = q.commit(&commit{batch: []*member{m}, owner: first.owner, lease: first.lease, begun: first.begun, repeat: first.repeat})
				m.done <- struct{}{}
				<-limit
			}()
		}
		return
	}
	for _, m := range batch {
		m.done <- struct{}{}
	}
}

// commit is the try, or tries, to store a batch.
type commit struct {
	batch []*member
	// owner takes the leases, and is of this commit alone: a repetition must not take
	// those for its own that an earlier Send of the same event has.
	owner  int64
	lease  time.Duration
	begun  time.Time // when the first try began that may have been committed
	repeat bool      // an earlier try may have been committed
}

// commit stores a batch in one commit. A commit whose answer was lost is repeated
// with the same ids, which is safe, whatever hinders the repetition: giving up
// means not knowing.
func (q *enqueuer) commit(c *commit) error {
	if c.owner == 0 {
		c.owner = rand.Int64()
		c.lease, _ = q.leases.next(time.Now())
	}
	p := store.EnqueueParams{Events: make([]store.NewEvent, len(c.batch)), Owner: c.owner, Lease: c.lease}
	for i, m := range c.batch {
		p.Events[i] = m.event
	}
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	for try := 1; ; try++ {
		if !c.repeat {
			c.begun = time.Now()
		}
		p.Repeat = c.repeat
		tried := time.Now()
		results, err := q.st.Enqueue(ctx, p)
		if err == nil && len(results) != len(c.batch) {
			err = fmt.Errorf("sender: the store gave %d results for %d events", len(results), len(c.batch))
		}
		q.observe.eventsStored(tried, len(c.batch), err)
		if err == nil {
			for i, m := range c.batch {
				m.result, m.begun, m.lease, m.repeated = results[i], c.begun, c.lease, m.repeated || c.repeat
			}
			return nil
		}
		// A timeout of ours may have cut off the answer, too, unless the store says that it
		// came to nothing.
		if errors.Is(err, store.ErrUnknownCommit) || ctx.Err() != nil && !errors.Is(err, store.ErrBusy) {
			c.repeat = true
		}
		switch {
		case !c.repeat:
			return err
		case errors.Is(err, store.ErrClosed):
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		case len(c.batch) > 1 && try == repeatTogether && !errors.Is(err, store.ErrUnknownCommit):
			return err // perhaps one of them is what hinders the others
		}
		select {
		case <-time.After(retryUnknown):
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
		}
	}
}
