package postgres

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

const (
	// hotAfter is how many deliveries must have been taken from an endpoint lately
	// for it to be remembered where its live rows begin.
	hotAfter = 1000
	// maxHot bounds the endpoints of which that is used.
	maxHot = 16
	// maxCounted bounds the endpoints that are counted.
	maxCounted = 10_000
	// fullLook is how often claims look at all of an endpoint.
	fullLook = time.Second
)

// hotLanes remembers up to which due time the deliveries of busy endpoints have
// been taken. While somebody's transaction is open for long, the server keeps the
// index entries of all that was taken since, and a claim that began at the oldest
// would read them all again.
//
// Rows can appear behind that time: of a transaction that committed late, or given
// back by another process. So once a second a claim looks at all of an endpoint: the
// next one that comes to it, since its bounds end a claim before it has come to all.
type hotLanes struct {
	mu     sync.Mutex
	lanes  map[int64]*hotLane
	hot    []int64   // the busiest
	chosen time.Time // when they were
}

type hotLane struct {
	taken  float64 // lately; see cooling
	low    time.Time
	looked time.Time // at all of it, last
}

// cooling is what remains of a count after a second. What is taken from an endpoint
// once a second, for long, makes it as hot as a thousand at once.
const cooling = 0.999

// known returns what the next claim may skip: endpoints, and the due time at which
// each begins. Where it has no room it need not look at all.
func (h *hotLanes) known(now time.Time, room func(endpoint int64) int) (endpoints []int64, low []time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	endpoints, low = []int64{}, []time.Time{}
	if now.Sub(h.chosen) >= fullLook {
		h.chosen = now
		h.choose()
	}
	for _, num := range h.hot {
		if l := h.lanes[num]; l != nil && (now.Sub(l.looked) < fullLook || room(num) <= 0) {
			endpoints, low = append(endpoints, num), append(low, l.low)
		}
	}
	return endpoints, low
}

// choose finds the busiest endpoints.
func (h *hotLanes) choose() {
	h.hot = h.hot[:0]
	for num, l := range h.lanes {
		if l.taken *= cooling; l.taken >= hotAfter {
			h.hot = append(h.hot, num)
		}
	}
	if len(h.hot) > maxHot {
		slices.SortFunc(h.hot, func(a, b int64) int { return cmp.Compare(h.lanes[b].taken, h.lanes[a].taken) })
		h.hot = h.hot[:maxHot]
	}
}

// claimed notes what a claim took, in order.
func (h *hotLanes) claimed(ds []found) {
	if len(ds) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.lanes) >= maxCounted {
		clear(h.lanes)
	}
	if h.lanes == nil {
		h.lanes = make(map[int64]*hotLane)
	}
	for _, d := range ds {
		l := h.lanes[d.ID.Endpoint]
		if l == nil {
			l = &hotLane{}
			h.lanes[d.ID.Endpoint] = l
		}
		l.taken++
		l.low = d.due
	}
}

// cameTo notes to which endpoints a claim came that skipped what was known at now.
func (h *hotLanes) cameTo(now time.Time, came func(endpoint int64) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, num := range h.hot {
		if l := h.lanes[num]; l != nil && now.Sub(l.looked) >= fullLook && came(num) {
			l.looked = now
		}
	}
}

// forget lets the next claim look at the whole of an endpoint, because something
// of it is ready again.
func (h *hotLanes) forget(endpoint int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.lanes[endpoint]; l != nil {
		l.low = time.Time{}
	}
}

// forgetAll is forget for all endpoints.
func (h *hotLanes) forgetAll() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		l.low = time.Time{}
	}
}

// lookout is where a step of upkeep begins to look in an index that is ordered by
// time, for the same reason: before from there was nothing left. Once in a while it
// looks at everything.
type lookout struct {
	mu     sync.Mutex
	from   *time.Time // by the store's clock; nil: everything
	looked time.Time  // everything, last
}

const (
	// lookoutSlack is subtracted from the time of the last look: rows of statements
	// that were running then have appeared since.
	lookoutSlack = time.Minute
	// lookoutFull is how often everything is looked at.
	lookoutFull = 30 * time.Second
)

// begin returns where to begin; nil is at the beginning of time.
func (l *lookout) begin(now time.Time) *time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.looked) >= lookoutFull {
		l.looked, l.from = now, nil
	}
	return l.from
}

// done notes that nothing is left before a time by the store's clock.
func (l *lookout) done(at time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.from = new(at.Add(-lookoutSlack))
}

// deadLanes are deleted endpoints of which claims have met deliveries, because
// they were committed after the endpoint's were cancelled.
type deadLanes struct {
	mu   sync.Mutex
	nums map[int64]bool
}

// met adds the endpoints in an array literal.
func (d *deadLanes) met(literal string) {
	if len(literal) <= len("{}") {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.nums == nil || len(d.nums) > maxCounted {
		d.nums = make(map[int64]bool)
	}
	for _, num := range parseArray(literal) {
		d.nums[num] = true
	}
}

// list returns them.
func (d *deadLanes) list() []int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	nums := make([]int64, 0, len(d.nums))
	for num := range d.nums {
		nums = append(nums, num)
	}
	return nums
}

// buried removes those of which nothing is ready any more.
func (d *deadLanes) buried(nums []int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, num := range nums {
		delete(d.nums, num)
	}
}

// pacer spaces steps that were slow and found nothing, so that they take at most a
// hundredth of the time.
type pacer struct {
	mu   sync.Mutex
	next time.Time
}

const paceFrom = 100 * time.Millisecond

func (p *pacer) ready(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !now.Before(p.next)
}

func (p *pacer) took(began time.Time, foundAll bool) {
	if d := time.Since(began); foundAll && d > paceFrom {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.next = time.Now().Add(100 * d)
	}
}
