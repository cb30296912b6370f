package sender

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// deadline is the time limit of requests, or of calls of the store, that a goroutine
// makes one after the other. They share a context and a timer as long as all goes well:
// a context that has ended, or that a failed request may still hold, is not used again.
//
// It is not safe for concurrent use, but for its context.
type deadline struct {
	ctx   context.Context // ends at the deadline, as one of context.WithTimeout does
	end   context.CancelCauseFunc
	timer *time.Timer
	at    atomic.Int64 // Unix time in nanoseconds
	armed bool         // the timer runs, or has run out
	spent bool         // not to be used again; the holder sets it after a failure
}

func newDeadline(parent context.Context) *deadline {
	d := &deadline{}
	var ctx context.Context
	ctx, d.end = context.WithCancelCause(parent)
	d.ctx = limited{ctx, d}
	return d
}

// start sets the deadline to so long from now.
func (d *deadline) start(after time.Duration) {
	d.at.Store(time.Now().Add(after).UnixNano())
	d.arm(after)
}

// atMost moves the deadline to so long from now, if it is later than that.
func (d *deadline) atMost(after time.Duration) {
	d.arm(min(after, time.Until(time.Unix(0, d.at.Load()))))
}

func (d *deadline) arm(after time.Duration) {
	if d.timer == nil {
		d.timer = time.AfterFunc(after, func() { d.end(context.DeadlineExceeded) })
	} else if active := d.timer.Reset(after); d.armed && !active {
		d.spent = true
	}
	d.armed = true
}

// lift stops the timer.
func (d *deadline) lift() {
	if d.armed && !d.timer.Stop() {
		d.spent = true
	}
	d.armed = false
}

// next returns a deadline for the next request: this one, or if that is spent
// another.
func (d *deadline) next(parent context.Context) *deadline {
	d.lift()
	if !d.spent {
		return d
	}
	d.end(nil)
	return newDeadline(parent)
}

// limited is a deadline's context.
type limited struct {
	context.Context
	by *deadline
}

// Deadline returns that of the request under way.
func (l limited) Deadline() (time.Time, bool) {
	at := time.Unix(0, l.by.at.Load())
	if outer, ok := l.Context.Deadline(); ok && outer.Before(at) {
		at = outer
	}
	return at, true
}

func (l limited) Err() error {
	err := l.Context.Err()
	if err != nil && errors.Is(context.Cause(l.Context), context.DeadlineExceeded) {
		return context.DeadlineExceeded
	}
	return err
}
