package desk

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

const (
	countTime    = 2 * time.Second // after which a count is told as "at least"
	maxCounts    = 8               // at once in this process
	maxOwnCounts = 2               // of them of one tenant in one mode, and of one actor
)

// counts are those that run in this process.
type counts struct {
	mu      sync.Mutex
	running []counter
}

// counter is who counts.
type counter struct {
	scope store.Scope
	actor string
}

// begin returns store.ErrBusy if too many counts run; else the caller ends this one.
func (c *counts) begin(who counter) (end func(), err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ofScope, ofActor := 0, 0
	for _, r := range c.running {
		if r.scope == who.scope {
			ofScope++
		}
		if r.actor == who.actor && who.actor != "" {
			ofActor++
		}
	}
	switch {
	case max(ofScope, ofActor) >= maxOwnCounts:
		return nil, fmt.Errorf("%w: %d counts of this account or actor are running; wait for one to end", store.ErrBusy, maxOwnCounts)
	case len(c.running) >= maxCounts:
		return nil, fmt.Errorf("%w: %d counts are running; wait for one to end", store.ErrBusy, maxCounts)
	}
	c.running = append(c.running, who)
	return func() { c.end(who) }, nil
}

func (c *counts) end(who counter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := slices.Index(c.running, who)
	c.running = slices.Delete(c.running, i, i+1)
}

// Count is what a recovery would take up, counted for a while: complete says that
// it was enough. It needs the right to recover, since it looks through the log.
func (d *Desk) Count(ctx context.Context, r sender.Recovery) (report sender.RecoverReport, complete bool, err error) {
	if ctx, err = d.act(ctx, Replay); err != nil {
		return report, false, err
	}
	end, err := d.office.counts.begin(counter{d.Scope(), d.Actor})
	if err != nil {
		return report, false, err
	}
	defer end()
	ctx, cancel := context.WithTimeout(ctx, countTime)
	defer cancel()
	if err := d.known(ctx, r); err != nil {
		return report, false, err
	}
	r.DryRun = true
	report, err = d.tenant.Recover(ctx, r)
	if errors.Is(err, context.DeadlineExceeded) {
		return report, false, nil
	}
	return report, true, err
}
