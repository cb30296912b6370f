package storetest

import (
	"time"

	"github.com/hookpost/hookpost/store"
)

func disableChecks() []check {
	return []check{
		{"DisableAndEnable", "deliveries of a disabled endpoint wait and lose nothing: enabled within the window they go on where they were, and what fired meanwhile is never filled in", disableAndEnable},
		{"EnableAfterWindow", "a delivery whose window ended while its endpoint was disabled is never claimed again but exhausted, with a reason and without an attempt", enableAfterWindow},
		{"ExpireOnlyDisabled", "a retry that is overdue because nobody worked gets its attempt: a window that ended while the endpoint was enabled expires nothing", expireOnlyDisabled},
		{"DeleteCancels", "deliveries of a deleted endpoint read as cancelled from that moment, are never claimed, and a success of an attempt under way still counts", deleteCancels},
	}
}

func disableAndEnable(w *world) {
	ep := w.endpoint()
	retrying := w.send(ep)[0]
	w.accepted(failure(w.take(retrying), 5*time.Minute))
	fresh := w.send(ep)[0]
	w.setState(ep, store.Disabled)

	meanwhile := w.newEvent() // nobody is enabled
	w.store(meanwhile)
	w.advance(70 * time.Hour)
	w.promote()
	w.idle("the endpoint is disabled")
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows within the window, want 0", n)
	}
	w.setState(ep, store.Enabled)
	w.advance(10 * time.Hour) // past the window, but the endpoint is enabled again
	w.promote()
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows, want 0: the endpoint was enabled within their window", n)
	}
	got := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		got[c.ID] = c
	}
	if len(got) != 2 || got[retrying].Attempt != 2 || got[retrying].Failures != 1 || got[fresh].Attempt != 1 {
		w.Errorf("enabled within the window: claimed %+v, want the retry and the fresh delivery, going on where they were", got)
	}
	if ds := w.deliveries(store.DeliveryQuery{EventID: meanwhile.ID}); len(ds) != 0 {
		w.Errorf("an event that fired while the endpoint was disabled got deliveries when it was enabled: %+v", ds)
	}
}

func enableAfterWindow(w *world) {
	ep := w.endpoint()
	attempted := w.send(ep)[0]
	w.advance(time.Hour)
	fresh := w.send(ep)[0] // its window begins with its creation
	by := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		by[c.ID] = c
	}
	w.accepted(failure(by[attempted], time.Minute))
	w.accepted(release(by[fresh]))
	w.setState(ep, store.Disabled)
	w.advance(71 * time.Hour)
	late := w.newEvent(ep) // committed late, by a transaction that saw the endpoint enabled
	lateID := store.DeliveryID{Event: w.store(late)[0], Endpoint: ep.Num}
	w.promote()
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows an hour before the windows end, want 0", n)
	}
	w.advance(time.Hour + time.Minute)

	// Still disabled: the attempted one's window began with the attempt, an hour
	// after the event was stored, and has just ended, as the fresh one's has.
	w.promote()
	if n := w.expire(); n != 2 {
		w.Errorf("Expire changed %d rows of a disabled endpoint, want the 2 whose window has ended", n)
	}
	for _, id := range []store.DeliveryID{attempted, fresh} {
		d := w.delivery(id)
		if d.State != store.Exhausted || d.Reason == "" || d.FinishedAt.IsZero() {
			w.Errorf("expired delivery reads %+v, want it exhausted with a reason", d)
		}
	}
	if n := len(w.attempts(attempted)) + len(w.attempts(fresh)); n != 1 {
		w.Errorf("expired deliveries have %d attempts in the log, want the one that was made: they are exhausted without an attempt", n)
	}
	w.wantState(lateID, store.Pending, "its window has not ended")

	// Enabled after the window's end: not claimed even before Expire has run.
	w.advance(window)
	w.setState(ep, store.Enabled)
	after := w.send(ep)[0]
	if c := w.take(after); c.Attempt != 1 {
		w.Errorf("attempt %d of a fresh delivery", c.Attempt)
	}
	p := claimParams()
	p.Limit = 1
	if c := w.claim(p); len(c.Deliveries) != 0 {
		w.Errorf("claimed %v, want nothing: the window ended while the endpoint was disabled", claimedIDs(c.Deliveries))
	}
	if n := w.expire(); n != 1 {
		w.Errorf("Expire changed %d rows, want 1: its window ended before the endpoint was enabled", n)
	}
	w.wantState(lateID, store.Exhausted, "its window ended before the endpoint was enabled")
	if n := w.expire(); n != 0 {
		w.Errorf("Expire again changed %d rows, want 0", n)
	}
}

func expireOnlyDisabled(w *world) {
	ep := w.endpoint()
	id := w.send(ep)[0]
	w.accepted(failure(w.take(id), time.Hour))
	// The application is off for a month, the endpoint enabled all the time.
	w.advance(30 * 24 * time.Hour)
	w.promote()
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows of an endpoint that was never disabled, want 0", n)
	}
	if c := w.take(id); c.Attempt != 2 || c.Elapsed < window {
		w.Errorf("attempt %d, elapsed %v, want attempt 2 and the month", c.Attempt, c.Elapsed)
	} else {
		w.accepted(success(c))
	}

	// Disabled and enabled within the window, then off: the same.
	id = w.send(ep)[0]
	w.accepted(failure(w.take(id), time.Hour))
	w.setState(ep, store.Disabled)
	w.advance(time.Minute)
	w.setState(ep, store.Enabled)
	w.advance(30 * 24 * time.Hour)
	w.promote()
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows, want 0: the endpoint was enabled when the window ended", n)
	}
	c := w.take(id)

	// Leased ones are left alone until they are reported.
	w.setState(ep, store.Disabled)
	w.advance(window)
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows, want 0: the delivery is leased", n)
	}
	w.accepted(success(c))
	w.wantState(id, store.Delivered, "an attempt under way finishes")
}

func deleteCancels(w *world) {
	ep := w.endpoint()
	ids := make([]store.DeliveryID, 5)
	for i := range 3 {
		ids[i] = w.send(ep)[0]
	}
	by := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		by[c.ID] = c
	}
	w.accepted(success(by[ids[0]]))
	w.accepted(failure(by[ids[1]], time.Minute))
	ids[3], ids[4] = w.send(ep)[0], w.send(ep)[0]
	w.setState(ep, store.Deleted)
	states := func(when string, want map[store.DeliveryID]store.State) {
		w.Helper()
		for _, id := range ids {
			w.wantState(id, want[id], when)
		}
		n := map[store.State]int{}
		for _, s := range []store.State{store.Pending, store.Delivered, store.Exhausted, store.Cancelled} {
			for _, d := range w.deliveries(store.DeliveryQuery{States: []store.State{s}}) {
				n[s]++
				if d.State != s {
					w.Errorf("%s: Deliveries with state %v returned one that is %v", when, s, d.State)
				}
			}
		}
		wantN := map[store.State]int{}
		for _, s := range want {
			wantN[s]++
		}
		for s, k := range wantN {
			if n[s] != k {
				w.Errorf("%s: the filter by state %v found %d deliveries, want %d: it agrees with what they read as", when, s, n[s], k)
			}
		}
		if wantN[store.Pending] == 0 && n[store.Pending] > 0 {
			w.Errorf("%s: the filter by pending found %d deliveries of a deleted endpoint", when, n[store.Pending])
		}
	}
	want := map[store.DeliveryID]store.State{
		ids[0]: store.Delivered, ids[1]: store.Cancelled, ids[2]: store.Cancelled, ids[3]: store.Cancelled, ids[4]: store.Cancelled,
	}
	states("just deleted", want)
	w.advance(time.Hour / 2)
	w.promote()
	w.idle("the endpoint is deleted")
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows of a deleted endpoint, want 0", n)
	}

	w.accepted(success(by[ids[2]]))
	want[ids[2]] = store.Delivered
	states("after a success that was under way", want)

	cancelled := []store.DeliveryID{ids[1], ids[3], ids[4]}
	finished := make(map[store.DeliveryID]time.Time)
	for _, id := range cancelled {
		finished[id] = w.delivery(id).FinishedAt
	}
	n := w.cancelDeleted()
	if n != 3 {
		w.Errorf("CancelDeleted changed %d rows, want the 3 that were pending", n)
	}
	states("after CancelDeleted", want)
	for _, id := range cancelled {
		d := w.delivery(id)
		if d.Reason == "" || d.InFlight {
			w.Errorf("cancelled with its endpoint, delivery reads %+v, want it finished with a reason", d)
		}
		if at := finished[id]; at.IsZero() || !d.FinishedAt.Equal(at) {
			w.Errorf("CancelDeleted moved FinishedAt from %v to %v, want it when the endpoint was deleted", at, d.FinishedAt)
		}
	}
	if n := w.cancelDeleted(); n != 0 {
		w.Errorf("CancelDeleted again changed %d rows, want 0", n)
	}
	if n := len(w.attempts(ids[1])); n != 1 {
		w.Errorf("the log of a deleted endpoint's delivery has %d attempts, want 1: it stays readable", n)
	}
}
