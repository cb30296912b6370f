package storetest

import (
	"time"

	"github.com/hookpost/hookpost/store"
)

func scheduleChecks() []check {
	return []check{
		{"SendLater", "deliveries of an event with a Delay are pending, due that much later and not claimed before, even if a lease was asked for", sendLater},
		{"SendLaterWindow", "the window of a delivery that was to be sent later begins when it is due: what waited on purpose has not waited in vain", sendLaterWindow},
		{"SendLaterCancelled", "what waits for its first attempt can be cancelled, and a recovery does not hasten it", sendLaterCancelled},
		{"SendLaterFanOut", "a list that becomes deliveries in steps keeps its Delay", sendLaterFanOut},
		{"TxSendLater", "a Delay counts in a transaction too", inTx(txSendLater)},
	}
}

// later gives an event a delay.
func later(ev store.NewEvent, d time.Duration) store.NewEvent {
	ev.Delay = d
	return ev
}

func sendLater(w *world) {
	eps := w.endpoints(2)
	from := w.now()
	rs := w.enqueue(later(leased(w.newEvent(eps...)), time.Hour), later(w.newEvent(eps[0]), -time.Hour))
	if rs[0].Status != store.Stored || rs[0].Leased {
		w.Fatalf("Enqueue of an event with a Delay that asks for leases: %+v, want it stored and not leased", rs[0])
	}
	now := store.DeliveryID{Event: rs[1].Event, Endpoint: eps[0].Num}
	w.accepted(success(w.take(now))) // a negative delay is none
	var ids []store.DeliveryID
	for _, ep := range eps {
		id := store.DeliveryID{Event: rs[0].Event, Endpoint: ep.Num}
		ids = append(ids, id)
		d := w.delivery(id)
		if d.State != store.Pending || d.InFlight || d.Attempts != 0 || !d.FirstAt.IsZero() {
			w.Errorf("a delivery that is to be sent later reads %+v, want it pending and fresh", d)
		}
		w.between("Delivery.DueAt", d.DueAt, from.Add(time.Hour), w.now().Add(time.Hour))
		w.between("Delivery.CreatedAt", d.CreatedAt, from, w.now())
	}
	p, err := w.st.Promote(w.ctx(), many)
	w.must(err, "Promote")
	if p.Moved != 0 || p.Next <= 0 || p.Next > time.Hour {
		w.Errorf("Promote an hour early: %+v, want nothing moved and Next up to an hour", p)
	}
	w.idle("it is to be sent in an hour")
	w.advance(59 * time.Minute)
	w.promote()
	w.idle("it is to be sent in a minute")
	w.advance(2 * time.Minute)
	w.promote()
	cs := w.claimAll()
	if len(cs) != len(ids) {
		w.Fatalf("after its hour: claimed %v, want %v", claimedIDs(cs), ids)
	}
	for _, c := range cs {
		if c.Attempt != 1 || c.Elapsed != 0 || c.Failures != 0 {
			w.Errorf("after its hour: claimed %+v, want a first attempt", c)
		}
		w.accepted(success(c))
	}
}

func sendLaterWindow(w *world) {
	disabled, enabled := w.endpoint(), w.endpoint()
	num := w.store(later(w.newEvent(disabled, enabled), 10*day))[0]
	late, resumed := store.DeliveryID{Event: num, Endpoint: disabled.Num}, store.DeliveryID{Event: num, Endpoint: enabled.Num}
	w.setState(disabled, store.Disabled)
	w.setState(enabled, store.Disabled)
	w.advance(10*day + time.Hour)
	w.promote()
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows an hour after they were due, want 0: the window is %v from then", n, window)
	}
	w.advance(window - 2*time.Hour)
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows an hour before the window's end, want 0", n)
	}
	w.setState(enabled, store.Enabled)
	w.accepted(success(w.take(resumed)))
	w.advance(2 * time.Hour)
	if n := w.expire(); n != 1 {
		w.Errorf("Expire changed %d rows after the window, want 1", n)
	}
	w.wantState(late, store.Exhausted, "its window ended while the endpoint was disabled")
}

func sendLaterCancelled(w *world) {
	ep := w.endpoint()
	num := w.store(later(w.newEvent(ep), day))[0]
	id := store.DeliveryID{Event: num, Endpoint: ep.Num}
	w.wantRecovered(store.RecoverParams{}, 0, 0, "recovering beside an event that is to be sent tomorrow")
	w.promote()
	w.idle("it is to be sent tomorrow")
	w.must(w.st.Cancel(w.ctx(), w.scope, id, "changed my mind"), "Cancel")
	w.advance(2 * day)
	w.promote()
	w.idle("it was cancelled")
	if d := w.delivery(id); d.State != store.Cancelled || d.Reason != "changed my mind" || d.Attempts != 0 {
		w.Errorf("cancelled before it was due, it reads %+v", d)
	}
}

func sendLaterFanOut(w *world) {
	const n = store.MaxFanOut + 1
	ev := w.newEvent()
	for range n {
		ev.For = append(ev.For, store.NewDelivery{Endpoint: w.endpoint().Num})
	}
	ev.SetVersion = w.setVersion()
	w.store(later(ev, time.Hour))
	w.steps("FanOut", 600, func(limit int) (int, error) { return w.st.FanOut(w.ctx(), limit) })
	w.promote()
	w.idle("all of it is to be sent in an hour")
	if ds := w.deliveries(store.DeliveryQuery{States: []store.State{store.Pending}}); len(ds) != n {
		w.Errorf("%d deliveries are pending, want %d", len(ds), n)
	}
	w.advance(time.Hour + time.Minute)
	w.promote()
	if cs := w.claimAll(); len(cs) != n {
		w.Errorf("claimed %d deliveries after an hour, want %d", len(cs), n)
	}

	// Steps that come after the time make what is ready at once.
	again := w.newEvent()
	again.For = ev.For
	num := w.store(later(again, time.Hour))[0]
	w.advance(2 * time.Hour)
	w.steps("FanOut", n+1, func(limit int) (int, error) { return w.st.FanOut(w.ctx(), limit) })
	ready := 0
	for _, c := range w.claimAll() {
		if c.ID.Event == num {
			ready++
		}
	}
	if ready != n {
		w.Errorf("a list that became deliveries after their time: %d of them ready, want %d", ready, n)
	}
}

func txSendLater(w *world) {
	ep := w.endpoint()
	tx := w.begin()
	num := w.enqueueIn(tx, later(w.newEvent(ep), time.Hour))[0]
	w.must(tx.Commit(), "Commit")
	w.promote()
	w.idle("it is to be sent in an hour")
	w.advance(time.Hour + time.Minute)
	w.promote()
	w.accepted(success(w.take(store.DeliveryID{Event: num, Endpoint: ep.Num})))
}
