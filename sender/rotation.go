package sender

import (
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// rotation is a transport whose connections have an age, after which no request begins
// on them: net/http keeps one for as long as there is traffic, wherever its host has
// moved since.
//
// It is a series of transports. Each opens connections for a while, then hands the
// requests over to the next one bit by bit, so that not all connections are opened anew
// at once. In the end its idle connections are closed, and the others behind their
// answers, as [http.Transport.CloseIdleConnections] does it: nobody has to know which
// connection a request will get, and no request meets one that is being closed.
type rotation struct {
	maxAge time.Duration // 0: no limit
	now    atomic.Pointer[phase]
	mu     sync.Mutex // held while now changes
}

// A phase is what holds between two changes. It is immutable.
type phase struct {
	current *generation
	until   time.Time // then another takes over; zero: never

	old     *generation // nil, or has a share of the requests, which falls evenly
	handed  time.Time   // to nothing at this time
	handing time.Duration
}

// A generation is one of the transports.
type generation struct {
	*http.Transport
	retired atomic.Bool
}

func newRotation(t *http.Transport, maxAge time.Duration) *rotation {
	r := &rotation{maxAge: maxAge}
	r.now.Store(r.begin(&generation{Transport: t}, time.Now()))
	return r
}

// begin returns the phase that a generation begins with. One opens connections for
// between half and three quarters of maxAge, and has the last quarter to hand over.
func (r *rotation) begin(g *generation, now time.Time) *phase {
	p := &phase{current: g}
	if r.maxAge > 0 {
		p.until = now.Add(r.maxAge/2 + rand.N(r.maxAge/4))
	}
	return p
}

// RoundTrip implements http.RoundTripper.
func (r *rotation) RoundTrip(req *http.Request) (*http.Response, error) {
	g := r.pick()
	resp, err := g.RoundTrip(req)
	if g.retired.Load() {
		// It was retired meanwhile, and this request may have come behind that.
		g.CloseIdleConnections()
	}
	return resp, err
}

// CloseIdleConnections closes the connections that no request uses.
func (r *rotation) CloseIdleConnections() {
	p := r.now.Load()
	p.current.CloseIdleConnections()
	if p.old != nil {
		p.old.CloseIdleConnections()
	}
}

// pick returns the transport for the next request.
func (r *rotation) pick() *generation {
	p := r.now.Load()
	if p.until.IsZero() {
		return p.current
	}
	now := time.Now()
	if !now.Before(p.until) || p.old != nil && !now.Before(p.handed) {
		p = r.change(now)
	}
	if p.old != nil && rand.N(p.handing) < p.handed.Sub(now) {
		return p.old
	}
	return p.current
}

// change puts the phase in place that holds at a time, and returns it.
func (r *rotation) change(now time.Time) *phase {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.now.Load()
	if p.old != nil && !now.Before(p.handed) {
		p.old.retire()
		p = &phase{current: p.current, until: p.until}
	}
	if handed := p.until.Add(r.maxAge / 4); !now.Before(handed) { // there was no request for a while
		last := p.current
		p = r.begin(&generation{Transport: last.Clone()}, now)
		last.retire()
	} else if !now.Before(p.until) {
		last := p.current
		p = r.begin(&generation{Transport: last.Clone()}, now)
		p.old, p.handed, p.handing = last, handed, r.maxAge/4
	}
	r.now.Store(p)
	return p
}

// retire closes a generation's connections, those in use behind their answers.
func (g *generation) retire() {
	g.retired.Store(true)
	g.CloseIdleConnections()
}
