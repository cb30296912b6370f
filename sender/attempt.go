package sender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// blockFor is how long an endpoint is left alone whose requests can't be made for
// a reason of ours, such as a missing key.
const blockFor = 30 * time.Second

// attempt makes one attempt of a delivery and reports the result. within is for
// requests under ctx.
func (s *Sender) attempt(ctx context.Context, within *deadline, j *job) {
	now := time.Now()
	switch {
	case j.endpoint == nil: // it could not be read
		s.lanes.block(j.ID.Endpoint, time.Second, now)
		s.giveBack(j, now)
		return
	case ctx.Err() != nil || j.endpoint.off.Load():
		s.giveBack(j, now)
		return
	case j.Unknown > 0 && j.Unknown < store.MaxUnknown && s.settler.holds(j.ID):
		s.awaitRecord(ctx, j)
		return
	case j.Erased:
		s.lanes.finish(j, noAttempt, 0, now)
		s.settler.put(j, store.Settlement{Verdict: store.Exhaust, Reason: "the payload was erased", Quiet: j.EventType == testEventType})
		return
	}
	dest, schedule, err := s.cache.destination(j.endpoint, s.clock.at(now))
	var panics *panicError
	if errors.As(err, &panics) {
		s.failUnmade(ctx, j, schedule, err)
		return
	}
	if err != nil {
		s.trouble.report("hookpost: an endpoint can't be sent to", err, "endpoint", j.endpoint.ID)
		s.lanes.block(j.ID.Endpoint, blockFor, now)
		s.giveBack(j, now)
		return
	}
	now = time.Now() // a keyring that asks a service takes its time
	if s.clock.unsure(now) {
		j.Elapsed = 0 // nobody knows; the failures are counted all the same
	}
	if !s.leaseLasts(j, now) {
		s.giveBack(j, now)
		return
	}
	if j.Unknown >= store.MaxUnknown {
		// A failure is counted without asking the receiver once more: this delivery
		// may be what kills the workers.
		why := fmt.Sprintf("%d attempts in a row ended without a report", j.Unknown)
		report := next(j, schedule, s.cfg.GiveUpAfter, j.Elapsed, 0, 0, why)
		if j.EventType == testEventType {
			report = store.Settlement{Verdict: store.Exhaust, Reason: why, Quiet: true}
		}
		s.lanes.finish(j, noAttempt, 0, now)
		s.settler.put(j, report)
		return
	}
	s.lanes.begin(j, now)
	to := dest.request.URL
	observed := s.observe.attemptStarted(ctx, j, to)
	if s.cfg.TraceHeaders {
		dest = dest.withTrace(cmp.Or(s.observe.traceOf(observed), j.Trace))
	}
	if observed != ctx {
		within = newDeadline(observed)
		defer within.end(nil)
		defer within.lift()
	}
	r := s.postSafely(observed, within, dest, j, s.clock.at(now))
	after := time.Now()
	if ctx.Err() != nil && r.Outcome != store.AttemptDelivered {
		s.observe.attemptDone(observed, j, to, &r, store.AttemptUnknown)
		// Cut off by Stop: whether the receiver got it nobody knows. When the lease
		// has expired the attempt reads as unknown and the delivery is repeated.
		s.lanes.finish(j, noAttempt, 0, after)
		s.lanes.release(j)
		return
	}
	s.observe.attemptDone(observed, j, to, &r, r.Outcome)
	report := judge(j, schedule, s.cfg.GiveUpAfter, &r)
	how := wentBadly
	switch {
	case r.Outcome == store.AttemptDelivered:
		how = wentWell
	case r.Class == ClassTimeout:
		how = timedOut
	}
	s.lanes.finish(j, how, report.Hold, after)
	s.upkeep.heldFor(report.Hold)
	s.settler.put(j, report)
}

// failUnmade counts a failed attempt that made no request because a scheme of the
// application's panicked: waiting would not mend it, and would hide it.
func (s *Sender) failUnmade(ctx context.Context, j *job, schedule retry.Schedule, err error) {
	now := time.Now()
	s.lanes.begin(j, now)
	r := result{err: err, Attempt: store.Attempt{
		StartedAt: s.clock.at(now), Outcome: store.AttemptFailed, Class: ClassPanic, Error: explain(ClassPanic, err, 0),
	}}
	s.tellPanic(j, &r)
	if to, err := url.Parse(j.endpoint.URL); err == nil {
		observed := s.observe.attemptStarted(ctx, j, to)
		s.observe.attemptDone(observed, j, to, &r, r.Outcome)
	}
	report := judge(j, schedule, s.cfg.GiveUpAfter, &r)
	s.lanes.finish(j, wentBadly, report.Hold, now)
	s.settler.put(j, report)
}

// tellPanic logs what failed an attempt, if it was the application's.
func (s *Sender) tellPanic(j *job, r *result) {
	if r.Class == ClassPanic {
		s.log.Error("hookpost: an attempt panicked", "event", j.EventID, "endpoint", j.endpoint.ID, "error", r.err)
	}
}

// recordPause is the pause between two looks at whether a result is recorded.
const recordPause = 100 * time.Millisecond

// awaitRecord waits for the result of an earlier attempt, which is known here and was
// not recorded before its lease had expired, as after a while without the store. The
// delivery is not sent again for that.
func (s *Sender) awaitRecord(ctx context.Context, j *job) {
	tick := time.NewTicker(recordPause)
	defer tick.Stop()
	for s.settler.holds(j.ID) && ctx.Err() == nil {
		if now := time.Now(); !s.leaseLasts(j, now) {
			// It may never be recorded. An attempt that ends as unknown brings the delivery
			// nearer to one that counts.
			s.lanes.finish(j, noAttempt, 0, now)
			s.lanes.release(j)
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
	s.giveBack(j, time.Now())
}

// postSafely turns a panic below into a failed attempt.
func (s *Sender) postSafely(ctx context.Context, within *deadline, d *destination, j *job, at time.Time) (r result) {
	started := time.Now()
	defer func() {
		if p := recover(); p != nil {
			within.spent = true
			err := &panicError{"hookpost", panicText(p)}
			r = result{err: err, Attempt: store.Attempt{
				Outcome: store.AttemptFailed, Class: ClassPanic, Error: explain(ClassPanic, err, 0), URL: j.endpoint.URL, Took: time.Since(started),
			}}
		}
		s.tellPanic(j, &r)
	}()
	r = s.poster.postWithin(ctx, within, d, j.ContentType, signing.Message{ID: j.EventID, Type: j.EventType, Timestamp: at, Body: j.Body})
	if r.Outcome != store.AttemptDelivered {
		newRedactor(d.hidden).attempt(&r.Attempt)
	}
	return r
}

// giveBack returns a lease unused.
func (s *Sender) giveBack(j *job, now time.Time) {
	s.lanes.finish(j, noAttempt, 0, now)
	s.settler.put(j, store.Settlement{Verdict: store.Release})
}

// leaseLasts reports whether the lease outlasts the attempt's deadline, by the
// monotonic clock and by the wall clock: the first stands still while a virtual
// machine is suspended, the second can be set.
func (s *Sender) leaseLasts(j *job, now time.Time) bool {
	used := max(now.Sub(j.leasedAt), now.Round(0).Sub(j.leasedAt.Round(0)))
	return used+s.cfg.timeout(&j.endpoint.Endpoint) < j.lease
}
