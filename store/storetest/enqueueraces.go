package storetest

import (
	"slices"
	"sync"

	"github.com/hookpost/hookpost/store"
)

func concurrentSenders(w *world) {
	eps := w.endpoints(3)
	stores := []store.Store{w.st, w.another()}
	const senders = 12

	for _, mixed := range []bool{false, true} {
		ev := leased(w.newEvent(eps...))
		other := ev
		other.Body = []byte(`"other"`)
		other.Hash = hash(other.Type, other.Body)
		fillers := make([]store.NewEvent, senders)
		for i := range fillers {
			fillers[i] = w.newEvent(eps[0])
		}
		results := make([][]store.Enqueued, senders)
		errs := make([]error, senders)
		parallel(senders, func(i int) {
			mine := ev
			if mixed && i%2 == 1 {
				mine = other
			}
			results[i], errs[i] = busy(func() ([]store.Enqueued, error) {
				return stores[i%2].Enqueue(w.ctx(), enqueueParams(mine, fillers[i]))
			})
		})
		stored := -1
		for i := range senders {
			if errs[i] != nil {
				w.Fatalf("Enqueue of an id that others enqueue too: %v", errs[i])
			}
			if results[i][0].Status == store.Stored {
				if stored >= 0 {
					w.Errorf("two senders were told that they stored the event")
				}
				stored = i
			}
			if results[i][1].Status != store.Stored {
				w.Errorf("another event in the same batch: status %d, want Stored", results[i][1].Status)
			}
		}
		if stored < 0 {
			w.Fatal("nobody stored the event")
		}
		for i := range senders {
			want := store.Duplicate
			if mixed && i%2 != stored%2 {
				want = store.Conflict
			}
			if i != stored && (results[i][0].Status != want || results[i][0].Event != results[stored][0].Event || results[i][0].Leased) {
				w.Errorf("a sender that was not the first got %+v, want status %d, event %d, not leased", results[i][0], want, results[stored][0].Event)
			}
		}
		if ds := w.deliveries(store.DeliveryQuery{EventID: ev.ID}); len(ds) != len(eps) {
			w.Errorf("the event has %d deliveries, want one fan-out of %d", len(ds), len(eps))
		}
	}
}

func overlappingBatches(w *world) {
	ep := w.endpoint()
	stores := []store.Store{w.st, w.another()}
	for range 5 {
		evs := make([]store.NewEvent, 10)
		for i := range evs {
			evs[i] = w.newEvent(ep)
		}
		reversed := slices.Clone(evs)
		slices.Reverse(reversed)
		const senders = 6
		stored := map[string]int{}
		var mu sync.Mutex
		parallel(senders, func(i int) {
			mine := evs
			if i%2 == 1 {
				mine = reversed
			}
			rs, err := busy(func() ([]store.Enqueued, error) {
				return stores[i/2%2].Enqueue(w.ctx(), enqueueParams(mine...))
			})
			if err != nil {
				w.Errorf("Enqueue of a batch whose ids others enqueue in the other order: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for k, r := range rs {
				if r.Status == store.Stored {
					stored[mine[k].ID]++
				} else if r.Status != store.Duplicate {
					w.Errorf("member of an overlapping batch: status %d, want Stored or Duplicate", r.Status)
				}
			}
		})
		for _, ev := range evs {
			if n := len(w.deliveries(store.DeliveryQuery{EventID: ev.ID})); stored[ev.ID] != 1 || n != 1 {
				w.Errorf("an event in %d batches at once was stored %d times and has %d deliveries, want one of each", senders, stored[ev.ID], n)
			}
		}
	}
}
