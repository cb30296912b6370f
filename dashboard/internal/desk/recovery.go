package desk

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

const (
	maxRunning = 16 // recoveries at once in this process
	maxOwn     = 4  // of them of one tenant in one mode
	maxKept    = 64 // that can be looked at, ended ones included
)

// Recovery is a recovery that runs, or ran, in this process.
type Recovery struct {
	ID    string
	Scope store.Scope
	Actor string
	What  sender.Recovery
	Began time.Time
	Ended time.Time // zero while it runs
	Done  sender.RecoverReport
	Err   error // why it ended early; context.Canceled if somebody ended it

	cancel context.CancelFunc
}

// Running reports whether it runs.
func (r Recovery) Running() bool { return r.Ended.IsZero() }

// Total is how many deliveries it has queued.
func (r Recovery) Total() int { return r.Done.Replayed + r.Done.Hastened + r.Done.Missed }

// recoveries are those of this process.
type recoveries struct {
	mu      sync.Mutex
	ctx     context.Context
	cancel  context.CancelFunc
	list    []*Recovery // oldest first
	running sync.WaitGroup
}

func (rs *recoveries) open() { rs.ctx, rs.cancel = context.WithCancel(context.Background()) }

func (rs *recoveries) close() {
	rs.mu.Lock()
	rs.cancel() // none is started from here on
	rs.mu.Unlock()
	rs.running.Wait()
}

// room returns store.ErrBusy if no recovery of the scope's can be started now. One
// tenant can't take all there is.
func (rs *recoveries) room(scope store.Scope) error {
	running, own := 0, 0
	for _, r := range rs.list {
		if r.Running() {
			running++
			if r.Scope == scope {
				own++
			}
		}
	}
	switch {
	case own >= maxOwn:
		return fmt.Errorf("%w: %d recoveries of this account are running; wait for one to end", store.ErrBusy, own)
	case running >= maxRunning:
		return fmt.Errorf("%w: %d recoveries are running; wait for one to end", store.ErrBusy, running)
	}
	return nil
}

// keep adds a recovery and forgets an ended one if there are many: the oldest of the
// same scope, so that one tenant's do not push out others', else the oldest.
func (rs *recoveries) keep(job *Recovery) {
	rs.list = append(rs.list, job)
	if len(rs.list) <= maxKept {
		return
	}
	i := slices.IndexFunc(rs.list, func(r *Recovery) bool { return !r.Running() && r.Scope == job.Scope })
	if i < 0 {
		i = slices.IndexFunc(rs.list, func(r *Recovery) bool { return !r.Running() })
	}
	if i >= 0 {
		rs.list = slices.Delete(rs.list, i, i+1)
	}
}

// known refuses an endpoint that does not exist, of which nothing could be found.
func (d *Desk) known(ctx context.Context, r sender.Recovery) error {
	if r.EndpointID == "" {
		return nil
	}
	_, err := d.Endpoint(ctx, r.EndpointID)
	return err
}

// StartRecovery starts a recovery that goes on after the request.
func (d *Desk) StartRecovery(ctx context.Context, r sender.Recovery) (string, error) {
	if _, err := d.act(ctx, Replay); err != nil {
		return "", err
	}
	if err := d.known(ctx, r); err != nil {
		return "", err
	}
	rs := &d.office.recoveries
	rs.mu.Lock()
	defer rs.mu.Unlock()
	if err := rs.room(d.Scope()); err != nil {
		return "", err
	}
	if err := rs.ctx.Err(); err != nil {
		return "", store.ErrClosed
	}
	run, cancel := context.WithCancel(sender.WithActor(rs.ctx, d.Actor))
	job := &Recovery{ID: "rcv_" + rand.Text(), Scope: d.Scope(), Actor: d.Actor, What: r, Began: time.Now(), cancel: cancel}
	rs.keep(job)
	r.Progress = func(done sender.RecoverReport) {
		rs.mu.Lock()
		defer rs.mu.Unlock()
		job.Done = done
	}
	rs.running.Go(func() {
		defer cancel()
		done, err := d.tenant.Recover(run, r)
		rs.mu.Lock()
		defer rs.mu.Unlock()
		job.Done, job.Err, job.Ended = done, err, time.Now()
	})
	return job.ID, nil
}

// Recoveries returns those of the scope in this process, newest first.
func (d *Desk) Recoveries() []Recovery {
	rs := &d.office.recoveries
	rs.mu.Lock()
	defer rs.mu.Unlock()
	var list []Recovery
	for _, r := range slices.Backward(rs.list) {
		if r.Scope == d.Scope() {
			list = append(list, *r)
		}
	}
	slices.SortStableFunc(list, func(a, b Recovery) int { return cmp.Compare(b.Began.UnixNano(), a.Began.UnixNano()) })
	return list
}

// Recovery returns one of the scope, or store.ErrNotFound.
func (d *Desk) Recovery(id string) (Recovery, error) {
	for _, r := range d.Recoveries() {
		if r.ID == id {
			return r, nil
		}
	}
	return Recovery{}, fmt.Errorf("%w: recovery %.80q; it may run in another process of the application", store.ErrNotFound, id)
}

// CancelRecovery ends one that runs.
func (d *Desk) CancelRecovery(ctx context.Context, id string) error {
	if _, err := d.act(ctx, Replay); err != nil {
		return err
	}
	r, err := d.Recovery(id)
	if err == nil {
		r.cancel()
	}
	return err
}
