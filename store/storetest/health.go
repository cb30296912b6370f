package storetest

import (
	"time"

	"github.com/hookpost/hookpost/store"
)

func healthChecks() []check {
	return []check{
		{"Health", "failures in a row are counted from the first one, a success ends the row and tells so once, and more than 24 hours without a failure start it anew: a pause of the application is not a failing receiver", health},
		{"HealthQuiet", "a quiet settlement leaves the endpoint's health alone: test events say nothing about it", healthQuiet},
		{"HealthOfStaleReports", "a failure reported after somebody else has leased the delivery still tells about the endpoint, once: the request was made and did fail", healthOfStaleReports},
		{"HealthOfStaleSuccess", "of two successes in a batch, one of them under an old token, one tells that the endpoint recovered", healthOfStaleSuccess},
		{"HealthRaces", "of failures and pauses reported at once none is lost: each counts, and the longest pause holds", healthRaces},
		{"HealthIsNotAChange", "attempts change neither the endpoint's version nor its set's: else every failure would make all caches stale", healthIsNotAChange},
		{"DisableFailing", "an endpoint is disabled for failing only if it failed for the whole time, failed lately, and another endpoint had a success meanwhile: without one the fault is ours", disableFailing},
	}
}

// attempt sends an event to the endpoint and settles its one attempt.
func (w *world) attempt(ep store.Endpoint, settle func(store.Claimed) store.Settlement) store.Settled {
	w.Helper()
	id := w.send(ep)[0]
	for _, c := range w.claimAll() {
		if c.ID == id {
			return w.accepted(settle(c))
		}
	}
	w.Fatalf("delivery %v, just stored, was not claimed", id)
	return store.Settled{}
}

func (w *world) fail(ep store.Endpoint) {
	w.Helper()
	w.attempt(ep, exhaust)
}

func (w *world) succeed(ep store.Endpoint) store.Settled {
	w.Helper()
	return w.attempt(ep, success)
}

func healthOfStaleSuccess(w *world) {
	ep := w.endpoint()
	w.fail(ep)
	stale := w.take(w.send(ep)[0])
	w.advance(claimParams().Lease)
	w.takeOver()
	w.take(stale.ID)
	current := w.take(w.send(ep)[0])
	recovered := 0
	for _, got := range w.settle(success(stale), success(current)) {
		if got.Recovered {
			recovered++
		}
	}
	if recovered != 1 {
		w.Errorf("%d of the successes say Recovered, want 1", recovered)
	}
}

func healthOfStaleReports(w *world) {
	ep := w.endpoint()
	id := w.send(ep)[0]
	stale := w.take(id)
	w.advance(claimParams().Lease)
	w.takeOver()
	current := w.take(id)
	for range 2 { // the second is a repetition and changes nothing
		if got := w.settle(failure(stale, time.Hour))[0]; got.Accepted {
			w.Errorf("a failure under an old token was accepted")
		}
	}
	if h := w.reload(ep).Health; h.Failures != 1 || h.FailingSince.IsZero() {
		w.Errorf("after one stale failure: health %+v, want 1 failure", h)
	}
	if got := w.accepted(success(current)); !got.Recovered {
		w.Errorf("success after it: got %+v, want Recovered", got)
	}
}

func healthRaces(w *world) {
	stores := []store.Store{w.st, w.another()}
	ep := w.endpoint()
	const callers, each, rounds = 6, 3, 5
	for round := range rounds {
		for range callers * each {
			w.send(ep)
		}
		cs := w.claimAll()
		from := w.now()
		parallel(callers, func(i int) {
			var batch []store.Settlement
			for _, c := range cs[i*each : (i+1)*each] {
				s := exhaust(c)
				s.Hold = time.Duration(i+1) * time.Minute
				batch = append(batch, s)
			}
			if _, err := settleAll(w.ctx(), stores[i%2], batch); err != nil {
				w.Errorf("Settle beside others: %v", err)
			}
		})
		h := w.reload(ep).Health
		if want := (round + 1) * callers * each; h.Failures != want {
			w.Fatalf("%d failures were reported, %d at a time, Health.Failures is %d", want, callers*each, h.Failures)
		}
		w.between("Health.HoldUntil", h.HoldUntil, from.Add(callers*time.Minute), w.now().Add(callers*time.Minute))
		w.advance(time.Hour)
	}
}

func health(w *world) {
	ep := w.endpoint()
	w.succeed(ep)
	from := w.now()
	w.between("Health.LastSuccess", w.reload(ep).LastSuccess, from.Add(-time.Hour), from)
	if h := w.reload(ep).Health; !h.FailingSince.IsZero() || h.Failures != 0 {
		w.Errorf("after a success: health %+v, want no failures", h)
	}
	w.advance(time.Hour)

	from = w.now()
	w.fail(ep)
	since := w.reload(ep).FailingSince
	w.between("Health.FailingSince after the first failure", since, from, w.now())
	for range 2 {
		w.advance(23 * time.Hour)
		from = w.now()
		if got := w.attempt(ep, func(c store.Claimed) store.Settlement { return failure(c, 1000*time.Hour) }); got.Recovered {
			w.Errorf("a failure says Recovered")
		}
	}
	h := w.reload(ep).Health
	if h.Failures != 3 || !h.FailingSince.Equal(since) {
		w.Errorf("three failures within 24 hours of each other: health %+v, want 3 failures since %v", h, since)
	}
	w.between("Health.LastFailure", h.LastFailure, from, w.now())

	got := w.succeed(ep)
	if !got.Recovered || !got.FailingSince.Equal(since) {
		w.Errorf("success after failures: got %+v, want Recovered, failing since %v", got, since)
	}
	if h := w.reload(ep).Health; !h.FailingSince.IsZero() || h.Failures != 0 {
		w.Errorf("success after failures: health %+v, want no failures", h)
	}
	if got := w.succeed(ep); got.Recovered {
		w.Errorf("a second success says Recovered again")
	}

	// 24 hours without a failure.
	w.fail(ep)
	w.advance(24*time.Hour + time.Minute)
	from = w.now()
	w.fail(ep)
	h = w.reload(ep).Health
	w.between("Health.FailingSince after a day without a failure", h.FailingSince, from, w.now())
	if h.Failures != 2 {
		w.Errorf("Health.Failures is %d, want 2: there was no success between", h.Failures)
	}

	// LastSuccess may be a minute old, not more.
	w.advance(2 * time.Minute)
	from = w.now()
	w.succeed(ep)
	w.between("Health.LastSuccess", w.reload(ep).LastSuccess, from, w.now())

	// Enabling starts afresh.
	w.fail(ep)
	w.setState(ep, store.Disabled)
	if h := w.reload(ep).Health; h.FailingSince.IsZero() {
		w.Errorf("disabling cleared the health: %+v", h)
	}
	from = w.now()
	enabled := w.setState(ep, store.Enabled)
	if h := w.reload(ep).Health; !h.FailingSince.IsZero() || h.Failures != 0 || !h.HoldUntil.IsZero() {
		w.Errorf("enabling again left health %+v, want FailingSince, Failures and HoldUntil cleared", h)
	}
	w.between("EnabledAt", enabled.EnabledAt, from, w.now())
	w.advance(time.Minute)
	if again := w.edit(ep); !again.EnabledAt.Equal(enabled.EnabledAt) {
		w.Errorf("an edit of an enabled endpoint moved EnabledAt from %v to %v", enabled.EnabledAt, again.EnabledAt)
	}
}

func healthQuiet(w *world) {
	ep := w.endpoint()
	quiet := func(s func(store.Claimed) store.Settlement) func(store.Claimed) store.Settlement {
		return func(c store.Claimed) store.Settlement {
			r := s(c)
			r.Quiet = true
			return r
		}
	}
	w.attempt(ep, quiet(exhaust))
	if h := w.reload(ep).Health; h != (store.Health{}) {
		w.Errorf("a quiet failure left health %+v", h)
	}
	w.fail(ep)
	before := w.reload(ep).Health
	w.advance(time.Hour)
	if got := w.attempt(ep, quiet(success)); got.Recovered {
		w.Errorf("a quiet success says Recovered")
	}
	w.attempt(ep, quiet(exhaust))
	if h := w.reload(ep).Health; h != before {
		w.Errorf("quiet settlements changed health from %+v to %+v", before, h)
	}
}

func healthIsNotAChange(w *world) {
	ep := w.endpoint()
	set := w.setVersion()
	w.fail(ep)
	w.attempt(ep, func(c store.Claimed) store.Settlement {
		s := exhaust(c)
		s.Hold = time.Minute
		return s
	})
	w.advance(time.Hour)
	w.succeed(ep)
	now := w.reload(ep)
	if now.Version != ep.Version || w.setVersion() != set || !now.ChangedAt.Equal(ep.ChangedAt) {
		w.Errorf("attempts took the endpoint from version %d to %d, the set from %d to %d, ChangedAt from %v to %v", ep.Version, now.Version, set, w.setVersion(), ep.ChangedAt, now.ChangedAt)
	}
	h, err := w.st.EndpointHistory(w.ctx(), w.scope, ep.ID)
	w.must(err, "EndpointHistory")
	if len(h) != 1 {
		w.Errorf("attempts left lines in the history: %+v", h)
	}
	// An edit made from what was read before the attempts still counts, and keeps
	// the health.
	w.fail(ep)
	ep.Description = "edited"
	got, err := w.st.UpdateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.must(err, "UpdateEndpoint after attempts")
	if got.Failures != 1 || got.FailingSince.IsZero() {
		w.Errorf("an edit overwrote the health with what was read before: %+v", got.Health)
	}
}

func disableFailing(w *world) {
	rule := store.FailingRule{For: 5 * day, Reason: "failing for 5 days"}
	disable := func(limit int) []store.Endpoint {
		w.Helper()
		eps, err := w.st.DisableFailing(w.ctx(), rule, limit)
		w.must(err, "DisableFailing")
		if len(eps) > limit {
			w.Errorf("DisableFailing with limit %d disabled %d", limit, len(eps))
		}
		return eps
	}
	// failFor lets endpoints fail every 20 hours for d.
	failFor := func(d time.Duration, eps ...store.Endpoint) {
		for ; d > 0; d -= 20 * time.Hour {
			for _, ep := range eps {
				w.fail(ep)
			}
			w.advance(20 * time.Hour)
		}
		for _, ep := range eps {
			w.fail(ep)
		}
	}
	other := w.as(store.Scope{Tenant: "other", Mode: store.Live})
	healthy := other.endpoint()
	other.succeed(healthy)
	w.advance(time.Hour)

	ep := w.endpoint()
	failFor(6*day, ep)
	if got := disable(many); len(got) != 0 {
		w.Errorf("disabled %+v although no other endpoint had a success since it began failing", got)
	}
	other.succeed(healthy)
	set := w.setVersion()
	got := disable(many)
	if len(got) != 1 || got[0].ID != ep.ID || got[0].State != store.Disabled || got[0].Reason != rule.Reason || got[0].Version != ep.Version+1 {
		w.Fatalf("failing for 6 days while another endpoint had a success: disabled %+v, want it, as it is afterwards", got)
	}
	if now := w.reload(ep); now.State != store.Disabled || w.setVersion() <= set {
		w.Errorf("endpoint is %v, set version %d after %d", now.State, w.setVersion(), set)
	}
	h, err := w.st.EndpointHistory(w.ctx(), w.scope, ep.ID)
	w.must(err, "EndpointHistory")
	if len(h) != 2 || h[1].Action != store.WasDisabled || h[1].New.Reason != rule.Reason {
		w.Errorf("history: %+v, want a second line that says disabled", h)
	}
	if got := disable(many); len(got) != 0 {
		w.Errorf("disabled %+v again", got)
	}
	ep.Description = "edited on the version before"
	_, err = w.st.UpdateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.wantErr(err, store.ErrChanged, "UpdateEndpoint of the version before DisableFailing")

	// Enabled again, it has its five days again.
	w.setState(ep, store.Enabled)
	w.fail(ep)
	if got := disable(many); len(got) != 0 {
		w.Errorf("disabled %+v for failures before it was enabled", got)
	}

	// What keeps an endpoint from being disabled.
	failFor(6*day, ep)
	other.succeed(healthy)
	w.succeed(ep)
	if got := disable(many); len(got) != 0 {
		w.Errorf("disabled %+v after a success", got)
	}
	failFor(3*day, ep)
	other.succeed(healthy)
	if got := disable(many); len(got) != 0 {
		w.Errorf("disabled %+v after 3 days of failing", got)
	}
	failFor(3*day, ep)
	w.advance(25 * time.Hour)
	other.succeed(healthy)
	if got := disable(many); len(got) != 0 {
		w.Errorf("disabled %+v without a failure in the last 24 hours", got)
	}

	// An edit before it does not help, and does not hinder later ones.
	eps := w.endpoints(3)
	failFor(6*day, eps...)
	other.succeed(healthy)
	edited := w.edit(eps[0])
	seen := map[string]bool{}
	for range 3 {
		for _, e := range disable(2) {
			if seen[e.ID] {
				w.Errorf("%s was disabled twice", e.ID)
			}
			seen[e.ID] = true
		}
	}
	for _, e := range eps {
		if !seen[e.ID] {
			w.Errorf("%s failed for 6 days and was not disabled in steps of 2", e.ID)
		}
	}
	if now := w.reload(edited); now.Version != edited.Version+1 || now.Description != edited.Description {
		w.Errorf("edited, then disabled for failing: version %d, description %q, want %d and %q", now.Version, now.Description, edited.Version+1, edited.Description)
	}
}
