package storetest

import (
	"bytes"
	"reflect"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

func settleChecks() []check {
	return []check{
		{"SettleVerdicts", "each verdict leaves the delivery as the contract says, with its counts, times and reason", settleVerdicts},
		{"SettleBatch", "a batch of settlements has one result each, in order, and one that is out of date harms none of the others", settleBatch},
		{"SettleRefused", "a success without an attempt and a release with one are refused, and with them the batch: it is not settled in part", settleRefused},
		{"SettleRepeated", "a settle repeated after its answer was lost changes nothing: not the state, the counts, the log, nor the endpoint's health", settleRepeated},
		{"SettleRaces", "a late success and a failure reported at once end in delivered, and a report sent twice at once counts once", settleRaces},
		{"SettleBesideUpkeep", "a success reported while its lease is taken over, or its delivery is cancelled by hand or with its endpoint, ends in delivered: what was received must not be sent again", settleBesideUpkeep},
		{"AttemptRoundTrip", "an attempt is logged with every field it was reported with; its start is the store's clock less Ago", attemptRoundTrip},
		{"SettleKeepsRefusal", "a delivery that counts as delivered though the answer was not 2xx keeps that answer in its log", settleKeepsRefusal},
		{"RetryWaits", "a retry is claimed when its delay is over by the store's clock, not before; Promote says how long that is", retryWaits},
		{"SettleDisables", "DisableVersion disables the endpoint in the commit of the report, but only the version that the attempt used: an edit since then has perhaps cured it", settleDisables},
	}
}

func settleVerdicts(w *world) {
	ep := w.endpoint()

	t0 := w.now()
	id := w.send(ep)[0]
	c := w.take(id)
	if d := w.delivery(id); !d.InFlight || d.State != store.Pending || d.Attempts != 1 {
		w.Errorf("claimed delivery reads %+v, want it pending, in flight, one attempt begun", d)
	} else {
		w.between("Delivery.FirstAt", d.FirstAt, t0, w.now())
	}
	w.advance(time.Second)
	from := w.now()
	if got := w.accepted(success(c)); got.State != store.Delivered || got.Disabled || got.Recovered {
		w.Errorf("Deliver: got %+v, want it delivered and nothing said of the endpoint", got)
	}
	d := w.delivery(id)
	if d.State != store.Delivered || d.InFlight || d.Attempts != 1 || d.Failures != 0 || d.LastStatus != 204 || d.Reason != "" {
		w.Errorf("delivered delivery reads %+v", d)
	}
	w.between("Delivery.FinishedAt", d.FinishedAt, from, w.now())

	id = w.send(ep)[0]
	c = w.take(id)
	from = w.now()
	if got := w.accepted(failure(c, time.Hour)); got.State != store.Pending {
		w.Errorf("Retry: got %+v, want it pending", got)
	}
	to := w.now()
	d = w.delivery(id)
	if d.State != store.Pending || d.InFlight || d.Attempts != 1 || d.Failures != 1 || d.LastStatus != 500 || !d.FinishedAt.IsZero() {
		w.Errorf("delivery that waits for a retry reads %+v", d)
	}
	w.between("Delivery.DueAt", d.DueAt, from.Add(time.Hour), to.Add(time.Hour))

	w.advance(time.Hour + time.Second)
	w.promote()
	c = w.take(id)
	if got := w.accepted(exhaust(c)); got.State != store.Exhausted {
		w.Errorf("Exhaust: got %+v, want it exhausted", got)
	}
	d = w.delivery(id)
	if d.State != store.Exhausted || d.Attempts != 2 || d.Reason != "no attempts left" || d.FinishedAt.IsZero() {
		w.Errorf("exhausted delivery reads %+v", d)
	}

	id = w.send(ep)[0]
	c = w.take(id)
	got := w.accepted(store.Settlement{ID: id, Token: c.Token, Verdict: store.Exhaust, Reason: "too old"})
	if d := w.delivery(id); got.State != store.Exhausted || d.State != store.Exhausted || d.Reason != "too old" || len(w.attempts(id)) != 0 {
		w.Errorf("Exhaust without an attempt: got %+v, reads %+v, want it exhausted with the reason and nothing in the log", got, d)
	}
	w.promote()
	w.idle("all deliveries are finished")
}

func settleBatch(w *world) {
	ep := w.endpoint()
	ids := make([]store.DeliveryID, 6)
	for i := range ids {
		ids[i] = w.send(ep)[0]
	}
	by := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		by[c.ID] = c
	}
	stale := failure(by[ids[3]], 0)
	stale.Attempt, stale.Token = nil, stale.Token+1
	got := w.settle(
		success(by[ids[0]]),
		failure(by[ids[1]], time.Hour),
		store.Settlement{
			ID: store.DeliveryID{Event: 1 << 40, Endpoint: 1 << 40}, Token: 1, Verdict: store.Deliver,
			Attempt: &store.Attempt{N: 1, Outcome: store.AttemptDelivered, Status: 200},
		},
		stale,
		exhaust(by[ids[4]]),
		release(by[ids[5]]),
	)
	want := []store.Settled{
		{Accepted: true, State: store.Delivered},
		{Accepted: true, State: store.Pending},
		{},
		{State: store.Pending},
		{Accepted: true, State: store.Exhausted},
		{Accepted: true, State: store.Pending},
	}
	for i := range want {
		g := got[i]
		if g.Accepted != want[i].Accepted || g.State != want[i].State {
			w.Errorf("settlement %d: accepted %v, state %v, want %v and %v (a delivery that is gone has state 0)", i, g.Accepted, g.State, want[i].Accepted, want[i].State)
		}
	}
	if !w.delivery(ids[3]).InFlight {
		w.Errorf("a settlement without an attempt under a wrong token ended the lease")
	}
	if got := w.settle(); len(got) != 0 {
		w.Errorf("an empty batch has results: %+v", got)
	}
}

func settleRefused(w *world) {
	ep := w.endpoint()
	w.send(ep)
	w.send(ep)
	cs := w.claimAll()
	unasked, made := success(cs[1]), release(cs[1])
	unasked.Attempt = nil
	made.Attempt = success(cs[1]).Attempt
	for name, bad := range map[string]store.Settlement{"Deliver without an attempt": unasked, "Release with an attempt": made} {
		_, err := w.st.Settle(w.ctx(), []store.Settlement{success(cs[0]), bad})
		w.wantErr(err, store.ErrInvalid, "Settle with %s", name)
		for _, c := range cs {
			if d := w.delivery(c.ID); d.State != store.Pending || !d.InFlight {
				w.Errorf("after a settle that was refused, %s, a delivery of the batch is %v, in flight: %v, want it in flight as before", name, d.State, d.InFlight)
			}
		}
	}
	for _, c := range cs {
		w.accepted(success(c))
	}
}

func settleRepeated(w *world) {
	ep, calm := w.endpoint(), w.endpoint()
	s := map[string]store.Settlement{}
	var order []string
	add := func(name string, on store.Endpoint, settle func(c store.Claimed) store.Settlement) {
		s[name] = settle(w.take(w.send(on)[0]))
		order = append(order, name)
	}
	add("deliver", calm, success)
	add("retry", ep, func(c store.Claimed) store.Settlement { return failure(c, time.Hour) })
	add("exhaust", ep, exhaust)
	add("release", ep, release)
	add("retry without attempt", ep, func(c store.Claimed) store.Settlement {
		return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Retry, Delay: time.Hour}
	})
	add("exhaust without attempt", ep, func(c store.Claimed) store.Settlement {
		return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Exhaust, Reason: "why"}
	})
	add("hold", ep, func(c store.Claimed) store.Settlement {
		s := failure(c, time.Hour)
		s.Hold = time.Hour
		return s
	})
	var batch []store.Settlement
	for _, name := range order {
		batch = append(batch, s[name])
	}
	for i, got := range w.settle(batch...) {
		if !got.Accepted {
			w.Errorf("%s: the first settle was not accepted", order[i])
		}
	}
	type world2 struct {
		Deliveries []store.Delivery
		Attempts   [][]store.Attempt
		Health     []store.Health
		Versions   []int64
	}
	snapshot := func() world2 {
		var s world2
		s.Deliveries = w.deliveries(store.DeliveryQuery{})
		for _, d := range s.Deliveries {
			s.Attempts = append(s.Attempts, w.attempts(d.ID))
		}
		for _, e := range []store.Endpoint{ep, calm} {
			e = w.reload(e)
			s.Health, s.Versions = append(s.Health, e.Health), append(s.Versions, e.Version)
		}
		return s
	}
	before := snapshot()
	w.advance(10 * time.Minute)
	for i, got := range w.settle(batch...) {
		if got.Accepted || got.Disabled || got.Recovered {
			w.Errorf("%s: repeated, it was taken for new: %+v", order[i], got)
		}
		if want := w.delivery(batch[i].ID).State; got.State != want {
			w.Errorf("%s: repeated, it says state %v, the delivery is %v", order[i], got.State, want)
		}
	}
	if after := snapshot(); !reflect.DeepEqual(before, after) {
		w.Errorf("a repeated settle changed something:\nbefore %+v\nafter  %+v", before, after)
	}

	// Repeated after the next lease was given out, it must not touch that one.
	w.advance(time.Hour)
	w.promote()
	again := w.claimAll()
	if len(again) != 4 {
		w.Fatalf("claimed %v, want the four that wait or were released", claimedIDs(again))
	}
	for i, got := range w.settle(batch...) {
		if got.Accepted {
			w.Errorf("%s: repeated under its old token, it was accepted while another holds the lease", order[i])
		}
	}
	for _, c := range again {
		if d := w.delivery(c.ID); !d.InFlight {
			w.Errorf("delivery %v is no longer in flight after a report of its last lease was repeated", c.ID)
		}
		w.accepted(success(c))
	}
}

func settleKeepsRefusal(w *world) {
	id := w.send(w.endpoint())[0]
	s := success(w.take(id))
	s.Quiet = true
	s.Attempt.Status, s.Attempt.Class, s.Attempt.Error = 400, "status", "answered 400 Bad Request"
	s.Attempt.ResponseHeader, s.Attempt.ResponseBody = []byte("Server: x\r\n"), []byte("no signature")
	w.accepted(s)
	if d := w.delivery(id); d.State != store.Delivered || d.LastStatus != 400 || !d.ReachedOnly() {
		w.Errorf("delivery reads %+v, want it delivered with status 400", d)
	}
	a := w.attempts(id)[0]
	if a.Outcome != store.AttemptDelivered || a.Status != 400 || !a.ReachedOnly() ||
		a.Error != s.Attempt.Error || string(a.ResponseHeader) != "Server: x\r\n" || string(a.ResponseBody) != "no signature" {
		w.Errorf("attempt reads %+v, want the answer that was reported", a)
	}
}

func attemptRoundTrip(w *world) {
	ep := w.endpoint()
	id := w.send(ep)[0]
	c := w.take(id)
	w.advance(8 * time.Second)
	s := failure(c, 0)
	s.Ago = 7 * time.Second
	full := store.Attempt{
		N: c.Attempt, Took: 1234567 * time.Microsecond, Outcome: store.AttemptFailed,
		URL: "https://user-independent.example.com:8443/päth?q=%00", Status: 503, Class: "status", Error: "answered 503 \"später\"",
		ResponseHeader: []byte("Retry-After: 5\r\nX-Odd: \xff\x00\r\n"), ResponseBody: bytes.Repeat([]byte{0, 255, '\''}, 5000),
	}
	a := full
	a.StartedAt = time.Unix(0, 0) // ignored in favour of Ago
	a.ResponseBody = slices.Clone(full.ResponseBody)
	s.Attempt = &a
	from := w.now()
	w.accepted(s)
	to := w.now()
	a.ResponseBody[0] = 'x' // byte slices handed in are not kept

	w.promote()
	won := success(w.take(id))
	won.Ago, won.Attempt.URL = 3*time.Second, "https://example.com/moved"
	w.advance(4 * time.Second)
	wonFrom := w.now()
	w.accepted(won)
	wonTo := w.now()
	as := w.attempts(id)
	if len(as) != 2 || as[0].N != 1 || as[1].N != 2 {
		w.Fatalf("Attempts returned %+v, want attempts 1 and 2 in order", as)
	}
	got := as[0]
	w.between("Attempt.StartedAt", got.StartedAt, from.Add(-s.Ago), to.Add(-s.Ago))
	got.StartedAt = time.Time{}
	if !reflect.DeepEqual(got, full) {
		w.Errorf("attempt differs from what was reported:\ngot  %+.300v\nwant %+.300v", got, full)
	}
	got = as[1]
	w.between("StartedAt of the success", got.StartedAt, wonFrom.Add(-won.Ago), wonTo.Add(-won.Ago))
	if got.Outcome != store.AttemptDelivered || got.Status != 204 || got.Class != "" || got.Error != "" || got.URL != won.Attempt.URL ||
		len(got.ResponseHeader) != 0 || len(got.ResponseBody) != 0 || got.Took != 5*time.Millisecond {
		w.Errorf("delivered attempt reads %+v", got)
	}
	if d := w.delivery(id); d.LastStatus != 204 || d.Attempts != 2 || d.Failures != 1 {
		w.Errorf("delivery reads %+v, want last status 204, 2 attempts, 1 failure", d)
	}

	// A status of 0 means that there was no answer.
	id = w.send(ep)[0]
	s = failure(w.take(id), time.Hour)
	s.Attempt.Status, s.Attempt.Class, s.Attempt.URL = 0, "timeout", ""
	w.accepted(s)
	if as := w.attempts(id); len(as) != 1 || as[0].Status != 0 || as[0].Class != "timeout" || as[0].URL != "" {
		w.Errorf("attempt without an answer reads %+v", as)
	}
}

func retryWaits(w *world) {
	ep := w.endpoint()
	promote := func(limit int) store.Promoted {
		w.Helper()
		p, err := w.st.Promote(w.ctx(), limit)
		w.must(err, "Promote")
		return p
	}
	if p := promote(many); p.Moved != 0 || p.Next <= 0 || p.Next > time.Hour {
		w.Errorf("Promote with nothing waiting: got %+v, want nothing moved and Next above 0, at most an hour", p)
	}
	ids := make([]store.DeliveryID, 3)
	for i := range ids {
		ids[i] = w.send(ep)[0]
	}
	by := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		by[c.ID] = c
	}
	w.settle(failure(by[ids[0]], 5*time.Minute), failure(by[ids[1]], 30*time.Minute), failure(by[ids[2]], 20*time.Hour))
	if p := promote(many); p.Moved != 0 || p.Next > 5*time.Minute || p.Next < 4*time.Minute {
		w.Errorf("Promote with a retry due in 5 minutes: got %+v, want nothing moved and Next 5 minutes", p)
	}
	w.idle("no retry is due")
	w.advance(4 * time.Minute)
	w.promote()
	w.idle("the first retry is due in a minute")
	w.advance(time.Minute + time.Second)
	if p := promote(many); p.Moved != 1 || p.Next > 25*time.Minute || p.Next < 20*time.Minute {
		w.Errorf("Promote with one retry due and the next in 25 minutes: got %+v", p)
	}
	w.accepted(success(w.take(ids[0])))
	w.advance(25 * time.Minute)
	if p := promote(many); p.Moved != 1 || p.Next != time.Hour {
		w.Errorf("Promote with the next retry due in 19 hours: got %+v, want one moved and Next an hour, the longest", p)
	}
	w.accepted(success(w.take(ids[1])))
	w.advance(20 * time.Hour)
	w.promote()
	w.accepted(success(w.take(ids[2])))

	// A bounded step says 0 if more are due.
	for range 3 {
		w.send(ep)
	}
	for _, c := range w.claimAll() {
		w.settle(failure(c, time.Minute))
	}
	w.advance(2 * time.Minute)
	if p := promote(2); p.Moved != 2 || p.Next != 0 {
		w.Errorf("Promote of 2 with 3 due: got %+v, want 2 moved and Next 0", p)
	}
	if p := promote(2); p.Moved != 1 || p.Next <= 0 {
		w.Errorf("Promote of 2 with 1 due: got %+v, want 1 moved and Next above 0", p)
	}
}

// gone reports 410 on the version of the endpoint that the claim was for.
func gone(c store.Claimed) store.Settlement {
	s := exhaust(c)
	s.Attempt.Status, s.Reason = 410, "gone"
	s.DisableVersion, s.DisableReason = c.EndpointVersion, "answered 410 Gone"
	return s
}

func settleDisables(w *world) {
	w.part("Before", disablesBefore)
	w.part("After", disablesAfter)
	w.part("Late", disablesLate)
	w.part("Race", disablesRace)
}

// disablesBefore has the 410 come before a success and an edit.
func disablesBefore(w *world) {
	ep := w.endpoint()
	a, b := w.send(ep)[0], w.send(ep)[0]
	by := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		by[c.ID] = c
	}
	set := w.setVersion()
	got := w.accepted(gone(by[a]))
	if !got.Disabled || got.State != store.Exhausted {
		w.Errorf("410 on the endpoint's version: got %+v, want exhausted and Disabled", got)
	}
	now := w.reload(ep)
	if now.State != store.Disabled || now.Reason != "answered 410 Gone" || now.Version != ep.Version+1 || w.setVersion() <= set {
		w.Errorf("endpoint after 410: state %v, reason %q, version %d, set %d; want disabled with the reason, version %d, a set above %d",
			now.State, now.Reason, now.Version, w.setVersion(), ep.Version+1, set)
	}
	h, err := w.st.EndpointHistory(w.ctx(), w.scope, ep.ID)
	w.must(err, "EndpointHistory")
	if last := h[len(h)-1]; len(h) != 2 || last.Action != store.WasDisabled || last.Version != now.Version ||
		last.Old.State != store.Enabled || last.New.State != store.Disabled || last.New.Reason != "answered 410 Gone" {
		w.Errorf("history after 410: %+v, want a second line that says disabled", h)
	}
	w.accepted(success(by[b]))
	w.wantState(b, store.Delivered, "an attempt under way finishes")
	if s := w.reload(ep).State; s != store.Disabled {
		w.Errorf("a success after 410: endpoint %v, want it still disabled", s)
	}
	ep.Description = "edited on the version before"
	_, err = w.st.UpdateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.wantErr(err, store.ErrChanged, "UpdateEndpoint of the version before 410")
	if got := w.settle(gone(by[a]))[0]; got.Disabled || got.Accepted {
		w.Errorf("410 reported again: got %+v, want nothing done", got)
	}
	w.setState(ep, store.Enabled)
	if got := w.settle(gone(by[a]))[0]; got.Disabled || w.reload(ep).State != store.Enabled {
		w.Errorf("410 reported again after the endpoint was enabled: disabled it")
	}
}

// disablesAfter has the 410 come after a success, an edit, a disable, a delete.
func disablesAfter(w *world) {
	ep := w.endpoint()
	w.send(ep)
	w.send(ep)
	cs := w.claimAll()
	w.accepted(success(cs[0]))
	if got := w.accepted(gone(cs[1])); !got.Disabled {
		w.Errorf("410 after a success on the same version: got %+v, want Disabled", got)
	}

	ep = w.endpoint()
	c := w.take(w.send(ep)[0])
	edited := w.edit(ep)
	if got := w.accepted(gone(c)); got.Disabled || got.State != store.Exhausted {
		w.Errorf("410 of the version before an edit: got %+v, want the delivery exhausted and the endpoint left alone", got)
	}
	if now := w.reload(ep); now.State != store.Enabled || now.Version != edited.Version {
		w.Errorf("410 of the version before an edit: endpoint is %v in version %d, want enabled in %d", now.State, now.Version, edited.Version)
	}

	for _, s := range []store.EndpointState{store.Disabled, store.Deleted} {
		ep = w.endpoint()
		c = w.take(w.send(ep)[0])
		by := w.setState(ep, s)
		report := gone(c)
		report.DisableVersion = by.Version
		if got := w.settle(report)[0]; got.Disabled {
			w.Errorf("410 for an endpoint that is %v: says Disabled", s)
		}
		if now := w.reload(ep); now.State != s || now.Version != by.Version {
			w.Errorf("410 for an endpoint that is %v: it is now %v in version %d, was %d", s, now.State, now.Version, by.Version)
		}
	}
}

// disablesLate has the 410 reported when somebody else has the lease.
func disablesLate(w *world) {
	ep := w.endpoint()
	c := w.take(w.send(ep)[0])
	w.advance(leaseTime + time.Second)
	w.takeOver()
	second := w.take(c.ID)
	if got := w.settle(gone(c))[0]; got.Accepted || !got.Disabled {
		w.Errorf("410 under an old token: got %+v, want the delivery left to its new holder and the endpoint disabled: the settlement is new", got)
	}
	w.accepted(success(second))
}
