package sender

import (
	"cmp"
	"context"
	"errors"
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
	aloneAtOnce  = 8
)

// enqueuer lets concurrent Sends share a commit: the first goes at once, those that
// arrive while a commit is under way go together in the next. It has a goroutine
// only while there is something to store.
type enqueuer struct {
	st    store.Queue
	owner int64
	lease time.Duration

	mu      sync.Mutex
	pending []*member
	leading bool
}

// member is one event on its way into the store.
type member struct {
	event store.NewEvent
	size  int

	begun    time.Time // our time just before the commit began: what its lease counts from
	repeated bool      // the commit's first answer was lost
	result   store.Enqueued
	err      error
	done     chan struct{}
}

func newMember(ev store.Event) *member {
	return &member{event: store.NewEvent{Event: ev}, size: len(ev.Body), done: make(chan struct{}, 1)}
}

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
	err := q.commit(batch)
	switch {
	case err == nil:
	case len(batch) == 1:
		batch[0].err = err
	default:
		limit := make(chan struct{}, aloneAtOnce)
		for _, m := range batch {
			limit <- struct{}{}
			go func() {
				m.err = q.commit([]*member{m})
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

// commit stores a batch in one commit. A commit whose answer was lost is repeated
// with the same ids, which is safe.
func (q *enqueuer) commit(batch []*member) error {
	p := store.EnqueueParams{Events: make([]store.NewEvent, len(batch)), Owner: q.owner, Lease: q.lease}
	for i, m := range batch {
		p.Events[i] = m.event
	}
	// A commit takes as long as the database needs; a lost one is repeated for a
	// while, since giving up means not knowing.
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for {
		begun := time.Now()
		results, err := q.st.Enqueue(ctx, p)
		if err == nil {
			for i, m := range batch {
				m.result, m.begun, m.repeated = results[i], begun, p.Repeat
			}
			return nil
		}
		if !errors.Is(err, store.ErrUnknownCommit) {
			return err
		}
		p.Repeat = true
		select {
		case <-time.After(retryUnknown):
		case <-ctx.Done():
			return err
		}
	}
}
