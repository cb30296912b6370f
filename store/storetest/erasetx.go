package storetest

import (
	"time"

	"github.com/hookpost/hookpost/store"
)

func txErase(w *world) {
	ep := w.endpoint()
	for _, commits := range []bool{false, true} {
		ref := "cus_" + map[bool]string{false: "rolled_back", true: "committed"}[commits]
		old, fresh := w.newEvent(ep), w.newEvent(ep)
		old.Refs, fresh.Refs = []string{ref}, []string{ref}
		id := store.DeliveryID{Event: w.store(old)[0], Endpoint: ep.Num}
		w.accepted(answered(failure(w.take(id), time.Hour)))

		from := w.now()
		tx := w.begin()
		_, err := tx.Erase(w.ctx(), w.scope, store.EraseParams{EventID: "evt_unknown"})
		w.wantErr(err, store.ErrNotFound, "Tx.Erase of an unknown event")
		_, err = tx.Erase(w.ctx(), w.scope, store.EraseParams{})
		w.wantErr(err, store.ErrInvalid, "Tx.Erase of nothing")
		foreign := store.Scope{Tenant: w.scope.Tenant + "2", Mode: w.scope.Mode}
		if r, err := tx.Erase(w.ctx(), foreign, store.EraseParams{Ref: ref}); err != nil || r.Events != 0 {
			w.Errorf("Tx.Erase in another scope: %+v, error %v, want nothing", r, err)
		}
		w.enqueueIn(tx, fresh)
		r, err := tx.Erase(w.ctx(), w.scope, store.EraseParams{Ref: ref, Limit: 1})
		w.must(err, "Tx.Erase")
		if r.Events != 2 || r.Cancelled != 2 || !r.Done {
			w.Errorf("Tx.Erase: %+v, want 2 events, its own among them, 2 cancelled, done", r)
		}
		if !w.in.BlocksWriters {
			w.wantKept(old)
		}
		if !commits {
			w.must(tx.Rollback(), "Rollback")
			w.wantKept(old)
			w.wantState(id, store.Pending, "the transaction was rolled back")
			w.wantAnswers(id, 1, "the transaction was rolled back")
			w.must(w.st.Cancel(w.ctx(), w.scope, id, "done with"), "Cancel")
			continue
		}
		w.must(tx.Commit(), "Commit")
		to := w.now()
		w.wantErased(old, from, to)
		w.wantErased(fresh, from, to)
		w.wantState(id, store.Cancelled, "its event was erased")
		w.wantAnswers(id, 0, "its event was erased")
		w.advance(2 * time.Hour)
		w.promote()
		w.idle("everything was erased")
	}
}

func txEraseBounded(w *world) {
	ep, other := w.endpoint(), w.endpoint()
	var evs []store.NewEvent
	for range store.MaxEraseTx + 1 {
		ev := w.newEvent()
		ev.Refs = []string{"cus_1"}
		if n := len(evs); n > 0 {
			ev.Refs = append(ev.Refs, "all but one")
			if n > 1 {
				ev.Refs = append(ev.Refs, "one for two")
			}
		}
		evs = append(evs, ev)
	}
	w.store(evs...)
	two := w.newEvent(ep, other)
	two.Refs = []string{"one for two"}
	w.store(two)
	for _, c := range w.claimAll() {
		w.accepted(success(c))
	}
	tx := w.begin()
	_, err := tx.Erase(w.ctx(), w.scope, store.EraseParams{Ref: "cus_1"})
	w.wantErr(err, store.ErrTooMany, "Tx.Erase of more than MaxEraseTx events")
	_, err = tx.Erase(w.ctx(), w.scope, store.EraseParams{All: true})
	w.wantErr(err, store.ErrTooMany, "Tx.Erase of all, which is more than MaxEraseTx events")
	_, err = tx.Erase(w.ctx(), w.scope, store.EraseParams{Ref: "one for two"})
	w.wantErr(err, store.ErrTooMany, "Tx.Erase of MaxEraseTx events, one of them with two deliveries")
	w.enqueueIn(tx, w.newEvent(ep))
	r, err := tx.Erase(w.ctx(), w.scope, store.EraseParams{Ref: "all but one"})
	w.must(err, "Tx.Erase of MaxEraseTx events")
	if r.Events != store.MaxEraseTx {
		w.Errorf("Tx.Erase of MaxEraseTx events: %+v", r)
	}
	w.must(tx.Commit(), "Commit after ErrTooMany")
	w.wantKept(evs[0])
	if w.event(evs[1].ID).ErasedAt.IsZero() {
		w.Errorf("an event was not erased by the transaction that committed")
	}
	if cs := w.claimAll(); len(cs) != 1 {
		w.Errorf("claimed %v, want what was enqueued after ErrTooMany", claimedIDs(cs))
	}
}
