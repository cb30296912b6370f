package storetest

import (
	"bytes"
	"errors"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

func eraseChecks() []check {
	return []check{
		{"Erase", "erasing removes payload, references and answers and cancels what is pending; what is left says that and when it was erased, and can't be sent any more", erase},
		{"EraseSelects", "erasing by event, by reference or all takes what it names and nothing else; with none of them or two it is refused", eraseSelects},
		{"EraseUnderWay", "an attempt under way when its event is erased finishes: a success counts, a failure leaves it cancelled, and of no report is the answer kept", eraseUnderWay},
		{"EraseAfterPrune", "an event whose payload was pruned still loses its references and answers, and keeps the time at which the payload went", eraseAfterPrune},
		{"EraseFanOut", "what has yet to be made of an erased event is never made", eraseFanOut},
		{"EraseSteps", "erasing goes in bounded steps of whole events that can be interrupted, repeated and run in parallel", eraseSteps},
		{"EraseRaces", "replays, back-fills, claims and reports at the same time leave nothing pending of an erased event and no answer: it would be sent, or kept, after all", eraseRaces},
		{"TxErase", "what is erased in a transaction is erased if and only if it commits, together with what was enqueued in it", inTx(txErase)},
		{"TxEraseBounded", "a transaction erases at most MaxEraseTx events or deliveries, else it says so, has changed nothing and remains usable", inTx(txEraseBounded)},
	}
}

// erase erases to the end and returns the sums.
func (w *world) erase(st store.Store, p store.EraseParams) store.Erased {
	w.Helper()
	var sum store.Erased
	for range 10_000 {
		r, err := busy(func() (store.Erased, error) { return st.Erase(w.ctx(), w.scope, p) })
		if err != nil {
			w.Errorf("Erase %+v: %v", p, err)
			return sum
		}
		sum.Events += r.Events
		sum.Cancelled += r.Cancelled
		if r.Done {
			return sum
		}
		if r.After <= p.After {
			w.Errorf("Erase is not done and says to go on at %d, where it began at %d", r.After, p.After)
			return sum
		}
		p.After = r.After
	}
	w.Errorf("Erase %+v: 10,000 steps and no end", p)
	return sum
}

// answered gives a settlement the answer of its receiver.
func answered(s store.Settlement) store.Settlement {
	a := *s.Attempt
	a.ResponseHeader, a.ResponseBody = []byte("Server: x\r\n"), []byte(`{"customer":"Ann"}`)
	s.Attempt = &a
	return s
}

// wantAnswers reports how many attempts of a delivery have an answer, if that is not
// so many.
func (w *world) wantAnswers(id store.DeliveryID, want int, why string) {
	w.Helper()
	got := 0
	for _, a := range w.attempts(id) {
		if len(a.ResponseHeader)+len(a.ResponseBody) > 0 {
			got++
		}
	}
	if got != want {
		w.Errorf("%d attempts of %v have the header or body of an answer, want %d: %s", got, id, want, why)
	}
}

// wantErased reports an event that was not erased between two times.
func (w *world) wantErased(ev store.NewEvent, from, to time.Time) {
	w.Helper()
	got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event of one that was erased: it stays visible as that")
	if got.Body != nil || len(got.Refs) != 0 {
		w.Errorf("event %s was erased and has body %q and references %q", ev.ID, got.Body, got.Refs)
	}
	w.between("Event.ErasedAt", got.ErasedAt, from, to)
	if got.Type != ev.Type || got.Hash != ev.Hash || !got.CreatedAt.Equal(ev.CreatedAt) {
		w.Errorf("erasing changed more of the event: %+v", got)
	}
}

// wantKept reports an event that was erased.
func (w *world) wantKept(ev store.NewEvent) {
	w.Helper()
	got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event")
	if !bytes.Equal(got.Body, ev.Body) || len(got.Refs) != len(ev.Refs) || !got.ErasedAt.IsZero() {
		w.Errorf("event %s was not to be erased and reads %+v", ev.ID, got)
	}
}

func erase(w *world) {
	failed, waiting, ready, off := w.endpoint(), w.endpoint(), w.endpoint(), w.endpoint()
	gone := w.endpoint()
	eps := []store.Endpoint{failed, waiting, ready, off, gone}
	ev := w.newEvent(eps...)
	ev.Refs = []string{"pay_1", "cus_1"}
	beside := w.newEvent(ready)
	beside.Refs = []string{"cus_1"}
	nums := w.store(ev, beside)
	id := func(ep store.Endpoint) store.DeliveryID { return store.DeliveryID{Event: nums[0], Endpoint: ep.Num} }
	for _, c := range w.claimAll() {
		switch c.ID {
		case id(failed):
			w.accepted(answered(exhaust(c)))
		case id(waiting):
			w.accepted(answered(failure(c, 10*time.Hour)))
		default:
			w.accepted(release(c))
		}
	}
	w.setState(off, store.Disabled)
	w.setState(gone, store.Deleted)

	from := w.now()
	if got := w.erase(w.st, store.EraseParams{EventID: ev.ID}); got.Events != 1 || got.Cancelled != 3 {
		w.Errorf("Erase: %+v, want 1 event and 3 cancelled: the delivery to a deleted endpoint was that before", got)
	}
	to := w.now()
	w.wantErased(ev, from, to)
	w.wantKept(beside)
	for _, ep := range []store.Endpoint{waiting, ready, off} {
		d := w.delivery(id(ep))
		if d.State != store.Cancelled || d.Reason != store.ReasonErased {
			w.Errorf("a delivery that was pending when its event was erased reads %+v, want it cancelled as erased", d)
		}
		w.between("Delivery.FinishedAt", d.FinishedAt, from, to)
	}
	w.wantState(id(failed), store.Exhausted, "erasing leaves finished deliveries as they are")
	if d := w.delivery(id(gone)); d.State != store.Cancelled || d.Reason != store.ReasonDeleted {
		w.Errorf("a delivery to a deleted endpoint reads %+v after its event was erased, want the reason as before", d)
	}
	for _, ep := range []store.Endpoint{failed, waiting} {
		w.wantAnswers(id(ep), 0, "the event was erased")
		if as := w.attempts(id(ep)); len(as) != 1 || as[0].Status != 500 || as[0].Error == "" {
			w.Errorf("attempts of an erased event: %+v, want all but the answer of them", as)
		}
	}
	for _, ref := range ev.Refs {
		for _, got := range w.events(store.EventQuery{Ref: ref}) {
			if got.ID == ev.ID {
				w.Errorf("the erased event is found by its reference %s", ref)
			}
		}
		for _, got := range w.deliveries(store.DeliveryQuery{Ref: ref}) {
			if got.EventID == ev.ID {
				w.Errorf("deliveries of the erased event are found by its reference %s", ref)
			}
		}
	}
	if es := w.events(store.EventQuery{}); len(es) != 2 {
		w.Errorf("the log lists %d events, want both", len(es))
	}
	for _, c := range w.claimAll() {
		if c.ID.Event == nums[0] {
			w.Errorf("claimed %v of an erased event", c.ID)
		}
		w.accepted(success(c))
	}
	w.advance(11 * time.Hour)
	w.promote()
	w.takeOver()
	w.idle("the event was erased")
	_, err := w.st.Replay(w.ctx(), w.scope, ev.ID, ready.ID, store.ReplayParams{})
	w.wantErr(err, store.ErrErased, "Replay of an erased event")
	w.wantRecovered(store.RecoverParams{}, 0, 0, "recovering an erased event")

	// The id stays taken.
	ev.SetVersion = w.setVersion()
	ev.For = nil
	other := ev
	other.Hash = hash(ev.Type, []byte("other"))
	if s := statuses(append(w.enqueue(ev), w.enqueue(other)...)); s[0] != store.Duplicate || s[1] != store.Conflict {
		w.Errorf("sent again after it was erased: statuses %v, want Duplicate for the same content and Conflict for other", s)
	}
	w.wantErased(ev, from, to)
	if got := w.erase(w.st, store.EraseParams{EventID: ev.ID}); got.Events+got.Cancelled != 0 {
		w.Errorf("erasing again: %+v, want nothing", got)
	}
	w.wantErased(ev, from, to)
	w.cancelDeleted()
	if w.prune(store.Retention{Payloads: time.Minute}); !w.event(ev.ID).ErasedAt.Before(to.Add(time.Microsecond)) {
		w.Errorf("pruning payloads moved ErasedAt of an erased event")
	}
	w.advance(100 * day)
	w.prune(store.Retention{Log: 90 * day})
	if es := w.events(store.EventQuery{}); len(es) != 0 {
		w.Errorf("%d events are left after the log was pruned, want the erased one to go too", len(es))
	}
}

// event returns an event that is there.
func (w *world) event(id string) store.Event {
	w.Helper()
	ev, err := w.st.Event(w.ctx(), w.scope, id)
	w.must(err, "Event %s", id)
	return ev
}

func eraseSelects(w *world) {
	ref := func(refs ...string) store.NewEvent {
		ev := w.newEvent()
		ev.Refs = refs
		return ev
	}
	ann, both, bob, none := ref("cus_ann"), ref("cus_bob", "cus_ann"), ref("cus_bob"), ref()
	w.store(ann, both, bob, none)
	for _, p := range []store.EraseParams{
		{}, {All: true, Ref: "cus_ann"}, {All: true, EventID: ann.ID}, {EventID: ann.ID, Ref: "cus_ann"}, {EventID: ann.ID, Ref: "cus_ann", All: true},
	} {
		_, err := w.st.Erase(w.ctx(), w.scope, p)
		w.wantErr(err, store.ErrInvalid, "Erase %+v", p)
	}
	_, err := w.st.Erase(w.ctx(), w.scope, store.EraseParams{EventID: "evt_unknown"})
	w.wantErr(err, store.ErrNotFound, "Erase of an unknown event")
	for _, unknown := range []string{"cus_%", "cus\x00ann"} {
		if got := w.erase(w.st, store.EraseParams{Ref: unknown}); got.Events != 0 {
			w.Errorf("Erase by the reference %q, which no event has: %+v", unknown, got)
		}
	}
	for _, ev := range []store.NewEvent{ann, both, bob, none} {
		w.wantKept(ev)
	}
	from := w.now()
	if got := w.erase(w.st, store.EraseParams{Ref: "cus_ann", Limit: 1}); got.Events != 2 {
		w.Errorf("Erase by a reference: %+v, want its 2 events", got)
	}
	w.wantErased(ann, from, w.now())
	w.wantErased(both, from, w.now())
	w.wantKept(bob)
	w.wantKept(none)
	if got := w.erase(w.st, store.EraseParams{Ref: "cus_bob"}); got.Events != 1 {
		w.Errorf("Erase by a reference that an erased event had too: %+v, want the other one", got)
	}
	w.wantKept(none)
	if got := w.erase(w.st, store.EraseParams{All: true}); got.Events != 1 {
		w.Errorf("Erase of all: %+v, want the last one", got)
	}
	w.wantErased(none, from, w.now())
	late := ref("cus_ann")
	w.store(late)
	w.wantKept(late)
}

func eraseUnderWay(w *world) {
	eps := w.endpoints(4)
	ev := leased(w.newEvent(eps...))
	num := w.store(ev)[0]
	lease := func(ep store.Endpoint) store.Claimed {
		return store.Claimed{ID: store.DeliveryID{Event: num, Endpoint: ep.Num}, Token: 1, Attempt: 1}
	}
	won, lost, silent, stale := lease(eps[0]), lease(eps[1]), lease(eps[2]), lease(eps[3])
	w.accepted(answered(failure(stale, 0)))
	again := w.take(stale.ID)
	from := w.now()
	if got := w.erase(w.st, store.EraseParams{All: true}); got.Events != 1 || got.Cancelled != 4 {
		w.Errorf("Erase: %+v, want 1 event and 4 cancelled", got)
	}
	w.wantErased(ev, from, w.now())
	for _, c := range []store.Claimed{won, lost, silent, again} {
		if d := w.delivery(c.ID); d.State != store.Cancelled || d.InFlight {
			w.Errorf("in flight when its event was erased, it reads %+v, want it cancelled", d)
		}
		if got := w.outcomes(c.ID)[c.Attempt]; got != store.AttemptUnknown {
			w.Errorf("an attempt under way when its event was erased is logged as %v, want unknown until it reports", got)
		}
	}
	if got := w.settle(success(won))[0]; !got.Accepted || got.State != store.Delivered {
		w.Errorf("a success that was under way: got %+v, want it delivered", got)
	}
	for _, c := range []store.Claimed{lost, again} {
		if got := w.settle(answered(failure(c, 0)))[0]; got.Accepted || got.State != store.Cancelled {
			w.Errorf("a failure that was under way: got %+v, want it cancelled", got)
		}
		w.wantAnswers(c.ID, 0, "it was reported after the event was erased")
		if got := w.outcomes(c.ID)[c.Attempt]; got != store.AttemptFailed {
			w.Errorf("a failure that was under way is logged as %v, want failed", got)
		}
	}
	w.advance(leaseTime + time.Minute)
	w.takeOver()
	w.promote()
	w.idle("the event was erased")
	w.wantState(silent.ID, store.Cancelled, "its attempt was never reported")
}

func eraseAfterPrune(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	ev.Refs = []string{"cus_1"}
	id := store.DeliveryID{Event: w.store(ev)[0], Endpoint: ep.Num}
	w.accepted(answered(exhaust(w.take(id))))
	w.advance(31 * day)
	from := w.now()
	w.prune(store.Retention{Payloads: 30 * day})
	to := w.now()
	w.wantAnswers(id, 1, "only payloads were pruned")
	w.advance(day)
	if got := w.erase(w.st, store.EraseParams{Ref: "cus_1"}); got.Events != 1 {
		w.Errorf("Erase of an event whose payload was pruned: %+v, want 1 event", got)
	}
	w.wantErased(ev, from, to)
	w.wantAnswers(id, 0, "the event was erased")
	if es := w.events(store.EventQuery{Ref: "cus_1"}); len(es) != 0 {
		w.Errorf("an event is found by its reference after it was erased")
	}
}

func eraseFanOut(w *world) {
	const n = store.MaxFanOut + 5
	ev, beside := w.newEvent(), w.newEvent()
	for range n {
		ev.For = append(ev.For, store.NewDelivery{Endpoint: w.endpoint().Num})
	}
	beside.For = ev.For
	ev.SetVersion = w.setVersion()
	beside.SetVersion = ev.SetVersion
	w.store(ev, beside)
	if _, err := w.st.FanOut(w.ctx(), 10); err != nil {
		w.Fatalf("FanOut: %v", err)
	}
	if got := w.erase(w.st, store.EraseParams{EventID: ev.ID}); got.Events != 1 || got.Cancelled != 10 {
		w.Errorf("Erase of an event with 10 of %d deliveries made: %+v, want 1 event and 10 cancelled", n, got)
	}
	w.steps("FanOut", many, func(limit int) (int, error) { return w.st.FanOut(w.ctx(), limit) })
	if ds := w.deliveries(store.DeliveryQuery{EventID: ev.ID}); len(ds) != 10 {
		w.Errorf("the erased event has %d deliveries, want the 10 that were made before", len(ds))
	}
	if cs := w.claimAll(); len(cs) != n {
		w.Errorf("claimed %d deliveries, want the %d of the event beside", len(cs), n)
	}
}

func eraseSteps(w *world) {
	eps := w.endpoints(3)
	const n = 9
	fill := func() []store.NewEvent {
		evs := make([]store.NewEvent, n)
		for i := range evs {
			evs[i] = w.newEvent(eps...)
			evs[i].Refs = []string{"cus_1"}
		}
		w.store(evs...)
		return evs
	}
	erased := func(evs []store.NewEvent) (k int) {
		for _, ev := range evs {
			if !w.event(ev.ID).ErasedAt.IsZero() {
				k++
			}
		}
		return k
	}
	for _, p := range []store.EraseParams{{All: true, Limit: 4}, {Ref: "cus_1", Limit: 4}} {
		evs := fill()
		// 4 deliveries are 2 events of 3 each: whole ones, and the one that reaches it.
		r, err := w.st.Erase(w.ctx(), w.scope, store.EraseParams{All: p.All, Ref: p.Ref, Limit: p.Limit, After: w.event(evs[0].ID).Num - 1})
		w.must(err, "Erase")
		if r.Events != 2 || r.Cancelled != 6 || r.Done || erased(evs) != 2 {
			w.Errorf("a step of %+v: %+v and %d events erased, want 2 with their 6 deliveries, and not done", p, r, erased(evs))
		}
		// Interrupted, it begins again.
		if got := w.erase(w.st, p); got.Events != n-2 || got.Cancelled != 3*(n-2) {
			w.Errorf("%+v, begun again: %+v, want the other %d events", p, got, n-2)
		}
		if k := erased(evs); k != n {
			w.Errorf("%+v: %d of %d events are erased", p, k, n)
		}
	}
	evs := fill()
	stores := []store.Store{w.st, w.another()}
	var events, cancelled atomic.Int64
	parallel(4, func(i int) {
		r := w.erase(stores[i%2], store.EraseParams{All: true, Limit: 3})
		events.Add(int64(r.Events))
		cancelled.Add(int64(r.Cancelled))
	})
	if erased(evs) != n || events.Load() != n || cancelled.Load() != 3*n {
		w.Errorf("4 erasures at once: %d events erased, counted %d with %d cancelled, want %d with %d", erased(evs), events.Load(), cancelled.Load(), n, 3*n)
	}
	w.idle("everything was erased")
}

func eraseRaces(w *world) {
	eps := w.endpoints(4)
	stores := []store.Store{w.st, w.another()}
	for range 12 {
		ev := w.newEvent(eps[:2]...)
		num := w.store(ev)[0]
		cs := w.claimAll()
		var taken store.Claims
		parallel(6, func(i int) {
			st := stores[i%2]
			_, err := busy(func() (struct{}, error) {
				var err error
				switch i {
				case 0:
					w.erase(st, store.EraseParams{EventID: ev.ID})
				case 1:
					_, err = st.Replay(w.ctx(), w.scope, ev.ID, eps[2].ID, store.ReplayParams{})
				case 2:
					_, err = st.BackFill(w.ctx(), w.scope, eps[3].ID, []int64{num})
				case 3:
					_, err = settleAll(w.ctx(), st, []store.Settlement{answered(failure(cs[0], 0))})
				case 4:
					_, err = settleAll(w.ctx(), st, []store.Settlement{answered(exhaust(cs[1]))})
				case 5:
					taken, err = st.Claim(w.ctx(), claimParams())
				}
				return struct{}{}, err
			})
			if err != nil && (i != 1 || !errors.Is(err, store.ErrErased)) {
				w.Errorf("call %d beside erasing: %v", i, err)
			}
		})
		w.promote()
		w.idle("the event was erased")
		for _, d := range w.deliveries(store.DeliveryQuery{EventID: ev.ID}) {
			if d.State == store.Pending {
				w.Errorf("after its event was erased beside others %v is pending, want nothing pending", d.ID)
			}
			w.wantAnswers(d.ID, 0, "the event was erased beside the report")
		}
		for _, c := range taken.Deliveries {
			w.settle(answered(failure(c, 0)))
			w.wantAnswers(c.ID, 0, "it was reported after the event was erased")
		}
		w.idle("the event was erased")
	}
}
