package memory

import (
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// begin makes d a pending delivery of no stage yet. Its event, endpoint and round
// are set already.
func (s *Store) begin(d *delivery, created micros) {
	d.state, d.created, d.due = store.Pending, created, created
	d.event.pending++
	if d.next = d.endpoint.pending; d.next != nil {
		d.next.prev = d
	}
	d.endpoint.pending = d
}

// insert makes a delivery that is ready at once, of an event that is stored.
func (s *Store) insert(ev *event, ep *endpoint, round int, created, due micros) *delivery {
	d := s.add(ev, ep, round, created)
	s.toReady(d, due)
	return d
}

// add makes a pending delivery of no stage yet, of an event that is stored.
func (s *Store) add(ev *event, ep *endpoint, round int, created micros) *delivery {
	d := &delivery{event: ev, endpoint: ep, round: round}
	ev.deliveries = slices.Insert(ev.deliveries, ev.search(ep.Num, round), d)
	s.begin(d, created)
	return d
}

func (s *Store) toReady(d *delivery, due micros) {
	s.leave(d)
	ep := d.endpoint
	if len(ep.ready) == 0 {
		s.open.add(ep.Num)
		ep.oldest = noneOldest
	}
	d.moveTo(ready)
	d.due = due
	ep.oldest = min(ep.oldest, d.windowStart())
	ep.ready.push(due, d)
	s.ready++
}

func (s *Store) toWaiting(d *delivery, due micros) {
	s.leave(d)
	d.moveTo(waiting)
	d.due = due
	s.waiting.push(due, d)
}

// toLease leases d, under the next token and for the next attempt.
func (s *Store) toLease(d *delivery, now micros, owner int64, lease time.Duration) {
	s.leave(d)
	d.moveTo(leased)
	d.token++
	d.attempts++
	d.owner, d.leasedAt, d.leaseEnd = owner, now, now.add(lease)
	if d.first == 0 {
		d.first = now
	}
	s.leases.push(d.leaseEnd, d)
}

// freeAttempt takes back the attempt that the lease gave out: no request was made.
func (d *delivery) freeAttempt() {
	if d.attempts--; d.attempts == 0 {
		d.first = 0
	}
}

// finish ends d in one of the final states. An attempt that is still under way
// reads as unknown until it reports: it may never do so.
func (s *Store) finish(d *delivery, state store.State, reason string, at micros) {
	if d.state == store.Pending {
		if d.stage == leased {
			d.logUnknown()
		}
		s.leave(d)
		s.unchain(d)
		d.event.pending--
	}
	d.countExhausted(-1)
	d.state, d.reason, d.finished = state, reason, at
	d.countExhausted(1)
}

// countExhausted adds n to the count of the endpoint if d is exhausted, and no test.
func (d *delivery) countExhausted(n int) {
	if d.state == store.Exhausted && !store.Reserved(d.event.Type) {
		d.endpoint.exhausted += n
	}
}

func (d *delivery) moveTo(to stage) {
	d.endpoint.in[d.stage]--
	d.endpoint.in[to]++
	d.stage = to
}

// leave takes d out of the queue of its stage.
func (s *Store) leave(d *delivery) {
	switch d.stage {
	case waiting:
		s.waiting.remove(d.pos)
	case ready:
		ep := d.endpoint
		ep.ready.remove(d.pos)
		s.ready--
		if len(ep.ready) == 0 {
			s.open.remove(ep.Num)
		}
	case leased:
		s.leases.remove(d.pos)
		d.owner = 0
	}
	d.moveTo(nowhere)
}

func (s *Store) unchain(d *delivery) {
	if d.prev != nil {
		d.prev.next = d.next
	} else {
		d.endpoint.pending = d.next
	}
	if d.next != nil {
		d.next.prev = d.prev
	}
	d.prev, d.next = nil, nil
}
