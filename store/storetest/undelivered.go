package storetest

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

func undeliveredChecks() []check {
	return []check{
		{"Undelivered", "Undelivered finds the events of which an endpoint has no delivered delivery in any round, oldest first and in bounded steps, with the delivery of the newest round", undelivered},
		{"BackFill", "a back-fill gives each event one delivery and only where the endpoint never had one, however often and wherever it is called: nothing comes twice", backFill},
		{"BackFillRefused", "a back-fill says why it can't be: endpoint disabled or deleted, nothing there; what was erased is passed over", backFillRefused},
	}
}

func undelivered(w *world) {
	other := w.endpoint()
	type found struct {
		event int64
		round int // -1: there is no delivery
		state store.State
	}
	var want []found
	keep := func(ev store.NewEvent) int64 {
		num := w.store(ev)[0]
		w.advance(time.Minute)
		return num
	}
	missed := func(ev store.NewEvent) { want = append(want, found{keep(ev), -1, 0}) }
	missed(w.newEvent()) // before the endpoint was there
	ep := w.endpoint()
	settle := func(how func(store.Claimed) store.Settlement) store.DeliveryID {
		id := store.DeliveryID{Event: keep(w.newEvent(ep)), Endpoint: ep.Num}
		w.accepted(how(w.take(id)))
		return id
	}
	settle(success)
	want = append(want, found{settle(exhaust).Event, 0, store.Exhausted})
	missed(typed(w.newEvent(), "payment.failed"))
	again := w.newEvent(ep)
	id := store.DeliveryID{Event: keep(again), Endpoint: ep.Num}
	w.accepted(success(w.take(id)))
	second, err := w.st.Replay(w.ctx(), w.scope, again.ID, ep.ID, store.ReplayParams{})
	w.must(err, "Replay")
	w.accepted(exhaust(w.take(second))) // delivered before
	tried := w.newEvent(ep)
	id = store.DeliveryID{Event: keep(tried), Endpoint: ep.Num}
	w.accepted(exhaust(w.take(id)))
	second, err = w.st.Replay(w.ctx(), w.scope, tried.ID, ep.ID, store.ReplayParams{})
	w.must(err, "Replay")
	w.must(w.st.Cancel(w.ctx(), w.scope, second, "no"), "Cancel")
	want = append(want, found{id.Event, 1, store.Cancelled})
	keep(typed(w.newEvent(), "webhook.test"))
	w.setState(ep, store.Disabled)
	missed(w.newEvent())
	w.setState(ep, store.Enabled)
	want = append(want, found{keep(w.newEvent(ep, other)), 0, store.Pending})

	all := func(q store.UndeliveredQuery) (got []found, page []store.Undelivered) {
		w.Helper()
		for range 100 {
			us, after, done, err := w.st.Undelivered(w.ctx(), w.scope, q)
			w.must(err, "Undelivered")
			if q.Limit > 0 && len(us) > q.Limit {
				w.Errorf("Undelivered with Limit %d returned %d events", q.Limit, len(us))
			}
			for _, u := range us {
				f := found{u.Event.Num, -1, 0}
				if u.Last != nil {
					f.round, f.state = u.Last.ID.Round, u.Last.State
					if u.Last.ID.Event != u.Event.Num || u.Last.ID.Endpoint != ep.Num || u.Last.EndpointID != ep.ID || u.Last.EventID != u.Event.ID {
						w.Errorf("Undelivered of %s with a delivery of something else: %+v", u.Event.ID, *u.Last)
					}
				}
				if u.Event.Body != nil {
					w.Errorf("Undelivered returned a body")
				}
				got, page = append(got, f), append(page, u)
			}
			if done {
				return got, page
			}
			if after <= q.After {
				w.Fatalf("Undelivered is not done and says to go on at %d, where it began at %d", after, q.After)
			}
			q.After = after
		}
		w.Fatal("Undelivered: 100 steps and no end")
		return nil, nil
	}
	for _, limit := range []int{0, 1, 2, 3} {
		if got, _ := all(store.UndeliveredQuery{EndpointID: ep.ID, Limit: limit}); !slices.Equal(got, want) {
			w.Errorf("Undelivered in steps of %d: event, round and state %v, want %v, oldest first", limit, got, want)
		}
	}
	_, us := all(store.UndeliveredQuery{EndpointID: ep.ID})
	if len(us) == len(want) {
		if got, _ := all(store.UndeliveredQuery{EndpointID: ep.ID, From: us[1].Event.StoredAt, To: us[3].Event.StoredAt}); !slices.Equal(got, want[1:3]) {
			w.Errorf("Undelivered from the second to before the fourth: %v, want %v", got, want[1:3])
		}
	}
	if got, _ := all(store.UndeliveredQuery{EndpointID: ep.ID, Type: "payment.failed"}); !slices.Equal(got, want[2:3]) {
		w.Errorf("Undelivered of a type: %v, want %v", got, want[2:3])
	}

	// What is yet to be made is not missing.
	var eps []store.NewDelivery
	for range store.MaxFanOut {
		eps = append(eps, store.NewDelivery{Endpoint: w.endpoint().Num})
	}
	large := w.newEvent(ep)
	large.For = append(large.For, eps...)
	num := w.store(large)[0]
	if got, _ := all(store.UndeliveredQuery{EndpointID: ep.ID, After: num - 1}); len(got) != 0 {
		w.Errorf("an event whose list names the endpoint is undelivered already: %v", got)
	}
	if n, err := w.st.BackFill(w.ctx(), w.scope, ep.ID, []int64{num}); err != nil || n != 0 {
		w.Errorf("BackFill of an event whose list names the endpoint: %d, error %v, want none", n, err)
	}
}

func backFill(w *world) {
	other, ep := w.endpoint(), w.endpoint()
	has := w.send(ep)[0]
	w.accepted(exhaust(w.take(has)))
	nums := []int64{has.Event}
	var missed []int64
	for range 5 {
		missed = append(missed, w.send(other)[0].Event)
	}
	for _, c := range w.claimAll() {
		w.accepted(success(c))
	}
	nums = append(nums, missed...)
	nums = append(nums, missed[0], missed[4]+1000, -1) // one of them twice, and some that are not there

	stores := []store.Store{w.st, w.another()}
	var total atomic.Int64
	parallel(6, func(i int) {
		n, err := busy(func() (int, error) { return stores[i%2].BackFill(w.ctx(), w.scope, ep.ID, nums) })
		if err != nil {
			w.Errorf("BackFill beside others: %v", err)
		}
		total.Add(int64(n))
	})
	if n := total.Load(); n != 5 {
		w.Errorf("6 back-fills at once say that they stored %d deliveries, want 5 in all", n)
	}
	var got []int64
	for _, c := range w.claimAll() {
		if c.ID.Endpoint != ep.Num || c.ID.Round != 1 || c.Attempt != 1 {
			w.Errorf("back-filled: claimed %+v, want a first attempt in round 1 for the endpoint", c)
		}
		got = append(got, c.ID.Event)
		w.accepted(success(c))
	}
	slices.Sort(got)
	if !slices.Equal(got, missed) {
		w.Errorf("back-filled events %v, want %v", got, missed)
	}
	n, err := w.st.BackFill(w.ctx(), w.scope, ep.ID, nums)
	w.must(err, "BackFill")
	if n != 0 {
		w.Errorf("back-filling again stored %d deliveries, want none", n)
	}
	if n, err := w.st.BackFill(w.ctx(), w.scope, ep.ID, nil); err != nil || n != 0 {
		w.Errorf("BackFill of nothing: %d, error %v", n, err)
	}
}

func backFillRefused(w *world) {
	ep, disabled, deleted := w.endpoint(), w.endpoint(), w.endpoint()
	ev, gone := w.newEvent(), w.newEvent()
	nums := w.store(ev, gone)
	w.setState(disabled, store.Disabled)
	w.setState(deleted, store.Deleted)
	for id, want := range map[string]error{disabled.ID: store.ErrDisabled, deleted.ID: store.ErrDeleted, "ep_unknown": store.ErrNotFound} {
		_, err := w.st.BackFill(w.ctx(), w.scope, id, nums)
		w.wantErr(err, want, "BackFill for endpoint %s", id)
	}
	if n := len(w.deliveries(store.DeliveryQuery{})); n != 0 {
		w.Errorf("refused back-fills left %d deliveries", n)
	}
	w.erase(w.st, store.EraseParams{EventID: gone.ID})
	n, err := w.st.BackFill(w.ctx(), w.scope, ep.ID, nums)
	w.must(err, "BackFill")
	if ds := w.deliveries(store.DeliveryQuery{}); n != 1 || len(ds) != 1 || ds[0].EventID != ev.ID {
		w.Errorf("BackFill of an event and one that was erased: %d, deliveries %+v, want that of the first", n, ds)
	}
}
