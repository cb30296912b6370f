package storetest

import (
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

func claimChecks() []check {
	return []check{
		{"ClaimRoom", "a claim returns at most Room deliveries of an endpoint, DefaultRoom of the others and Limit in all: room is what keeps a slow receiver from taking every slot", claimRoom},
		{"ClaimReachesEveryEndpoint", "following the cursor, every endpoint with ready deliveries is reached within bounded claims, whatever lies before it", claimReaches},
		{"ClaimOrder", "endpoints are visited in order of Num from the cursor and round again; within an endpoint the oldest due comes first", claimOrder},
		{"ClaimHold", "nothing is claimed of an endpoint that is on hold: its receiver asked for a pause", claimHold},
		{"ClaimBytes", "a claim ends when the bodies reach Bytes, though its first delivery always comes: memory stays bounded and a large event is still sent", claimBytes},
		{"ClaimChecksEndpointEveryTime", "a claim looks at the endpoint as it is now: disabled and deleted ones get nothing, the version is the current one", claimChecksEndpoint},
	}
}

func claimRoom(w *world) {
	eps := w.endpoints(4)
	for range 6 {
		w.send(eps...)
	}
	p := claimParams()
	p.Room = map[int64]int{eps[0].Num: 2, eps[1].Num: 0, eps[2].Num: -1}
	p.DefaultRoom = 3
	perEndpoint := func(c store.Claims) map[int64]int {
		m := map[int64]int{}
		for _, d := range c.Deliveries {
			m[d.ID.Endpoint]++
		}
		return m
	}
	got := perEndpoint(w.claim(p))
	for i, want := range []int{2, 0, 0, 3} {
		if got[eps[i].Num] != want {
			w.Errorf("endpoint %d has 6 ready deliveries and room for %d, the claim returned %d", i, want, got[eps[i].Num])
		}
	}

	p = claimParams()
	p.DefaultRoom = 0
	p.Room = map[int64]int{eps[3].Num: 1}
	if got := perEndpoint(w.claim(p)); len(got) != 1 || got[eps[3].Num] != 1 {
		w.Errorf("DefaultRoom 0 and room for one at one endpoint: claimed %v by endpoint", got)
	}

	p = claimParams()
	p.Limit = 4
	c := w.claim(p)
	if len(c.Deliveries) != 4 || !c.More {
		w.Errorf("Limit 4 with 18 ready: got %d deliveries, More %v, want 4 and true", len(c.Deliveries), c.More)
	}
	if rest := w.claimAll(); len(rest) != 24-5-1-4 {
		w.Errorf("the rest is %d deliveries, want %d", len(rest), 24-5-1-4)
	}
	c = w.claim(claimParams())
	if len(c.Deliveries) != 0 || c.More {
		w.Errorf("nothing is ready: got %d deliveries, More %v, want 0 and false", len(c.Deliveries), c.More)
	}
	from := w.now()
	w.between("Claims.Now", w.claim(claimParams()).Now, from, w.now())
}

func claimReaches(w *world) {
	const n = 23
	eps := w.endpoints(n)
	isHeld := func(i int) bool { return i%5 == 1 && i%3 != 0 && i%7 != 0 }
	for i, ep := range eps {
		if isHeld(i) {
			w.attempt(ep, func(c store.Claimed) store.Settlement {
				s := exhaust(c)
				s.Hold = time.Hour
				return s
			})
		}
	}
	for range 3 {
		w.send(eps...)
	}
	// Every third endpoint has no room, every seventh is disabled and some are on
	// hold; they lie in the way and stay there.
	p := claimParams()
	p.Limit, p.Endpoints, p.DefaultRoom = 2, 4, 1
	p.Room = map[int64]int{}
	open, held := map[int64]bool{}, map[int64]bool{}
	for i, ep := range eps {
		switch {
		case i%3 == 0:
			p.Room[ep.Num] = 0
		case i%7 == 0:
			w.setState(ep, store.Disabled)
		case isHeld(i):
			held[ep.Num] = true
		default:
			open[ep.Num] = true
		}
	}
	// Each claim looks at 4 endpoints unless it finds 2 deliveries before.
	const bound = 2 * n
	for range bound {
		c := w.claim(p)
		for _, d := range c.Deliveries {
			if _, none := p.Room[d.ID.Endpoint]; none {
				w.Errorf("claimed %v of an endpoint without room", d.ID)
			}
			if held[d.ID.Endpoint] {
				w.Errorf("claimed %v of an endpoint on hold", d.ID)
			}
			delete(open, d.ID.Endpoint)
		}
		p.After = c.After
		if len(open) == 0 {
			break
		}
	}
	if len(open) > 0 {
		w.Errorf("after %d claims with Limit 2 and Endpoints 4, following the cursor, %d of %d endpoints with ready deliveries were not reached", bound, len(open), n)
	}

	// With nothing in the way of a single claim, More must lead to the end.
	p = claimParams()
	p.Limit, p.Endpoints = 3, 2
	left := 0
	for range 200 {
		c := w.claim(p)
		left += len(c.Deliveries)
		p.After = c.After
		if !c.More {
			break
		}
	}
	pending := 0
	for _, d := range w.deliveries(store.DeliveryQuery{States: []store.State{store.Pending}}) {
		ep := slices.IndexFunc(eps, func(e store.Endpoint) bool { return e.Num == d.ID.Endpoint })
		if !d.InFlight && (ep%7 != 0 || ep%3 == 0) && !isHeld(ep) {
			pending++
		}
	}
	if pending > 0 {
		w.Errorf("claims said More until they said no more, after %d deliveries; %d ready ones of open endpoints were left", left, pending)
	}
}

func claimOrder(w *world) {
	eps := w.endpoints(5)
	if !slices.IsSortedFunc(eps, func(a, b store.Endpoint) int { return int(a.Num - b.Num) }) {
		w.Logf("numbers of endpoints do not grow: %v", eps)
		slices.SortFunc(eps, func(a, b store.Endpoint) int { return int(a.Num - b.Num) })
	}
	var first, second []store.DeliveryID
	first = w.send(eps...)
	w.advance(time.Second)
	second = w.send(eps...)

	p := claimParams()
	p.Limit, p.After = 1, eps[2].Num
	for i := range eps {
		want := first[(3+i)%5]
		c := w.claim(p)
		if len(c.Deliveries) != 1 || c.Deliveries[0].ID != want {
			w.Fatalf("Limit 1 after endpoint %d: claimed %v, want %v: the next endpoint in order, its oldest first", p.After, claimedIDs(c.Deliveries), want)
		}
		if c.After != want.Endpoint {
			w.Errorf("Claims.After is %d, want %d, the endpoint visited last", c.After, want.Endpoint)
		}
		p.After = c.After
	}
	p.After = eps[4].Num
	c := w.claim(p)
	if len(c.Deliveries) != 1 || c.Deliveries[0].ID != second[0] {
		w.Errorf("after the last endpoint: claimed %v, want %v, from the start again", claimedIDs(c.Deliveries), second[0])
	}
	p = claimParams()
	p.After = eps[1].Num
	if c := w.claim(p); len(c.Deliveries) != 4 {
		w.Errorf("one claim after the second endpoint found %d of 4 ready deliveries, want all: it goes round", len(c.Deliveries))
	}

	// A retry that is due goes before what was stored later.
	ep := eps[0]
	old := w.send(ep)[0]
	w.accepted(failure(w.take(old), time.Minute))
	w.advance(2 * time.Minute)
	w.send(ep)
	w.promote()
	p = claimParams()
	p.Limit = 1
	if c := w.claim(p); len(c.Deliveries) != 1 || c.Deliveries[0].ID != old {
		w.Errorf("claimed %v, want %v, which was due before the others were stored", claimedIDs(c.Deliveries), old)
	}
}

func claimHold(w *world) {
	eps := w.endpoints(2)
	w.send(eps...)
	cs := w.claimAll()
	w.send(eps...)
	var held store.Claimed
	for _, c := range cs {
		if c.ID.Endpoint == eps[0].Num {
			held = c
		} else {
			w.accepted(success(c))
		}
	}
	s := failure(held, time.Minute)
	s.Hold = 30 * time.Minute
	from := w.now()
	w.accepted(s)
	w.between("Health.HoldUntil", w.reload(eps[0]).HoldUntil, from.Add(s.Hold), w.now().Add(s.Hold))

	late := w.send(eps[0])[0]
	cs = w.claimAll()
	if len(cs) != 1 || cs[0].ID.Endpoint != eps[1].Num {
		w.Fatalf("claimed %v, want one delivery of endpoint %d only; %d is on hold", claimedIDs(cs), eps[1].Num, eps[0].Num)
	}

	// A shorter hold does not shorten a longer one.
	w.accepted(success(cs[0]))
	w.advance(10 * time.Minute)
	w.promote()
	w.idle("the endpoint is on hold for 20 more minutes, its retry included")
	w.advance(21 * time.Minute)
	got := w.claimAll()
	if len(got) != 3 {
		w.Fatalf("after the hold claimed %v, want the 3 deliveries that waited", claimedIDs(got))
	}
	long, short := failure(got[0], time.Hour), failure(got[1], time.Hour)
	long.Hold, short.Hold = 3*time.Hour, time.Hour
	from = w.now()
	w.accepted(long)
	w.accepted(short)
	w.between("Health.HoldUntil after a longer and a shorter hold", w.reload(eps[0]).HoldUntil, from.Add(3*time.Hour), w.now().Add(3*time.Hour))
	w.settle(success(got[2]))
	_ = late
	w.advance(2 * time.Hour)
	w.promote()
	w.idle("the longer of two holds counts")

	// Enabling again ends a hold.
	w.setState(eps[0], store.Disabled)
	w.setState(eps[0], store.Enabled)
	if got := w.claimAll(); len(got) != 2 {
		w.Errorf("enabled again, claimed %v, want both retries: enabling clears the hold", claimedIDs(got))
	}
}

func claimBytes(w *world) {
	eps := w.endpoints(2)
	sizes := []int{100, 100, 100, 5000, 100, 100, 100, 100}
	total := 0
	for i, n := range sizes {
		ev := w.newEvent(eps[i%2])
		ev.Body = slices.Repeat([]byte{byte(i)}, n)
		ev.Hash = hash(ev.Type, ev.Body)
		w.store(ev)
		total++
		w.advance(time.Millisecond)
	}
	p := claimParams()
	p.Bytes = 250
	for claims := 0; total > 0; claims++ {
		if claims > len(sizes) {
			w.Fatalf("%d claims with a byte budget, and %d deliveries are left: the first delivery must always come", claims, total)
		}
		c := w.claim(p)
		sum := 0
		for i, d := range c.Deliveries {
			if i > 0 && sum >= p.Bytes {
				w.Errorf("claim with Bytes %d went on after %d bytes", p.Bytes, sum)
			}
			sum += len(d.Body)
		}
		total -= len(c.Deliveries)
		if total > 0 && !c.More {
			w.Errorf("claim ended by its byte budget says that there is no more; %d deliveries are ready", total)
		}
		p.After = c.After
	}

	for range 5 {
		w.send(eps...)
	}
	p = claimParams()
	p.Bytes = 1
	if c := w.claim(p); len(c.Deliveries) != 1 {
		w.Errorf("a budget of one byte: %d deliveries, want 1", len(c.Deliveries))
	}
	p.Bytes = 0
	if c := w.claim(p); len(c.Deliveries) != 9 {
		w.Errorf("no byte budget: %d deliveries, want all 9", len(c.Deliveries))
	}
}

func claimChecksEndpoint(w *world) {
	ep, gone := w.endpoint(), w.endpoint()
	id := w.send(ep)[0]
	cancelled := w.send(gone)[0]
	ep = w.edit(ep)
	w.setState(gone, store.Deleted)
	c := w.take(id)
	if c.EndpointVersion != ep.Version {
		w.Errorf("Claimed.EndpointVersion is %d, want %d: the endpoint was edited before the claim", c.EndpointVersion, ep.Version)
	}
	w.wantState(cancelled, store.Cancelled, "its endpoint is deleted")

	// Disabled while in flight: the report counts, the retry waits.
	w.setState(ep, store.Disabled)
	w.accepted(failure(c, time.Minute))
	w.advance(2 * time.Minute)
	w.promote()
	w.idle("the endpoint is disabled")
	w.wantState(id, store.Pending, "disabling loses nothing")
	w.setState(ep, store.Enabled)
	if c := w.take(id); c.Attempt != 2 || c.Failures != 1 {
		w.Errorf("enabled again: attempt %d after %d failures, want attempt 2 after 1", c.Attempt, c.Failures)
	}
}
