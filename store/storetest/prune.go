package storetest

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

func pruneChecks() []check {
	return []check{
		{"PrunePayloads", "payloads older than the retention are erased; the log and the event's identity stay", prunePayloads},
		{"PruneResponses", "headers and bodies of answers go when their attempt is older than their retention, whatever becomes of the delivery; the rest of the log stays", pruneResponses},
		{"PruneLog", "events older than the retention go with their deliveries and attempts; their ids are forgotten and nothing of the old comes back", pruneLog},
		{"PruneLeavesPending", "an event with a pending delivery is left alone, however old it is: it still has to be sent", pruneLeavesPending},
		{"PruneRaces", "an event that is replayed, back-filled or reported on while it is pruned goes wholly or stays wholly: a delivery without its event could never be sent nor seen", pruneRaces},
		{"PruneSteps", "pruning goes in bounded steps, also in parallel, and a retention of zero or less keeps everything", pruneSteps},
	}
}

const day = 24 * time.Hour

// prune prunes to the end.
func (w *world) prune(r store.Retention) int {
	w.Helper()
	return w.steps("Prune", many, func(limit int) (int, error) { return w.st.Prune(w.ctx(), r, limit) })
}

func prunePayloads(w *world) {
	ep := w.endpoint()
	old := w.newEvent(ep)
	old.Refs = []string{"pay_1"}
	id := store.DeliveryID{Event: w.store(old)[0], Endpoint: ep.Num}
	w.accepted(success(w.take(id)))
	nobody := w.newEvent()
	w.store(nobody)
	w.advance(20 * day)
	young := w.newEvent(ep)
	w.store(young)
	for _, c := range w.claimAll() {
		w.accepted(success(c))
	}
	w.advance(11 * day)

	from := w.now()
	if n := w.prune(store.Retention{Payloads: 30 * day, Log: 90 * day}); n == 0 {
		w.Errorf("Prune changed nothing, two payloads are 31 days old")
	}
	for _, ev := range []store.NewEvent{old, nobody} {
		got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		w.must(err, "Event of an event whose payload is pruned")
		if got.Body != nil {
			w.Errorf("a payload of 31 days ago is still there: %q", got.Body)
		}
		w.between("Event.ErasedAt", got.ErasedAt, from, w.now())
		if got.Type != ev.Type || got.Hash != ev.Hash || len(got.Refs) != len(ev.Refs) {
			w.Errorf("pruning a payload changed more of the event: %+v", got)
		}
	}
	got, err := w.st.Event(w.ctx(), w.scope, young.ID)
	w.must(err, "Event")
	if string(got.Body) != string(young.Body) || !got.ErasedAt.IsZero() {
		w.Errorf("a payload of 11 days ago was pruned: %+v", got)
	}
	w.wantState(id, store.Delivered, "the log stays when a payload goes")
	if n := len(w.attempts(id)); n != 1 {
		w.Errorf("%d attempts in the log after the payload was pruned, want 1", n)
	}
	old.SetVersion = w.setVersion()
	other := old
	other.Hash = hash(old.Type, []byte("other"))
	if s := statuses(append(w.enqueue(old), w.enqueue(other)...)); s[0] != store.Duplicate || s[1] != store.Conflict {
		w.Errorf("sent again after its payload was pruned: statuses %v, want Duplicate for the same content and Conflict for other", s)
	}
	if n := w.prune(store.Retention{Payloads: 30 * day, Log: 90 * day}); n != 0 {
		w.Errorf("Prune again changed %d rows, want 0", n)
	}
}

func pruneResponses(w *world) {
	ep := w.endpoint()
	old, waiting := w.newEvent(ep), w.newEvent(ep)
	nums := w.store(old, waiting)
	done, pending := store.DeliveryID{Event: nums[0], Endpoint: ep.Num}, store.DeliveryID{Event: nums[1], Endpoint: ep.Num}
	for _, c := range w.claimAll() {
		if c.ID == done {
			w.accepted(answered(exhaust(c)))
		} else {
			w.accepted(answered(failure(c, 10*day)))
		}
	}
	w.advance(20 * day)
	w.promote()
	w.accepted(answered(failure(w.take(pending), 1000*time.Hour)))
	w.advance(11 * day)

	for _, r := range []store.Retention{{}, {Responses: -1}, {Responses: 32 * day}, {Payloads: 20 * day}} {
		w.prune(r)
		w.wantAnswers(done, 1, "answers are not that old, or kept forever")
		w.wantAnswers(pending, 2, "answers are not that old, or kept forever")
	}
	if got, err := w.st.Prune(w.ctx(), store.Retention{Responses: 30 * day}, 1); err != nil || got != 1 {
		w.Errorf("Prune of answers with limit 1: %d, error %v, want 1", got, err)
	}
	if n := w.prune(store.Retention{Responses: 30 * day}); n != 1 {
		w.Errorf("Prune changed %d rows, want the second answer of 31 days ago", n)
	}
	w.wantAnswers(done, 0, "the attempt was 31 days ago")
	w.wantAnswers(pending, 1, "the first attempt was 31 days ago, the second 11")
	if as := w.attempts(pending); len(as) != 2 || as[0].Status != 500 || as[0].Error == "" || as[0].Took == 0 {
		w.Errorf("attempts whose answers were pruned: %+v, want all but the answers", as)
	}
	if n := w.prune(store.Retention{Responses: 30 * day}); n != 0 {
		w.Errorf("Prune again changed %d rows, want 0", n)
	}
	w.advance(100 * day)
	w.must(w.st.Cancel(w.ctx(), w.scope, pending, "done with"), "Cancel")
	w.prune(store.Retention{Log: 90 * day})
	if n := w.prune(store.Retention{Responses: 30 * day}); n != 0 {
		w.Errorf("Prune of answers that went with their events changed %d rows, want 0", n)
	}
}

func pruneLog(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	ev.Refs = []string{"pay_1"}
	id := store.DeliveryID{Event: w.store(ev)[0], Endpoint: ep.Num}
	claimed := w.take(id)
	late := claimed
	w.accepted(exhaust(claimed))
	second, err := w.st.Replay(w.ctx(), w.scope, ev.ID, ep.ID, store.ReplayParams{})
	w.must(err, "Replay")
	w.accepted(success(w.take(second)))
	w.advance(50 * day)
	young := w.send(ep)[0]
	w.accepted(success(w.take(young)))
	w.advance(41 * day)

	if n := w.prune(store.Retention{Payloads: 30 * day, Log: 90 * day}); n == 0 {
		w.Errorf("Prune changed nothing, an event is 91 days old")
	}
	_, err = w.st.Event(w.ctx(), w.scope, ev.ID)
	w.wantErr(err, store.ErrNotFound, "Event of a pruned event")
	for _, gone := range []store.DeliveryID{id, second} {
		_, err = w.st.Delivery(w.ctx(), w.scope, gone)
		w.wantErr(err, store.ErrNotFound, "Delivery of a pruned event")
		_, err = w.st.Attempts(w.ctx(), w.scope, gone)
		w.wantErr(err, store.ErrNotFound, "Attempts of a pruned event")
	}
	_, err = w.st.Replay(w.ctx(), w.scope, ev.ID, ep.ID, store.ReplayParams{})
	w.wantErr(err, store.ErrNotFound, "Replay of a pruned event")
	if es, ds := w.events(store.EventQuery{}), w.deliveries(store.DeliveryQuery{}); len(es) != 1 || len(ds) != 1 || ds[0].ID != young {
		w.Errorf("after pruning the log lists %d events and %d deliveries, want the young one", len(es), len(ds))
	}
	if es, ds := w.events(store.EventQuery{Ref: "pay_1"}), w.deliveries(store.DeliveryQuery{Ref: "pay_1"}); len(es)+len(ds) != 0 {
		w.Errorf("the pruned event is still found by its reference")
	}
	if got := w.settle(success(late))[0]; got.Accepted || got.State != 0 {
		w.Errorf("a report on a delivery that is gone: got %+v, want state 0 and nothing accepted", got)
	}

	// The id is forgotten: with other content it is a new event, without the old
	// deliveries and out of reach of old reports.
	ev.Body = []byte(`"new"`)
	ev.Hash = hash(ev.Type, ev.Body)
	ev.SetVersion = w.setVersion()
	num := w.store(ev)[0]
	if num == id.Event {
		w.Errorf("the new event has the number %d of the pruned one; reports on the old would reach it", num)
	}
	w.settle(success(late))
	fresh := store.DeliveryID{Event: num, Endpoint: ep.Num}
	if ds := w.deliveries(store.DeliveryQuery{EventID: ev.ID}); len(ds) != 1 || ds[0].ID != fresh || ds[0].State != store.Pending {
		w.Errorf("an id sent again after it was pruned: deliveries %+v, want one, pending", ds)
	}
	if len(w.attempts(fresh)) != 0 {
		w.Errorf("an id sent again after it was pruned has old attempts")
	}
}

func pruneLeavesPending(w *world) {
	ep, off := w.endpoint(), w.endpoint()
	eps := []store.Endpoint{ep, off}
	kinds := []string{"delivered to one of two", "waiting", "leased", "ready", "waiting for a disabled endpoint"}
	evs := []store.NewEvent{w.newEvent(eps...), w.newEvent(ep), w.newEvent(ep), w.newEvent(ep), w.newEvent(off)}
	nums := w.store(evs...)
	for _, c := range w.claimAll() {
		switch c.ID {
		case store.DeliveryID{Event: nums[0], Endpoint: ep.Num}:
			w.accepted(success(c))
		case store.DeliveryID{Event: nums[1], Endpoint: ep.Num}:
			w.accepted(failure(c, 5000*time.Hour))
		case store.DeliveryID{Event: nums[2], Endpoint: ep.Num}:
		default:
			w.accepted(release(c))
		}
	}
	w.setState(off, store.Disabled)
	w.advance(200 * day)
	r := store.Retention{Payloads: 30 * day, Log: 90 * day}
	w.prune(r)
	for i, ev := range evs {
		got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		if err != nil || string(got.Body) != string(ev.Body) {
			w.Errorf("an old event %s was pruned: %v", kinds[i], err)
		}
	}
	if ds := w.deliveries(store.DeliveryQuery{}); len(ds) != 6 {
		w.Errorf("%d deliveries are left, want all 6", len(ds))
	}

	// When nothing is pending any more they go.
	w.expire()
	w.takeOver()
	w.promote()
	for _, c := range w.claimAll() {
		w.accepted(success(c))
	}
	w.advance(5000 * time.Hour)
	w.promote()
	for _, c := range w.claimAll() {
		w.accepted(success(c))
	}
	w.prune(r)
	if es := w.events(store.EventQuery{}); len(es) != 0 {
		w.Errorf("%d old events are left although nothing is pending", len(es))
	}
}

func pruneSteps(w *world) {
	ep := w.endpoint()
	const n = 13
	fill := func() {
		evs := make([]store.NewEvent, n)
		for i := range evs {
			evs[i] = w.newEvent(ep)
		}
		w.store(evs...)
		for _, c := range w.claimAll() {
			w.accepted(success(c))
		}
		w.advance(100 * day)
	}
	fill()
	for _, r := range []store.Retention{{}, {Payloads: -1, Log: -1}} {
		if got := w.prune(r); got != 0 {
			w.Errorf("Prune with %+v changed %d rows, want 0: it keeps forever", r, got)
		}
	}
	erased := func() (k int) {
		for _, e := range w.events(store.EventQuery{}) {
			if !e.ErasedAt.IsZero() {
				k++
			}
		}
		return k
	}
	for _, r := range []struct {
		name  string
		r     store.Retention
		count func() int
	}{
		{"payloads", store.Retention{Payloads: 30 * day}, erased},
		{"events", store.Retention{Log: 90 * day}, func() int { return n - len(w.events(store.EventQuery{})) }},
	} {
		before := r.count()
		for range 100 {
			got, err := w.st.Prune(w.ctx(), r.r, 4)
			w.must(err, "Prune")
			if d := r.count() - before; d > 4 || got > 4 {
				w.Errorf("Prune with limit 4 says that it changed %d rows, and %d %s went", got, d, r.name)
			}
			before = r.count()
			if got < 4 {
				break
			}
		}
		if before != n {
			w.Errorf("Prune in steps of 4: %d of %d %s went before it said that nothing was left", before, n, r.name)
		}
	}

	pruneAnswersBesideEvents(w)

	fill()
	stores := []store.Store{w.st, w.another()}
	var total atomic.Int64
	parallel(4, func(i int) {
		for range 20 {
			got, err := busy(func() (int, error) { return stores[i%2].Prune(w.ctx(), store.Retention{Log: 90 * day}, 2) })
			if err != nil {
				w.Errorf("Prune beside others: %v", err)
				return
			}
			total.Add(int64(got))
			if got < 2 {
				return
			}
		}
	})
	w.prune(store.Retention{Log: 90 * day})
	if es, ds := len(w.events(store.EventQuery{})), len(w.deliveries(store.DeliveryQuery{})); es+ds != 0 {
		w.Errorf("after pruning in 4 places at once %d events and %d deliveries are left", es, ds)
	}
}

// pruneAnswersBesideEvents has both to do in one step: what goes with an event is not
// counted as an answer, and does not take the place of one.
func pruneAnswersBesideEvents(w *world) {
	ep := w.endpoint()
	done, waiting := w.newEvent(ep), w.newEvent(ep)
	nums := w.store(done, waiting)
	for _, c := range w.claimAll() {
		if c.ID.Event == nums[0] {
			w.accepted(answered(exhaust(c)))
		} else {
			w.accepted(answered(failure(c, 5000*time.Hour)))
		}
	}
	w.advance(100 * day)
	if n := w.steps("Prune", 2, func(limit int) (int, error) {
		return w.st.Prune(w.ctx(), store.Retention{Responses: 90 * day, Log: 90 * day}, limit)
	}); n != 2 {
		w.Errorf("Prune of an event and of another one's answer: %d rows changed, want 2", n)
	}
	pending := store.DeliveryID{Event: nums[1], Endpoint: ep.Num}
	w.wantAnswers(pending, 0, "Prune said that nothing was left")
	w.must(w.st.Cancel(w.ctx(), w.scope, pending, "done with"), "Cancel")
	w.prune(store.Retention{Log: 90 * day})
}

func pruneRaces(w *world) {
	eps := w.endpoints(3)
	stores := []store.Store{w.st, w.another()}
	for range 12 {
		ev := w.newEvent(eps[0])
		num := w.store(ev)[0]
		first := w.claimAll()[0]
		w.advance(leaseTime)
		w.takeOver()
		w.accepted(exhaust(w.take(first.ID)))
		w.advance(100 * day)
		parallel(4, func(i int) {
			st := stores[i%2]
			_, err := busy(func() (n int, err error) {
				switch i {
				case 0:
					n, err = st.Prune(w.ctx(), store.Retention{Log: 90 * day, Payloads: 30 * day}, many)
				case 1:
					_, err = st.Replay(w.ctx(), w.scope, ev.ID, eps[1].ID, store.ReplayParams{})
				case 2:
					n, err = st.BackFill(w.ctx(), w.scope, eps[2].ID, []int64{num})
				case 3:
					_, err = settleAll(w.ctx(), st, []store.Settlement{success(first)})
				}
				return n, err
			})
			if err != nil && (i != 1 || !errors.Is(err, store.ErrNotFound)) {
				w.Errorf("call %d beside pruning: %v", i, err)
			}
		})
		_, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		there := err == nil
		ds := w.deliveries(store.DeliveryQuery{})
		cs := w.claimAll()
		if there == (len(ds) == 0) || len(cs) != max(len(ds)-1, 0) {
			w.Errorf("pruned beside others: the event is there: %v, with %d deliveries, of which %v could be claimed", there, len(ds), claimedIDs(cs))
		}
		for _, c := range cs {
			if string(c.Body) != string(ev.Body) {
				w.Errorf("%v was claimed with body %q, want %q: what is pending keeps its payload", c.ID, c.Body, ev.Body)
			}
			w.accepted(success(c))
		}
		for _, ep := range eps {
			if b := w.backlog(ep); b.Due.N+b.InFlight.N+b.Exhausted.N != 0 {
				w.Errorf("after its event was pruned beside others the endpoint's backlog is %+v", b)
			}
		}
		w.prune(store.Retention{Log: 90 * day})
	}
}
