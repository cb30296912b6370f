package storetest

import (
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

func statsChecks() []check {
	return []check{
		{"Backlogs", "an endpoint's backlog counts what is due, scheduled, in flight and exhausted, and says since when the oldest is due", backlogs},
		{"BacklogOfTests", "a webhook.* event that was given up is no loss, and counts as pending like any other", backlogOfTests},
		{"BacklogPages", "backlogs come in order of Num, page by page, without deleted endpoints and those of other scopes, and counts stop at the bound", backlogPages},
	}
}

// backlog returns that of one endpoint.
func (w *world) backlog(ep store.Endpoint) store.Backlog {
	w.Helper()
	got, err := w.st.Backlogs(w.ctx(), w.scope, store.BacklogQuery{EndpointID: ep.ID})
	w.must(err, "Backlogs of %s", ep.ID)
	if len(got) != 1 || got[0].EndpointID != ep.ID || got[0].Endpoint != ep.Num {
		w.Fatalf("Backlogs of %s returned %+v, want that one", ep.ID, got)
	}
	return got[0]
}

// wantBacklog reports counts that are not exactly these.
func (w *world) wantBacklog(ep store.Endpoint, due, scheduled, inFlight, exhausted int, why string) store.Backlog {
	w.Helper()
	b := w.backlog(ep)
	got := [4]store.Count{b.Due, b.Scheduled, b.InFlight, b.Exhausted}
	want := [4]store.Count{{N: due}, {N: scheduled}, {N: inFlight}, {N: exhausted}}
	if got != want {
		w.Errorf("backlog of %s: due, scheduled, in flight and exhausted are %v, want %v: %s", ep.ID, got, want, why)
	}
	if b.OldestDue.IsZero() != (due == 0) {
		w.Errorf("backlog of %s: OldestDue is %v with %d due: %s", ep.ID, b.OldestDue, due, why)
	}
	return b
}

func backlogs(w *world) {
	ep, other := w.endpoint(), w.endpoint()
	w.wantBacklog(ep, 0, 0, 0, 0, "nothing was sent")
	from := w.now()
	for range 5 {
		w.send(ep)
	}
	to := w.now()
	w.advance(time.Minute)
	w.send(ep, other)
	b := w.wantBacklog(ep, 6, 0, 0, 0, "six were sent")
	w.between("OldestDue", b.OldestDue, from, to)
	w.wantBacklog(other, 1, 0, 0, 0, "each endpoint has its own")

	claims := claimParams()
	claims.Room, claims.DefaultRoom = map[int64]int{ep.Num: 5}, 0
	claimed := w.claimWithin(claims, 5)
	w.wantBacklog(ep, 1, 0, 5, 0, "five are leased")
	w.wantBacklog(other, 1, 0, 0, 0, "nothing of it was claimed")

	w.accepted(success(claimed[0]))
	w.accepted(exhaust(claimed[1]))
	before := w.now()
	w.accepted(failure(claimed[2], time.Hour))
	w.accepted(failure(claimed[3], 2*time.Hour))
	after := w.now()
	w.wantBacklog(ep, 1, 2, 1, 1, "one was delivered, one exhausted, two wait for a retry and one is under way")

	// Its first delivery is settled before a retry becomes due, so that the retry is
	// the oldest.
	rest := w.claimWithin(claims, 1)
	w.accepted(success(rest[0]))
	w.advance(time.Hour + time.Minute)
	b = w.wantBacklog(ep, 1, 1, 1, 1, "a retry is due when its time has come, moved by Promote or not; an expired lease is in flight until it is taken over")
	w.between("OldestDue", b.OldestDue, before.Add(time.Hour), after.Add(time.Hour))
	w.promote()
	promoted := w.wantBacklog(ep, 1, 1, 1, 1, "Promote changes nothing of that")
	if !promoted.OldestDue.Equal(b.OldestDue) {
		w.Errorf("OldestDue was %v and is %v after Promote", b.OldestDue, promoted.OldestDue)
	}
	w.takeOver()
	w.wantBacklog(ep, 2, 1, 0, 1, "the lease was taken over")

	// A success reported late takes one back that was exhausted.
	late := success(claimed[1])
	late.Attempt.N = 2
	w.settle(late)
	w.wantBacklog(ep, 2, 1, 0, 0, "what was exhausted is delivered after all")
	if got := w.backlog(w.setState(ep, store.Disabled)); got.State != store.Disabled || got.Due.N != 2 {
		w.Errorf("backlog of a disabled endpoint: state %v, %v due, want disabled and 2", got.State, got.Due)
	}
	w.setState(ep, store.Deleted)
	_, err := w.st.Backlogs(w.ctx(), w.scope, store.BacklogQuery{EndpointID: ep.ID})
	w.wantErr(err, store.ErrNotFound, "Backlogs of a deleted endpoint")
	for _, id := range []string{"ep_none", "ep\x00", strings.Repeat("x", 300), "ep\xff"} {
		_, err = w.st.Backlogs(w.ctx(), w.scope, store.BacklogQuery{EndpointID: id})
		w.wantErr(err, store.ErrNotFound, "Backlogs of an endpoint that never was")
	}

	// What was exhausted is counted for as long as it is in the log.
	lost := w.send(other)[0]
	for _, c := range w.claimAll() {
		if c.ID == lost {
			w.accepted(exhaust(c))
		} else {
			w.accepted(success(c))
		}
	}
	w.wantBacklog(other, 0, 0, 0, 1, "one was exhausted")
	w.advance(2 * day)
	w.steps("Prune", many, func(n int) (int, error) { return w.st.Prune(w.ctx(), store.Retention{Log: day}, n) })
	w.wantBacklog(other, 0, 0, 0, 0, "it was pruned")
}

func backlogOfTests(w *world) {
	ep := w.endpoint()
	send := func(typ string) { w.store(typed(w.newEvent(ep), typ)) }
	send("webhook.test")
	send("push")
	send("webhook.test")
	send("webhooks.test")
	w.wantBacklog(ep, 4, 0, 0, 0, "tests wait for a worker, too")
	claimed := w.claimAll()
	w.wantBacklog(ep, 0, 0, 4, 0, "all are leased")
	for _, c := range claimed {
		w.accepted(exhaust(c))
	}
	w.wantBacklog(ep, 0, 0, 0, 2, "two of the four that were exhausted are tests")

	// A count that stopped among tests says that there may be more.
	b, err := w.st.Backlogs(w.ctx(), w.scope, store.BacklogQuery{EndpointID: ep.ID, Bound: 2})
	w.must(err, "Backlogs")
	if got := b[0].Exhausted; !got.More || got.N > 2 {
		w.Errorf("two of four exhausted deliveries and a bound of 2: Exhausted is %v, want at most 2 and more", got)
	}
	for _, typ := range []string{"webhook.test", "push"} {
		late := success(claimed[slices.IndexFunc(claimed, func(c store.Claimed) bool { return c.EventType == typ })])
		late.Attempt.N = 2
		w.settle(late)
	}
	w.wantBacklog(ep, 0, 0, 0, 1, "one test and one other are delivered after all")
	w.advance(2 * day)
	w.steps("Prune", many, func(n int) (int, error) { return w.st.Prune(w.ctx(), store.Retention{Log: day}, n) })
	w.wantBacklog(ep, 0, 0, 0, 0, "all were pruned")
}

// claimWithin claims once and wants so many.
func (w *world) claimWithin(p store.ClaimParams, want int) []store.Claimed {
	w.Helper()
	got := w.claim(p).Deliveries
	if len(got) != want {
		w.Fatalf("a claim got %v, want %d", claimedIDs(got), want)
	}
	return got
}

func backlogPages(w *world) {
	eps := w.endpoints(5)
	for range 4 {
		w.send(eps...)
	}
	foreign := w.as(store.Scope{Tenant: "other", Mode: w.scope.Mode})
	foreign.send(foreign.endpoint())
	w.setState(eps[1], store.Deleted)
	w.setState(eps[2], store.Disabled)

	var seen []int64
	q := store.BacklogQuery{Limit: 2, Bound: 3}
	for range len(eps) {
		page, err := w.st.Backlogs(w.ctx(), w.scope, q)
		w.must(err, "Backlogs")
		if len(page) > q.Limit {
			w.Fatalf("a page with Limit %d has %d endpoints", q.Limit, len(page))
		}
		if len(page) == 0 {
			break
		}
		for _, b := range page {
			seen = append(seen, b.Endpoint)
			if b.Due != (store.Count{N: 3, More: true}) {
				w.Errorf("%s with 4 due deliveries and a bound of 3: Due is %v, want 3+", b.EndpointID, b.Due)
			}
		}
		q.After = page[len(page)-1].Endpoint
	}
	want := []int64{eps[0].Num, eps[2].Num, eps[3].Num, eps[4].Num}
	if len(seen) != len(want) || seen[0] != want[0] || seen[1] != want[1] || seen[2] != want[2] || seen[3] != want[3] {
		w.Errorf("pages of backlogs had endpoints %v, want %v", seen, want)
	}
	exact, err := w.st.Backlogs(w.ctx(), w.scope, store.BacklogQuery{EndpointID: eps[0].ID, Bound: 5})
	w.must(err, "Backlogs")
	if exact[0].Due != (store.Count{N: 4}) {
		w.Errorf("4 due deliveries and a bound of 5: Due is %v, want exactly 4", exact[0].Due)
	}
	none := w.as(store.Scope{Tenant: "nobody", Mode: w.scope.Mode})
	empty, err := none.st.Backlogs(w.ctx(), none.scope, store.BacklogQuery{})
	w.must(err, "Backlogs of a scope that has nothing")
	if len(empty) > 0 {
		w.Errorf("Backlogs of a scope that has nothing returned %+v", empty)
	}
}
