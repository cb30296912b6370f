package sender

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	// aloneAtOnce is how many members are tried alone at the same time.
	aloneAtOnce = 8
)

// lead stores batches until none is left.
func (q *enqueuer) lead() {
	for batch := q.next(); len(batch) > 0; batch = q.next() {
		q.store(batch)
	}
}

// store commits a batch. If that fails, each member is tried alone and gets its own
// error; the next batch does not wait for that.
func (q *enqueuer) store(batch []*member) {
	c := commit{batch: batch}
	err := q.commit(&c)
	if err == nil || len(batch) == 1 || c.late || errors.Is(err, store.ErrClosed) || errors.Is(err, ErrOutcomeUnknown) {
		q.end(batch, err)
		return
	}
	q.separate(&c, err)
}

// tryAlone stores members that are to be tried alone until none is left.
func (q *enqueuer) tryAlone() {
	for m := q.nextAlone(); m != nil; m = q.nextAlone() {
		c := *m.again
		c.batch = []*member{m}
		q.end(c.batch, q.commit(&c))
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
	late   bool      // the time of all members is over
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
	ctx, cancel := within(c.batch)
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
		c.late = ctx.Err() != nil
		// A timeout of ours may have cut off the answer, too, unless the store says that it
		// came to nothing.
		if errors.Is(err, store.ErrUnknownCommit) || c.late && !errors.Is(err, store.ErrBusy) {
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
