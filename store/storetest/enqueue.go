package storetest

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

func enqueueChecks() []check {
	return []check{
		{"EventRoundTrip", "an event is kept exactly: the body byte for byte, because receivers verify a signature over it; times to the microsecond in UTC", eventRoundTrip},
		{"EnqueueIsAtomic", "an event and its decided deliveries are stored together or not at all: an event without its deliveries would be acknowledged and never sent", enqueueIsAtomic},
		{"EventForNobody", "an event that is for nobody is stored too: it can be replayed later, and its id must be known when it is sent again", eventForNobody},
		{"EnqueueLeased", "deliveries asked for with Lease are stored leased under token 1 for attempt 1, and no claim gets them while the lease lasts", enqueueLeased},
		{"DuplicatesAndConflicts", "an id is stored once; the same content again is a Duplicate that names the first, other content a Conflict of that member alone", duplicatesAndConflicts},
		{"ConcurrentSendersOfOneID", "of any number of concurrent senders of one id exactly one stores it and fans it out; the others learn that it is there", concurrentSenders},
		{"OverlappingBatches", "batches that share ids in different order all succeed: they must not lock each other out", overlappingBatches},
		{"StaleEndpointSet", "an event decided on an endpoint set that has changed since writes nothing: fan-out follows the committed state of the endpoints", staleEndpointSet},
		{"EnqueueRefused", "an event for an endpoint of another scope, or for one twice, and an id that is twice in a batch are refused with the whole batch: nobody may receive another customer's events", enqueueRefused},
		{"RepeatedBatch", "a batch sent again after its answer was lost changes nothing, and hands out the leases of the first time if and only if they still stand", repeatedBatch},
	}
}

func eventRoundTrip(w *world) {
	ep := w.endpoint()
	body := make([]byte, 512)
	for i := range body {
		body[i] = byte(i)
	}
	ev := w.newEvent(ep)
	ev.Type = "invoice.paid_v2-beta"
	ev.Body = slices.Clone(body)
	ev.Hash = hash(ev.Type, body)
	ev.ContentType = "application/octet-stream"
	ev.Refs = []string{"pay_1", "customer ünï 世界", "c", "d", "e", "f", "g", "h"}
	ev.CreatedAt = time.Date(2025, 12, 31, 23, 59, 59, 987_654_321, time.FixedZone("X", 3600))

	from := w.now()
	num := w.store(ev)[0]
	to := w.now()
	for i := range ev.Body {
		ev.Body[i] = 'x' // byte slices handed in are not kept
	}
	ev.Refs[0] = "changed"

	got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event")
	if !bytes.Equal(got.Body, body) {
		w.Errorf("Event.Body is not the bytes that were enqueued, or follows changes the caller makes to its slice afterwards")
	}
	if got.Num != num || got.ID != ev.ID || got.Scope != w.scope || got.Type != ev.Type ||
		got.ContentType != ev.ContentType || got.Hash != ev.Hash || got.SetVersion != ev.SetVersion || !got.ErasedAt.IsZero() {
		w.Errorf("Event differs from what was enqueued:\ngot  %+v\nwant %+v", got, ev.Event)
	}
	if want := []string{"pay_1", "customer ünï 世界", "c", "d", "e", "f", "g", "h"}; !slices.Equal(got.Refs, want) {
		w.Errorf("Event.Refs is %q, want %q", got.Refs, want)
	}
	if d := got.CreatedAt.Sub(ev.CreatedAt); d <= -time.Microsecond || d >= time.Microsecond {
		w.Errorf("Event.CreatedAt is %v, want %v to the microsecond", got.CreatedAt, ev.CreatedAt)
	}
	w.stamp("Event.CreatedAt", got.CreatedAt)
	w.between("Event.StoredAt", got.StoredAt, from, to)

	got.Body[0] ^= 0xff // byte slices handed out belong to the caller
	again, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event")
	if !bytes.Equal(again.Body, body) {
		w.Errorf("changing a Body that Event returned changed what is stored")
	}

	c := w.take(store.DeliveryID{Event: num, Endpoint: ep.Num})
	if !bytes.Equal(c.Body, body) {
		w.Errorf("Claimed.Body is not the bytes that were enqueued")
	}
	if c.Scope != w.scope || c.EventID != ev.ID || c.EventType != ev.Type || c.ContentType != ev.ContentType ||
		c.Erased || c.EndpointVersion != ep.Version {
		w.Errorf("Claimed differs from what was enqueued: %+v", c)
	}
	if c.Token < 1 || c.Attempt != 1 || c.Failures != 0 || c.Unknown != 0 || c.Elapsed != 0 {
		w.Errorf("first claim: got token %d, attempt %d, failures %d, unknown %d, elapsed %v, want a positive token, attempt 1 and zeros",
			c.Token, c.Attempt, c.Failures, c.Unknown, c.Elapsed)
	}

	// Neither text nor bytes are interpreted on the way.
	var odd []store.NewEvent
	for _, b := range [][]byte{{0}, {0xff, 0xfe}, []byte("it's; -- \\ \"%s\" $1 ?"), {}} {
		ev := w.newEvent()
		ev.Body, ev.Hash = b, hash(ev.Type, b)
		odd = append(odd, ev)
	}
	w.store(odd...)
	for _, ev := range odd {
		got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		w.must(err, "Event")
		if !bytes.Equal(got.Body, ev.Body) || !got.ErasedAt.IsZero() {
			w.Errorf("body %q came back as %q, erased at %v", ev.Body, got.Body, got.ErasedAt)
		}
	}
}

func enqueueIsAtomic(w *world) {
	eps := w.endpoints(5)
	evs := []store.NewEvent{w.newEvent(eps...), w.newEvent(eps[:2]...), w.newEvent(eps[4])}
	from := w.now()
	nums := w.store(evs...)
	to := w.now()
	for i, ev := range evs {
		ds := w.deliveries(store.DeliveryQuery{EventID: ev.ID})
		if len(ds) != len(ev.For) {
			w.Fatalf("event %s was decided for %d endpoints and has %d deliveries", ev.ID, len(ev.For), len(ds))
		}
		for _, d := range ds {
			if d.ID.Event != nums[i] || d.ID.Round != 0 || d.State != store.Pending || d.EventID != ev.ID || d.EventType != ev.Type ||
				d.Scope != w.scope || d.InFlight || d.Attempts != 0 || d.Failures != 0 || !d.FirstAt.IsZero() || !d.FinishedAt.IsZero() {
				w.Errorf("fresh delivery reads %+v, want it pending in round 0, unattempted", d)
			}
			w.between("Delivery.CreatedAt", d.CreatedAt, from, to)
			w.between("Delivery.DueAt", d.DueAt, from, to)
		}
	}
	if got := w.claimAll(); len(got) != 8 {
		w.Errorf("8 deliveries were stored ready, %d could be claimed: %v", len(got), claimedIDs(got))
	}

	// Readers never see an event without its deliveries, nor the other way round.
	other := w.another()
	ev := make([]store.NewEvent, 20)
	for i := range ev {
		ev[i] = w.newEvent(eps...)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			for i := range ev {
				// Deliveries first: those seen have an event that is seen afterwards.
				_, err := other.Event(w.ctx(), w.scope, ev[i].ID)
				if err != nil {
					continue
				}
				ds, err := other.Deliveries(w.ctx(), w.scope, store.DeliveryQuery{EventID: ev[i].ID})
				if err != nil || len(ds) != len(eps) {
					w.Errorf("event %s is visible with %d of its %d deliveries, error %v", ev[i].ID, len(ds), len(eps), err)
				}
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	for i := range ev {
		w.store(ev[i])
	}
	close(stop)
	wg.Wait()
}

func eventForNobody(w *world) {
	ev := w.newEvent()
	if ev.SetVersion != 0 {
		w.Errorf("EndpointSet.Version of a scope that never had an endpoint is %d, want 0", ev.SetVersion)
	}
	num := w.store(ev)[0]
	got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event of an event that is for nobody")
	if got.Num != num {
		w.Errorf("Event.Num is %d, Enqueue said %d", got.Num, num)
	}
	if ds := w.deliveries(store.DeliveryQuery{}); len(ds) != 0 {
		w.Errorf("an event for nobody has deliveries: %+v", ds)
	}
	if r := w.enqueue(ev)[0]; r.Status != store.Duplicate {
		w.Errorf("the event sent again: status %d, want Duplicate (%d)", r.Status, store.Duplicate)
	}
}

func enqueueLeased(w *world) {
	eps := w.endpoints(2)
	ev := w.newEvent(eps...)
	ev.For[0].Lease = true
	r := w.enqueue(ev)[0]
	if r.Status != store.Stored || !r.Leased {
		w.Fatalf("Enqueue with a lease asked for: got %+v, want Stored and Leased", r)
	}
	handed := store.Claimed{ID: store.DeliveryID{Event: r.Event, Endpoint: eps[0].Num}, Token: 1, Attempt: 1}
	d := w.delivery(handed.ID)
	if d.State != store.Pending || !d.InFlight || d.Attempts != 1 || d.FirstAt.IsZero() {
		w.Errorf("delivery stored leased reads %+v, want it pending, in flight, its first attempt begun", d)
	}
	c := w.take(store.DeliveryID{Event: r.Event, Endpoint: eps[1].Num})
	w.accepted(success(c))
	if got := w.accepted(success(handed)); got.State != store.Delivered {
		w.Errorf("settled under token 1: state %v, want delivered", got.State)
	}

	// A lease given by Enqueue expires like any other.
	ev = leased(w.newEvent(eps[0]))
	id := store.DeliveryID{Event: w.store(ev)[0], Endpoint: eps[0].Num}
	w.idle("the delivery is leased to who enqueued it")
	w.advance(leaseTime + time.Second)
	if n := w.takeOver(); n != 1 {
		w.Errorf("TakeOver changed %d rows, want 1: the lease has expired", n)
	}
	if c := w.take(id); c.Token <= 1 || c.Attempt != 2 || c.Unknown != 1 {
		w.Errorf("claim after the lease of Enqueue was taken over: got token %d, attempt %d, unknown %d, want a token above 1, attempt 2, unknown 1", c.Token, c.Attempt, c.Unknown)
	}
}

func duplicatesAndConflicts(w *world) {
	ep := w.endpoint()
	first := w.newEvent(ep)
	num := w.store(first)[0]

	otherBody := first
	otherBody.Body = []byte(`{"other":true}`)
	otherBody.Hash = hash(otherBody.Type, otherBody.Body)
	otherType := first
	otherType.Type = "payment.failed"

	for _, c := range []struct {
		name string
		ev   store.NewEvent
		want store.EnqueueStatus
	}{
		{"the same event again", first, store.Duplicate},
		{"the same event with leases asked for", leased(first), store.Duplicate},
		{"the id with another body and hash", otherBody, store.Conflict},
		{"the id with another type", otherType, store.Conflict},
	} {
		before, after := w.newEvent(ep), w.newEvent(ep)
		rs := w.enqueue(before, c.ev, after)
		if want := []store.EnqueueStatus{store.Stored, c.want, store.Stored}; !slices.Equal(statuses(rs), want) {
			w.Errorf("%s between two new events: statuses %v, want %v: each member succeeds or fails alone", c.name, statuses(rs), want)
		}
		if rs[1].Event != num {
			w.Errorf("%s: Enqueued.Event is %d, want %d, the event that is there", c.name, rs[1].Event, num)
		}
		if rs[1].Leased {
			w.Errorf("%s: says Leased, but nothing was written and the batch is not a repeated one; the delivery would be sent twice", c.name)
		}
	}
	got, err := w.st.Event(w.ctx(), w.scope, first.ID)
	w.must(err, "Event")
	if !bytes.Equal(got.Body, first.Body) || got.Type != first.Type {
		w.Errorf("a conflicting event changed the stored one")
	}
	if ds := w.deliveries(store.DeliveryQuery{EventID: first.ID}); len(ds) != 1 {
		w.Errorf("an event sent five times has %d deliveries, want 1", len(ds))
	}
}

func staleEndpointSet(w *world) {
	ep, other := w.endpoint(), w.endpoint()
	changes := []struct {
		name   string
		change func()
	}{
		{"created", func() { w.endpoint() }},
		{"edited", func() { w.edit(ep) }},
		{"disabled", func() { w.setState(ep, store.Disabled) }},
		{"enabled", func() { w.setState(ep, store.Enabled) }},
		{"deleted", func() { w.setState(other, store.Deleted) }},
	}
	foreign := w.as(store.Scope{Tenant: "other", Mode: store.Test})
	fep := foreign.endpoint()
	for _, c := range changes {
		ev, valid := w.newEvent(ep), foreign.newEvent(fep)
		c.change()
		rs := w.enqueue(ev, valid)
		if rs[0].Status != store.Stale || rs[0].Event != 0 {
			w.Errorf("endpoint %s after the set was read: got %+v, want Stale without a number", c.name, rs[0])
		}
		if rs[1].Status != store.Stored {
			w.Errorf("endpoint %s in another scope: status %d, want Stored: sets are per scope", c.name, rs[1].Status)
		}
		_, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		w.wantErr(err, store.ErrNotFound, "Event of a stale member")
		if ds := w.deliveries(store.DeliveryQuery{EventID: ev.ID}); len(ds) != 0 {
			w.Errorf("endpoint %s: a stale member left deliveries: %+v", c.name, ds)
		}
		ev.SetVersion = w.setVersion()
		w.store(ev)
	}

	// A version from the future is as wrong as one from the past.
	ev := w.newEvent(ep)
	ev.SetVersion++
	if r := w.enqueue(ev)[0]; r.Status != store.Stale {
		w.Errorf("SetVersion one too high: status %d, want Stale", r.Status)
	}

	// Neither order of a change and an enqueue at the same time leaves an event
	// decided on a state that was not the committed one.
	second := w.another()
	for round := range 10 {
		ev := w.newEvent(ep)
		var res []store.Enqueued
		var enqErr, updErr error
		edited := w.reload(ep)
		edited.Description = fmt.Sprint(round)
		parallel(2, func(i int) {
			if i == 0 {
				res, enqErr = busy(func() ([]store.Enqueued, error) { return w.st.Enqueue(w.ctx(), enqueueParams(ev)) })
			} else {
				_, updErr = busy(func() (store.Endpoint, error) {
					return second.UpdateEndpoint(w.ctx(), edited, store.ChangeParams{Action: store.Edited})
				})
			}
		})
		w.must(enqErr, "Enqueue beside an edit")
		w.must(updErr, "UpdateEndpoint beside an Enqueue")
		_, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		if stored := res[0].Status == store.Stored; stored != (err == nil) {
			w.Errorf("Enqueue beside an edit said status %d, and Event says %v", res[0].Status, err)
		}
	}
}

func enqueueRefused(w *world) {
	ep := w.endpoint()
	var foreign []store.Endpoint
	for _, scope := range neighbours(w.scope) {
		f := w.as(scope)
		foreign = append(foreign, f.endpoint())
	}
	unknown := store.Endpoint{Num: 1 << 40}
	list := w.newEvent(ep)
	for i := range store.MaxFanOut {
		list.For = append(list.For, store.NewDelivery{Endpoint: unknown.Num + int64(i)})
	}
	type bad struct {
		name string
		ev   store.NewEvent
	}
	all := []bad{
		{"an endpoint that is not there", w.newEvent(ep, unknown)},
		{"a list of endpoints that are not there", list},
		{"one endpoint twice", w.newEvent(ep, foreign[0], ep)},
		{"one endpoint twice, of the right scope", w.newEvent(ep, ep)},
	}
	for _, f := range foreign {
		all = append(all, bad{fmt.Sprintf("an endpoint of %v", f.Scope), w.newEvent(ep, f)})
	}
	for _, b := range all {
		good := w.newEvent(ep)
		_, err := w.st.Enqueue(w.ctx(), enqueueParams(good, b.ev))
		w.wantErr(err, store.ErrInvalid, "Enqueue of an event for %s", b.name)
		for _, id := range []string{good.ID, b.ev.ID} {
			_, err = w.st.Event(w.ctx(), w.scope, id)
			w.wantErr(err, store.ErrNotFound, "Event of a batch that was refused because of %s", b.name)
		}
		if w.in.Begin != nil {
			tx := w.begin()
			_, err = tx.Enqueue(w.ctx(), []store.NewEvent{b.ev})
			w.wantErr(err, store.ErrInvalid, "Tx.Enqueue of an event for %s", b.name)
			w.must(tx.Rollback(), "Rollback")
		}
	}
	twice, other := w.newEvent(ep), w.newEvent(ep)
	_, err := w.st.Enqueue(w.ctx(), enqueueParams(twice, other, twice))
	w.wantErr(err, store.ErrInvalid, "Enqueue with an id twice in the batch")
	if es, ds := w.events(store.EventQuery{}), w.deliveries(store.DeliveryQuery{}); len(es)+len(ds) != 0 {
		w.Errorf("batches that were refused left %d events and %d deliveries", len(es), len(ds))
	}
	w.steps("FanOut", many, func(limit int) (int, error) { return w.st.FanOut(w.ctx(), limit) })
	w.idle("all batches were refused")
}

func repeatedBatch(w *world) {
	eps := w.endpoints(2)
	evs := []store.NewEvent{leased(w.newEvent(eps...)), leased(w.newEvent(eps[0])), w.newEvent(eps[1]), w.newEvent()}
	p := enqueueParams(evs[:3]...)
	p.Repeat = true
	first, err := w.st.Enqueue(w.ctx(), p)
	w.must(err, "Enqueue with Repeat of a batch that was not committed")
	if want := []store.EnqueueStatus{store.Stored, store.Stored, store.Stored}; !slices.Equal(statuses(first), want) {
		w.Fatalf("Enqueue with Repeat of a batch that was not committed: statuses %v, want %v", statuses(first), want)
	}

	again, err := w.st.Enqueue(w.ctx(), p)
	w.must(err, "Enqueue with Repeat")
	for i, r := range again {
		if r.Status != store.Duplicate || r.Event != first[i].Event {
			w.Errorf("member %d repeated: got %+v, want a Duplicate of event %d", i, r, first[i].Event)
		}
	}
	if !again[0].Leased || !again[1].Leased {
		w.Errorf("repeated batch: Leased is %v and %v, want true: the leases still stand under token 1", again[0].Leased, again[1].Leased)
	}
	if ds := w.deliveries(store.DeliveryQuery{}); len(ds) != 4 {
		w.Errorf("a batch of 4 deliveries sent twice left %d", len(ds))
	}

	foreign := p
	foreign.Owner = me + 1
	rs, err := w.st.Enqueue(w.ctx(), foreign)
	w.must(err, "Enqueue with Repeat by another owner")
	if rs[0].Leased || rs[1].Leased {
		w.Errorf("a batch repeated under another owner says Leased, but the leases are not its own; it would send twice")
	}

	// The second event's lease is settled, the first's are taken over.
	w.accepted(success(store.Claimed{ID: store.DeliveryID{Event: first[1].Event, Endpoint: eps[0].Num}, Token: 1, Attempt: 1}))
	w.advance(leaseTime + time.Second)
	w.takeOver()
	rs, err = w.st.Enqueue(w.ctx(), p)
	w.must(err, "Enqueue with Repeat after the leases ended")
	if rs[0].Leased || rs[1].Leased {
		w.Errorf("repeated after the leases were taken over and settled: Leased is %v and %v, want false", rs[0].Leased, rs[1].Leased)
	}
	w.claimAll()
	rs, err = w.st.Enqueue(w.ctx(), p)
	w.must(err, "Enqueue with Repeat after a later lease")
	if rs[0].Leased {
		w.Errorf("repeated after the deliveries were leased again: Leased is true, but the lease has another token")
	}
}
