package storetest

import "github.com/hookpost/hookpost/store"

func repeatChecks() []check {
	return []check{
		{"RepeatedChange", "a change of an endpoint that is repeated under its Op, since its answer was lost, is made once and answered as before, whatever happened since", repeatedChange},
		{"RepeatedReplay", "a replay that is repeated in the round it asked for is made once; another in that round is refused", repeatedReplay},
	}
}

func repeatedChange(w *world) {
	fresh := w.newEndpoint()
	created := store.ChangeParams{Action: store.Created, Actor: "ann", Op: "op-create"}
	ep, err := w.st.CreateEndpoint(w.ctx(), fresh, created)
	w.must(err, "CreateEndpoint")
	again := func(what string, call func() (store.Endpoint, error), want store.Endpoint) {
		w.Helper()
		set, history := w.setVersion(), w.history(ep)
		got, err := call()
		w.must(err, "%s, repeated", what)
		if got.ID != want.ID || got.Num != want.Num || got.Version != want.Version || got.State != want.State {
			w.Errorf("%s, repeated, returns %s in version %d, %v; want %s in version %d, %v", what, got.ID, got.Version, got.State, want.ID, want.Version, want.State)
		}
		if w.setVersion() != set || len(w.history(ep)) != len(history) {
			w.Errorf("%s, repeated, changes the set's version or adds a line of history", what)
		}
	}
	create := func() (store.Endpoint, error) { return w.st.CreateEndpoint(w.ctx(), fresh, created) }
	again("CreateEndpoint", create, ep)

	edit := ep
	edit.Description = "edited"
	edited := store.ChangeParams{Action: store.Edited, Actor: "ann", Op: "op-edit"}
	update := func() (store.Endpoint, error) { return w.st.UpdateEndpoint(w.ctx(), edit, edited) }
	ep, err = update()
	w.must(err, "UpdateEndpoint")
	again("UpdateEndpoint", update, ep)
	again("CreateEndpoint after an edit", create, ep)

	// An Op is looked for before version, URL and state, and is one endpoint's own.
	next := ep
	next.State, next.Reason = store.Disabled, "by hand"
	ep, err = w.st.UpdateEndpoint(w.ctx(), next, store.ChangeParams{Action: store.WasDisabled, Op: "op-disable"})
	w.must(err, "UpdateEndpoint")
	again("UpdateEndpoint after another change", update, ep)
	other := w.newEndpoint()
	second, err := w.st.CreateEndpoint(w.ctx(), other, created)
	w.must(err, "CreateEndpoint of another endpoint under the same Op")
	if second.ID != other.ID || second.Version != 1 {
		w.Errorf("an Op of another endpoint's returned %s in version %d", second.ID, second.Version)
	}
	ep.State = store.Deleted
	deleted := store.ChangeParams{Action: store.WasDeleted, Op: "op-delete"}
	ep, err = w.st.UpdateEndpoint(w.ctx(), ep, deleted)
	w.must(err, "UpdateEndpoint to deleted")
	last := ep
	again("UpdateEndpoint to deleted", func() (store.Endpoint, error) {
		last.Version--
		return w.st.UpdateEndpoint(w.ctx(), last, deleted)
	}, ep)

	for i, op := range []string{"op-create", "op-edit", "op-disable", "op-delete"} {
		if h := w.history(ep); len(h) != 4 || h[i].Op != op {
			w.Fatalf("the history is %+v, want one line for each of four Ops", h)
		}
	}
	// Without an Op nothing is taken for a repetition.
	_, err = w.st.UpdateEndpoint(w.ctx(), second, store.ChangeParams{Action: store.Edited})
	w.must(err, "UpdateEndpoint without an Op")
	_, err = w.st.UpdateEndpoint(w.ctx(), second, store.ChangeParams{Action: store.Edited})
	w.wantErr(err, store.ErrChanged, "UpdateEndpoint of an old version without an Op")
}

func (w *world) history(ep store.Endpoint) []store.Change {
	w.Helper()
	history, err := w.st.EndpointHistory(w.ctx(), ep.Scope, ep.ID)
	w.must(err, "EndpointHistory")
	return history
}

func repeatedReplay(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	w.store(ev)
	replay := func(p store.ReplayParams) (store.DeliveryID, error) {
		return w.st.Replay(w.ctx(), w.scope, ev.ID, ep.ID, p)
	}
	first, err := replay(store.ReplayParams{Round: 1})
	w.must(err, "Replay in round 1")
	rounds := func(want int, why string) {
		w.Helper()
		if n := len(w.deliveries(store.DeliveryQuery{EventID: ev.ID})); n != want {
			w.Errorf("there are %d deliveries, want %d: %s", n, want, why)
		}
	}
	id, err := replay(store.ReplayParams{Round: 1, Repeat: true})
	w.must(err, "Replay in round 1, repeated")
	if id != first {
		w.Errorf("the repeated replay is %v, want %v", id, first)
	}
	rounds(2, "a repeated replay stores nothing")
	for _, round := range []int{1, 3} {
		_, err := replay(store.ReplayParams{Round: round})
		w.wantErr(err, store.ErrChanged, "Replay in round %d, where 2 is next", round)
	}
	_, err = replay(store.ReplayParams{Round: 3, Repeat: true})
	w.wantErr(err, store.ErrChanged, "Replay in round 3, repeated, where 2 is next")
	rounds(2, "a refused replay stores nothing")

	// What was not committed is made by the repetition.
	id, err = replay(store.ReplayParams{Round: 2, Repeat: true})
	w.must(err, "Replay in round 2, repeated")
	if id.Round != 2 {
		w.Errorf("the replay is %v, want round 2", id)
	}
	rounds(3, "a repetition of a replay that was not committed makes it")

	// That the endpoint was disabled since does not undo what was stored.
	w.setState(ep, store.Disabled)
	if id, err := replay(store.ReplayParams{Round: 2, Repeat: true}); err != nil || id.Round != 2 {
		w.Errorf("repeated after the endpoint was disabled: %v, %v; want the delivery that is there", id, err)
	}
	_, err = replay(store.ReplayParams{Round: 3, Repeat: true})
	w.wantErr(err, store.ErrDisabled, "Replay to a disabled endpoint")
}
