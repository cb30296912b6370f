package storetest

import (
	"time"

	"github.com/hookpost/hookpost/store"
)

func timeChecks() []check {
	return []check{
		{"CreatedAt", "an event's time is kept to the microsecond, whatever its year from 0 to 9999, 1970 among them, and refused outside of that: JSON has no other years", createdAt},
		{"FarTimes", "a search takes any time, however far away", farTimes},
	}
}

func createdAt(w *world) {
	times := []time.Time{
		time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(0, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC),
		time.Date(1582, 10, 15, 1, 2, 3, 456_789_000, time.UTC),
		time.Unix(-1, 999_999_000),
		time.Unix(0, 0), // which is not no time
		time.Unix(0, 1000),
		time.UnixMicro(1<<53 + 1), // the first that a float64 lacks
		time.UnixMicro(-1<<53 - 1),
		time.Date(2262, 4, 12, 0, 0, 0, 1000, time.UTC), // an int64 of nanoseconds ends the day before
		time.Date(2026, 5, 24, 12, 2, 14, 123_456_789, time.FixedZone("", 2*3600)),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
	}
	want := map[string]time.Time{}
	next := func(at time.Time) store.NewEvent {
		ev := w.newEvent()
		ev.CreatedAt = at
		want[ev.ID] = at.Truncate(time.Microsecond)
		return ev
	}
	var evs, inTx []store.NewEvent
	for _, at := range times {
		evs, inTx = append(evs, next(at)), append(inTx, next(at))
	}
	w.store(evs...)
	if w.in.Begin != nil {
		tx := w.begin()
		w.enqueueIn(tx, inTx...)
		w.must(tx.Commit(), "Commit")
		evs = append(evs, inTx...)
	}
	check := func(method string, ev store.Event) {
		if !ev.CreatedAt.Equal(want[ev.ID]) {
			w.Errorf("%s: CreatedAt is %v, want %v", method, ev.CreatedAt, want[ev.ID])
		}
		w.stamp(method+": CreatedAt", ev.CreatedAt)
	}
	for _, ev := range evs {
		got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		w.must(err, "Event")
		check("Event", got)
	}
	found := w.events(store.EventQuery{})
	if len(found) != len(evs) {
		w.Errorf("Events found %d events, want %d", len(found), len(evs))
	}
	for _, ev := range found {
		check("Events", ev)
	}

	for _, at := range []time.Time{
		time.Date(-1, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)), // 10000 in UTC
		time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Unix(1<<60, 0),
	} {
		_, err := w.st.Enqueue(w.ctx(), enqueueParams(next(at)))
		w.wantErr(err, store.ErrInvalid, "Enqueue of an event of %v", at)
		if w.in.Begin != nil {
			tx := w.begin()
			_, err := tx.Enqueue(w.ctx(), []store.NewEvent{next(at)})
			w.wantErr(err, store.ErrInvalid, "Tx.Enqueue of an event of %v", at)
			w.must(tx.Rollback(), "Rollback")
		}
	}
}

func farTimes(w *world) {
	w.store(w.newEvent())
	past := []time.Time{
		time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(-9999, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Unix(0, 0), time.Unix(-1<<60, 0),
	}
	future := []time.Time{
		time.UnixMicro(1<<53 + 1), time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(1<<60, 0),
	}
	for _, from := range past {
		for _, to := range future {
			if n := len(w.events(store.EventQuery{From: from, To: to})); n != 1 {
				w.Errorf("Events from %v to %v: %d, want 1", from, to, n)
			}
		}
		if n := len(w.events(store.EventQuery{To: from})); n != 0 {
			w.Errorf("Events to %v: %d, want none", from, n)
		}
	}
	for _, to := range future {
		if n := len(w.events(store.EventQuery{From: to})); n != 0 {
			w.Errorf("Events from %v: %d, want none", to, n)
		}
	}
}
