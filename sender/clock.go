package sender

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

var errJump = errors.New("the store's time and this process's have moved against each other")

const (
	// clockAsked is how old what is known of the store's time gets before it is asked
	// for again.
	clockAsked = time.Minute
	// clockJump is how much the store's clock moves against ours between two of its
	// answers before one of them is taken to have jumped: against our wall clock, which
	// may have been set, or against the time that has gone by here, which shows it where
	// both were set because they are one.
	clockJump = time.Minute
	// clockUnsure is how long after a jump nothing is ended or destroyed because of the
	// time that went by. It is what a person has to set the clock right.
	clockUnsure = time.Hour
)

// storeClock tells the store's time without asking each time. Signatures and
// created_at follow it, so that a process whose own clock is wrong sends what
// receivers accept.
type storeClock struct {
	offset atomic.Int64 // store time minus ours, in nanoseconds
	known  atomic.Bool
	asking atomic.Bool

	mu     sync.Mutex
	asked  time.Time     // our time of the last answer, or of none
	heard  time.Time     // our time of the last answer
	told   time.Time     // the store's
	last   time.Duration // their difference
	jumped time.Time     // our time of the last jump
	onJump func(by time.Duration)
}

// learn takes note of the store's time, as answered between two moments of ours.
// The middle is our best guess of when it was read; a difference within the
// uncertainty of that guess changes nothing, so that time does not jitter.
func (c *storeClock) learn(storeNow, before, after time.Time) {
	if storeNow.IsZero() {
		return
	}
	uncertain := after.Sub(before) / 2
	middle := before.Add(uncertain)
	offset := storeNow.Sub(middle.Round(0))
	known := c.known.Load()
	c.answered(storeNow, middle, uncertain, known)
	old := time.Duration(c.offset.Load())
	if known && (offset-old).Abs() <= uncertain+time.Millisecond {
		return
	}
	if !known && offset.Abs() <= uncertain+time.Millisecond {
		offset = 0
	}
	c.offset.Store(int64(offset))
	c.known.Store(true)
}

// answered notices jumps.
func (c *storeClock) answered(storeNow, now time.Time, uncertain time.Duration, known bool) {
	offset := storeNow.Sub(now.Round(0))
	c.mu.Lock()
	by := offset - c.last
	if set := storeNow.Sub(c.told) - now.Sub(c.heard); set.Abs() > by.Abs() {
		by = set
	}
	jump := known && by.Abs() > clockJump+uncertain
	if jump {
		c.jumped = now
	}
	c.asked, c.heard, c.told, c.last = now, now, storeNow, offset
	c.mu.Unlock()
	if jump && c.onJump != nil {
		c.onJump(by)
	}
}

// unsure reports whether a clock has jumped so lately that what it says of time gone by
// is not to be relied on.
func (c *storeClock) unsure(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.jumped.IsZero() && now.Sub(c.jumped) < clockUnsure
}

// settled asks the store's time and reports whether an age by it can be relied on.
func (c *storeClock) settled(ctx context.Context, st store.Queue) (bool, error) {
	before := time.Now()
	now, err := st.Now(ctx)
	if err != nil {
		return false, err
	}
	c.learn(now, before, time.Now())
	return !c.unsure(time.Now()), nil
}

// at returns the store's time at our moment t.
func (c *storeClock) at(t time.Time) time.Time {
	return t.Round(0).Add(time.Duration(c.offset.Load())).UTC()
}

// ask learns the store's time if it is not known yet, or anew if no answer of the
// store's has told it for a minute; then what was known will do if the store does not
// answer.
func (c *storeClock) ask(ctx context.Context, st store.Queue) error {
	known := c.known.Load()
	if known {
		c.mu.Lock()
		fresh := time.Since(c.asked) < clockAsked
		c.mu.Unlock()
		if fresh || !c.asking.CompareAndSwap(false, true) {
			return nil
		}
		defer c.asking.Store(false)
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Second)
		defer cancel()
	}
	before := time.Now()
	now, err := st.Now(ctx)
	switch {
	case err == nil:
		c.learn(now, before, time.Now())
	case known: // and not again at once
		c.mu.Lock()
		c.asked = time.Now()
		c.mu.Unlock()
		err = nil
	}
	return err
}
