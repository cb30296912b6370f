package sender

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	upkeepStep = 1000
	pruneStep  = 250
	// pruneRest is how many times as long as a step of pruning took the next one waits:
	// sending comes first.
	pruneRest   = 30
	pruneBreath = 10 * time.Millisecond // the least of these waits
	disableStep = 100
	// holdSlack is for the way to the store, which counts a hold from when it hears of it.
	holdSlack = 50 * time.Millisecond
	// upkeepTimeout ends a step of a store that hangs.
	upkeepTimeout = time.Minute
)

// upkeep runs the store's periodic steps, one at a time.
type upkeep struct {
	s     *Sender
	tasks []*task
	kick  chan struct{}
	mu    sync.Mutex

	promote, takeOver, expire, fanOut, cancel, failing, prune, forget, resume task
}

// task is one kind of step. After a step it is due again at once if there is more
// to do, else after its period.
type task struct {
	name  string
	every time.Duration
	// When there is more to do, the next step comes after breath, or after rest times
	// as long as this one took, if that is longer.
	breath time.Duration
	rest   time.Duration
	due    time.Time // guarded by upkeep.mu
	step   func(context.Context) (more bool, err error)
}

func newUpkeep(s *Sender) *upkeep {
	u := &upkeep{s: s, kick: make(chan struct{}, 1)}
	u.promote = task{name: "promote", every: s.cfg.PollInterval, step: u.stepPromote}
	u.takeOver = task{name: "take over", every: min(s.cfg.Lease/5, 5*time.Second), step: u.counting(func(ctx context.Context) (int, error) {
		n, err := s.st.TakeOver(ctx, upkeepStep)
		if n > 0 {
			s.Wake()
		}
		return n, err
	})}
	u.expire = task{name: "expire", every: 30 * time.Second, step: u.counting(func(ctx context.Context) (int, error) {
		if ok, err := s.clock.settled(ctx, s.st); !ok {
			return 0, err
		}
		n, err := s.st.Expire(ctx, s.cfg.GiveUpAfter, upkeepStep)
		if n > 0 {
			s.log.Warn("hookpost: deliveries exhausted whose time ended while their endpoint was disabled", "count", n)
		}
		return n, err
	})}
	u.fanOut = task{name: "fan out", every: 5 * time.Second, step: u.counting(func(ctx context.Context) (int, error) {
		n, err := s.st.FanOut(ctx, upkeepStep)
		if n > 0 {
			s.Wake()
		}
		return n, err
	})}
	u.cancel = task{name: "cancel", every: 30 * time.Second, step: u.counting(func(ctx context.Context) (int, error) {
		return s.st.CancelDeleted(ctx, upkeepStep)
	})}
	u.failing = task{name: "disable failing", every: time.Minute, step: u.stepFailing}
	retention := store.Retention{Payloads: s.cfg.KeepPayloads, Responses: s.cfg.KeepResponses, Log: s.cfg.KeepLog}
	u.prune = task{name: "prune", every: time.Minute, breath: pruneBreath, rest: pruneRest, step: func(ctx context.Context) (bool, error) {
		if ok, err := s.clock.settled(ctx, s.st); !ok {
			return false, err
		}
		n, err := s.st.Prune(ctx, retention, pruneStep)
		return n >= pruneStep, err
	}}
	u.forget = task{name: "forget", every: time.Minute, step: func(context.Context) (bool, error) {
		s.lanes.forget(time.Now())
		s.counts.forget(time.Now())
		return false, nil
	}}
	u.resume = task{name: "resume", every: time.Hour, step: u.stepResume}
	u.tasks = []*task{&u.promote, &u.takeOver, &u.fanOut, &u.expire, &u.cancel, &u.failing, &u.prune, &u.forget, &u.resume}
	return u
}

// counting makes a step of one that says how many rows it changed.
func (u *upkeep) counting(f func(context.Context) (int, error)) func(context.Context) (bool, error) {
	return func(ctx context.Context) (bool, error) {
		n, err := f(ctx)
		return n >= upkeepStep, err
	}
}

// run does the steps that are due until ctx ends.
func (u *upkeep) run(ctx context.Context) {
	var beside sync.WaitGroup
	defer beside.Wait()
	beside.Go(func() { u.s.resealLoop(ctx) })
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-u.kick:
		}
		for _, t := range u.tasks {
			u.turn(ctx, t)
		}
		timer.Reset(u.wait())
	}
}

// turn does one step of a task if it is due.
func (u *upkeep) turn(ctx context.Context, t *task) {
	now := time.Now()
	u.mu.Lock()
	if now.Before(t.due) || ctx.Err() != nil {
		u.mu.Unlock()
		return
	}
	t.due = now.Add(t.every - rand.N(t.every/10+1)) // a step or soon may say earlier
	u.mu.Unlock()
	limited, cancel := context.WithTimeout(ctx, upkeepTimeout)
	begun := time.Now()
	more, err := t.step(limited)
	took := time.Since(begun)
	cancel()
	switch {
	case err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrBusy):
		u.s.trouble.report("hookpost: upkeep of the store fails; it will be tried again", err, "task", t.name)
	case more:
		u.in(t, max(t.breath, t.rest*took))
	}
}

// wait is the time until something is due.
func (u *upkeep) wait() time.Duration {
	u.mu.Lock()
	defer u.mu.Unlock()
	next := u.tasks[0].due
	for _, t := range u.tasks[1:] {
		if t.due.Before(next) {
			next = t.due
		}
	}
	return max(0, time.Until(next))
}

// in makes a task due after d, unless it is earlier already.
func (u *upkeep) in(t *task, d time.Duration) {
	due := time.Now().Add(d)
	u.mu.Lock()
	earlier := due.Before(t.due)
	if earlier {
		t.due = due
	}
	u.mu.Unlock()
	if earlier {
		select {
		case u.kick <- struct{}{}:
		default:
		}
	}
}

// soon makes a task due at once.
func (u *upkeep) soon(t *task) { u.in(t, 0) }

// retryIn says that a delivery is due after d.
func (u *upkeep) retryIn(d time.Duration) {
	if d < u.promote.every {
		u.in(&u.promote, d)
	}
}

func (u *upkeep) stepPromote(ctx context.Context) (bool, error) {
	p, err := u.s.st.Promote(ctx, upkeepStep)
	if err != nil {
		return false, err
	}
	if p.Moved > 0 {
		u.s.Wake()
	}
	if p.Moved < upkeepStep {
		u.in(&u.promote, max(p.Next, time.Millisecond))
	}
	return p.Moved >= upkeepStep, nil
}

// heldFor says that an endpoint is on hold for so long. What waits for it by then goes
// without waiting for a poll.
func (u *upkeep) heldFor(d time.Duration) {
	if d > 0 {
		u.in(&u.resume, d+holdSlack)
	}
}

func (u *upkeep) stepResume(context.Context) (bool, error) {
	now := time.Now()
	u.s.Wake()
	if next := u.s.lanes.nextOpen(now); !next.IsZero() {
		u.heldFor(next.Sub(now))
	}
	return false, nil
}

func (u *upkeep) stepFailing(ctx context.Context) (bool, error) {
	s := u.s
	if s.cfg.DisableAfter < 0 {
		return false, nil
	}
	if ok, err := s.clock.settled(ctx, s.st); !ok {
		return false, err
	}
	reason := "no success for " + days(s.cfg.DisableAfter)
	eps, err := s.st.DisableFailing(ctx, store.FailingRule{For: s.cfg.DisableAfter, Reason: reason}, disableStep)
	for i := range eps {
		s.disabled(s.cache.current(&eps[i]), reason, &eps[i].Health)
	}
	return len(eps) >= disableStep, err
}
