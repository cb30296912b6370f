package storetest

import (
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

func recoverChecks() []check {
	return []check{
		{"Recover", "recovering gives each exhausted delivery one new round and makes waiting ones due, unless it was delivered, is under way or was cancelled since; running it again, or a step of it, adds nothing", recoverOnce},
		{"RecoverFilters", "recovering touches what its filters select and nothing else: no disabled or deleted endpoint, no erased event, no webhook.* event", recoverFilters},
		{"RecoverSteps", "steps of any size, interrupted and repeated, do together what one run does, and a dry run counts exactly that and changes nothing", recoverSteps},
		{"ConcurrentRecovers", "several recovers at once create one delivery each time, not one each", concurrentRecovers},
	}
}

// recover runs a recovery to its end, step by step, and returns the sums.
func (w *world) recover(st store.Store, p store.RecoverParams) store.Recovered {
	w.Helper()
	var sum store.Recovered
	for range 1000 {
		r, err := busy(func() (store.Recovered, error) { return st.Recover(w.ctx(), w.scope, p) })
		if err != nil {
			w.Errorf("Recover: %v", err)
			return sum
		}
		sum.Replayed += r.Replayed
		sum.Hastened += r.Hastened
		if r.Done {
			return sum
		}
		if r.After < p.After {
			w.Errorf("Recover went back from event %d to %d", p.After, r.After)
		}
		p.After = r.After
	}
	w.Errorf("Recover with Limit %d, dry run %v: 1000 steps and not done", p.Limit, p.DryRun)
	return sum
}

func (w *world) wantRecovered(p store.RecoverParams, replayed, hastened int, what string) {
	w.Helper()
	dry := p
	dry.DryRun = true
	before := len(w.deliveries(store.DeliveryQuery{}))
	if got := w.recover(w.st, dry); got.Replayed != replayed || got.Hastened != hastened {
		w.Errorf("%s, dry run: counted %d to replay and %d to hasten, want %d and %d", what, got.Replayed, got.Hastened, replayed, hastened)
	}
	if n := len(w.deliveries(store.DeliveryQuery{})); n != before {
		w.Errorf("%s: a dry run stored %d deliveries", what, n-before)
	}
	if got := w.recover(w.st, p); got.Replayed != replayed || got.Hastened != hastened {
		w.Errorf("%s: replayed %d and hastened %d, want %d and %d", what, got.Replayed, got.Hastened, replayed, hastened)
	}
	if n := len(w.deliveries(store.DeliveryQuery{})); n != before+replayed {
		w.Errorf("%s: %d deliveries were stored, want %d", what, n-before, replayed)
	}
}

func recoverOnce(w *world) {
	ep := w.endpoint()
	states := []func(store.Claimed) store.Settlement{
		exhaust, success, func(c store.Claimed) store.Settlement { return failure(c, 50*time.Hour) },
	}
	var ids []store.DeliveryID
	for _, s := range states {
		id := w.send(ep)[0]
		w.accepted(s(w.take(id)))
		ids = append(ids, id)
	}
	ready, cancelled := w.send(ep)[0], w.send(ep)[0]
	w.must(w.st.Cancel(w.ctx(), w.scope, cancelled, "by hand"), "Cancel")

	w.wantRecovered(store.RecoverParams{}, 1, 1, "one exhausted, one waiting")
	w.wantRecovered(store.RecoverParams{}, 0, 0, "the same again")
	w.promote()
	again := store.DeliveryID{Event: ids[0].Event, Endpoint: ids[0].Endpoint, Round: 1}
	got := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		got[c.ID] = c
	}
	if len(got) != 3 || got[again].Attempt != 1 || got[ids[2]].Attempt != 2 || got[ids[2]].Failures != 1 || got[ready].Attempt != 1 {
		w.Errorf("after recover claimed %v, want the replay %v, the hastened %v and the ready %v", got, again, ids[2], ready)
	}
	w.wantState(ids[0], store.Exhausted, "the exhausted one stays as it is")

	// In flight is pending; exhausted again may be recovered again, once.
	w.wantRecovered(store.RecoverParams{}, 0, 0, "the new round is in flight")
	w.accepted(exhaust(got[again]))
	w.accepted(success(got[ids[2]]))
	w.accepted(success(got[ready]))
	w.wantRecovered(store.RecoverParams{}, 1, 0, "two rounds exhausted")
	w.wantRecovered(store.RecoverParams{}, 0, 0, "two rounds exhausted, again")
	third := again
	third.Round = 2
	w.must(w.st.Cancel(w.ctx(), w.scope, third, "by hand"), "Cancel of the second replay")
	w.wantRecovered(store.RecoverParams{}, 0, 0, "the latest round cancelled by hand")

	// Delivered since: by a replay.
	id := w.send(ep)[0]
	w.accepted(exhaust(w.take(id)))
	ev := w.delivery(id).EventID
	second, err := w.st.Replay(w.ctx(), w.scope, ev, ep.ID, store.ReplayParams{})
	w.must(err, "Replay")
	w.accepted(success(w.take(second)))
	w.wantRecovered(store.RecoverParams{}, 0, 0, "delivered since by a replay")
	// An exhausted replay of a delivered event has no later round.
	second, err = w.st.Replay(w.ctx(), w.scope, ev, ep.ID, store.ReplayParams{})
	w.must(err, "Replay")
	w.accepted(exhaust(w.take(second)))
	w.wantRecovered(store.RecoverParams{}, 1, 0, "a replay exhausted after one was delivered")
}

func recoverFilters(w *world) {
	eps := w.endpoints(4)
	send := func(typ string) {
		w.store(typed(w.newEvent(eps...), typ))
		w.advance(time.Hour)
	}
	start := w.now()
	send("payment.succeeded")
	send("payment.failed")
	send("webhook.test")
	send("push")
	for _, c := range w.claimAll() {
		w.accepted(exhaust(c))
	}
	w.setState(eps[2], store.Disabled)
	w.setState(eps[3], store.Deleted)

	evs := w.events(store.EventQuery{})
	last, mid := evs[0].StoredAt, evs[2].StoredAt
	w.wantRecovered(store.RecoverParams{To: start}, 0, 0, "before everything")
	w.wantRecovered(store.RecoverParams{From: last.Add(time.Second)}, 0, 0, "after everything")
	w.wantRecovered(store.RecoverParams{Type: "payment"}, 0, 0, "a type nobody has")
	w.wantRecovered(store.RecoverParams{Type: "webhook.test"}, 0, 0, "webhook.test")
	w.wantRecovered(store.RecoverParams{EndpointID: eps[2].ID}, 0, 0, "a disabled endpoint")
	w.wantRecovered(store.RecoverParams{EndpointID: eps[3].ID}, 0, 0, "a deleted endpoint")
	w.wantRecovered(store.RecoverParams{After: evs[0].Num}, 0, 0, "after the last event")
	w.wantRecovered(store.RecoverParams{EndpointID: eps[0].ID, Type: "payment.failed"}, 1, 0, "endpoint and type")
	w.wantRecovered(store.RecoverParams{From: mid, To: last}, 1, 0, "from the second to before the last, for the rest of two endpoints")
	w.wantRecovered(store.RecoverParams{EndpointID: eps[1].ID}, 2, 0, "the rest of an endpoint")
	w.wantRecovered(store.RecoverParams{}, 2, 0, "the rest")
	w.setState(eps[2], store.Enabled)
	w.wantRecovered(store.RecoverParams{}, 3, 0, "an endpoint enabled again")

	// Erased events are passed over.
	for _, c := range w.claimAll() {
		w.accepted(exhaust(c))
	}
	w.advance(40 * 24 * time.Hour)
	if _, err := w.st.Prune(w.ctx(), store.Retention{Payloads: 30 * 24 * time.Hour}, many); err != nil {
		w.Fatalf("Prune: %v", err)
	}
	w.wantRecovered(store.RecoverParams{}, 0, 0, "payloads pruned")
}

// troubles stores n events for each endpoint, of which one in four waits for a
// retry and the rest are exhausted, and returns how many of each there are.
func (w *world) troubles(n int, eps []store.Endpoint) (exhausted, waiting int) {
	w.Helper()
	evs := make([]store.NewEvent, n)
	for i := range evs {
		evs[i] = w.newEvent(eps...)
	}
	w.store(evs...)
	var ss []store.Settlement
	for i, c := range w.claimAll() {
		if i%4 == 3 {
			ss = append(ss, failure(c, 1000*time.Hour))
			waiting++
		} else {
			ss = append(ss, exhaust(c))
			exhausted++
		}
	}
	w.settle(ss...)
	return exhausted, waiting
}

func recoverSteps(w *world) {
	eps := w.endpoints(3)
	exhausted, waiting := w.troubles(8, eps)
	for _, limit := range []int{1, 2, 3, 7, 0} {
		got := w.recover(w.st, store.RecoverParams{DryRun: true, Limit: limit})
		if got.Replayed != exhausted || got.Hastened != waiting {
			w.Errorf("dry run in steps of %d: counted %d and %d, want %d and %d", limit, got.Replayed, got.Hastened, exhausted, waiting)
		}
	}
	// Interrupted: a step is done, its answer lost, and the whole run begins again.
	var sum store.Recovered
	p := store.RecoverParams{Limit: 4}
	for range 3 {
		r, err := w.st.Recover(w.ctx(), w.scope, p)
		w.must(err, "Recover")
		sum.Replayed += r.Replayed
		sum.Hastened += r.Hastened
		again, err := w.st.Recover(w.ctx(), w.scope, p)
		w.must(err, "Recover, a step repeated")
		sum.Replayed += again.Replayed
		sum.Hastened += again.Hastened
		p.After = r.After
	}
	for range 2 {
		r := w.recover(w.another(), store.RecoverParams{Limit: 5})
		sum.Replayed += r.Replayed
		sum.Hastened += r.Hastened
	}
	if sum.Replayed != exhausted || sum.Hastened != waiting {
		w.Errorf("interrupted, repeated and rerun: replayed %d and hastened %d in all, want %d and %d", sum.Replayed, sum.Hastened, exhausted, waiting)
	}
	w.oneEach(8*len(eps), exhausted)
}

// oneEach reports unless there is a fan-out for each of all, and one replay in
// round 1 for each of the exhausted.
func (w *world) oneEach(all, exhausted int) {
	w.Helper()
	rounds := map[int]int{}
	for _, d := range w.deliveries(store.DeliveryQuery{}) {
		rounds[d.ID.Round]++
	}
	if rounds[0] != all || rounds[1] != exhausted || len(rounds) > 2 {
		w.Errorf("deliveries by round: %v, want %d in round 0 and %d in round 1", rounds, all, exhausted)
	}
	w.promote()
	if got := w.claimAll(); len(got) != all {
		w.Errorf("%d deliveries could be claimed after the recovery, want %d", len(got), all)
	}
}

func concurrentRecovers(w *world) {
	eps := w.endpoints(4)
	exhausted, waiting := w.troubles(10, eps)
	stores := []store.Store{w.st, w.another()}
	var replayed, hastened atomic.Int64
	parallel(6, func(i int) {
		r := w.recover(stores[i%2], store.RecoverParams{Limit: 3 + i})
		replayed.Add(int64(r.Replayed))
		hastened.Add(int64(r.Hastened))
	})
	// What one passed over because another had it locked, a further run finds.
	r := w.recover(w.st, store.RecoverParams{})
	if n := int(replayed.Load()) + r.Replayed; n != exhausted {
		w.Errorf("6 recovers at once say that they replayed %d, want %d", n, exhausted)
	}
	if n := int(hastened.Load()) + r.Hastened; n != waiting {
		w.Errorf("6 recovers at once say that they hastened %d, want %d", n, waiting)
	}
	w.oneEach(10*len(eps), exhausted)
}
