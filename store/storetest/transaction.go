package storetest

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

func transactionChecks() []check {
	return []check{
		{"TxCommit", "what is enqueued in a transaction appears when it commits, whole and not before, and nothing of it is leased", inTx(txCommit)},
		{"TxRollback", "what is enqueued in a transaction that is rolled back never was: the id is free", inTx(txRollback)},
		{"TxMembers", "within a transaction each member has its own result, duplicates are found in it and outside, and an error of one leaves the transaction usable", inTx(txMembers)},
		{"TxSetVersion", "within a transaction the endpoint set's version is recorded and not compared", inTx(txSetVersion)},
		{"TxBlocksBriefly", "a member that somebody's open transaction holds up is ErrBusy after the lock timeout, with nothing written, and others are not held up with it", inTx(txBlocks)},
		{"TxAcrossDelete", "what commits after its endpoint was deleted is never sent", inTx(txAcrossDelete)},
		{"TxAcrossDisable", "what commits after its endpoint was disabled waits and is not lost", inTx(txAcrossDisable)},
		{"TxAcrossWindow", "what commits days after it was enqueued is sent all the same", inTx(txAcrossWindow)},
		{"TxForeign", "a transaction on another database that has the same tables is refused with ErrForeignTx by every method, and nothing is written there: the event would be stored beside data that it does not belong to", txForeign},
		{"TxOutOfOrder", "whatever the order in which transactions commit, everything is claimed within two rounds of claims", inTx(txOutOfOrder)},
	}
}

// inTx skips a check for stores that have no transactions.
func inTx(run func(w *world)) func(w *world) {
	return func(w *world) {
		if w.in.Begin == nil {
			w.Skip("Instance.Begin is nil: the store knows no transactions of the application's")
		}
		run(w)
	}
}

// begin begins a transaction, which is rolled back at the end unless the check
// ends it.
func (w *world) begin() Transaction {
	w.Helper()
	tx := w.in.Begin(w.T)
	ended := false
	commit, rollback := tx.Commit, tx.Rollback
	tx.Commit = func() error { ended = true; return commit() }
	tx.Rollback = func() error { ended = true; return rollback() }
	w.Cleanup(func() {
		if !ended {
			_ = rollback() // the check has failed; only let go of what it locked
		}
	})
	return tx
}

// enqueueIn enqueues events in the transaction that must be stored, decided on
// the endpoint set that the transaction sees.
func (w *world) enqueueIn(tx Transaction, evs ...store.NewEvent) []int64 {
	w.Helper()
	set, err := tx.EndpointSet(w.ctx(), w.scope)
	w.must(err, "Tx.EndpointSet")
	for i := range evs {
		evs[i].SetVersion = set.Version
	}
	rs, err := tx.Enqueue(w.ctx(), evs)
	w.must(err, "Tx.Enqueue")
	var nums []int64
	for i, r := range rs {
		if r.Status != store.Stored || r.Event <= 0 || r.Leased {
			w.Fatalf("Tx.Enqueue of the new event %s: got %+v, want it stored, numbered and not leased", evs[i].ID, r)
		}
		nums = append(nums, r.Event)
	}
	if len(nums) != len(evs) {
		w.Fatalf("Tx.Enqueue of %d events returned %d results", len(evs), len(nums))
	}
	return nums
}

// unseen reports an event that is visible.
func (w *world) unseen(id, why string) {
	w.Helper()
	_, err := w.st.Event(w.ctx(), w.scope, id)
	if w.in.BlocksWriters && errors.Is(err, store.ErrBusy) {
		return // readers may be kept out too
	}
	if !errors.Is(err, store.ErrNotFound) {
		w.Errorf("Event %s: error %v, want ErrNotFound: %s", id, err, why)
	}
}

func txCommit(w *world) {
	eps := w.endpoints(3)
	evs := []store.NewEvent{leased(w.newEvent(eps...)), w.newEvent(eps[0]), w.newEvent()}
	set, err := w.st.EndpointSet(w.ctx(), w.scope)
	w.must(err, "EndpointSet")

	tx := w.begin()
	if tx.Store() != w.st {
		w.Errorf("Tx.Store is not the store that made it")
	}
	seen, err := tx.EndpointSet(w.ctx(), w.scope)
	w.must(err, "Tx.EndpointSet")
	if seen.Version != set.Version || len(seen.Endpoints) != 3 || seen.Endpoints[0].ID != set.Endpoints[0].ID {
		w.Errorf("Tx.EndpointSet is %+v, want what EndpointSet says, %+v", seen, set)
	}
	nums := w.enqueueIn(tx, evs...)
	w.unseen(evs[0].ID, "the transaction is open")
	if !w.in.BlocksWriters {
		w.idle("the transaction is open")
	}
	w.must(tx.Commit(), "Commit")

	for i, ev := range evs {
		got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		w.must(err, "Event of a committed transaction")
		if got.Num != nums[i] || string(got.Body) != string(ev.Body) || got.SetVersion != set.Version {
			w.Errorf("event reads %+v, want number %d, its body and set version %d", got, nums[i], set.Version)
		}
		if ds := w.deliveries(store.DeliveryQuery{EventID: ev.ID}); len(ds) != len(ev.For) {
			w.Errorf("event %s has %d deliveries, want %d", ev.ID, len(ds), len(ev.For))
		}
	}
	cs := w.claimAll()
	if len(cs) != 4 {
		w.Errorf("claimed %v, want all 4 deliveries: in a transaction nothing is leased", claimedIDs(cs))
	}
	for _, c := range cs {
		w.accepted(success(c))
	}
}

func txRollback(w *world) {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	tx := w.begin()
	w.enqueueIn(tx, ev)
	w.must(tx.Rollback(), "Rollback")
	w.unseen(ev.ID, "the transaction was rolled back")
	if ds, es := w.deliveries(store.DeliveryQuery{}), w.events(store.EventQuery{}); len(ds)+len(es) != 0 {
		w.Errorf("after a rollback %d events and %d deliveries are there", len(es), len(ds))
	}
	w.idle("the transaction was rolled back")
	ev.Body = []byte(`"other"`)
	ev.Hash = hash(ev.Type, ev.Body)
	w.store(ev)
	if got := w.claimAll(); len(got) != 1 || string(got[0].Body) != `"other"` {
		w.Errorf("the id enqueued again after a rollback: claimed %v", claimedIDs(got))
	}
}

func txMembers(w *world) {
	ep := w.endpoint()
	known := w.newEvent(ep)
	num := w.store(known)[0]
	conflict := known
	conflict.Body = []byte(`"other"`)
	conflict.Hash = hash(conflict.Type, conflict.Body)
	fresh, second := w.newEvent(ep), w.newEvent(ep)
	other := fresh
	other.Type = "other"

	tx := w.begin()
	rs, err := tx.Enqueue(w.ctx(), []store.NewEvent{fresh, known, conflict})
	if err == nil && len(rs) == 3 {
		if want := []store.EnqueueStatus{store.Stored, store.Duplicate, store.Conflict}; !slices.Equal(statuses(rs), want) {
			w.Errorf("Tx.Enqueue of a new, a known and a conflicting event: statuses %v, want %v", statuses(rs), want)
		}
		if rs[1].Event != num {
			w.Errorf("Tx.Enqueue of a known event: number %d, want %d", rs[1].Event, num)
		}
	} else {
		w.Fatalf("Tx.Enqueue: %d results, error %v", len(rs), err)
	}
	for _, c := range []struct {
		name string
		ev   store.NewEvent
		want store.EnqueueStatus
	}{
		{"the transaction's own event again", fresh, store.Duplicate},
		{"the transaction's own event with another type", other, store.Conflict},
		{"a new event after a conflict", second, store.Stored},
	} {
		rs, err := tx.Enqueue(w.ctx(), []store.NewEvent{c.ev})
		w.must(err, "Tx.Enqueue of %s", c.name)
		if len(rs) != 1 || rs[0].Status != c.want {
			w.Errorf("Tx.Enqueue of %s: %+v, want status %d", c.name, rs, c.want)
		}
	}
	w.must(tx.Commit(), "Commit after a conflict")
	if n := len(w.deliveries(store.DeliveryQuery{})); n != 3 {
		w.Errorf("%d deliveries after the commit, want 3", n)
	}
}

func txSetVersion(w *world) {
	ep := w.endpoint()
	old := w.setVersion()
	w.edit(ep)
	ev := w.newEvent(ep)
	ev.SetVersion = old
	tx := w.begin()
	rs, err := tx.Enqueue(w.ctx(), []store.NewEvent{ev})
	w.must(err, "Tx.Enqueue")
	if rs[0].Status != store.Stored {
		w.Errorf("Tx.Enqueue decided on an older set: status %d, want Stored", rs[0].Status)
	}
	w.must(tx.Commit(), "Commit")
	got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
	w.must(err, "Event")
	if got.SetVersion != old {
		w.Errorf("Event.SetVersion is %d, want %d, what the transaction said", got.SetVersion, old)
	}
}

func txBlocks(w *world) {
	ep := w.endpoint()
	for _, commits := range []bool{true, false} {
		held, beside := w.newEvent(ep), w.newEvent(ep)
		tx := w.begin()
		w.enqueueIn(tx, held)

		// The transaction stays open until the call has returned. The time here only
		// turns a store that waits for ever into a failure.
		ctx, cancel := context.WithTimeout(w.ctx(), 20*time.Second)
		batch := enqueueParams(held, beside)
		if w.in.BlocksWriters {
			batch = enqueueParams(beside)
		}
		_, err := w.st.Enqueue(ctx, batch)
		w.wantErr(err, store.ErrBusy, "Enqueue held up by an open transaction")
		if !w.in.BlocksWriters {
			var free []store.NewEvent
			for range 4 {
				free = append(free, w.newEvent(ep))
			}
			errs := make([]error, len(free))
			results := make([][]store.Enqueued, len(free))
			stuck := make(chan error, 1)
			go func() {
				_, err := w.st.Enqueue(ctx, enqueueParams(held))
				stuck <- err
			}()
			parallel(len(free), func(i int) { results[i], errs[i] = w.st.Enqueue(ctx, enqueueParams(free[i])) })
			for i, err := range errs {
				if err != nil || results[i][0].Status != store.Stored {
					w.Errorf("Enqueue of another event beside one that is held up: %+v, error %v, want it stored", results[i], err)
				}
			}
			w.wantErr(<-stuck, store.ErrBusy, "Enqueue held up by an open transaction, beside others")
			for _, c := range w.claimAll() {
				w.accepted(success(c))
			}
		}
		cancel()
		want := store.Stored
		if commits {
			want = store.Duplicate
			w.must(tx.Commit(), "Commit")
		} else {
			w.must(tx.Rollback(), "Rollback")
		}
		w.unseen(beside.ID, "Enqueue returned ErrBusy, so nothing of the batch was written")
		rs := w.enqueue(held, beside)
		if rs[0].Status != want || rs[1].Status != store.Stored {
			w.Errorf("sent again after the transaction (committed: %v): statuses %v, want %d and Stored", commits, statuses(rs), want)
		}
		if n := len(w.deliveries(store.DeliveryQuery{EventID: held.ID})); n != 1 {
			w.Errorf("the event that was sent on both sides has %d deliveries, want 1", n)
		}
		for _, c := range w.claimAll() {
			w.accepted(success(c))
		}
	}
}

// across enqueues an event for the endpoint in a transaction, lets change happen
// while it is open, commits and returns the delivery. Where an open transaction
// keeps other writers out, the change can only come after it.
func (w *world) across(ep store.Endpoint, change func()) store.DeliveryID {
	w.Helper()
	tx := w.begin()
	id := store.DeliveryID{Event: w.enqueueIn(tx, w.newEvent(ep))[0], Endpoint: ep.Num}
	if !w.in.BlocksWriters {
		change()
	}
	w.must(tx.Commit(), "Commit")
	if w.in.BlocksWriters {
		change()
	}
	return id
}

func txAcrossDelete(w *world) {
	ep := w.endpoint()
	id := w.across(ep, func() {
		w.setState(ep, store.Deleted)
		w.cancelDeleted()
		w.idle("the endpoint is deleted")
	})
	w.idle("the endpoint is deleted")
	w.wantState(id, store.Cancelled, "its endpoint is deleted")
	w.cancelDeleted()
	w.promote()
	w.idle("the endpoint is deleted")
	if d := w.delivery(id); d.State != store.Cancelled || !d.FinishedAt.Equal(w.reload(ep).ChangedAt) {
		w.Errorf("after CancelDeleted it reads %+v, want it cancelled for good, although it committed late", d)
	}
}

func txAcrossDisable(w *world) {
	ep := w.endpoint()
	id := w.across(ep, func() { w.setState(ep, store.Disabled) })
	w.idle("the endpoint is disabled")
	w.wantState(id, store.Pending, "its endpoint is disabled")
	w.advance(day)
	w.setState(ep, store.Enabled)
	w.accepted(success(w.take(id)))

	// Open across disabling, the end of the window and enabling: not lost, that is
	// either sent or exhausted with the reason.
	id = w.across(ep, func() {
		w.setState(ep, store.Disabled)
		w.advance(window + time.Hour)
		w.expire()
		w.setState(ep, store.Enabled)
	})
	w.promote()
	w.expire()
	cs := w.claimAll()
	if d := w.delivery(id); len(cs) == 0 && (d.State != store.Exhausted || d.Reason == "") {
		w.Errorf("committed after its window, its endpoint enabled again: not claimed and reads %+v", d)
	}
}

func txAcrossWindow(w *world) {
	ep := w.endpoint()
	tx := w.begin()
	id := store.DeliveryID{Event: w.enqueueIn(tx, w.newEvent(ep))[0], Endpoint: ep.Num}
	w.advance(window + 8*time.Hour)
	w.must(tx.Commit(), "Commit")
	if n := w.expire(); n != 0 {
		w.Errorf("Expire changed %d rows, want 0: the endpoint was enabled all the time", n)
	}
	if c := w.take(id); c.Attempt != 1 {
		w.Errorf("attempt %d, want 1", c.Attempt)
	} else {
		w.accepted(success(c))
	}
}

func txOutOfOrder(w *world) {
	if w.in.BlocksWriters {
		w.Skip("Instance.BlocksWriters: transactions that write are one after the other")
	}
	eps := w.endpoints(2)
	work := func() { // the store goes on meanwhile
		for range 3 {
			w.send(eps...)
			w.advance(time.Second)
		}
		for _, c := range w.claimAll() {
			w.accepted(success(c))
		}
	}
	var txs []Transaction
	var ids []store.DeliveryID
	for range 4 {
		tx := w.begin()
		num := w.enqueueIn(tx, w.newEvent(eps...))[0]
		txs = append(txs, tx)
		ids = append(ids, store.DeliveryID{Event: num, Endpoint: eps[0].Num}, store.DeliveryID{Event: num, Endpoint: eps[1].Num})
		work()
	}
	got := map[store.DeliveryID]bool{}
	for i := len(txs) - 1; i >= 0; i-- {
		w.must(txs[i].Commit(), "Commit")
		for range 2 {
			for _, c := range w.claimAll() {
				got[c.ID] = true
				w.accepted(success(c))
			}
			w.advance(time.Second)
		}
		for _, id := range ids[2*i:] {
			if !got[id] {
				w.Errorf("delivery %v, committed late, was not claimed in two rounds of claims", id)
			}
		}
		work()
	}
}

func txForeign(w *world) {
	if w.in.Elsewhere == nil {
		w.Skip("Instance.Elsewhere is nil: no transaction can be on another database")
	}
	other, begin := w.in.Elsewhere(w.T)
	ev := w.newEvent()
	ev.Refs = []string{"cus_1"}
	w.store(ev)
	_, err := other.Enqueue(w.ctx(), store.EnqueueParams{Events: []store.NewEvent{{Event: ev.Event}}, Lease: leaseTime})
	w.must(err, "Enqueue elsewhere")
	empty := store.Scope{Tenant: "nobody", Mode: w.scope.Mode}
	for name, call := range map[string]func(tx Transaction) error{
		"EndpointSet":                func(tx Transaction) error { _, err := tx.EndpointSet(w.ctx(), w.scope); return err },
		"EndpointSet of a new scope": func(tx Transaction) error { _, err := tx.EndpointSet(w.ctx(), empty); return err },
		"Enqueue": func(tx Transaction) error {
			_, err := tx.Enqueue(w.ctx(), []store.NewEvent{w.newEvent()})
			return err
		},
		"Enqueue after EndpointSet": func(tx Transaction) error {
			_, _ = tx.EndpointSet(w.ctx(), w.scope)
			_, err := tx.Enqueue(w.ctx(), []store.NewEvent{w.newEvent()})
			return err
		},
		"Erase of all": func(tx Transaction) error {
			_, err := tx.Erase(w.ctx(), w.scope, store.EraseParams{All: true})
			return err
		},
		"Erase of all of a new scope": func(tx Transaction) error {
			_, err := tx.Erase(w.ctx(), empty, store.EraseParams{All: true})
			return err
		},
		"Erase of an event": func(tx Transaction) error {
			_, err := tx.Erase(w.ctx(), w.scope, store.EraseParams{EventID: ev.ID})
			return err
		},
		"Erase by a reference": func(tx Transaction) error {
			_, err := tx.Erase(w.ctx(), w.scope, store.EraseParams{Ref: "cus_1"})
			return err
		},
	} {
		tx := begin()
		if tx.Store() != w.st {
			w.Errorf("Tx.Store of a transaction on another database is not the store that made it")
		}
		w.wantErr(call(tx), store.ErrForeignTx, "%s in a transaction on another database", name)
		w.must(tx.Commit(), "Commit on another database, after %s", name)
	}
	there, err := other.Events(w.ctx(), w.scope, store.EventQuery{})
	w.must(err, "Events of the other database")
	if len(there) != 1 || !there[0].ErasedAt.IsZero() {
		w.Errorf("the other database has %+v, want its only event as it was", there)
	}
}
