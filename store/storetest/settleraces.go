package storetest

import (
	"errors"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// disablesRace has the 410 and an edit come at the same time.
func disablesRace(w *world) {
	other := w.another()
	for range 8 {
		ep := w.endpoint()
		c := w.take(w.send(ep)[0])
		edit := ep
		edit.Description = "edited"
		var settled []store.Settled
		var sErr, uErr error
		parallel(2, func(i int) {
			if i == 0 {
				settled, sErr = settleAll(w.ctx(), w.st, []store.Settlement{gone(c)})
			} else {
				_, uErr = busy(func() (store.Endpoint, error) {
					return other.UpdateEndpoint(w.ctx(), edit, store.ChangeParams{Action: store.Edited})
				})
			}
		})
		w.must(sErr, "Settle beside an edit")
		if settled[0].Disabled == (uErr == nil) {
			w.Errorf("410 and an edit at once: disabled %v, edit %v; exactly one must win, for they are based on the same version", settled[0].Disabled, uErr)
		}
		if now := w.reload(ep); now.Version != ep.Version+1 || (now.State == store.Disabled) != settled[0].Disabled {
			w.Errorf("410 and an edit at once: endpoint is %v in version %d, Disabled was %v", now.State, now.Version, settled[0].Disabled)
		}
	}
}

func settleRaces(w *world) {
	stores := []store.Store{w.st, w.another()}
	ep := w.endpoint()
	const n = 12
	for range n {
		w.send(ep)
	}
	first := w.claimAll()
	w.advance(leaseTime + time.Second)
	w.takeOver()
	second := map[store.DeliveryID]store.Claimed{}
	for _, c := range w.claimAll() {
		second[c.ID] = c
	}
	// A late success, in batches of both orders, against failures of those who
	// hold the leases now; each of them sent twice at once.
	batches := [4][]store.Settlement{}
	for _, c := range first {
		batches[0] = append(batches[0], success(c))
		batches[2] = append(batches[2], failure(second[c.ID], 0))
	}
	batches[1], batches[3] = slices.Clone(batches[0]), slices.Clone(batches[2])
	slices.Reverse(batches[1])
	slices.Reverse(batches[3])
	results := [4][]store.Settled{}
	errs := [4]error{}
	parallel(4, func(i int) {
		results[i], errs[i] = settleAll(w.ctx(), stores[i%2], batches[i])
	})
	for _, err := range errs {
		w.must(err, "Settle beside others")
	}
	accepted := map[store.DeliveryID]int{}
	for i := range 2 {
		for k, r := range results[i] {
			if r.Accepted {
				accepted[batches[i][k].ID]++
			}
			if r.State != store.Delivered {
				w.Errorf("a success reported beside a failure says state %v, want delivered", r.State)
			}
		}
	}
	for _, c := range first {
		if accepted[c.ID] != 1 {
			w.Errorf("a success reported twice at once was accepted %d times, want once", accepted[c.ID])
		}
		w.wantState(c.ID, store.Delivered, "a success and a failure were reported at once")
		if got := w.outcomes(c.ID); len(got) != 2 || got[1] != store.AttemptDelivered || got[2] != store.AttemptFailed {
			w.Errorf("the log of %v has %v, want attempt 1 delivered and attempt 2 failed", c.ID, got)
		}
	}
	w.promote()
	w.idle("all deliveries are delivered")
}

func settleBesideUpkeep(w *world) {
	stores := []store.Store{w.st, w.another()}
	ep := w.endpoint()
	for range 8 {
		deleted := w.endpoint()
		for range 8 {
			w.send(ep, deleted)
		}
		cs := w.claimAll()
		w.advance(leaseTime)
		w.setState(deleted, store.Deleted)
		batch := make([]store.Settlement, len(cs))
		var byHand []store.DeliveryID
		for i, c := range cs {
			batch[i] = success(c)
			if c.ID.Endpoint == ep.Num && i%2 == 0 {
				byHand = append(byHand, c.ID)
			}
		}
		var results [2][]store.Settled
		parallel(5, func(i int) {
			st := stores[i%2]
			_, err := busy(func() (n int, err error) {
				switch i {
				case 0, 1: // sent twice at once
					results[i], err = settleAll(w.ctx(), st, batch)
				case 2:
					n, err = st.TakeOver(w.ctx(), many)
				case 3:
					n, err = st.CancelDeleted(w.ctx(), many)
				case 4:
					for _, id := range byHand {
						if e := st.Cancel(w.ctx(), w.scope, id, "by hand"); e != nil && !errors.Is(e, store.ErrFinished) {
							return 0, e
						}
					}
				}
				return n, err
			})
			if err != nil {
				w.Errorf("call %d beside the others: %v", i, err)
			}
		})
		if w.Failed() {
			return
		}
		for i, c := range cs {
			accepted := 0
			for _, r := range results {
				if r[i].Accepted {
					accepted++
				}
			}
			if accepted != 1 {
				w.Errorf("a success reported twice beside upkeep was accepted %d times, want once", accepted)
			}
			w.wantState(c.ID, store.Delivered, "a success was reported beside upkeep")
			if got := w.outcomes(c.ID); len(got) != 1 || got[1] != store.AttemptDelivered {
				w.Errorf("the log of %v has %v, want attempt 1 delivered", c.ID, got)
			}
		}
		w.takeOver()
		w.cancelDeleted()
		w.idle("all deliveries are delivered")
	}
}
