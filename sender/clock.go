package sender

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

// storeClock tells the store's time without asking each time. Signatures and
// created_at follow it, so that a process whose own clock is wrong sends what
// receivers accept.
type storeClock struct {
	offset atomic.Int64 // store time minus ours, in nanoseconds
	known  atomic.Bool
}

// learn takes note of the store's time, as answered between two moments of ours.
// The middle is our best guess of when it was read; a difference within the
// uncertainty of that guess changes nothing, so that time does not jitter.
func (c *storeClock) learn(storeNow, before, after time.Time) {
	if storeNow.IsZero() {
		return
	}
	uncertain := after.Sub(before) / 2
	offset := storeNow.Sub(before.Add(uncertain).Round(0))
	old := time.Duration(c.offset.Load())
	if c.known.Load() && (offset-old).Abs() <= uncertain+time.Millisecond {
		return
	}
	if !c.known.Load() && offset.Abs() <= uncertain+time.Millisecond {
		offset = 0
	}
	c.offset.Store(int64(offset))
	c.known.Store(true)
}

// at returns the store's time at our moment t.
func (c *storeClock) at(t time.Time) time.Time {
	return t.Round(0).Add(time.Duration(c.offset.Load())).UTC()
}

// ask learns the store's time if it is not known yet.
func (c *storeClock) ask(ctx context.Context, st store.Queue) error {
	if c.known.Load() {
		return nil
	}
	before := time.Now()
	now, err := st.Now(ctx)
	if err != nil {
		return err
	}
	c.learn(now, before, time.Now())
	return nil
}
