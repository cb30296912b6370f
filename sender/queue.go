package sender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	// commitTimeout is how long a Send waits for its commit: for its turn and for the
	// store's answer together.
	commitTimeout = 30 * time.Second
	// overdueAfter is how long after that a caller is answered whose commit is still under
	// way, which may have younger members. By then the store has given up a commit of its own.
	overdueAfter = time.Second
	// expireGrain is how often at most the queue is searched for members that are late.
	expireGrain = 100 * time.Millisecond
	// maxQueuedBytes bounds the bodies of events that wait.
	maxQueuedBytes = 64 << 20
	// A call of SendBatch has no more than these waiting at once.
	portionEvents = 4 * shareEvents
	portionBytes  = 4 * shareBytes
)

// errWaitedInVain is the error of an event whose turn did not come in time.
var errWaitedInVain = fmt.Errorf("%w: the event was not stored, since its turn did not come within %s", store.ErrBusy, commitTimeout)

// member is one event on its way into the store.
type member struct {
	event store.NewEvent
	set   *endpointSet // that event.For was matched on
	size  int

	ownID   bool // the event's id was made here: nobody else has it
	example bool // for the one endpoint that event.For names

	begun    time.Time // our time just before the commit began: what its lease counts from
	lease    time.Duration
	repeated bool // the answer to a commit of it was lost
	result   store.Enqueued
	err      error

	// done has an element when the member has ended: result or err is set, or left.
	done chan struct{}

	// The rest belongs to the queue, until done.
	until      time.Time   // when waiting ends
	in         *memberList // where it is; nil before it has joined and once it has ended
	prev, next *member
	left       bool    // its caller has gone while it was being stored: what follows is done here
	again      *commit // the commit after whose failure it is tried alone
}

func newMember(ev store.Event) *member {
	return &member{event: store.NewEvent{Event: ev}, size: len(ev.Body), done: make(chan struct{}, 1)}
}

// aimed reports whether the event is for one endpoint, whatever that selects.
func (m *member) aimed() bool { return m.example || m.event.Type == testEventType }

// failed is err, said as what it means if the event may be stored already.
func (m *member) failed(err error) error {
	if err != nil && m.repeated && !errors.Is(err, ErrOutcomeUnknown) {
		return fmt.Errorf("%w: %w", ErrOutcomeUnknown, err)
	}
	return err
}

// memberList is a list of members, each of which is in one list at most.
type memberList struct {
	first, last *member
	n, size     int
}

// add appends a member, which leaves the list that it is in.
func (l *memberList) add(m *member) {
	if m.in != nil {
		m.in.remove(m)
	}
	m.in, m.prev = l, l.last
	if l.last != nil {
		l.last.next = m
	} else {
		l.first = m
	}
	l.last = m
	l.n++
	l.size += m.size
}

func (l *memberList) remove(m *member) {
	if m.prev != nil {
		m.prev.next = m.next
	} else {
		l.first = m.next
	}
	if m.next != nil {
		m.next.prev = m.prev
	} else {
		l.last = m.prev
	}
	m.in, m.prev, m.next = nil, nil, nil
	l.n--
	l.size -= m.size
}

// enqueuer lets concurrent Sends share a commit: the first goes at once, those that
// arrive while a commit is under way go together in the next. It has goroutines
// only while there is something to store: one, and a few for members that are tried alone.
type enqueuer struct {
	st      store.Queue
	observe *observing
	leases  *leaseLength
	// maxQueued is how many events may wait, negative for any number.
	maxQueued int
	// settle does what follows from a member's end, if its caller has gone.
	settle func(*member)

	mu      sync.Mutex
	waiting memberList // for the next batch
	alone   memberList // to be tried alone
	taken   memberList // in a commit
	leading bool
	loners  int // goroutines that try members alone

	timer  *time.Timer // calls expire
	expiry time.Time   // when; zero: not set
}

// join puts members in line in their order and returns how many found room: none of the
// others waits. The done of each gets an element when result or err is set. A member is
// stored under no caller's context; see leave.
func (q *enqueuer) join(members ...*member) int {
	q.mu.Lock()
	joined := 0
	for _, m := range members {
		if q.full(m) {
			break
		}
		q.waiting.add(m)
		q.expireAt(m.until)
		joined++
	}
	lead := joined > 0 && !q.leading
	if lead {
		q.leading = true
	}
	q.mu.Unlock()
	if lead {
		go q.lead()
	}
	return joined
}

// full reports whether m has to be turned away. Nothing is too large for an empty queue.
// q.mu is held.
func (q *enqueuer) full(m *member) bool {
	n, size := q.waiting.n+q.alone.n, q.waiting.size+q.alone.size
	return q.maxQueued >= 0 && n > 0 && (n >= q.maxQueued || size+m.size > maxQueuedBytes)
}

// portion returns how many of the open members of one call should join at once.
func (q *enqueuer) portion(members []*member, open []int) int {
	most := portionEvents
	if q.maxQueued >= 0 {
		most = min(most, q.maxQueued)
	}
	n, size := 0, 0
	for _, i := range open {
		size += members[i].size
		if n > 0 && (n >= most || size > portionBytes) {
			break
		}
		n++
	}
	return n
}

// leave takes a member out of the queue whose caller's context has ended. It reports
// whether the member is in a commit, whose outcome the caller does not learn any more:
// it must not be touched then. Else it has ended, with m.err if it was not stored.
func (q *enqueuer) leave(m *member, why error) (open bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch m.in {
	case nil:
		<-m.done
		return m.left
	case &q.taken:
		m.left = true
		return true
	}
	m.in.remove(m)
	m.err = m.failed(why)
	return false
}

// expireAt sees to it that expire is called at t or before. q.mu is held.
func (q *enqueuer) expireAt(t time.Time) {
	if !q.expiry.IsZero() && !t.Before(q.expiry) {
		return
	}
	q.expiry = t
	if wait := time.Until(t); q.timer == nil {
		q.timer = time.AfterFunc(wait, q.expire)
	} else {
		q.timer.Reset(wait)
	}
}

// expire ends the waiting of members whose time is over.
func (q *enqueuer) expire() {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	var next time.Time
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, l := range []*memberList{&q.waiting, &q.alone} {
		for m := l.first; m != nil; {
			following := m.next
			if !q.refuse(m, now) {
				soonest(m.until)
			}
			m = following
		}
	}
	for m := q.taken.first; m != nil; m = m.next {
		overdue := m.until.Add(overdueAfter)
		switch {
		case m.left:
		case now.Before(overdue):
			soonest(overdue)
		default:
			m.left = true
			m.done <- struct{}{}
		}
	}
	q.expiry = time.Time{}
	if !next.IsZero() {
		q.expireAt(later(next, now.Add(expireGrain)))
	}
}

// refuse ends a waiting member if its time is over. q.mu is held.
func (q *enqueuer) refuse(m *member, now time.Time) bool {
	if now.Before(m.until) {
		return false
	}
	m.in.remove(m)
	m.err = m.failed(errWaitedInVain)
	m.done <- struct{}{}
	return true
}

// next takes the next batch from what waits; there is none when nothing does, and then
// nobody leads any more.
func (q *enqueuer) next() []*member {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	var size, deliveries int
	batch := make([]*member, 0, min(q.waiting.n, shareEvents))
	for m := q.waiting.first; m != nil; {
		following := m.next
		if !q.refuse(m, now) {
			size += m.size
			deliveries += len(m.event.For)
			if n := len(batch); n > 0 && (n == shareEvents || size > shareBytes || deliveries > shareDeliveries) {
				break
			}
			batch = append(batch, m)
		}
		m = following
	}
	// One order for all batches, so that two of them can't wait for each other.
	slices.SortStableFunc(batch, compareMembers)
	// Later members of the same id wait for the next batch.
	batch = slices.CompactFunc(batch, func(a, b *member) bool { return compareMembers(a, b) == 0 })
	for _, m := range batch {
		q.taken.add(m)
	}
	if len(batch) == 0 {
		q.leading = false
	}
	return batch
}

func compareMembers(a, b *member) int {
	return cmp.Or(
		cmp.Compare(a.event.Tenant, b.event.Tenant),
		cmp.Compare(a.event.Mode, b.event.Mode),
		cmp.Compare(a.event.ID, b.event.ID),
	)
}

// end ends the members of a batch, whose results are set if err is nil.
func (q *enqueuer) end(batch []*member, err error) {
	q.mu.Lock()
	var abandoned []*member
	for _, m := range batch {
		m.err = m.failed(err)
		q.taken.remove(m)
		if m.left {
			abandoned = append(abandoned, m)
		} else {
			m.done <- struct{}{}
		}
	}
	q.mu.Unlock()
	for _, m := range abandoned {
		q.settle(m)
	}
}

// separate lets each member of a batch that failed be tried alone, but for those whose
// callers have gone.
func (q *enqueuer) separate(c *commit, err error) {
	again := *c
	again.batch = nil
	var abandoned []*member
	q.mu.Lock()
	for _, m := range c.batch {
		if m.left {
			abandoned = append(abandoned, m)
			continue
		}
		m.again, m.repeated = &again, m.repeated || c.repeat
		q.alone.add(m)
		q.expireAt(m.until)
	}
	for i := 0; i < q.alone.n && q.loners < aloneAtOnce; i++ {
		q.loners++
		go q.tryAlone()
	}
	q.mu.Unlock()
	q.end(abandoned, err)
}

// nextAlone takes the next member that is to be tried alone.
func (q *enqueuer) nextAlone() *member {
	now := time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	for m := q.alone.first; m != nil; m = q.alone.first {
		if !q.refuse(m, now) {
			q.taken.add(m)
			return m
		}
	}
	q.loners--
	return nil
}

// within returns a context that lasts until the last member of a batch is not waited for
// any more.
func within(batch []*member) (context.Context, context.CancelFunc) {
	until := batch[0].until
	for _, m := range batch[1:] {
		until = later(until, m.until)
	}
	return context.WithDeadline(context.Background(), until)
}
