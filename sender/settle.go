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
	settleAttempts = 3 // of a whole batch, before its members are parked
	settlePause    = 50 * time.Millisecond
	settleAgain    = time.Second            // before what is parked is tried again
	settleBusy     = 100 * time.Millisecond // the same, if what it needs was only held by somebody
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
//
// Results that can't be recorded are parked, and recorded beside the others, which
// they must not hold up; so are those that disable an endpoint, which takes longer.
type settler struct {
	s    *Sender
	open atomic.Int64 // reports that are not recorded yet

	mu      sync.Mutex
	pending []report
	parked  []report
	again   time.Time // when what is parked is tried again

	kick, kickParked chan struct{}
	first, beside    recorder
}

type report struct {
	job              *job
	store.Settlement           // as of known
	known            time.Time // when it was handed over
	parked, held     bool      // has been parked; because somebody held what it needs
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
	t := &settler{s: s, kick: make(chan struct{}, 1), kickParked: make(chan struct{}, 1)}
	t.first, t.beside = newRecorder(t), newRecorder(t)
	return t
}

// put hands over the result of a job.
func (t *settler) put(j *job, s store.Settlement) {
	s.ID, s.Token = j.ID, j.Token
	if s.Attempt != nil {
		s.Attempt.N = j.Attempt
	}
	r := report{job: j, Settlement: s, known: time.Now()}
	t.open.Add(1)
	if s.DisableVersion != 0 {
		t.park([]report{r}, 0)
		return
	}
	t.mu.Lock()
	t.pending = append(t.pending, r)
	t.mu.Unlock()
	signal(t.kick)
}

// signal makes sure that a channel of one element has it.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// park has reports tried again after a pause.
func (t *settler) park(reports []report, pause time.Duration) {
	if len(reports) == 0 {
		return
	}
	for i := range reports {
		if r := &reports[i]; !r.parked {
			r.parked = true
			t.s.lanes.park(r.ID.Endpoint, r.held, time.Now())
		}
	}
	again := time.Now().Add(pause)
	t.mu.Lock()
	if len(t.parked) == 0 || again.Before(t.again) {
		t.again = again
	}
	t.parked = append(t.parked, reports...)
	t.mu.Unlock()
	signal(t.kickParked)
}

// holds reports whether a result of the delivery waits to be recorded.
func (t *settler) holds(id store.DeliveryID) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, list := range [][]report{t.pending, t.parked, t.first.taken, t.beside.taken} {
		if slices.ContainsFunc(list, func(r report) bool { return r.ID == id }) {
			return true
		}
	}
	return false
}

// flush waits until all reports are recorded, for at most so long.
func (t *settler) flush(limit time.Duration) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(limit); t.open.Load() > 0 && time.Now().Before(end); {
		<-tick.C
	}
}

// run records results until ctx ends.
func (t *settler) run(ctx context.Context) {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { t.runParked(ctx) })
	t.first.begin(ctx)
	defer t.first.end()
	for ctx.Err() == nil {
		if len(t.first.take(&t.pending)) == 0 {
			select {
			case <-t.kick:
			case <-ctx.Done():
			}
			continue
		}
		for try := 1; !t.first.commit(ctx, t.first.taken); try++ {
			if try == settleAttempts || sleep(ctx, settlePause) != nil {
				t.park(t.first.taken, 0)
				break
			}
		}
	}
}

// runParked records what is parked until ctx ends. A batch that fails may do so for one
// of its members: they are tried alone.
func (t *settler) runParked(ctx context.Context) {
	t.beside.begin(ctx)
	defer t.beside.end()
	for ctx.Err() == nil {
		t.mu.Lock()
		some, pause := len(t.parked) > 0, time.Until(t.again)
		t.mu.Unlock()
		if !some || pause > 0 {
			var again <-chan time.Time
			if some {
				again = time.After(pause)
			}
			select {
			case <-t.kickParked:
			case <-again:
			case <-ctx.Done():
			}
			continue
		}
		batch := t.beside.take(&t.parked)
		if !t.beside.commit(ctx, batch) {
			t.park(t.beside.alone(ctx, batch), settleAgain)
		}
		t.beside.drop()
	}
}

// recorder makes the calls that record results, one after the other.
type recorder struct {
	t      *settler
	within *deadline
	seen   map[store.DeliveryID]struct{}
	taken  []report // being recorded; guarded by t.mu
}

func newRecorder(t *settler) recorder {
	return recorder{t: t, seen: make(map[store.DeliveryID]struct{}, settleBatch)}
}

func (w *recorder) begin(ctx context.Context) { w.within = newDeadline(ctx) }

func (w *recorder) end() { w.within.end(nil) }

// take moves a batch out of a list: each delivery once, later reports of the same one
// wait.
func (w *recorder) take(list *[]report) []report {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	clear(w.taken) // it is over with
	clear(w.seen)
	batch, left := w.taken[:0], (*list)[:0]
	for _, r := range *list {
		if _, twice := w.seen[r.ID]; twice || len(batch) == settleBatch {
			left = append(left, r)
			continue
		}
		w.seen[r.ID] = struct{}{}
		batch = append(batch, r)
	}
	clear((*list)[len(left):])
	w.taken, *list = batch, left
	return batch
}

// drop forgets the batch that is over with.
func (w *recorder) drop() {
	w.t.mu.Lock()
	defer w.t.mu.Unlock()
	clear(w.taken)
	w.taken = w.taken[:0]
}

// alone tries each member of a batch by itself and returns those that are left. If
// the first few fail the store is taken to be what is wrong.
func (w *recorder) alone(ctx context.Context, batch []report) []report {
	var left []report
	for i := range batch {
		if len(left) == settleAlone && i == len(left) || ctx.Err() != nil {
			// The others first the next time.
			return append(slices.Clone(batch[i:]), left...)
		}
		if !w.commit(ctx, batch[i:i+1]) {
			left = append(left, batch[i])
		}
	}
	return left
}

// commit records a batch in one commit, and reports whether that is over with. What
// was busy is parked.
func (w *recorder) commit(ctx context.Context, batch []report) bool {
	s := w.t.s
	settlements := make([]store.Settlement, len(batch))
	began := time.Now()
	for i := range batch {
		settlements[i] = batch[i].at(began)
	}
	w.within.start(settleTimeout)
	results, err := s.st.Settle(w.within.ctx, settlements)
	w.within.spent = w.within.spent || err != nil
	w.within = w.within.next(ctx)
	if err == nil && len(results) != len(batch) {
		err = fmt.Errorf("sender: the store gave %d results for %d reports", len(results), len(batch))
	}
	s.observe.settled(began, len(batch), err)
	switch {
	case errors.Is(err, store.ErrClosed):
		s.trouble.report("hookpost: the store was closed before results were recorded", err)
		results = make([]store.Settled, len(batch))
	case errors.Is(err, store.ErrInvalid) && len(batch) == 1:
		// It never will be recorded. The lease ends without a report.
		s.log.Error("hookpost: the store refuses a result", "event", batch[0].job.EventID, "error", err)
		results = make([]store.Settled, 1)
	case err != nil:
		if ctx.Err() == nil {
			s.trouble.report("hookpost: results can't be recorded; sending waits", err)
		}
		return false
	}
	var busy []report
	for i := range batch {
		if results[i].Busy {
			r := batch[i]
			r.held = r.held || !r.parked
			busy = append(busy, r)
			continue
		}
		s.settled(&batch[i], results[i])
		w.t.open.Add(-1)
	}
	w.t.park(busy, settleBusy)
	return true
}

// settled does what follows from a recorded result.
func (s *Sender) settled(r *report, done store.Settled) {
	if done.Accepted && r.Verdict == store.Retry {
		if r.Delay > 0 {
			s.upkeep.retryIn(r.Delay)
		} else if s.lanes.stored(r.ID.Endpoint, time.Now()) {
			s.Wake()
		}
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
	if r.parked {
		s.lanes.unpark(r.ID.Endpoint, r.held, time.Now())
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
		s.hooks.enqueue("DeliveryExhausted", func(ctx context.Context) { hook(ctx, d) })
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
		s.tellEndpoint("EndpointDisabled", ep.Scope, ep.ID, hook)
	}
}

func (s *Sender) recovered(j *job, since time.Time) {
	s.log.Info("hookpost: endpoint recovered", "endpoint", j.endpoint.ID, "tenant", j.Tenant, "mode", j.Mode, "failing_since", since)
	s.observe.endpointRecovered(EndpointRecovered{j.Scope, j.endpoint.ID, since})
	if hook := s.cfg.Hooks.EndpointRecovered; hook != nil {
		s.tellEndpoint("EndpointRecovered", j.Scope, j.endpoint.ID, func(ctx context.Context, ep store.Endpoint) { hook(ctx, ep, since) })
	}
}

// tellEndpoint calls a hook with the endpoint as it is then.
func (s *Sender) tellEndpoint(name string, scope store.Scope, id string, hook func(context.Context, store.Endpoint)) {
	s.hooks.enqueue(name, func(ctx context.Context) {
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
