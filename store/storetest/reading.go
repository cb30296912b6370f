package storetest

import (
	"github.com/hookpost/hookpost/store"
)

func (w *world) delivery(id store.DeliveryID) store.Delivery {
	w.Helper()
	d, err := w.st.Delivery(w.ctx(), w.scope, id)
	w.must(err, "Delivery %v", id)
	return d
}

func (w *world) attempts(id store.DeliveryID) []store.Attempt {
	w.Helper()
	as, err := w.st.Attempts(w.ctx(), w.scope, id)
	w.must(err, "Attempts %v", id)
	return as
}

// wantState reports a delivery that is in another state.
func (w *world) wantState(id store.DeliveryID, want store.State, why string) {
	w.Helper()
	if d := w.delivery(id); d.State != want {
		w.Errorf("delivery %v is %v, want %v: %s", id, d.State, want, why)
	}
}

// outcomes returns the outcomes in the log of a delivery by attempt number.
func (w *world) outcomes(id store.DeliveryID) map[int]store.Outcome {
	w.Helper()
	m := map[int]store.Outcome{}
	for _, a := range w.attempts(id) {
		if _, twice := m[a.N]; twice {
			w.Errorf("delivery %v has two rows for attempt %d", id, a.N)
		}
		m[a.N] = a.Outcome
	}
	return m
}

// deliveries returns all deliveries of the scope that q selects, page by page.
func (w *world) deliveries(q store.DeliveryQuery) []store.Delivery {
	w.Helper()
	var all []store.Delivery
	if q.Limit == 0 {
		q.Limit = 1000
	}
	for range 1000 {
		page, err := w.st.Deliveries(w.ctx(), w.scope, q)
		w.must(err, "Deliveries")
		if len(page) > q.Limit {
			w.Errorf("Deliveries with Limit %d returned %d", q.Limit, len(page))
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		q.Before = page[len(page)-1].ID
	}
	w.Fatal("Deliveries: 1000 pages and no end")
	return nil
}

// events returns all events of the scope that q selects, page by page.
func (w *world) events(q store.EventQuery) []store.Event {
	w.Helper()
	var all []store.Event
	if q.Limit == 0 {
		q.Limit = 1000
	}
	for range 1000 {
		page, err := w.st.Events(w.ctx(), w.scope, q)
		w.must(err, "Events")
		if len(page) > q.Limit {
			w.Errorf("Events with Limit %d returned %d", q.Limit, len(page))
		}
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
		q.Before = page[len(page)-1].Num
	}
	w.Fatal("Events: 1000 pages and no end")
	return nil
}

// promote makes everything ready that is due.
func (w *world) promote() {
	w.Helper()
	for range 1000 {
		p, err := w.st.Promote(w.ctx(), many)
		w.must(err, "Promote")
		if p.Moved < many {
			return
		}
	}
	w.Fatal("Promote moves rows without end")
}

// steps repeats an upkeep step until it says that nothing is left, and returns
// how many rows it changed in all.
func (w *world) steps(name string, limit int, step func(limit int) (int, error)) int {
	w.Helper()
	total := 0
	for range 10_000 {
		n, err := step(limit)
		w.must(err, "%s", name)
		if n < 0 || n > limit {
			w.Fatalf("%s with limit %d says that it changed %d rows", name, limit, n)
		}
		total += n
		if n < limit {
			return total
		}
	}
	w.Fatalf("%s: 10,000 steps and still not done", name)
	return 0
}

func (w *world) takeOver() int {
	w.Helper()
	return w.steps("TakeOver", many, func(n int) (int, error) { return w.st.TakeOver(w.ctx(), n) })
}

func (w *world) expire() int {
	w.Helper()
	return w.steps("Expire", many, func(n int) (int, error) { return w.st.Expire(w.ctx(), window, n) })
}

func (w *world) cancelDeleted() int {
	w.Helper()
	return w.steps("CancelDeleted", many, func(n int) (int, error) { return w.st.CancelDeleted(w.ctx(), n) })
}
