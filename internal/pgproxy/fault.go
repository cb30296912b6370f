package pgproxy

import (
	"fmt"
	"time"
)

// Action is what a [Fault] does.
type Action uint8

// The actions.
const (
	// Cut closes the connection on both sides. What came before has arrived.
	Cut Action = 1
	// Freeze lets nothing pass any more, in neither direction, and closes nothing: the
	// machine is gone, or a firewall has forgotten the connection.
	Freeze Action = 2
	// Swallow drops what the server sends from here on. What the client sends arrives.
	Swallow Action = 3
	// Delay holds up the stream for Fault.For.
	Delay Action = 4
)

// String returns "cut", "freeze", "swallow" or "delay".
func (a Action) String() string {
	switch a {
	case Cut:
		return "cut"
	case Freeze:
		return "freeze"
	case Swallow:
		return "swallow"
	case Delay:
		return "delay"
	}
	return fmt.Sprintf("action(%d)", uint8(a))
}

// End as a Fault's Byte is the end of the message.
const End = -1

// Fault says what happens, and where: Byte bytes after the beginning of the message
// that comes after Skip others for which When is true. It happens once.
type Fault struct {
	From Side
	When func(Message) bool // called with the proxy's lock held; nil: every message
	Skip int
	// Byte counts on into the messages that follow in the same direction of the same
	// connection; 0 is before the message. The place where a message ends and another
	// would begin is reached when the first has passed.
	Byte int
	Do   Action
	For  time.Duration // of Delay
	// All extends Cut, Freeze and Swallow to all connections of the proxy, Freeze and
	// Swallow to new ones as well.
	All bool
}

// Injected is a Fault that waits for its place, or has happened.
type Injected struct {
	Fault
	proxy *Proxy
	hit   chan struct{}

	// Under the proxy's lock.
	seen  int   // messages for which When was true
	at    *conn // where Byte is counted down; nil: the message has not come
	left  int   // bytes until then
	where Message
}

// Inject has the fault happen when its place comes.
func (p *Proxy) Inject(f Fault) *Injected {
	i := &Injected{Fault: f, proxy: p, hit: make(chan struct{})}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.armed = append(p.armed, i)
	return i
}

// Hit returns a channel that is closed when the fault happens.
func (i *Injected) Hit() <-chan struct{} { return i.hit }

// Happened reports whether it has.
func (i *Injected) Happened() bool {
	select {
	case <-i.hit:
		return true
	default:
		return false
	}
}

// pause is how long the stream rests where the fault happens.
func (f *Fault) pause() time.Duration {
	if f.Do != Delay {
		return 0
	}
	return f.For
}

// Where returns the message in which the fault happened.
func (i *Injected) Where() Message {
	i.proxy.mu.Lock()
	defer i.proxy.mu.Unlock()
	return i.where
}

// Undo takes the fault back: it happens no more, and what it holds up goes on. Answers
// that were swallowed stay lost, which no client can make sense of.
func (i *Injected) Undo() {
	p := i.proxy
	p.mu.Lock()
	p.disarm(i)
	c := i.at
	p.mu.Unlock()
	if i.Happened() {
		p.apply(c, i, false)
	}
}

// disarm needs the lock.
func (p *Proxy) disarm(i *Injected) {
	for k := range p.armed {
		if p.armed[k] == i {
			p.armed = append(p.armed[:k], p.armed[k+1:]...)
			return
		}
	}
}

// next returns the first fault that happens in the message's bytes from begin on, and
// where; nil if there is none. first is true in the first call for a message.
func (p *Proxy) next(c *conn, m *Message, begin int, first bool) (fault *Injected, at int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, i := range p.armed {
		if i.From != m.From {
			continue
		}
		if first && i.at == nil && (i.When == nil || i.When(*m)) {
			if i.seen++; i.seen > i.Skip {
				i.at, i.left = c, i.Byte
				if i.Byte == End {
					i.left = m.Size
				}
			}
		}
		if i.at == c && i.left >= begin && i.left <= m.Size && (fault == nil || i.left < at) {
			fault, at = i, i.left
		}
	}
	if fault != nil {
		fault.where = *m
		p.disarm(fault)
		return fault, at
	}
	for _, i := range p.armed {
		if i.From == m.From && i.at == c {
			i.left -= m.Size
		}
	}
	return nil, 0
}

// apply begins to freeze or swallow, on one connection or on all, or ends it.
func (p *Proxy) apply(c *conn, i *Injected, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &c.stopped
	if i.All {
		s = &p.stopped
	}
	switch i.Do {
	case Freeze:
		s.frozen = on
	case Swallow:
		s.mute = on
	}
	p.change.Broadcast()
}
