package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// Wait is why a pending delivery is not being attempted, in a word.
type Wait string

// The reasons of a pending delivery, in the order in which they are looked for: the
// first that applies is told. Those of a process are of this one, whose Sender
// explains; it can't know what others do.
const (
	WaitFanOut     Wait = "fan-out"    // its event is for very many endpoints and the delivery is still to be made
	WaitUnrecorded Wait = "unrecorded" // the attempt is over and this process can't record its result yet
	WaitUnreported Wait = "unreported" // the lease of its attempt has ended without a report, and nobody has taken it over
	WaitInFlight   Wait = "in flight"  // its attempt is under way
	WaitExpired    Wait = "expired"    // its time ended while the endpoint was disabled; it will be given up
	WaitDisabled   Wait = "disabled"   // the endpoint is disabled
	WaitLater      Wait = "later"      // the time of its first attempt has not come
	WaitRetry      Wait = "retry"      // the time of its next attempt has not come
	WaitHeld       Wait = "held"       // the receiver asked for a pause with Retry-After
	WaitBlocked    Wait = "blocked"    // this process can't make its request: a key, schedule or scheme is missing
	WaitStore      Wait = "store"      // the store refuses the claims of this process
	WaitBusy       Wait = "busy"       // this process makes as many attempts as it may, in all or to the endpoint
	WaitDue        Wait = "due"        // it became due just now
	WaitUntaken    Wait = "untaken"    // it is overdue and no process has taken it up
)

// takenUpWithin is how long after it became due a delivery counts as just due, besides
// the time between two polls.
const takenUpWithin = 10 * time.Second

// waiting fills in why the pending delivery of x is not being attempted. ep is the
// endpoint with its sealed values.
func (s *Sender) waiting(ctx context.Context, x *Explanation, ep *store.Endpoint) error {
	now, err := s.storeNow(ctx)
	if err != nil {
		return err
	}
	d := x.Delivery
	if d.Attempts > 0 {
		attempts, err := s.st.Attempts(ctx, d.Scope, d.ID)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		x.Last = lastFailure(attempts)
	}
	x.Overdue = max(0, now.Sub(d.DueAt))
	if d.InFlight {
		x.Overdue = max(0, now.Sub(d.LeaseUntil))
	}
	here := s.lanes.standing(ep.Num, time.Now())
	x.Wait, x.Text = s.waitingFor(d, ep, &here, now)
	switch x.Wait {
	case WaitUnreported, WaitBlocked, WaitStore, WaitBusy, WaitDue, WaitUntaken:
	default: // it waits for something else than a process
		x.Overdue = 0
	}
	if said := sayFailure(x.Last); said != "" {
		x.Text += " " + said
	}
	return nil
}

// waitingFor finds the first reason that applies, and its sentence.
func (s *Sender) waitingFor(d *store.Delivery, ep *store.Endpoint, here *standing, now time.Time) (Wait, string) {
	ends := d.FirstAt
	if ends.IsZero() {
		ends = d.DueAt
	}
	ends = ends.Add(s.cfg.GiveUpAfter)
	late := overdue(now.Sub(d.DueAt))
	switch {
	case d.InFlight && s.settler.holds(d.ID):
		return WaitUnrecorded, fmt.Sprintf("Attempt %d is over, and its result waits to be recorded: the store does not take it.", d.Attempts)
	case d.InFlight && now.After(d.LeaseUntil):
		return WaitUnreported, strings.TrimSpace(fmt.Sprintf("Attempt %d began at %s and was not reported by %s, when its lease ended. %s",
			d.Attempts, clockTime(d.LeasedAt), clockTime(d.LeaseUntil), here.nobody("taken it over", now.Sub(d.LeaseUntil) > s.soon())))
	case d.InFlight:
		return WaitInFlight, fmt.Sprintf("Attempt %d is under way since %s.", d.Attempts, clockTime(d.LeasedAt))
	case here.running && now.After(ends) && (ep.State == store.Disabled || ep.EnabledAt.After(ends)):
		return WaitExpired, fmt.Sprintf("Its time ended at %s, while the endpoint was disabled%s; it will be given up.", clockTime(ends), because(ep.Reason))
	case ep.State == store.Disabled:
		return WaitDisabled, "Waiting: the endpoint is disabled" + because(ep.Reason) + "."
	case d.DueAt.After(now) && d.Attempts == 0 && !d.DueAt.Before(ep.HoldUntil):
		return WaitLater, fmt.Sprintf("To be sent later, at %s.", clockTime(d.DueAt))
	case d.DueAt.After(now) && !d.DueAt.Before(ep.HoldUntil):
		return WaitRetry, fmt.Sprintf("Due at %s, after %s so far.", clockTime(d.DueAt), tries(d.Attempts))
	case ep.HoldUntil.After(now):
		return WaitHeld, fmt.Sprintf("Held until %s: the receiver asked for a pause with Retry-After.", clockTime(ep.HoldUntil))
	}
	obstacle := s.obstacle(ep, here.running, now)
	switch {
	case obstacle != "" && here.running:
		return WaitBlocked, late + "This process can't send to the endpoint: " + obstacle + "."
	case obstacle != "":
		return WaitBlocked, late + here.nobody("taken it up", true) + " Nor could this process send to the endpoint: " + obstacle + "."
	case !here.running && now.Sub(d.DueAt) <= s.soon():
		return WaitDue, "Due since " + clockTime(d.DueAt) + ". " + here.nobody("taken it up", false)
	case !here.running:
		return WaitUntaken, late + here.nobody("taken it up", true)
	case s.claimsFail.Load():
		return WaitStore, late + "The store refuses the claims of this process; its log says why."
	case here.blocked.After(time.Now()):
		return WaitBlocked, late + "This process could not send to the endpoint a moment ago and waits before it tries again."
	case here.free == 0:
		return WaitBusy, late + fmt.Sprintf("All %d slots of this process are in use.", here.slots)
	case here.full:
		return WaitBusy, late + fmt.Sprintf("This process has %s to the endpoint under way, as many as it makes at once for now.", tries(here.inFlight))
	case now.Sub(d.DueAt) <= s.soon():
		return WaitDue, "Due since " + clockTime(d.DueAt) + "; the next claim takes it up."
	}
	return WaitUntaken, late + here.nobody("taken it up", true)
}

// soon is how long after its time a delivery may wait without anything being wrong.
func (s *Sender) soon() time.Duration { return 2*s.cfg.PollInterval + takenUpWithin }

// storeNow returns the store's time, which is asked only if it is not known yet.
func (s *Sender) storeNow(ctx context.Context) (time.Time, error) {
	if err := s.clock.ask(ctx, s.st); err != nil {
		return time.Time{}, err
	}
	return s.clock.at(time.Now()), nil
}

// obstacle says why this process can't make requests to an endpoint, "" if it can. Where
// the Sender does not run only its keys are looked at, if it has any: it may have been
// made to look at the log, without the options of those that send.
func (s *Sender) obstacle(ep *store.Endpoint, running bool, now time.Time) string {
	var err error
	if running {
		_, _, err = s.cache.destination(s.cache.current(ep), now)
		if err == nil {
			return ""
		}
	}
	key, locked := s.lockedKey(ep, now)
	_, scheduled := s.cfg.schedule(ep.Schedule)
	scheme := slices.IndexFunc(ep.Schemes, func(name string) bool { return s.cfg.schemes[name] == nil })
	switch {
	case errors.Is(locked, keyring.ErrUnknownKey):
		return fmt.Sprintf("a secret of the endpoint is sealed under the key %.80q, which this process lacks", key)
	case errors.Is(locked, keyring.ErrOpen):
		return fmt.Sprintf("a secret of the endpoint, sealed under the key %.80q, does not open: this process has another key of that name, or the secret was changed", key)
	case err == nil:
		return ""
	case locked != nil:
		return "its keyring does not answer"
	case !scheduled:
		return fmt.Sprintf("the endpoint wants the schedule %.80q, which this process lacks", ep.Schedule)
	case scheme >= 0:
		return fmt.Sprintf("the endpoint wants the signature scheme %.80q, which this process lacks", ep.Schemes[scheme])
	case s.cfg.timeout(ep)+minLeaseMargin > s.cfg.Lease:
		return fmt.Sprintf("the endpoint's timeout of %s is too long for this process, whose leases last %s", s.cfg.timeout(ep), s.cfg.Lease)
	}
	return "its request can't be made; the log of this process says why"
}

// lockedKey returns the key under which the first value of an endpoint is sealed that
// this process can't open, and the error; no error if it can open all of them.
func (s *Sender) lockedKey(ep *store.Endpoint, now time.Time) (kid string, err error) {
	defer keyringPanics(&err)
	for v, bound := range sealedValues(ep, now) {
		plain, err := s.cfg.Keyring.Open(nil, v.KeyID, v.Sealed, bound)
		clear(plain)
		if err != nil {
			return v.KeyID, err
		}
	}
	return "", nil
}

// standing is what keeps the deliveries of an endpoint from being claimed here.
type standing struct {
	running  bool
	slots    int
	free     int       // of them
	full     bool      // the endpoint has no room left
	inFlight int       // attempts to it
	blocked  time.Time // nothing of it is claimed before
}

func (l *lanes) standing(endpoint int64, now time.Time) standing {
	l.mu.Lock()
	defer l.mu.Unlock()
	st := standing{running: !l.closed, slots: l.slots, free: l.free}
	if la := l.byEndpoint[endpoint]; la != nil {
		st.inFlight, st.blocked = la.inFlight, la.blocked
		st.full = l.roomLeft(la) == 0 || la.slow(now) && l.slowRoom(now) <= 0
	}
	return st
}

// nobody says that no process did what is to be done, if it should have been done by
// now. It says nothing if there is nothing to tell.
func (st *standing) nobody(done string, late bool) string {
	switch {
	case late && st.running:
		return "No process has " + done + "; the log of those that run may say why."
	case late:
		return "No process has " + done + "; this one sends nothing, since its Sender is not running."
	case !st.running:
		return "This process sends nothing, since its Sender is not running."
	}
	return ""
}

// lastFailure returns the newest attempt that did not succeed, without the answer.
func lastFailure(attempts []store.Attempt) *store.Attempt {
	for _, a := range slices.Backward(attempts) {
		if a.Outcome != store.AttemptDelivered {
			a.ResponseHeader, a.ResponseBody = nil, nil
			return &a
		}
	}
	return nil
}

// sayFailure puts a failed attempt into a sentence.
func sayFailure(a *store.Attempt) string {
	switch {
	case a == nil:
		return ""
	case a.Outcome == store.AttemptUnknown:
		return fmt.Sprintf("Attempt %d began at %s and was never reported.", a.N, clockTime(a.StartedAt))
	}
	class := ""
	if a.Class != "" && a.Class != ClassStatus {
		class = " (" + a.Class + ")"
	}
	return fmt.Sprintf("Attempt %d failed at %s: %s%s.", a.N, clockTime(a.StartedAt), strings.TrimSuffix(a.Error, "."), class)
}

// overdue begins a text about what should have happened so long ago.
func overdue(late time.Duration) string {
	if late < time.Second {
		return ""
	}
	return "Overdue by " + roughly(late) + ". "
}

// roughly says a duration in one unit.
func roughly(d time.Duration) string {
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d days", d/(24*time.Hour))
}

func tries(n int) string {
	if n == 1 {
		return "1 attempt"
	}
	return fmt.Sprintf("%d attempts", n)
}
