package sender

import (
	"errors"
	"sync"
	"time"
)

var errSlowStore = errors.New("its answers take minutes")

const (
	// leaseWindow is how long a slow call is remembered, at least.
	leaseWindow = time.Minute
	// longestLease bounds leases that are made longer because the store is slow.
	longestLease = 10 * time.Minute
)

// leaseLength says how long the next leases last: as Options.Lease says, and longer
// while the store is so slow that attempts would find their leases used up. A lease
// counts from before the call that took it.
type leaseLength struct {
	base time.Duration // Options.Lease

	mu      sync.Mutex
	timeout time.Duration // the longest that an attempt was given
	slowest time.Duration // call since began
	before  time.Duration // the same, in the window before
	began   time.Time
}

// took notes how long it took from before a lease was taken until its attempt could
// begin, and the attempt's timeout.
func (l *leaseLength) took(d, timeout time.Duration, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	l.slowest = max(l.slowest, d)
	l.timeout = max(l.timeout, timeout)
}

// turn begins another window if it is time. l.mu is held.
func (l *leaseLength) turn(now time.Time) {
	switch age := now.Sub(l.began); {
	case age < leaseWindow:
		return
	case age < 2*leaseWindow:
		l.before = l.slowest
	default:
		l.before = 0
	}
	l.slowest, l.began = 0, now
}

// next returns the length of the next lease, and whether it is as long as it should be.
func (l *leaseLength) next(now time.Time) (d time.Duration, enough bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.turn(now)
	d = l.timeout + leaseMargin + 3*max(l.slowest, l.before)
	return max(l.base, min(d, longestLease)), d <= max(l.base, longestLease)
}
