package sender

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	settleBatch    = 256
	settleAttempts = 3 // of a whole batch, before its members are tried alone
	settlePause    = 50 * time.Millisecond
	settlePauseMax = time.Second
)

// settler records results. Those that arrive while a commit is under way share the
// next. A slot is freed only after its result is committed: a store that is away
// stops the Sender and loses nothing.
type settler struct {
	s *Sender

	mu      sync.Mutex
	pending []report
	kick    chan struct{}

	seen map[store.DeliveryID]struct{}
}

type report struct {
	job *job
	store.Settlement
}

func newSettler(s *Sender) *settler {
	return &settler{s: s, kick: make(chan struct{}, 1), seen: make(map[store.DeliveryID]struct{}, settleBatch)}
}

// put hands over the result of a job.
func (t *settler) put(j *job, s store.Settlement) {
	s.ID, s.Token = j.ID, j.Token
	if s.Attempt != nil {
		s.Attempt.N = j.Attempt
	}
	t.mu.Lock()
	t.pending = append(t.pending, report{job: j, Settlement: s})
	t.mu.Unlock()
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// next takes a batch of what is pending: each delivery once, later reports of the
// same one wait.
func (t *settler) next(batch []report) []report {
	clear(t.seen)
	t.mu.Lock()
	defer t.mu.Unlock()
	left := t.pending[:0]
	for _, r := range t.pending {
		if _, twice := t.seen[r.ID]; twice || len(batch) == settleBatch {
			left = append(left, r)
			continue
		}
		t.seen[r.ID] = struct{}{}
		batch = append(batch, r)
	}
	clear(t.pending[len(left):])
	t.pending = left
	return batch
}

// run records results until ctx ends.
func (t *settler) run(ctx context.Context) {
	var batch []report
	for {
		batch = t.next(batch[:0])
		if len(batch) == 0 {
			select {
			case <-t.kick:
				continue
			case <-ctx.Done():
				return
			}
		}
		t.record(ctx, batch)
		clear(batch)
		if ctx.Err() != nil {
			return
		}
	}
}

// record commits a batch, however long it takes. If it keeps failing its members
// are tried alone, so that one that can't be stored does not hold up the rest.
func (t *settler) record(ctx context.Context, batch []report) {
	pause := settlePause
	for try := 1; ; try++ {
		if t.commit(ctx, batch) {
			return
		}
		if try >= settleAttempts && len(batch) > 1 {
			for i := range batch {
				if !t.commit(ctx, batch[i:i+1]) {
					t.mu.Lock()
					t.pending = append(t.pending, batch[i])
					t.mu.Unlock()
				}
			}
			return
		}
		select {
		case <-time.After(pause):
			pause = min(2*pause, settlePauseMax)
		case <-ctx.Done():
			return
		}
	}
}

// commit records a batch in one commit, and reports whether that is over with.
func (t *settler) commit(ctx context.Context, batch []report) bool {
	settlements := make([]store.Settlement, len(batch))
	for i := range batch {
		settlements[i] = batch[i].Settlement
	}
	results, err := t.s.st.Settle(ctx, settlements)
	switch {
	case errors.Is(err, store.ErrClosed):
		t.s.trouble.report("hookpost: the store was closed before results were recorded", err)
		results = make([]store.Settled, len(batch))
	case err != nil:
		if ctx.Err() == nil {
			t.s.trouble.report("hookpost: results can't be recorded; sending waits", err)
		}
		return false
	}
	for i := range batch {
		t.s.settled(&batch[i], results[i])
	}
	return true
}

// settled does what follows from a recorded result.
func (s *Sender) settled(r *report, done store.Settled) {
	if done.Accepted && r.Verdict == store.Retry {
		s.upkeep.retryIn(r.Delay)
	}
	if done.Accepted && r.Verdict == store.Exhaust && s.cfg.Hooks.DeliveryExhausted != nil && !r.Quiet {
		s.tellExhausted(r)
	}
	if done.Disabled {
		s.disabled(r.job.endpoint, r.DisableReason)
	}
	if done.Recovered {
		s.recovered(r.job, done.FailingSince)
	}
	s.lanes.release(r.job)
}

func (s *Sender) tellExhausted(r *report) {
	d := Exhaustion{
		Scope: r.job.Scope, Delivery: r.ID, EventID: r.job.EventID, EventType: r.job.EventType, Reason: r.Reason,
	}
	if r.job.endpoint != nil {
		d.EndpointID = r.job.endpoint.ID
	}
	if r.Attempt != nil {
		d.LastStatus = r.Attempt.Status
	}
	hook := s.cfg.Hooks.DeliveryExhausted
	s.hooks.enqueue(func(ctx context.Context) { hook(ctx, d) })
}

// disabled is called when the Sender has disabled an endpoint by itself.
func (s *Sender) disabled(ep *liveEndpoint, reason string) {
	ep.off.Store(true)
	s.cache.forget(ep.Scope)
	s.log.Warn("hookpost: endpoint disabled", "endpoint", ep.ID, "tenant", ep.Tenant, "mode", ep.Mode, "reason", reason)
	if hook := s.cfg.Hooks.EndpointDisabled; hook != nil {
		s.tellEndpoint(ep.Scope, ep.ID, hook)
	}
}

func (s *Sender) recovered(j *job, since time.Time) {
	s.log.Info("hookpost: endpoint recovered", "endpoint", j.endpoint.ID, "tenant", j.Tenant, "mode", j.Mode, "failing_since", since)
	if hook := s.cfg.Hooks.EndpointRecovered; hook != nil {
		s.tellEndpoint(j.Scope, j.endpoint.ID, func(ctx context.Context, ep store.Endpoint) { hook(ctx, ep, since) })
	}
}

// tellEndpoint calls a hook with the endpoint as it is then.
func (s *Sender) tellEndpoint(scope store.Scope, id string, hook func(context.Context, store.Endpoint)) {
	s.hooks.enqueue(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		ep, err := s.st.Endpoint(ctx, scope, id)
		if err != nil {
			s.trouble.report("hookpost: an endpoint can't be read for a hook", err, "endpoint", id)
			return
		}
		hook(ctx, public(ep))
	})
}
