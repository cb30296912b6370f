package store

import (
	"strconv"
	"time"
)

// Count is a number that is exact up to the bound of who counted.
type Count struct {
	N int
	// More says that counting stopped: there are N or more.
	More bool
}

// String returns the number, with a plus sign if there may be more: "1000+".
func (c Count) String() string {
	if c.More {
		return strconv.Itoa(c.N) + "+"
	}
	return strconv.Itoa(c.N)
}

// Plus returns the sum, which is exact if both are.
func (c Count) Plus(d Count) Count { return Count{c.N + d.N, c.More || d.More} }

// Bounded returns n as a count that stops at bound. A store that has counted as far
// as bound says so: More is true whether there is another or not.
func Bounded(n, bound int) Count { return Count{min(n, bound), n >= bound} }

// Backlog is what an endpoint has waiting, and what it has lost. Each count stops
// at the bound asked for: it then says More, though it may be exact.
type Backlog struct {
	EndpointID string
	Endpoint   int64 // Endpoint.Num
	State      EndpointState
	// Due are the pending deliveries whose time has come and that nobody has
	// leased: they wait for a worker, or for the endpoint to be enabled or its hold
	// to end.
	Due Count
	// OldestDue is since when the one of them has been due that waits longest; zero
	// if there is none.
	OldestDue time.Time
	// Scheduled are the pending ones that wait for the time of their retry.
	Scheduled Count
	// InFlight are the pending ones that are leased, the lease expired or not.
	InFlight Count
	// Exhausted are those in the log that were given up, replayed since or not, without
	// those of webhook.* events. A store may stop at the bound with these counted: N is
	// then less than the bound, and More is true.
	Exhausted Count
}

// MaxInFlightCount is how many leases, in the whole store, are looked at to count
// those of an endpoint.
const MaxInFlightCount = 10_000

// BacklogQuery selects endpoints of a scope that are not deleted.
type BacklogQuery struct {
	EndpointID string // only this one; ErrNotFound if there is none or it is deleted
	After      int64  // only endpoints whose Num is greater: the last one of the previous page
	Limit      int    // at most; 0 means 100, more than 1000 means 1000
	// Bound is where each count stops; 0 means 50. InFlight stops at
	// MaxInFlightCount leases of the whole store.
	Bound int
}

// Stop returns Bound, or what it is if not set.
func (q BacklogQuery) Stop() int {
	if q.Bound <= 0 {
		return 50
	}
	return q.Bound
}
