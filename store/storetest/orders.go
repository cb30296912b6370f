package storetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store"
)

func orderChecks() []check {
	return []check{
		{"EveryOrder", "whatever the order of expiry, take-over, next lease, late reports, cancelling and deleting: a success wins, a final state changes for nothing else, and every attempt number given out and not released is in the log", everyOrder},
	}
}

// op is one thing that happens to a delivery that worker A holds under its first
// lease.
type op byte

const (
	expires  op = 'x' // A's lease runs out
	takeOver op = 't' // TakeOver runs
	claims   op = 'c' // worker B claims
	aDeliver op = 'A' // A reports success
	aRetry   op = 'a' // A reports a failure to be repeated
	aExhaust op = 'e' // A reports the last failure
	aRelease op = 'r' // A gives the lease back
	bDeliver op = 'B' // B reports success
	bRetry   op = 'b' // B reports a failure to be repeated
	bExhaust op = 'E' // B reports the last failure
	cancels  op = 'k' // a person cancels the delivery
	deletes  op = 'd' // a person deletes the endpoint
)

var opNames = map[op]string{
	expires: "lease expires", takeOver: "take over", claims: "B claims", aDeliver: "A delivers", aRetry: "A fails",
	aExhaust: "A exhausts", aRelease: "A releases", bDeliver: "B delivers", bRetry: "B fails", bExhaust: "B exhausts",
	cancels: "cancel", deletes: "delete",
}

func describe(ops []op) string {
	names := []string{"A claims"}
	for _, o := range ops {
		names = append(names, opNames[o])
	}
	return strings.Join(names, ", ")
}

// model is what the contract says of one delivery. It has A's lease from the
// start.
type model struct {
	state    store.State // Cancelled also if the endpoint is deleted
	holder   byte        // 'A', 'B' or 0: who has the lease
	token    int         // 1 is A's, 2 is B's
	expired  bool        // A's lease
	failures int
	unsure   bool // whether failures counts the last one is not in the contract

	// The log: what is known of the attempts 1 and 2. given says that the number
	// was given out and not released.
	rows  [3]store.Outcome
	given [3]bool
	bNum  int // number of B's attempt
	open  [3]bool
}

func newModel() model {
	m := model{state: store.Pending, holder: 'A', token: 1}
	m.given[1] = true
	return m
}

// can reports whether an op makes sense now; what can't happen is not tried.
func (m model) can(done []op, o op) bool {
	has := func(ops ...op) bool {
		return slices.ContainsFunc(ops, func(o op) bool { return slices.Contains(done, o) })
	}
	switch o {
	case expires:
		return !has(expires) && !has(aRelease)
	case takeOver:
		return has(expires) && !has(takeOver)
	case claims:
		return m.token == 1 && m.state == store.Pending && m.holder == 0
	case aDeliver, aRetry, aExhaust, aRelease:
		return !has(aDeliver, aRetry, aExhaust, aRelease)
	case bDeliver, bRetry, bExhaust:
		return m.token == 2 && !has(bDeliver, bRetry, bExhaust)
	case cancels:
		return !has(cancels)
	case deletes:
		return !has(deletes)
	}
	return false
}

// apply changes the model as the op changes a store, and returns for reports
// whether they are accepted.
func (m *model) apply(o op) (accepted bool) {
	switch o {
	case expires:
		m.expired = true
	case takeOver:
		if m.holder == 'A' && m.expired {
			m.holder, m.rows[1] = 0, store.AttemptUnknown
		}
	case claims:
		m.holder, m.token = 'B', 2
		m.bNum = 2
		if !m.given[1] {
			m.bNum = 1
		}
		m.given[m.bNum] = true
	case cancels, deletes:
		if m.state == store.Pending {
			m.state = store.Cancelled
			if m.holder != 0 {
				m.open[m.num(m.holder)] = true
			}
			m.holder = 0
		}
	case aRelease:
		if m.holder == 'A' {
			m.holder, m.given[1] = 0, false
			return true
		}
		m.open[1] = true // given out and refused back: the log may say unknown
	case aDeliver, bDeliver:
		n := m.num(reporter(o))
		accepted = m.state != store.Delivered
		m.rows[n], m.open[n] = store.AttemptDelivered, false
		m.state, m.holder = store.Delivered, 0
	case aRetry, aExhaust, bRetry, bExhaust:
		who := reporter(o)
		n := m.num(who)
		m.rows[n], m.open[n] = store.AttemptFailed, false
		if m.state != store.Pending || m.token != map[byte]int{'A': 1, 'B': 2}[who] {
			return false
		}
		m.holder = 0
		if o == aExhaust || o == bExhaust {
			m.state, m.unsure = store.Exhausted, true
		} else {
			m.failures++
		}
		return true
	}
	return accepted
}

func (m *model) num(who byte) int {
	if who == 'B' {
		return m.bNum
	}
	return 1
}

func reporter(o op) byte {
	if o == bDeliver || o == bRetry || o == bExhaust {
		return 'B'
	}
	return 'A'
}

// orders returns every order of ops that can happen, longest ones only: shorter
// ones are their beginnings, and each beginning is looked at on the way.
func orders() [][]op {
	all := []op{expires, takeOver, claims, aDeliver, aRetry, aExhaust, aRelease, bDeliver, bRetry, bExhaust, cancels, deletes}
	var found [][]op
	var walk func(m model, done []op)
	walk = func(m model, done []op) {
		end := true
		for _, o := range all {
			// Either is final for the delivery; both would only double the orders.
			if (o == cancels && slices.Contains(done, deletes)) || (o == deletes && slices.Contains(done, cancels)) {
				continue
			}
			if !m.can(done, o) {
				continue
			}
			end = false
			next := m
			next.apply(o)
			walk(next, append(slices.Clone(done), o))
		}
		if end {
			found = append(found, done)
		}
	}
	walk(newModel(), nil)
	return found
}

// run is one order on its way through the store, on an endpoint of its own.
type run struct {
	ops     []op
	model   model
	ep      store.Endpoint
	a, b    store.Claimed
	deleted bool
}

func (r *run) String() string { return describe(r.ops) }

func everyOrder(w *world) {
	// Time passes for all deliveries at once, so those orders go together in which
	// the lease expires and is taken over in the same places. Each step of all of
	// them is one batch.
	type places struct{ expires, takeOver int }
	groups := map[places][]*run{}
	var keys []places
	for i, ops := range orders() {
		if testing.Short() && i%5 != 0 {
			continue
		}
		k := places{slices.Index(ops, expires), slices.Index(ops, takeOver)}
		if groups[k] == nil {
			keys = append(keys, k)
		}
		groups[k] = append(groups[k], &run{ops: ops, model: newModel()})
	}
	var free []store.Endpoint
	for _, k := range keys {
		free = runOrders(w, groups[k], free)
		if w.Failed() {
			return
		}
	}
}

// runOrders takes a group of orders through the store and returns the endpoints
// that may be used again.
func runOrders(w *world, runs []*run, free []store.Endpoint) []store.Endpoint {
	for _, r := range runs {
		if len(free) == 0 {
			free = append(free, w.endpoint())
		}
		r.ep, free = free[0], free[1:]
	}
	evs := make([]store.NewEvent, len(runs))
	for i, r := range runs {
		if i == 0 {
			evs[0] = w.newEvent(r.ep)
			continue
		}
		ev := evs[0]
		ev.ID = fmt.Sprintf("%s_%d", ev.ID, i)
		ev.For = []store.NewDelivery{{Endpoint: r.ep.Num}}
		evs[i] = ev
	}
	w.store(evs...)
	byEndpoint := map[int64]*run{}
	for _, r := range runs {
		byEndpoint[r.ep.Num] = r
	}
	p := claimParams()
	p.Endpoints = len(runs) + many
	for _, c := range w.claimWith(p) {
		byEndpoint[c.ID.Endpoint].a = c
	}

	longest := 0
	for _, r := range runs {
		longest = max(longest, len(r.ops))
	}
	for i := range longest {
		stepOrders(w, runs, i)
		compareOrders(w, runs, i)
		if w.Failed() {
			return nil
		}
	}

	// In the end the open leases run out. That completes the log and changes no
	// state.
	w.cancelDeleted()
	w.advance(10 * leaseTime)
	w.takeOver()
	w.cancelDeleted()
	var left []store.Settlement
	state := readOrders(w, runs)
	for _, r := range runs {
		got := w.outcomes(r.a.ID)
		for n := 1; n <= 2; n++ {
			want := r.model.rows[n]
			if want == 0 && r.model.given[n] {
				want = store.AttemptUnknown
			}
			if r.model.open[n] && slices.Contains(r.ops, aRelease) && n == 1 && got[n] == 0 {
				continue
			}
			if got[n] != want {
				w.Errorf("%v, leases run out: attempt %d is logged as %v, want %v; every number given out and not released needs its row", r, n, got[n], want)
			}
		}
		if d := state[r.a.ID]; d.State != r.model.state {
			w.Errorf("%v, leases run out: delivery is %v, want %v", r, d.State, r.model.state)
		}
		// A's success comes after all, unless A has reported.
		if !slices.ContainsFunc(r.ops, func(o op) bool { return o == aDeliver || o == aRetry || o == aExhaust || o == aRelease }) {
			left = append(left, success(r.a))
		}
	}
	for i, got := range w.settle(left...) {
		if got.State != store.Delivered {
			w.Errorf("a success of %v reported last of all: state %v, want delivered, it wins over everything", left[i].ID, got.State)
		}
	}
	state = readOrders(w, runs)
	for _, s := range left {
		if d := state[s.ID]; d.State != store.Delivered {
			w.Errorf("delivery %v reads as %v after a success reported last of all, want delivered", s.ID, d.State)
		}
	}

	// Nothing of this group may be in the way of the next.
	w.promote()
	left = nil
	for _, c := range w.claimWith(p) {
		if s := byEndpoint[c.ID.Endpoint].model.state; s != store.Pending {
			w.Errorf("%v: the delivery was claimed again, although it is %v", byEndpoint[c.ID.Endpoint], s)
		}
		left = append(left, exhaust(c))
	}
	w.settle(left...)
	for _, r := range runs {
		if !r.deleted {
			free = append(free, r.ep)
		}
	}
	return free
}

// stepOrders does the i-th op of all runs.
func stepOrders(w *world, runs []*run, i int) {
	room := map[int64]int{}
	var reports []store.Settlement
	var reporters []*run
	claimers := 0
	for _, r := range runs {
		if i >= len(r.ops) {
			continue
		}
		switch o := r.ops[i]; o {
		case claims:
			room[r.ep.Num] = 1
			claimers++
		case aDeliver, bDeliver, aRetry, bRetry, aExhaust, bExhaust, aRelease:
			c := r.a
			if reporter(o) == 'B' {
				c = r.b
			}
			s := map[op]func(store.Claimed) store.Settlement{
				aDeliver: success, bDeliver: success, aExhaust: exhaust, bExhaust: exhaust, aRelease: release,
			}[o]
			if s == nil {
				s = func(c store.Claimed) store.Settlement { return failure(c, 0) }
			}
			reports, reporters = append(reports, s(c)), append(reporters, r)
		case cancels:
			err := w.st.Cancel(w.ctx(), w.scope, r.a.ID, "cancelled by hand")
			if r.model.state == store.Pending {
				w.must(err, "%v: Cancel", describe(r.ops[:i+1]))
			} else {
				w.wantErr(err, store.ErrFinished, "%v: Cancel of a delivery that is %v", describe(r.ops[:i+1]), r.model.state)
			}
		case deletes:
			w.setState(r.ep, store.Deleted)
			r.deleted = true
		}
	}
	if slices.ContainsFunc(runs, func(r *run) bool { return i < len(r.ops) && r.ops[i] == expires }) {
		w.advance(leaseTime + time.Second)
	}
	if slices.ContainsFunc(runs, func(r *run) bool { return i < len(r.ops) && r.ops[i] == takeOver }) {
		w.takeOver()
	}
	for k, got := range w.settle(reports...) {
		r := reporters[k]
		o := r.ops[i]
		want := r.model.apply(o)
		if o == aRelease && r.deleted {
			want = got.Accepted // the contract leaves open whether there is a lease to give back
		}
		if got.Accepted != want {
			w.Errorf("%s: the last report was accepted: %v, want %v", describe(r.ops[:i+1]), got.Accepted, want)
		}
		if got.State != r.model.state {
			w.Errorf("%s: the last report says that the delivery is %v, want %v", describe(r.ops[:i+1]), got.State, r.model.state)
		}
	}
	w.promote()
	if claimers > 0 {
		p := claimParams()
		p.Lease = 5 * leaseTime // B's outlasts A's
		p.Room, p.DefaultRoom, p.Owner, p.Endpoints = room, 0, me+1, len(runs)+many
		got := map[int64]store.Claimed{}
		for _, c := range w.claimWith(p) {
			got[c.ID.Endpoint] = c
		}
		for _, r := range runs {
			if room[r.ep.Num] == 0 {
				continue
			}
			c, ok := got[r.ep.Num]
			if !ok || c.ID != r.a.ID {
				w.Fatalf("%s: the last claim did not find the delivery, which is ready", describe(r.ops[:i+1]))
			}
			r.b = c
			r.model.apply(claims)
			if c.Token <= r.a.Token || c.Attempt != r.model.bNum {
				w.Errorf("%s: token %d, attempt %d, want a token above %d and attempt %d", describe(r.ops[:i+1]), c.Token, c.Attempt, r.a.Token, r.model.bNum)
			}
		}
	}
	for _, r := range runs {
		if i < len(r.ops) && slices.Contains([]op{expires, takeOver, cancels, deletes}, r.ops[i]) {
			r.model.apply(r.ops[i])
		}
	}
}

// compareOrders compares all deliveries with their models after step i.
func compareOrders(w *world, runs []*run, i int) {
	state := readOrders(w, runs)
	for _, r := range runs {
		if i >= len(r.ops) {
			continue
		}
		d := state[r.a.ID]
		if d.State != r.model.state {
			w.Errorf("%s: delivery is %v, want %v", describe(r.ops[:i+1]), d.State, r.model.state)
		}
		if !r.model.unsure && d.Failures != r.model.failures {
			w.Errorf("%s: delivery counts %d failures, want %d", describe(r.ops[:i+1]), d.Failures, r.model.failures)
		}
		if d.State != store.Pending && d.InFlight {
			w.Errorf("%s: delivery is %v and in flight", describe(r.ops[:i+1]), d.State)
		}
	}
}

// readOrders returns the deliveries of all runs in few reads.
func readOrders(w *world, runs []*run) map[store.DeliveryID]store.Delivery {
	state := map[store.DeliveryID]store.Delivery{}
	first := runs[0].a.ID.Event
	for _, r := range runs {
		first = min(first, r.a.ID.Event)
	}
	q := store.DeliveryQuery{Limit: 1000}
	for done := false; !done; {
		page, err := w.st.Deliveries(w.ctx(), w.scope, q)
		w.must(err, "Deliveries")
		for _, d := range page {
			state[d.ID] = d
			done = done || d.ID.Event <= first
		}
		if len(page) == 0 {
			break
		}
		q.Before = page[len(page)-1].ID
	}
	return state
}
