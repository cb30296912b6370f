package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

// recorder stands between sender and store. It counts the calls that commit and
// knows when the result of an event's delivery has been committed.
type recorder struct {
	store.Store

	enqueues, claims, settles, steps atomic.Int64
	delivered                        atomic.Int64

	// follow says that single events are waited for.
	follow bool
	mu     sync.Mutex
	byID   map[string]*followed
	byNum  map[int64]*followed
	early  map[int64]struct{} // settled before Enqueue's result was seen here
}

// followed is an event that somebody waits for.
type followed struct {
	num  int64
	done chan struct{}
}

// calls are numbers of calls that commit.
type calls struct{ enqueues, claims, settles, steps int64 }

func (c calls) sum() int64 { return c.enqueues + c.claims + c.settles + c.steps }

func (c calls) minus(d calls) calls {
	return calls{c.enqueues - d.enqueues, c.claims - d.claims, c.settles - d.settles, c.steps - d.steps}
}

func (c calls) plus(d calls) calls {
	return calls{c.enqueues + d.enqueues, c.claims + d.claims, c.settles + d.settles, c.steps + d.steps}
}

func newRecorder(st store.Store, follow bool) *recorder {
	return &recorder{
		Store: st, follow: follow,
		byID:  make(map[string]*followed),
		byNum: make(map[int64]*followed),
		early: make(map[int64]struct{}),
	}
}

func (r *recorder) calls() calls {
	return calls{r.enqueues.Load(), r.claims.Load(), r.settles.Load(), r.steps.Load()}
}

// commits returns the store's own count of transactions, -1 if it has none.
func (r *recorder) commits() int64 {
	if c, ok := r.Store.(interface{ Commits() int64 }); ok {
		return c.Commits()
	}
	return -1
}

// wait returns when the delivery of an event that Send has returned is recorded.
func (r *recorder) wait(ctx context.Context, id string) error {
	r.mu.Lock()
	f := r.byID[id]
	delete(r.byID, id)
	r.mu.Unlock()
	if f == nil {
		return fmt.Errorf("event %s was not stored", id)
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("event %s: %w", id, ctx.Err())
	}
}

// waitAll returns when n deliveries are recorded.
func (r *recorder) waitAll(ctx context.Context, n int) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.delivered.Load() < int64(n) {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%d of %d delivered: %w", r.delivered.Load(), n, ctx.Err())
		}
	}
	return nil
}

func (r *recorder) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	r.enqueues.Add(1)
	results, err := r.Store.Enqueue(ctx, p)
	if err != nil || !r.follow {
		return results, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range results {
		if results[i].Status != store.Stored {
			continue
		}
		f := &followed{num: results[i].Event, done: make(chan struct{})}
		r.byID[p.Events[i].ID] = f
		if _, settled := r.early[f.num]; settled {
			delete(r.early, f.num)
			close(f.done)
		} else {
			r.byNum[f.num] = f
		}
	}
	return results, nil
}

func (r *recorder) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	r.claims.Add(1)
	return r.Store.Claim(ctx, p)
}

func (r *recorder) Settle(ctx context.Context, s []store.Settlement) ([]store.Settled, error) {
	r.settles.Add(1)
	results, err := r.Store.Settle(ctx, s)
	if err != nil {
		return results, err
	}
	if r.follow {
		r.mu.Lock()
		defer r.mu.Unlock()
	}
	n := int64(0)
	for i := range results {
		if !results[i].Accepted || results[i].State != store.Delivered {
			continue
		}
		n++
		if !r.follow {
			continue
		}
		if f := r.byNum[s[i].ID.Event]; f != nil {
			delete(r.byNum, f.num)
			close(f.done)
		} else {
			r.early[s[i].ID.Event] = struct{}{}
		}
	}
	r.delivered.Add(n)
	return results, nil
}

func (r *recorder) Promote(ctx context.Context, limit int) (store.Promoted, error) {
	r.steps.Add(1)
	return r.Store.Promote(ctx, limit)
}

func (r *recorder) TakeOver(ctx context.Context, limit int) (int, error) {
	r.steps.Add(1)
	return r.Store.TakeOver(ctx, limit)
}

func (r *recorder) Expire(ctx context.Context, window time.Duration, limit int) (int, error) {
	r.steps.Add(1)
	return r.Store.Expire(ctx, window, limit)
}

func (r *recorder) FanOut(ctx context.Context, limit int) (int, error) {
	r.steps.Add(1)
	return r.Store.FanOut(ctx, limit)
}

func (r *recorder) CancelDeleted(ctx context.Context, limit int) (int, error) {
	r.steps.Add(1)
	return r.Store.CancelDeleted(ctx, limit)
}

func (r *recorder) DisableFailing(ctx context.Context, rule store.FailingRule, limit int) ([]store.Endpoint, error) {
	r.steps.Add(1)
	return r.Store.DisableFailing(ctx, rule, limit)
}

func (r *recorder) Prune(ctx context.Context, ret store.Retention, limit int) (int, error) {
	r.steps.Add(1)
	return r.Store.Prune(ctx, ret, limit)
}
