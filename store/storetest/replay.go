package storetest

import (
	"time"

	"github.com/hookpost/hookpost/store"
)

func replayChecks() []check {
	return []check{
		{"Replay", "a replay is a new delivery of the same event in the next round, with attempts and a window of its own, for any enabled endpoint of the scope", replay},
		{"ReplayRefused", "a replay says why it can't be: endpoint disabled or deleted, payload gone, nothing there", replayRefused},
		{"ConcurrentReplays", "each of several replays at once gets a round of its own", concurrentReplays},
		{"Cancel", "cancelling ends a pending delivery with the reason, for good but for a success that was under way", cancel},
	}
}

func replay(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	num := w.store(ev)[0]
	id := store.DeliveryID{Event: num, Endpoint: ep.Num}
	w.accepted(exhaust(w.take(id)))
	w.advance(100 * time.Hour)

	from := w.now()
	second, err := w.st.Replay(w.ctx(), w.scope, ev.ID, ep.ID, store.ReplayParams{})
	w.must(err, "Replay")
	if want := (store.DeliveryID{Event: num, Endpoint: ep.Num, Round: 1}); second != want {
		w.Errorf("the first replay is %v, want %v", second, want)
	}
	d := w.delivery(second)
	if d.State != store.Pending || d.Attempts != 0 || d.Failures != 0 || !d.FirstAt.IsZero() || d.EventID != ev.ID || d.EndpointID != ep.ID {
		w.Errorf("replayed delivery reads %+v, want it pending and fresh", d)
	}
	w.between("Delivery.CreatedAt of a replay", d.CreatedAt, from, w.now())
	c := w.take(second)
	if c.EventID != ev.ID || c.Attempt != 1 || c.Failures != 0 || c.Elapsed != 0 || string(c.Body) != string(ev.Body) {
		w.Errorf("replay claimed: %+v, want the same event as a first attempt", c)
	}
	w.accepted(success(c))
	w.wantState(id, store.Exhausted, "a replay leaves the earlier delivery as it is")
	if n := len(w.attempts(id)); n != 1 {
		w.Errorf("the first round has %d attempts after the second had one, want 1", n)
	}

	// Delivered and pending ones can be replayed too; rounds go up.
	for round := 2; round <= 3; round++ {
		got, err := w.st.Replay(w.ctx(), w.scope, ev.ID, ep.ID, store.ReplayParams{})
		w.must(err, "Replay")
		if got.Round != round {
			w.Errorf("replay number %d has round %d", round, got.Round)
		}
	}

	// An endpoint that the event was not for, created later.
	later := w.endpoint()
	got, err := w.st.Replay(w.ctx(), w.scope, ev.ID, later.ID, store.ReplayParams{})
	w.must(err, "Replay to an endpoint created later")
	if want := (store.DeliveryID{Event: num, Endpoint: later.Num, Round: 1}); got != want {
		w.Errorf("replay to an endpoint without a fan-out delivery is %v, want %v: round 0 is the fan-out", got, want)
	}
	if all := w.claimAll(); len(all) != 3 {
		w.Errorf("claimed %v, want the 3 replays", claimedIDs(all))
	}
}

func replayRefused(w *world) {
	ep, disabled, deleted := w.endpoint(), w.endpoint(), w.endpoint()
	ev := w.newEvent(ep, disabled, deleted)
	w.store(ev)
	w.setState(disabled, store.Disabled)
	w.setState(deleted, store.Deleted)
	refused := func(event, endpoint string, want error, what string) {
		w.Helper()
		before := len(w.deliveries(store.DeliveryQuery{}))
		_, err := w.st.Replay(w.ctx(), w.scope, event, endpoint, store.ReplayParams{})
		w.wantErr(err, want, "Replay, %s", what)
		if n := len(w.deliveries(store.DeliveryQuery{})); n != before {
			w.Errorf("a refused replay (%s) left a delivery", what)
		}
	}
	refused(ev.ID, disabled.ID, store.ErrDisabled, "endpoint disabled")
	refused(ev.ID, deleted.ID, store.ErrDeleted, "endpoint deleted")
	refused(ev.ID, "ep_unknown", store.ErrNotFound, "endpoint unknown")
	refused("evt_unknown", ep.ID, store.ErrNotFound, "event unknown")

	for _, c := range w.claimAll() {
		w.accepted(success(c))
	}
	w.setState(disabled, store.Enabled)
	for _, c := range w.claimAll() {
		w.accepted(success(c))
	}
	w.cancelDeleted()
	w.advance(31 * 24 * time.Hour)
	if _, err := w.st.Prune(w.ctx(), store.Retention{Payloads: 30 * 24 * time.Hour}, many); err != nil {
		w.Fatalf("Prune: %v", err)
	}
	refused(ev.ID, ep.ID, store.ErrErased, "payload pruned")
}

func concurrentReplays(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	w.store(ev)
	stores := []store.Store{w.st, w.another()}
	const n = 10
	ids, errs := make([]store.DeliveryID, n), make([]error, n)
	parallel(n, func(i int) {
		ids[i], errs[i] = busy(func() (store.DeliveryID, error) {
			return stores[i%2].Replay(w.ctx(), w.scope, ev.ID, ep.ID, store.ReplayParams{})
		})
	})
	rounds := map[int]bool{}
	for i := range n {
		w.must(errs[i], "Replay beside others")
		rounds[ids[i].Round] = true
	}
	if len(rounds) != n || rounds[0] {
		w.Errorf("%d replays at once got the rounds %v, want %d different ones above 0", n, rounds, n)
	}
	if got := len(w.deliveries(store.DeliveryQuery{EventID: ev.ID})); got != n+1 {
		w.Errorf("%d replays of an event left %d deliveries, want %d", n, got, n+1)
	}
}

func cancel(w *world) {
	ep := w.endpoint()
	do := func(id store.DeliveryID) error { return w.st.Cancel(w.ctx(), w.scope, id, "by ann: wrong account") }

	ready, waiting, flying, late := w.send(ep)[0], w.send(ep)[0], w.send(ep)[0], w.send(ep)[0]
	by := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		by[c.ID] = c
	}
	w.accepted(release(by[ready]))
	w.accepted(failure(by[waiting], time.Hour))
	from := w.now()
	for _, id := range []store.DeliveryID{ready, waiting, flying, late} {
		w.must(do(id), "Cancel %v", id)
		d := w.delivery(id)
		if d.State != store.Cancelled || d.Reason != "by ann: wrong account" || d.InFlight {
			w.Errorf("cancelled delivery reads %+v, want the reason in it", d)
		}
		w.between("Delivery.FinishedAt", d.FinishedAt, from, w.now())
		w.wantErr(do(id), store.ErrFinished, "Cancel %v again", id)
	}
	w.advance(2 * time.Hour)
	w.takeOver()
	w.promote()
	w.idle("all deliveries are cancelled")
	if got := w.settle(success(by[flying]))[0]; !got.Accepted || got.State != store.Delivered {
		w.Errorf("a success that was under way when the delivery was cancelled: got %+v, want it delivered", got)
	}
	if got := w.settle(failure(by[late], 0))[0]; got.Accepted || got.State != store.Cancelled {
		w.Errorf("a failure that was under way when the delivery was cancelled: got %+v, want it cancelled", got)
	}
	if got := w.outcomes(late)[1]; got != store.AttemptFailed {
		w.Errorf("the failed attempt of a cancelled delivery is logged as %v, want failed", got)
	}
	if d := w.delivery(flying); d.State != store.Delivered || d.Reason != "" {
		w.Errorf("delivered after all, it reads %+v, want no reason for a failure", d)
	}
	for name, settle := range map[string]func(store.Claimed) store.Settlement{"delivered": success, "exhausted": exhaust} {
		id := w.send(ep)[0]
		w.accepted(settle(w.take(id)))
		before := w.delivery(id)
		w.wantErr(do(id), store.ErrFinished, "Cancel of a delivery that is %s", name)
		if after := w.delivery(id); after != before {
			w.Errorf("a refused Cancel changed the delivery: %+v, was %+v", after, before)
		}
	}
	gone := w.endpoint()
	id := w.send(gone)[0]
	w.setState(gone, store.Deleted)
	w.wantErr(do(id), store.ErrFinished, "Cancel of a delivery whose endpoint is deleted: it reads as cancelled")
}
