package memory

import (
	"cmp"
	"math"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// world is what one scope holds.
type world struct {
	scope      store.Scope
	setVersion int64
	endpoints  []*endpoint // by Num
	byID       map[string]*endpoint
	byURL      map[string]*endpoint // those not deleted, by URLKey
	events     map[string]*event    // by ID
	log        []*event             // by Num
	erased     int64                // all events up to this Num have lost their payload
	reserved   map[string]*Tx       // ids of events that open transactions hold
}

// world returns the scope's world, which it makes if need be.
func (s *Store) world(scope store.Scope) *world {
	w := s.worlds[scope]
	if w == nil {
		w = &world{
			scope:    scope,
			byID:     make(map[string]*endpoint),
			byURL:    make(map[string]*endpoint),
			events:   make(map[string]*event),
			reserved: make(map[string]*Tx),
		}
		s.worlds[scope] = w
	}
	return w
}

// after returns the place in the log of the first event whose Num is greater.
func (w *world) after(num int64) int {
	i, found := slices.BinarySearchFunc(w.log, num, func(e *event, num int64) int { return cmp.Compare(e.Num, num) })
	if found {
		i++
	}
	return i
}

// keep enters an event into the world.
func (w *world) keep(ev *event) {
	w.events[ev.ID] = ev
	if n := len(w.log); n == 0 || w.log[n-1].Num < ev.Num {
		w.log = append(w.log, ev)
		return
	}
	// A transaction that committed late.
	w.log = slices.Insert(w.log, w.after(ev.Num), ev)
	w.erased = min(w.erased, ev.Num-1)
}

type endpoint struct {
	store.Endpoint
	world   *world
	history []store.Change

	ready   queue
	pending *delivery // all pending ones, chained
	// in is how many of them are in each stage, but for nowhere.
	in        [leased + 1]int
	exhausted int // deliveries in the log, tests aside
	// oldest is a lower bound of the times at which the windows of the ready
	// deliveries began. It saves looking through them all.
	oldest micros
}

const noneOldest = micros(math.MaxInt64)

// endpoint returns the endpoint with that number, or nil.
func (s *Store) endpoint(num int64) *endpoint {
	if num < 1 || num > int64(len(s.endpoints)) {
		return nil
	}
	return s.endpoints[num-1]
}

type event struct {
	store.Event
	deliveries []*delivery // by endpoint and round
	list       []int64     // endpoints whose deliveries FanOut has yet to make, by Num
	pending    int         // pending deliveries
	due        micros      // of deliveries that are to be sent later; 0: at once
}

// settled reports whether nothing of the event is pending or to come.
func (ev *event) settled() bool { return ev.pending == 0 && len(ev.list) == 0 }

// rounds returns the deliveries of the event to an endpoint, by round.
func (ev *event) rounds(endpoint int64) []*delivery {
	from := ev.search(endpoint, 0)
	to := from
	for to < len(ev.deliveries) && ev.deliveries[to].endpoint.Num == endpoint {
		to++
	}
	return ev.deliveries[from:to]
}

func (ev *event) search(endpoint int64, round int) int {
	i, _ := slices.BinarySearchFunc(ev.deliveries, endpoint, func(d *delivery, endpoint int64) int {
		return cmp.Or(cmp.Compare(d.endpoint.Num, endpoint), cmp.Compare(d.round, round))
	})
	return i
}

// delivery returns the delivery with that id, or nil.
func (s *Store) delivery(id store.DeliveryID) *delivery {
	ev := s.events[id.Event]
	if ev == nil {
		return nil
	}
	if i := ev.search(id.Endpoint, id.Round); i < len(ev.deliveries) && ev.deliveries[i].id() == id {
		return ev.deliveries[i]
	}
	return nil
}

// stage is where a pending delivery waits.
type stage uint8

const (
	nowhere stage = iota // new or finished
	waiting              // for its retry, in Store.waiting
	ready                // in its endpoint's queue
	leased               // in Store.leases
)

type delivery struct {
	event    *event
	endpoint *endpoint
	round    int

	state store.State
	stage stage
	pos   int // in the queue of its stage

	prev, next *delivery // of the endpoint's pending ones

	token    int64
	attempts int
	failures int
	unknown  int // attempts in a row that ended unknown
	status   int
	owner    int64

	created  micros
	first    micros
	due      micros
	leasedAt micros
	leaseEnd micros
	finished micros
	reason   string

	log []store.Attempt // by N
}

func (d *delivery) id() store.DeliveryID {
	return store.DeliveryID{Event: d.event.Num, Endpoint: d.endpoint.Num, Round: d.round}
}

// windowStart is when the time began after which the delivery is given up.
func (d *delivery) windowStart() micros {
	if d.first != 0 {
		return d.first
	}
	return d.due
}

// attempt returns the place of attempt n in the log and whether it is there.
func (d *delivery) attempt(n int) (int, bool) {
	return slices.BinarySearchFunc(d.log, n, func(a store.Attempt, n int) int { return cmp.Compare(a.N, n) })
}

// visible returns the state as everybody sees it: what is pending for a deleted
// endpoint reads as cancelled, marked or not.
func (d *delivery) visible() store.State {
	if d.state == store.Pending && d.endpoint.State == store.Deleted {
		return store.Cancelled
	}
	return d.state
}

func (d *delivery) record() store.Delivery {
	r := store.Delivery{
		ID:         d.id(),
		Scope:      d.event.Scope,
		EventID:    d.event.ID,
		EventType:  d.event.Type,
		EndpointID: d.endpoint.ID,
		State:      d.visible(),
		Reason:     d.reason,
		Attempts:   d.attempts,
		Failures:   d.failures,
		LastStatus: d.status,
		CreatedAt:  d.created.time(),
		FirstAt:    d.first.time(),
		FinishedAt: d.finished.time(),
	}
	switch {
	case r.State == store.Pending:
		r.DueAt = d.due.time()
		if r.InFlight = d.stage == leased; r.InFlight {
			r.LeasedAt, r.LeaseUntil = d.leasedAt.time(), d.leaseEnd.time()
		}
	case d.state == store.Pending:
		r.Reason, r.FinishedAt = store.ReasonDeleted, d.endpoint.ChangedAt
	}
	return r
}

// isListed reports whether the event is about to get a delivery to the endpoint.
func (ev *event) isListed(endpoint int64) bool {
	_, listed := slices.BinarySearch(ev.list, endpoint)
	return listed
}
