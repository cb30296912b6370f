package storetest

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

func upkeepChecks() []check {
	return []check{
		{"StepsAreBounded", "each step of upkeep changes at most limit rows and can be called again for the rest, so that none holds the database for long", stepsAreBounded},
		{"StepsInParallel", "steps that run in several processes at once do each row once", stepsInParallel},
		{"FanOut", "an event for more than MaxFanOut endpoints is stored with its list, which becomes deliveries in bounded steps, each once and none lost", fanOut},
		{"MomentsAreReached", "a lease has expired, a retry is due, a hold and a window are over as soon as the clock shows their end: who waits until then and finds nothing would ask again and again without end", momentsAreReached},
		{"ClockIsTheStores", "no result depends on the process's clock or on what an event says of its creation: ten years from now everything works as today", clockIsTheStores},
	}
}

// chore is a step of upkeep with a way to make work for it.
type chore struct {
	name string
	step func(st store.Store, limit int) (int, error)
	// prepare makes n rows that the step changes.
	prepare func(w *world, n int) []store.DeliveryID
	// done reports whether the step has been done to a delivery.
	done func(w *world, id store.DeliveryID) bool
}

func chores(w *world) []chore {
	ready := func(w *world, ep store.Endpoint, n int) []store.DeliveryID {
		evs := make([]store.NewEvent, n)
		for i := range evs {
			evs[i] = w.newEvent(ep)
		}
		var ids []store.DeliveryID
		for _, num := range w.store(evs...) {
			ids = append(ids, store.DeliveryID{Event: num, Endpoint: ep.Num})
		}
		return ids
	}
	state := func(s store.State) func(w *world, id store.DeliveryID) bool {
		return func(w *world, id store.DeliveryID) bool { return w.delivery(id).State == s }
	}
	return []chore{
		{
			name: "Promote",
			step: func(st store.Store, limit int) (int, error) {
				p, err := st.Promote(w.ctx(), limit)
				return p.Moved, err
			},
			prepare: func(w *world, n int) []store.DeliveryID {
				ids := ready(w, w.endpoint(), n)
				for _, c := range w.claimAll() {
					w.accepted(failure(c, time.Minute))
				}
				w.advance(2 * time.Minute)
				return ids
			},
			done: func(w *world, id store.DeliveryID) bool { return w.delivery(id).InFlight }, // claimed below
		},
		{
			name: "TakeOver",
			step: func(st store.Store, limit int) (int, error) { return st.TakeOver(w.ctx(), limit) },
			prepare: func(w *world, n int) []store.DeliveryID {
				ids := ready(w, w.endpoint(), n)
				w.claimAll()
				w.advance(leaseTime + time.Second)
				return ids
			},
			done: func(w *world, id store.DeliveryID) bool {
				as := w.attempts(id)
				return len(as) == 1 && as[0].Outcome == store.AttemptUnknown
			},
		},
		{
			name: "Expire",
			step: func(st store.Store, limit int) (int, error) { return st.Expire(w.ctx(), window, limit) },
			prepare: func(w *world, n int) []store.DeliveryID {
				ep := w.endpoint()
				ids := ready(w, ep, n)
				w.setState(ep, store.Disabled)
				w.advance(window + time.Second)
				return ids
			},
			done: state(store.Exhausted),
		},
		{
			name: "Expire after enabling",
			step: func(st store.Store, limit int) (int, error) { return st.Expire(w.ctx(), window, limit) },
			prepare: func(w *world, n int) []store.DeliveryID {
				ep := w.endpoint()
				ids := ready(w, ep, n)
				w.setState(ep, store.Disabled)
				w.advance(window + time.Second)
				w.setState(ep, store.Enabled)
				return ids
			},
			done: state(store.Exhausted),
		},
		{
			name: "CancelDeleted",
			step: func(st store.Store, limit int) (int, error) { return st.CancelDeleted(w.ctx(), limit) },
			prepare: func(w *world, n int) []store.DeliveryID {
				a, b := w.endpoint(), w.endpoint()
				ids := slices.Concat(ready(w, a, n/2), ready(w, b, n-n/2))
				w.setState(a, store.Deleted)
				w.setState(b, store.Deleted)
				return ids
			},
			done: func(w *world, id store.DeliveryID) bool { return !w.delivery(id).FinishedAt.IsZero() },
		},
	}
}

func stepsAreBounded(w *world) {
	const n = 11
	for _, c := range chores(w) {
		ids := c.prepare(w, n)
		if got := w.steps(c.name, 3, func(limit int) (int, error) { return c.step(w.st, limit) }); got != n {
			w.Errorf("%s in steps of 3: %d rows changed in all, want %d", c.name, got, n)
		}
		if got, err := c.step(w.st, many); err != nil || got != 0 {
			w.Errorf("%s after it was done: %d rows, error %v, want none", c.name, got, err)
		}
		finishChore(w, c, ids)
	}
}

// finishChore checks that the step was done to all of ids and leaves none of
// them pending.
func finishChore(w *world, c chore, ids []store.DeliveryID) {
	w.Helper()
	cs := w.claimAll()
	for _, d := range cs {
		if !slices.Contains(ids, d.ID) {
			w.Errorf("%s made %v ready", c.name, d.ID)
		}
		if c.name == "TakeOver" && (d.Unknown != 1 || d.Attempt != 2) {
			w.Errorf("TakeOver: claimed with attempt %d, unknown %d, want 2 and 1: each lease ends once", d.Attempt, d.Unknown)
		}
	}
	for _, id := range ids {
		if !c.done(w, id) {
			w.Errorf("%s was not done to %v: it reads %+v", c.name, id, w.delivery(id))
		}
	}
	for _, d := range cs {
		w.accepted(success(d))
	}
}

func stepsInParallel(w *world) {
	const n = 24
	stores := []store.Store{w.st, w.another()}
	for _, c := range chores(w) {
		ids := c.prepare(w, n)
		var total atomic.Int64
		parallel(4, func(i int) {
			for range 100 {
				got, err := busy(func() (int, error) { return c.step(stores[i%2], 2) })
				if err != nil || got > 2 {
					w.Errorf("%s beside others: %d rows, error %v", c.name, got, err)
					return
				}
				total.Add(int64(got))
				if got < 2 {
					return
				}
			}
		})
		// Who met rows that another had locked may have stopped early.
		rest := w.steps(c.name, many, func(limit int) (int, error) { return c.step(w.st, limit) })
		if got := int(total.Load()) + rest; got != n {
			w.Errorf("%s in 4 places at once: %d rows changed in all, want %d", c.name, got, n)
		}
		finishChore(w, c, ids)
	}
}

func fanOut(w *world) {
	const n = store.MaxFanOut + 7
	eps := make([]store.Endpoint, n)
	fresh := make([]store.Endpoint, n)
	for i := range fresh {
		fresh[i] = w.newEndpoint()
	}
	parallel(8, func(k int) {
		for i := k; i < n; i += 8 {
			ep, err := busy(func() (store.Endpoint, error) {
				return w.st.CreateEndpoint(w.ctx(), fresh[i], store.ChangeParams{Action: store.Created})
			})
			if err != nil {
				w.Errorf("CreateEndpoint: %v", err)
				return
			}
			eps[i] = ep
		}
	})
	if w.Failed() {
		return
	}
	set, err := w.st.EndpointSet(w.ctx(), w.scope)
	w.must(err, "EndpointSet")
	if len(set.Endpoints) != n {
		w.Fatalf("EndpointSet holds %d endpoints, want all %d", len(set.Endpoints), n)
	}

	whole, list := w.newEvent(eps[:store.MaxFanOut]...), leased(w.newEvent(eps...))
	rs := w.enqueue(whole, list)
	if rs[0].Status != store.Stored || rs[1].Status != store.Stored {
		w.Fatalf("Enqueue for %d and %d endpoints: %+v", store.MaxFanOut, n, rs)
	}
	if rs[1].Leased {
		w.Errorf("Enqueue for more than MaxFanOut endpoints says Leased, but of such a list none is")
	}
	if got := len(w.deliveries(store.DeliveryQuery{EventID: whole.ID})); got != store.MaxFanOut {
		w.Errorf("an event for MaxFanOut endpoints was stored with %d deliveries, want %d", got, store.MaxFanOut)
	}
	if r := w.enqueue(list)[0]; r.Status != store.Duplicate {
		w.Errorf("the event with the list sent again: status %d, want Duplicate", r.Status)
	}

	// The list is not lost by waiting, and its event is not pruned meanwhile.
	w.advance(time.Second)
	w.prune(store.Retention{Payloads: time.Millisecond, Log: time.Millisecond})
	if _, err := w.st.Event(w.ctx(), w.scope, list.ID); err != nil {
		w.Fatalf("an event whose list was not fanned out yet was pruned: %v", err)
	}

	// An endpoint deleted before its turn gets its delivery and nothing sent.
	dead := w.setState(eps[n-1], store.Deleted)

	// One step, then several processes at once, then the end.
	first, err := w.st.FanOut(w.ctx(), 100)
	w.must(err, "FanOut")
	if first < 1 || first > 100 {
		w.Errorf("FanOut with limit 100 says that it changed %d rows", first)
	}
	if got := len(w.deliveries(store.DeliveryQuery{EventID: list.ID})); got > 100 {
		w.Errorf("FanOut with limit 100 left %d deliveries", got)
	}
	stores := []store.Store{w.st, w.another()}
	var total atomic.Int64
	total.Add(int64(first))
	parallel(3, func(i int) {
		for range 10 {
			got, err := busy(func() (int, error) { return stores[i%2].FanOut(w.ctx(), 80) })
			if err != nil || got > 80 {
				w.Errorf("FanOut with limit 80 beside others: %d, %v", got, err)
				return
			}
			total.Add(int64(got))
		}
	})
	rest := w.steps("FanOut", 200, func(limit int) (int, error) { return w.st.FanOut(w.ctx(), limit) })
	if got := int(total.Load()) + rest; got != n {
		w.Errorf("FanOut made %d deliveries in all by its own count, want %d", got, n)
	}
	seen := map[int64]bool{}
	for _, d := range w.deliveries(store.DeliveryQuery{EventID: list.ID}) {
		want := store.Pending
		if d.ID.Endpoint == dead.Num {
			want = store.Cancelled
		}
		if seen[d.ID.Endpoint] || d.ID.Round != 0 || d.State != want || d.InFlight {
			w.Errorf("fanned out: %+v, want one delivery in round 0 per endpoint, %v", d, want)
		}
		seen[d.ID.Endpoint] = true
	}
	if len(seen) != n {
		w.Errorf("the list of %d endpoints became %d deliveries", n, len(seen))
	}
	p := claimParams()
	p.Limit, p.Endpoints = n, n
	if got := w.claimWith(p); len(got) != n-1+store.MaxFanOut {
		w.Errorf("claimed %d deliveries, want %d", len(got), n-1+store.MaxFanOut)
	}
	w.cancelDeleted()
	at := w.reload(dead).ChangedAt
	if d := w.deliveries(store.DeliveryQuery{EventID: list.ID, EndpointID: dead.ID}); len(d) != 1 || !d[0].FinishedAt.Equal(at) {
		w.Errorf("fanned out to a deleted endpoint, after CancelDeleted: %+v, want it cancelled for good", d)
	}
}

func clockIsTheStores(w *world) {
	const decade = 10 * 365 * 24 * time.Hour
	ep := w.endpoint()
	before := w.now()
	w.stamp("Now", before)
	w.advance(decade)
	w.between("Now after Advance of ten years", w.now(), before.Add(decade), before.Add(decade+time.Hour))

	from := w.now()
	ev := w.newEvent(ep)
	ev.CreatedAt = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC)
	future := w.newEvent(ep)
	future.CreatedAt = time.Date(2999, 1, 1, 0, 0, 0, 0, time.UTC)
	w.store(ev, future)
	stored, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event")
	w.between("Event.StoredAt", stored.StoredAt, from, w.now())
	w.prune(store.Retention{Payloads: 30 * 24 * time.Hour, Log: 90 * 24 * time.Hour})
	cs := w.claimAll()
	if len(cs) != 2 {
		w.Fatalf("claimed %v, want both events: when they say they were created is no matter", claimedIDs(cs))
	}
	w.idle("both are leased by the store's clock")
	if n := w.takeOver(); n != 0 {
		w.Errorf("TakeOver ended %d leases that have not expired by the store's clock", n)
	}
	for _, c := range cs {
		w.accepted(failure(c, time.Hour))
	}
	w.promote()
	w.idle("both wait for an hour by the store's clock")
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows", n)
	}
	w.advance(time.Hour + time.Second)
	w.promote()
	for _, c := range w.claimAll() {
		if c.Elapsed < time.Hour || c.Elapsed > 2*time.Hour {
			w.Errorf("Claimed.Elapsed is %v, want an hour", c.Elapsed)
		}
		w.accepted(success(c))
	}
	w.prune(store.Retention{Payloads: 30 * 24 * time.Hour, Log: 90 * 24 * time.Hour})
	for _, id := range []string{ev.ID, future.ID} {
		if e, err := w.st.Event(w.ctx(), w.scope, id); err != nil || e.Body == nil {
			w.Errorf("event %s, an hour old by the store's clock, was pruned: %v", id, err)
		}
	}
}

func momentsAreReached(w *world) {
	ep := w.endpoint()
	id := store.DeliveryID{Event: w.store(leased(w.newEvent(ep)))[0], Endpoint: ep.Num}
	w.advance(leaseTime)
	if n := w.takeOver(); n != 1 {
		w.Errorf("TakeOver at the end of a lease changed %d rows, want 1", n)
	}
	s := failure(w.take(id), 2*time.Hour)
	s.Hold = time.Hour
	w.accepted(s)
	held := w.send(ep)[0]
	w.advance(time.Hour)
	w.accepted(success(w.take(held)))
	for range 2 { // what Promote says of the wait is enough to wait
		p, err := w.st.Promote(w.ctx(), many)
		w.must(err, "Promote")
		if p.Moved == 1 {
			break
		}
		w.advance(p.Next)
	}
	w.accepted(success(w.take(id)))

	lost := w.send(ep)[0]
	w.setState(ep, store.Disabled)
	w.advance(window)
	if n := w.expire(); n != 1 {
		w.Errorf("Expire at the end of a window changed %d rows, want 1", n)
	}
	w.wantState(lost, store.Exhausted, "its window is over")
}
