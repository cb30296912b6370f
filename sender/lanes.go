package sender

import (
	"sync"
	"time"
)

const (
	initialRoom = 4                // of an endpoint nothing is known about
	slowAfter   = time.Second      // an attempt older than this makes its endpoint slow
	laneMemory  = 10 * time.Minute // an idle endpoint's room is forgotten after
	// holdHere is how long a receiver's Retry-After is kept here from claims: by then
	// the store knows it, and there somebody may end it.
	holdHere = 10 * time.Second
)

// lanes divides the Sender's slots among endpoints so that a slow or dead one
// slows nobody else.
//
// A slot is held from the moment a delivery is claimed or handed over until its
// result is committed, which bounds what a crash can repeat. An endpoint's room
// bounds its attempts under way and is free again when the response is there. Room
// starts small, grows with each success while half of it is in use, and is halved
// by a timeout. Endpoints with an attempt older than a second, or whose last one
// was, share at most half of the slots. While endpoints that have never answered in
// time hold a quarter of the slots, each of them gets one attempt: after a restart
// hundreds may be dead.
type lanes struct {
	slots   int
	maxRoom int // of one endpoint

	mu         sync.Mutex
	free       int
	handedOff  int  // slots in use by deliveries that were not claimed
	unproven   int  // attempts under way at endpoints that have never answered in time
	strangers  bool // the last claim that found anything found such endpoints; or none did yet
	backlogged bool // the last claim found work: a quarter of the slots is for claims
	closed     bool // no more hand-offs: the Sender is not running
	byEndpoint map[int64]*lane
	busy       map[int64]*lane // those that claims must hear of: in use, or worse than an unknown one
	waiting    map[int64]*lane // those with a backlog
	offers     uint64          // counts claims

	// changed has an element when a slot became free, or room of an endpoint with
	// a backlog.
	changed chan struct{}
}

// lane is what is known here about one endpoint.
type lane struct {
	endpoint int64
	room     int
	inFlight int
	proven   bool      // has answered in time once
	sluggish bool      // the last attempt took long
	backlog  bool      // the store has ready deliveries that did not fit
	noted    uint64    // the claim before or during which a delivery was left to the store
	until    time.Time // nothing is handed off before: on hold, or its secrets can't be opened
	blocked  time.Time // nothing is claimed before
	used     time.Time
	parked   int  // results that could not be recorded yet
	held     int  // those of them whose rows somebody holds
	first    *job // attempts under way, oldest first
	last     *job
}

func newLanes(slots int) *lanes {
	return &lanes{
		slots: slots, maxRoom: max(1, slots/2), free: slots, closed: true, strangers: true,
		byEndpoint: make(map[int64]*lane),
		busy:       make(map[int64]*lane),
		waiting:    make(map[int64]*lane),
		changed:    make(chan struct{}, 1),
	}
}

func (l *lanes) signal() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

func (l *lanes) defaultRoom() int { return min(initialRoom, l.maxRoom) }

func (l *lanes) lane(endpoint int64, now time.Time) *lane {
	la := l.byEndpoint[endpoint]
	if la == nil {
		la = &lane{endpoint: endpoint, room: l.defaultRoom()}
		l.byEndpoint[endpoint] = la
	}
	la.used = now
	return la
}

func (l *lanes) take(la *lane) {
	la.inFlight++
	if !la.proven {
		l.unproven++
	}
	l.busy[la.endpoint] = la
}

func (l *lanes) give(la *lane, now time.Time) {
	la.inFlight--
	if !la.proven {
		l.unproven--
	}
	if !l.matters(la, now) {
		delete(l.busy, la.endpoint)
	}
}

// roomLeft is how many more attempts the endpoint may have under way.
func (l *lanes) roomLeft(la *lane) int {
	room := la.room
	switch {
	case la.held > 0: // one more result would not be recorded either
		return 0
	case !la.proven && l.wary():
		room = 1
	}
	return max(0, room-la.inFlight-la.parked)
}

// wary reports whether unknown endpoints have to prove themselves with one attempt.
func (l *lanes) wary() bool { return l.unproven >= l.quarter() }

func (l *lanes) quarter() int { return max(1, l.slots/4) }

// spare is how many slots are not for claims, so that an event that is sent now finds
// one beside any backlog.
func (l *lanes) spare() int { return max(1, l.slots/8) }

// claimable is how many slots a claim may take.
func (l *lanes) claimable() int { return l.free - max(0, l.spare()-l.handedOff) }

// matters reports whether claims must hear of the endpoint, since they would give it
// too much. Of those that are only slow some are remembered and not all: what is
// kept is bounded by the slots.
func (l *lanes) matters(la *lane, now time.Time) bool {
	return la.inFlight > 0 || la.parked > 0 || now.Before(la.blocked) ||
		(la.sluggish || la.room < l.defaultRoom()) && len(l.busy) <= 2*l.slots
}

func (l *lanes) setBacklog(la *lane, on bool) {
	la.backlog = on
	if on {
		l.waiting[la.endpoint] = la
	} else {
		delete(l.waiting, la.endpoint)
	}
}

// open starts or ends hand-offs.
func (l *lanes) open(on bool) {
	l.mu.Lock()
	l.closed = !on
	l.mu.Unlock()
}

// reserve takes a slot for a delivery of the endpoint that is about to be stored.
// If it is not to be had, the endpoint has a backlog from then on: the delivery
// will be stored ready, and later ones must not overtake all of it for ever.
func (l *lanes) reserve(endpoint int64, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	la := l.lane(endpoint, now)
	ok := !la.backlog && l.roomLeft(la) > 0 && now.After(la.until) && l.free > 0 &&
		(!l.backlogged || l.handedOff < l.slots-l.quarter()) && (!la.slow(now) || l.slowRoom(now) > 0)
	if !ok {
		l.note(la)
		return false
	}
	l.free--
	l.handedOff++
	l.take(la)
	return true
}

// note marks a backlog that a claim under way may not have seen.
func (l *lanes) note(la *lane) {
	la.noted = l.offers
	l.setBacklog(la, true)
}

// stored notes that the store now has a ready delivery of the endpoint, and reports
// whether a claim could take it. If not, the end of an attempt or of a block will
// wake the claims.
func (l *lanes) stored(endpoint int64, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	la := l.lane(endpoint, now)
	l.note(la)
	return l.roomLeft(la) > 0 && !now.Before(la.blocked)
}

// unreserve gives back what reserve took when the delivery was not stored leased.
func (l *lanes) unreserve(endpoint int64, now time.Time) {
	l.mu.Lock()
	l.free++
	l.handedOff--
	la := l.lane(endpoint, now)
	l.give(la, now)
	wake := l.backlogged || la.backlog
	l.mu.Unlock()
	if wake {
		l.signal()
	}
}

// offer takes up to limit free slots for a claim and says how much room the busy
// endpoints have; all others get the initial room. The caller must call claimed.
// There is one claim at a time.
func (l *lanes) offer(limit int, now time.Time) (slots int, room map[int64]int, defaultRoom int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	slots = min(limit, l.claimable())
	if slots <= 0 {
		l.backlogged = true // the next slot to become free wakes the claims
		return 0, nil, 0
	}
	if l.strangers {
		slots = min(slots, l.quarter()) // with the room of unknown ones, one claim could take all
	}
	l.free -= slots
	l.offers++
	room = make(map[int64]int, len(l.busy))
	slowRoom := l.slowRoom(now)
	defaultRoom = l.defaultRoom()
	if slowRoom <= 0 || l.wary() {
		// Where so many are slow, the unknown ones may be as well: one attempt tells.
		defaultRoom = 1
	}
	// Of the slow ones those come first that are known to have something to send.
	for _, known := range [2]bool{true, false} {
		for num, la := range l.busy {
			slow := la.slow(now)
			if known != (la.backlog || !slow) {
				continue
			}
			r := l.roomLeft(la)
			switch {
			case now.Before(la.blocked):
				r = 0
			case slow:
				r = min(r, max(0, slowRoom))
				slowRoom -= r
			}
			room[num] = r
		}
	}
	return slots, room, defaultRoom
}

// claimed gives back the slots that a claim left over and learns from it where
// there is a backlog: an endpoint that got less than its room has none.
func (l *lanes) claimed(slots int, room map[int64]int, defaultRoom int, jobs []*job, more bool, last int64, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	got := make(map[int64]int, 16)
	l.strangers = l.strangers && len(jobs) == 0
	for _, j := range jobs {
		la := l.lane(j.ID.Endpoint, now)
		l.take(la)
		got[la.endpoint]++
		l.strangers = l.strangers || !la.proven
	}
	l.free += slots - len(jobs)
	l.backlogged = len(jobs) > 0
	for num, n := range got {
		offered, ok := room[num]
		if !ok {
			offered = defaultRoom
		}
		// The last endpoint of a claim cut short may have more than it got.
		la := l.byEndpoint[num]
		l.setBacklog(la, n >= offered || more && num == last || la.noted == l.offers)
	}
	if !more { // every endpoint was looked at
		for num, la := range l.waiting {
			offered, ok := room[num]
			if got[num] == 0 && (!ok || offered > 0) && la.noted != l.offers {
				l.setBacklog(la, false)
			}
		}
	}
}

// begin notes that the attempt's request starts now.
func (l *lanes) begin(j *job, now time.Time) {
	l.mu.Lock()
	la := l.lane(j.ID.Endpoint, now)
	j.started = now
	j.under = true
	j.prev, j.next = la.last, nil
	if la.last != nil {
		la.last.next = j
	} else {
		la.first = j
	}
	la.last = j
	l.mu.Unlock()
}

// howItWent is what an attempt says about its endpoint's speed.
type howItWent int

const (
	noAttempt howItWent = iota
	wentWell
	wentBadly
	timedOut
)

// finish frees the endpoint's room, now that the response is there, and adapts it.
func (l *lanes) finish(j *job, how howItWent, hold time.Duration, now time.Time) {
	l.mu.Lock()
	la := l.lane(j.ID.Endpoint, now)
	if j.under {
		if how != noAttempt {
			la.sluggish = how == timedOut || now.Sub(j.started) > slowAfter
			if !la.proven && !la.sluggish {
				la.proven = true
				l.unproven -= la.inFlight
			}
		}
		if j.prev != nil {
			j.prev.next = j.next
		} else {
			la.first = j.next
		}
		if j.next != nil {
			j.next.prev = j.prev
		} else {
			la.last = j.prev
		}
		j.prev, j.next, j.under = nil, nil, false
	}
	switch {
	case hold > 0:
		la.until = later(la.until, now.Add(hold))
		la.blocked = later(la.blocked, now.Add(min(hold, holdHere)))
		la.room = 1
	case how == wentWell && 2*la.inFlight >= la.room: // room that nobody used says nothing
		la.room = min(la.room+1, l.maxRoom)
	case how == timedOut:
		la.room = max(1, la.room/2)
	}
	l.give(la, now)
	wake := la.backlog
	l.mu.Unlock()
	if wake {
		l.signal()
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// release frees the slot of a delivery whose result is committed.
func (l *lanes) release(j *job) {
	l.mu.Lock()
	l.free++
	if j.handedOff {
		l.handedOff--
	}
	wake := l.backlogged
	l.mu.Unlock()
	if wake {
		l.signal()
	}
}

// park notes that a result of the endpoint can't be recorded yet. It counts as an attempt
// under way, so that an endpoint with many does not come to hold all slots.
func (l *lanes) park(endpoint int64, held bool, now time.Time) {
	l.mu.Lock()
	la := l.lane(endpoint, now)
	la.parked++
	if held {
		la.held++
	}
	l.busy[endpoint] = la
	l.mu.Unlock()
}

// unpark notes that it is recorded.
func (l *lanes) unpark(endpoint int64, held bool, now time.Time) {
	l.mu.Lock()
	la := l.lane(endpoint, now)
	la.parked--
	if held {
		la.held--
	}
	if !l.matters(la, now) {
		delete(l.busy, endpoint)
	}
	wake := la.backlog
	l.mu.Unlock()
	if wake {
		l.signal()
	}
}

// block keeps an endpoint from being sent to for d, and its room starts at 1
// afterwards. With d 0 it ends a block instead.
func (l *lanes) block(endpoint int64, d time.Duration, now time.Time) {
	l.mu.Lock()
	la := l.lane(endpoint, now)
	la.room = 1
	la.until = now.Add(d)
	if d == 0 {
		la.until = time.Time{}
	}
	la.blocked = la.until
	l.busy[endpoint] = la
	l.mu.Unlock()
}

// nextOpen returns when the next of the endpoints that have a backlog and are left alone
// may be sent to again; zero: none is.
func (l *lanes) nextOpen(now time.Time) (next time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, la := range l.waiting {
		if la.until.After(now) && (next.IsZero() || la.until.Before(next)) {
			next = la.until
		}
	}
	return next
}

// slow reports whether the endpoint's oldest attempt takes long, or the last one did.
func (la *lane) slow(now time.Time) bool {
	return la.sluggish || la.first != nil && now.Sub(la.first.started) > slowAfter
}

// slowRoom is how many slots are left for slow endpoints. l.mu is held.
func (l *lanes) slowRoom(now time.Time) int {
	room := l.slots / 2
	for _, la := range l.busy {
		if la.slow(now) {
			room -= la.inFlight
		}
	}
	return room
}

// forget drops what is known about endpoints long idle.
func (l *lanes) forget(now time.Time) {
	l.mu.Lock()
	for num, la := range l.byEndpoint {
		if !l.matters(la, now) {
			delete(l.busy, num)
		}
		if la.inFlight == 0 && la.parked == 0 && !la.backlog && now.Sub(la.used) > laneMemory && now.After(la.until) {
			delete(l.busy, num)
			delete(l.byEndpoint, num)
		}
	}
	l.mu.Unlock()
}

// idle reports whether every slot is free.
func (l *lanes) idle() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.free == l.slots
}

// enough reports whether a claim would be worth its cost: at least n slots are free,
// or all that claims may take, and the endpoints known to have a backlog have as much room, or
// half of all theirs.
func (l *lanes) enough(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claimable() < min(n, l.slots-l.spare()) {
		return false
	}
	free, all := 0, 0
	for _, la := range l.waiting {
		free += max(0, la.room-la.inFlight)
		all += la.room
		if free >= n {
			return true
		}
	}
	return 2*free >= all
}
