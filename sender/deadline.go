package sender

import (
	"context"
	"time"
)

// deadline bounds requests in time, or calls of the store. One of them can serve a
// goroutine's requests one after the other, which spares each a context and a timer of
// its own, as long as all goes well: a context that has ended, or that a failed request
// may still hold, is not used again.
//
// It is not safe for concurrent use.
type deadline struct {
	ctx   context.Context
	end   context.CancelCauseFunc
	timer *time.Timer
	at    time.Time
	armed bool
	spent bool
}

func newDeadline(parent context.Context) *deadline {
	d := &deadline{}
	d.ctx, d.end = context.WithCancelCause(parent)
	return d
}

// in sets the deadline to so long from now.
func (d *deadline) in(after time.Duration) {
	d.at = time.Now().Add(after)
	d.arm(after)
}

// atMost moves the deadline to so long from now, if it is later than that.
func (d *deadline) atMost(after time.Duration) { d.arm(min(after, time.Until(d.at))) }

func (d *deadline) arm(after time.Duration) {
	if d.timer == nil {
		d.timer = time.AfterFunc(after, func() { d.end(context.DeadlineExceeded) })
	} else if active := d.timer.Reset(after); d.armed && !active {
		d.spent = true
	}
	d.armed = true
}

// lift ends the time's running.
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
