package storetest

import (
	"errors"
	"fmt"
	"reflect"
	"time"

	"github.com/hookpost/hookpost/store"
)

func scopeChecks() []check {
	return []check{
		{"ScopesNeverMix", "what is stored under one tenant and mode is never seen, found by key or changed under another, in any method: test data must not reach live endpoints, nor one customer's another", scopesNeverMix},
		{"SameKeysInEachScope", "event ids and URLs are unique within a scope only; each scope counts and lists its own", sameKeys},
		{"ModeIsRequired", "a mode that is neither live nor test is refused, and nothing of the call is written", modeIsRequired},
	}
}

// neighbours are scopes that a careless comparison takes for w.scope.
func neighbours(s store.Scope) []store.Scope {
	other := store.Live
	if s.Mode == store.Live {
		other = store.Test
	}
	return []store.Scope{
		{Tenant: s.Tenant, Mode: other},
		{Tenant: "", Mode: s.Mode},
		{Tenant: s.Tenant + "2", Mode: s.Mode},
		{Tenant: s.Tenant + " ", Mode: s.Mode},
		{Tenant: "ACME", Mode: s.Mode},
		{Tenant: "%", Mode: s.Mode},
	}
}

func scopesNeverMix(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	ev.Refs = []string{"pay_1"}
	id := store.DeliveryID{Event: w.store(ev)[0], Endpoint: ep.Num}
	w.accepted(exhaust(w.take(id)))
	waiting := w.send(ep)[0]
	w.accepted(failure(w.take(waiting), 100*time.Hour))
	ctx := w.ctx()

	type world struct {
		Endpoint   store.Endpoint
		Event      store.Event
		Deliveries []store.Delivery
		Attempts   []store.Attempt
		Set        store.EndpointSet
		History    []store.Change
	}
	snapshot := func() (s world) {
		var err error
		s.Endpoint = w.reload(ep)
		s.Event, err = w.st.Event(ctx, w.scope, ev.ID)
		w.must(err, "Event")
		s.Deliveries = w.deliveries(store.DeliveryQuery{})
		s.Attempts = w.attempts(id)
		s.Set, err = w.st.EndpointSet(ctx, w.scope)
		w.must(err, "EndpointSet")
		s.Set.Now = time.Time{}
		s.History, err = w.st.EndpointHistory(ctx, w.scope, ep.ID)
		w.must(err, "EndpointHistory")
		return s
	}
	before := snapshot()

	for _, full := range []bool{false, true} { // with nothing in the foreign scope, and with data
		for _, scope := range neighbours(w.scope) {
			f := w.as(scope)
			var own store.Endpoint
			var ownEvent store.NewEvent
			if full {
				own = f.endpoint()
				ownEvent = f.newEvent()
				f.store(ownEvent)
			}
			notFound := func(method string, err error) {
				w.Helper()
				w.wantErr(err, store.ErrNotFound, "%s in scope %v of something in scope %v", method, scope, w.scope)
			}
			_, err := w.st.Endpoint(ctx, scope, ep.ID)
			notFound("Endpoint", err)
			_, err = w.st.EndpointHistory(ctx, scope, ep.ID)
			notFound("EndpointHistory", err)
			moved := w.reload(ep)
			moved.Scope = scope
			_, err = w.st.UpdateEndpoint(ctx, moved, store.ChangeParams{Action: store.Edited})
			notFound("UpdateEndpoint", err)
			_, err = w.st.Event(ctx, scope, ev.ID)
			notFound("Event", err)
			_, err = w.st.Delivery(ctx, scope, id)
			notFound("Delivery", err)
			_, err = w.st.Attempts(ctx, scope, id)
			notFound("Attempts", err)
			notFound("Cancel", w.st.Cancel(ctx, scope, waiting, "x"))
			_, err = w.st.Replay(ctx, scope, ev.ID, ep.ID, store.ReplayParams{})
			notFound("Replay", err)
			_, _, _, err = w.st.Undelivered(ctx, scope, store.UndeliveredQuery{EndpointID: ep.ID})
			notFound("Undelivered", err)
			_, err = w.st.BackFill(ctx, scope, ep.ID, []int64{id.Event})
			notFound("BackFill", err)
			_, err = w.st.Erase(ctx, scope, store.EraseParams{EventID: ev.ID})
			notFound("Erase", err)
			if r, err := w.st.Erase(ctx, scope, store.EraseParams{Ref: ev.Refs[0]}); err != nil || r.Events != 0 || !r.Done {
				w.Errorf("Erase by a foreign event's reference in scope %v: %+v, error %v, want nothing done", scope, r, err)
			}
			if full {
				_, err = w.st.Replay(ctx, scope, ownEvent.ID, ep.ID, store.ReplayParams{})
				notFound("Replay to an endpoint", err)
				_, err = w.st.Replay(ctx, scope, ev.ID, own.ID, store.ReplayParams{})
				notFound("Replay of an event", err)
				evs, _, _, err := w.st.Undelivered(ctx, scope, store.UndeliveredQuery{EndpointID: own.ID})
				w.must(err, "Undelivered")
				if len(evs) != 1 || evs[0].Event.ID != ownEvent.ID {
					w.Errorf("Undelivered in scope %v: %+v, want its one event", scope, evs)
				}
				if n, err := w.st.BackFill(ctx, scope, own.ID, []int64{id.Event}); err != nil || n != 0 {
					w.Errorf("BackFill of a foreign event in scope %v: %d, error %v, want none", scope, n, err)
				}
				erased, err := w.st.Erase(ctx, scope, store.EraseParams{All: true})
				w.must(err, "Erase")
				if erased.Events != 1 {
					w.Errorf("Erase of all in scope %v erased %d events, want its own one", scope, erased.Events)
				}
			}
			for _, p := range []store.RecoverParams{{}, {EndpointID: ep.ID}, {Type: ev.Type}} {
				if r, err := w.st.Recover(ctx, scope, p); r.Replayed+r.Hastened != 0 || (err != nil && !errors.Is(err, store.ErrNotFound)) {
					w.Errorf("Recover %+v in scope %v: %+v, error %v, want nothing done", p, scope, r, err)
				}
			}
			if eps, err := w.st.LoadEndpoints(ctx, []store.EndpointKey{{Scope: scope, Num: ep.Num}}); err != nil || len(eps) != 0 {
				w.Errorf("LoadEndpoints by a foreign endpoint's number in scope %v: %+v, error %v, want nothing", scope, eps, err)
			}
			eps, err := w.st.ListEndpoints(ctx, scope, store.EndpointQuery{})
			w.must(err, "ListEndpoints")
			set, err := w.st.EndpointSet(ctx, scope)
			w.must(err, "EndpointSet")
			if !full && (len(eps) != 0 || len(set.Endpoints) != 0 || set.Version != 0) {
				w.Errorf("scope %v, where nothing is: lists endpoints %+v, set %+v", scope, eps, set)
			}
			if full && (len(eps) != 1 || eps[0].ID != own.ID || len(set.Endpoints) != 1 || set.Endpoints[0].ID != own.ID) {
				w.Errorf("scope %v: lists endpoints %+v, set %+v, want its own one", scope, eps, set)
			}
			for _, q := range []store.DeliveryQuery{{}, {EventID: ev.ID}, {EndpointID: ep.ID}, {Ref: "pay_1"}, {States: []store.State{store.Exhausted}}} {
				if ds := f.deliveries(q); len(ds) != 0 {
					w.Errorf("Deliveries %+v in scope %v: %+v, want none", q, scope, ds)
				}
			}
			if evs := f.events(store.EventQuery{Ref: "pay_1"}); len(evs) != 0 {
				w.Errorf("Events by reference in scope %v: %+v", scope, evs)
			}
			evs := f.events(store.EventQuery{})
			if (full && (len(evs) != 1 || evs[0].ID != ownEvent.ID)) || (!full && len(evs) != 0) {
				w.Errorf("Events in scope %v: %+v, want its own only", scope, evs)
			}
		}
	}
	if after := snapshot(); !reflect.DeepEqual(before, after) {
		w.Errorf("calls in other scopes changed something here:\nbefore %+v\nafter  %+v", before, after)
	}
}

func sameKeys(w *world) {
	worlds := []*world{w}
	for _, s := range neighbours(w.scope) {
		worlds = append(worlds, w.as(s))
	}
	key := w.newEndpoint().URLKey
	var evs []store.NewEvent
	var eps []store.Endpoint
	for i, f := range worlds {
		ep := f.newEndpoint()
		ep.URLKey = key
		ep = f.create(ep)
		for range i { // so that the sets' versions differ
			ep = f.edit(ep)
		}
		eps = append(eps, ep)
		ev := f.newEvent(ep)
		ev.ID = "evt_same"
		ev.Body = []byte(fmt.Sprint(f.scope))
		ev.Hash = hash(ev.Type, ev.Body)
		evs = append(evs, ev)
	}
	nums := w.store(evs...)
	seen := map[int64]bool{}
	for i, f := range worlds {
		if seen[nums[i]] || seen[-eps[i].Num] {
			w.Errorf("scope %v: event number %d or endpoint number %d is in use in another scope", f.scope, nums[i], eps[i].Num)
		}
		seen[nums[i]], seen[-eps[i].Num] = true, true
		got, err := w.st.Event(w.ctx(), f.scope, "evt_same")
		w.must(err, "Event")
		if got.Num != nums[i] || string(got.Body) != fmt.Sprint(f.scope) || got.Scope != f.scope {
			w.Errorf("event of scope %v reads %+v", f.scope, got)
		}
		if ds := f.deliveries(store.DeliveryQuery{EventID: "evt_same"}); len(ds) != 1 || ds[0].ID.Endpoint != eps[i].Num || ds[0].Scope != f.scope {
			w.Errorf("deliveries of scope %v: %+v, want its own one", f.scope, ds)
		}
	}
	for i, r := range w.enqueue(evs...) {
		if r.Status != store.Duplicate || r.Event != nums[i] {
			w.Errorf("sent again in scope %v: %+v, want a Duplicate of %d", worlds[i].scope, r, nums[i])
		}
	}
	cs := w.claimAll()
	if len(cs) != len(worlds) {
		w.Fatalf("claimed %d deliveries, want %d: all scopes are claimed together", len(cs), len(worlds))
	}
	for _, c := range cs {
		if scope := c.Scope; string(c.Body) != fmt.Sprint(scope) {
			w.Errorf("a delivery of scope %v carries the body of scope %s", c.Scope, c.Body)
		}
		w.accepted(exhaust(c))
	}

	// A change in one scope is one in that scope.
	versions := make([]int64, len(worlds))
	for i, f := range worlds {
		versions[i] = f.setVersion()
	}
	w.setState(eps[0], store.Deleted)
	for i, f := range worlds {
		if v := f.setVersion(); (v > versions[i]) != (i == 0) {
			w.Errorf("an endpoint of scope %v was deleted: the set of %v went from version %d to %d", w.scope, f.scope, versions[i], v)
		}
	}
	if got := worlds[1].recover(w.st, store.RecoverParams{}); got.Replayed != 1 {
		w.Errorf("Recover in scope %v replayed %d, want its own one", worlds[1].scope, got.Replayed)
	}
	for i, f := range worlds {
		want := 1
		if i == 1 {
			want = 2
		}
		if n := len(f.deliveries(store.DeliveryQuery{})); n != want {
			w.Errorf("after a recovery in scope %v, %v has %d deliveries, want %d", worlds[1].scope, f.scope, n, want)
		}
	}
}

func modeIsRequired(w *world) {
	good := w.newEvent()
	for _, mode := range []store.Mode{0, 3, 255} {
		scope := store.Scope{Tenant: w.scope.Tenant, Mode: mode}
		bad := w.newEvent()
		bad.Scope = scope
		_, err := w.st.Enqueue(w.ctx(), enqueueParams(good, bad))
		w.wantErr(err, store.ErrInvalid, "Enqueue of an event in %v", scope)
		_, err = w.st.Event(w.ctx(), w.scope, good.ID)
		w.wantErr(err, store.ErrNotFound, "Event from a batch that was refused")
		ep := w.newEndpoint()
		ep.Scope = scope
		_, err = w.st.CreateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Created})
		w.wantErr(err, store.ErrInvalid, "CreateEndpoint in %v", scope)
		_, err = w.st.Endpoint(w.ctx(), scope, ep.ID)
		if err == nil {
			w.Errorf("Endpoint in %v: found one", scope)
		}
		if v := w.setVersion(); v != 0 {
			w.Errorf("a refused creation raised the set's version to %d", v)
		}
	}
	w.store(good)
}
