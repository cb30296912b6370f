package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	settleBatch    = 256
	settleAttempts = 3 // of a whole batch, before its members are tried alone
	settlePause    = 50 * time.Millisecond
	settleAgain    = time.Second // before what failed alone, too, is tried again
	// settleAlone is how many members fail alone before the others are spared it.
	settleAlone = 3
	// settleTimeout ends a call of a store that hangs. Its reports are repeated.
	settleTimeout = 30 * time.Second
	// settleFlush is how long a Stop that cuts off waits for what is known already.
	settleFlush = time.Second
)

// settler records results. Those that arrive while a commit is under way share the
// next. A slot is freed only after its result is committed: a store that is away
// stops the Sender and loses nothing.
type settler struct {
	s *Sender

	mu      sync.Mutex // run alone changes what is below pending
	pending []report
	taken   []report // being recorded
	parked  []report // could not be recorded

	kick chan struct{}
	open atomic.Int64 // reports that are not recorded yet

	// Of run alone.
	within *deadline
	seen   map[store.DeliveryID]struct{}
	again  time.Time // when what is parked is tried again
}

type report struct {
	job              *job
	store.Settlement           // as of known
	known            time.Time // when it was handed over
}

// at returns the settlement with its durations as of now: Ago counts back to when the
// attempt began, Delay and Hold from when it ended, however long the store was away.
func (r *report) at(now time.Time) store.Settlement {
	s, late := r.Settlement, now.Sub(r.known)
	s.Ago += late
	s.Delay, s.Hold = max(0, s.Delay-late), max(0, s.Hold-late)
	return s
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
	now := time.Now()
	t.open.Add(1)
	t.mu.Lock()
	t.pending = append(t.pending, report{job: j, Settlement: s, known: now})
	t.mu.Unlock()
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// holds reports whether a result of the delivery waits to be recorded.
func (t *settler) holds(id store.DeliveryID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := func(r report) bool { return r.ID == id }
	return slices.ContainsFunc(t.pending, of) || slices.ContainsFunc(t.taken, of) || slices.ContainsFunc(t.parked, of)
}

// flush waits until all reports are recorded, for at most so long.
func (t *settler) flush(limit time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); t.open.Load() > 0 && time.Now().Before(end); {
		<-tick.C
	}
}

// next takes a batch of what is pending: each delivery once, later reports of the
// same one wait. The batch before is over with, and its memory used again.
func (t *settler) next(batch []report) []report {
	t.mu.Lock()
	defer t.mu.Unlock()
	clear(batch)
	t.taken, t.pending = t.pick(batch[:0], t.pending)
	return t.taken
}

// pick moves reports into a batch, each delivery once, and returns it and what is
// left.
func (t *settler) pick(batch, from []report) (_, left []report) {
	clear(t.seen)
	left = from[:0]
	for _, r := range from {
		if _, twice := t.seen[r.ID]; twice || len(batch) == settleBatch {
			left = append(left, r)
			continue
		}
		t.seen[r.ID] = struct{}{}
		batch = append(batch, r)
	}
	clear(from[len(left):])
	return batch, left
}

// run records results until ctx ends.
func (t *settler) run(ctx context.Context) {
	t.within = newDeadline(ctx)
	defer func() { t.within.end(nil) }()
	var batch []report
	for ctx.Err() == nil {
		if len(t.parked) > 0 && !time.Now().Before(t.again) {
			t.recordParked(ctx)
		}
		if batch = t.next(batch); len(batch) == 0 {
			var again <-chan time.Time
			if len(t.parked) > 0 {
				again = time.After(time.Until(t.again))
			}
			select {
			case <-t.kick:
			case <-again:
			case <-ctx.Done():
			}
			continue
		}
		t.record(ctx, batch)
	}
}

// record commits a batch. If it keeps failing its members are tried alone, and what
// can't be stored even so is parked, so that it holds up nobody.
func (t *settler) record(ctx context.Context, batch []report) {
	for range settleAttempts {
		if t.commit(ctx, batch) {
			return
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return
		}
	}
	t.park(t.alone(ctx, batch))
}

// recordParked tries the reports again that could not be recorded.
func (t *settler) recordParked(ctx context.Context) {
	t.mu.Lock()
	t.taken, t.parked = t.pick(nil, t.parked)
	batch := t.taken
	t.mu.Unlock()
	if !t.commit(ctx, batch) {
		t.park(t.alone(ctx, batch))
	}
}

func (t *settler) park(left []report) {
	t.mu.Lock()
	t.parked = append(t.parked, left...)
	t.mu.Unlock()
	t.again = time.Now().Add(settleAgain)
}

// alone tries each member of a batch by itself and returns those that are left. If
// the first few fail the store is taken to be what is wrong.
func (t *settler) alone(ctx context.Context, batch []report) []report {
	var left []report
	for i := range batch {
		if len(left) == settleAlone && i == len(left) || ctx.Err() != nil {
			// The others first the next time.
			return append(slices.Clone(batch[i:]), left...)
		}
		if !t.commit(ctx, batch[i:i+1]) {
			left = append(left, batch[i])
		}
	}
	return left
}

// commit records a batch in one commit, and reports whether that is over with.
func (t *settler) commit(ctx context.Context, batch []report) bool {
	settlements := make([]store.Settlement, len(batch))
	began := time.Now()
	for i := range batch {
		settlements[i] = batch[i].at(began)
	}
	t.within.start(settleTimeout)
	results, err := t.s.st.Settle(t.within.ctx, settlements)
	t.within.spent = t.within.spent || err != nil
	t.within = t.within.next(ctx)
	if err == nil && len(results) != len(batch) {
		err = fmt.Errorf("sender: the store gave %d results for %d reports", len(results), len(batch))
	}
	t.s.observe.settled(began, len(batch), err)
	switch {
	case errors.Is(err, store.ErrClosed):
		t.s.trouble.report("hookpost: the store was closed before results were recorded", err)
		results = make([]store.Settled, len(batch))
	case errors.Is(err, store.ErrInvalid) && len(batch) == 1:
		// It never will be recorded. The lease ends without a report.
		t.s.log.Error("hookpost: the store refuses a result", "event", batch[0].job.EventID, "error", err)
		results = make([]store.Settled, 1)
	case err != nil:
		if ctx.Err() == nil {
			t.s.trouble.report("hookpost: results can't be recorded; sending waits", err)
		}
		return false
	}
	for i := range batch {
		t.s.settled(&batch[i], results[i])
	}
	t.open.Add(-int64(len(batch)))
	return true
}

// settled does what follows from a recorded result.
func (s *Sender) settled(r *report, done store.Settled) {
	if done.Accepted && r.Verdict == store.Retry {
		s.upkeep.retryIn(r.Delay)
	}
	if done.Accepted && r.Verdict == store.Exhaust {
		s.exhausted(r)
	}
	s.counts.count(r, done)
	if done.Disabled {
		s.disabled(r.job.endpoint, r.DisableReason, nil)
	}
	if done.Recovered && s.clock.at(time.Now()).Sub(done.FailingSince) >= recoveredAfter {
		s.recovered(r.job, done.FailingSince)
	}
	s.lanes.release(r.job)
}

func (s *Sender) exhausted(r *report) {
	d := Exhaustion{
		Scope: r.job.Scope, Delivery: r.ID, EventID: r.job.EventID, EventType: r.job.EventType, Reason: r.Reason,
	}
	if r.job.endpoint != nil {
		d.EndpointID = r.job.endpoint.ID
	}
	attempts := r.job.Attempt
	if r.Attempt != nil {
		d.LastStatus = r.Attempt.Status
	} else {
		attempts-- // it was given up without another one
	}
	s.observe.exhausted(d)
	if r.Quiet {
		return // a test event; who asked for it will look
	}
	s.log.Warn("hookpost: delivery exhausted", "event", d.EventID, "type", d.EventType, "endpoint", d.EndpointID,
		"tenant", d.Tenant, "mode", d.Mode, "delivery", d.Delivery, "attempts", attempts, "status", d.LastStatus, "reason", d.Reason)
	if hook := s.cfg.Hooks.DeliveryExhausted; hook != nil {
		s.hooks.enqueue(func(ctx context.Context) { hook(ctx, d) })
	}
}

// disabled is called when the Sender has disabled an endpoint by itself. h is its
// health if that was the reason.
func (s *Sender) disabled(ep *liveEndpoint, reason string, h *store.Health) {
	ep.off.Store(true)
	s.cache.forget(ep.Scope)
	if h == nil {
		s.log.Warn("hookpost: endpoint disabled", "endpoint", ep.ID, "tenant", ep.Tenant, "mode", ep.Mode, "reason", reason)
	} else {
		s.log.Warn("hookpost: endpoint disabled for failing", "endpoint", ep.ID, "tenant", ep.Tenant, "mode", ep.Mode, "reason", reason,
			"failing_since", h.FailingSince, "failures", h.Failures, "last_success", h.LastSuccess)
	}
	s.observe.endpointDisabled(EndpointDisabled{ep.Scope, ep.ID, reason})
	if hook := s.cfg.Hooks.EndpointDisabled; hook != nil {
		s.tellEndpoint(ep.Scope, ep.ID, hook)
	}
}

func (s *Sender) recovered(j *job, since time.Time) {
	s.log.Info("hookpost: endpoint recovered", "endpoint", j.endpoint.ID, "tenant", j.Tenant, "mode", j.Mode, "failing_since", since)
	s.observe.endpointRecovered(EndpointRecovered{j.Scope, j.endpoint.ID, since})
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
