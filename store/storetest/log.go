package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

func logChecks() []check {
	return []check{
		{"DeliveryLog", "the log's filters select exactly what they say, alone and together, and its pages are complete, in order and without doubles", deliveryLog},
		{"EventLog", "events are listed newest first without bodies, by type, reference and time, page by page", eventLog},
		{"LogPagesUnderWrites", "reading pages while events are stored returns no delivery twice and misses none that was there before", logPagesUnderWrites},
		{"NotFound", "what does not exist is ErrNotFound, not an empty answer", notFound},
	}
}

func compareIDs(a, b store.DeliveryID) int {
	switch {
	case a.Event != b.Event:
		return int(a.Event - b.Event)
	case a.Endpoint != b.Endpoint:
		return int(a.Endpoint - b.Endpoint)
	}
	return a.Round - b.Round
}

func deliveryLog(w *world) {
	eps := w.endpoints(3)
	types := []string{"payment.succeeded", "payment.failed", "push"}
	type fact struct {
		ev       store.NewEvent
		endpoint store.Endpoint
		storedAt time.Time
	}
	facts := map[store.DeliveryID]fact{}
	for i := range 12 {
		ev := typed(w.newEvent(eps[:1+i%3]...), types[i%len(types)])
		ev.Refs = [][]string{nil, {"pay_1"}, {"pay_2", "cus_1"}, {"cus_1"}}[i%4]
		num := w.store(ev)[0]
		got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		w.must(err, "Event")
		for _, ep := range eps[:1+i%3] {
			facts[store.DeliveryID{Event: num, Endpoint: ep.Num}] = fact{ev, ep, got.StoredAt}
		}
		w.advance(time.Hour)
	}
	for i, c := range w.claimAll() {
		switch i % 5 {
		case 0, 1:
			w.accepted(success(c))
		case 2:
			w.accepted(failure(c, 100*time.Hour))
		case 3:
			w.accepted(exhaust(c))
		}
	}
	// A replay is of the same event, in another round.
	first := slices.SortedFunc(func(yield func(store.DeliveryID) bool) {
		for id := range facts {
			if !yield(id) {
				return
			}
		}
	}, compareIDs)[0]
	again, err := w.st.Replay(w.ctx(), w.scope, facts[first].ev.ID, facts[first].endpoint.ID, store.ReplayParams{})
	w.must(err, "Replay")
	facts[again] = facts[first]
	w.setState(eps[2], store.Deleted)

	state := map[store.DeliveryID]store.State{}
	for id := range facts {
		state[id] = w.delivery(id).State
	}
	// Exactly the times of events: From is in the selection and To is not.
	evs := w.events(store.EventQuery{})
	late, mid := evs[0].StoredAt, evs[6].StoredAt

	for _, c := range []struct {
		name string
		q    store.DeliveryQuery
	}{
		{"everything", store.DeliveryQuery{}},
		{"event", store.DeliveryQuery{EventID: facts[first].ev.ID}},
		{"unknown event", store.DeliveryQuery{EventID: "evt_unknown"}},
		{"endpoint", store.DeliveryQuery{EndpointID: eps[1].ID}},
		{"deleted endpoint", store.DeliveryQuery{EndpointID: eps[2].ID}},
		{"unknown endpoint", store.DeliveryQuery{EndpointID: "ep_unknown"}},
		{"type", store.DeliveryQuery{Type: "payment.failed"}},
		{"type is exact", store.DeliveryQuery{Type: "payment"}},
		{"reference", store.DeliveryQuery{Ref: "cus_1"}},
		{"reference is exact", store.DeliveryQuery{Ref: "cus"}},
		{"pending", store.DeliveryQuery{States: []store.State{store.Pending}}},
		{"cancelled", store.DeliveryQuery{States: []store.State{store.Cancelled}}},
		{"delivered or exhausted", store.DeliveryQuery{States: []store.State{store.Delivered, store.Exhausted}}},
		{"all states", store.DeliveryQuery{States: []store.State{store.Cancelled, store.Delivered, store.Exhausted, store.Pending}}},
		{"from", store.DeliveryQuery{From: mid}},
		{"to", store.DeliveryQuery{To: mid}},
		{"from to", store.DeliveryQuery{From: mid, To: late}},
		{"nothing in between", store.DeliveryQuery{From: mid, To: mid}},
		{"endpoint and state", store.DeliveryQuery{EndpointID: eps[0].ID, States: []store.State{store.Delivered}}},
		{"endpoint, type and time", store.DeliveryQuery{EndpointID: eps[0].ID, Type: "push", From: mid}},
		{"reference, state and time", store.DeliveryQuery{Ref: "cus_1", States: []store.State{store.Pending, store.Cancelled}, To: late}},
		{"event and endpoint", store.DeliveryQuery{EventID: facts[first].ev.ID, EndpointID: eps[0].ID}},
		{"reference and endpoint", store.DeliveryQuery{Ref: "pay_2", EndpointID: eps[1].ID, Type: "push"}},
	} {
		want := []store.DeliveryID{}
		for id, f := range facts {
			q := c.q
			if (q.EventID == "" || q.EventID == f.ev.ID) && (q.EndpointID == "" || q.EndpointID == f.endpoint.ID) &&
				(q.Type == "" || q.Type == f.ev.Type) && (q.Ref == "" || slices.Contains(f.ev.Refs, q.Ref)) &&
				(len(q.States) == 0 || slices.Contains(q.States, state[id])) &&
				(q.From.IsZero() || !f.storedAt.Before(q.From)) && (q.To.IsZero() || f.storedAt.Before(q.To)) {
				want = append(want, id)
			}
		}
		slices.SortFunc(want, func(a, b store.DeliveryID) int { return compareIDs(b, a) })
		for _, limit := range []int{0, 1, 4} {
			q := c.q
			q.Limit = limit
			got := []store.DeliveryID{}
			for _, d := range w.deliveries(q) {
				got = append(got, d.ID)
				f := facts[d.ID]
				if d.EventID != f.ev.ID || d.EventType != f.ev.Type || d.EndpointID != f.endpoint.ID || d.Scope != w.scope {
					w.Errorf("%s: %v reads event %s of type %s for %s, want %s, %s, %s", c.name, d.ID, d.EventID, d.EventType, d.EndpointID, f.ev.ID, f.ev.Type, f.endpoint.ID)
				}
				if one := w.delivery(d.ID); limit == 0 && one != d {
					w.Errorf("%s: Deliveries and Delivery disagree:\n%+v\n%+v", c.name, d, one)
				}
			}
			if !slices.Equal(got, want) {
				w.Errorf("Deliveries by %s, pages of %d:\ngot  %v\nwant %v, newest first", c.name, limit, got, want)
			}
		}
	}
}

func eventLog(w *world) {
	eps := w.endpoints(2)
	var all []store.Event
	for i := range 9 {
		ev := w.newEvent(eps[:i%3]...)
		ev.Type = []string{"push", "payment.succeeded"}[i%2]
		ev.Hash = hash(ev.Type, ev.Body)
		ev.Refs = [][]string{nil, {"a"}, {"a", "b"}}[i%3]
		w.store(ev)
		got, err := w.st.Event(w.ctx(), w.scope, ev.ID)
		w.must(err, "Event")
		all = append(all, got)
		w.advance(time.Minute)
	}
	for _, c := range []struct {
		name string
		q    store.EventQuery
		want func(i int) bool
	}{
		{"everything", store.EventQuery{}, func(int) bool { return true }},
		{"type", store.EventQuery{Type: "push"}, func(i int) bool { return i%2 == 0 }},
		{"reference", store.EventQuery{Ref: "b"}, func(i int) bool { return i%3 == 2 }},
		{"from", store.EventQuery{From: all[4].StoredAt}, func(i int) bool { return i >= 4 }},
		{"to", store.EventQuery{To: all[4].StoredAt}, func(i int) bool { return i < 4 }},
		{
			"type, reference, time",
			store.EventQuery{Type: "push", Ref: "a", From: all[1].StoredAt, To: all[8].StoredAt},
			func(i int) bool { return i%2 == 0 && i%3 != 0 && i >= 1 && i < 8 },
		},
	} {
		for _, limit := range []int{0, 1, 4} {
			var want, got []int64
			for i := len(all) - 1; i >= 0; i-- {
				if c.want(i) {
					want = append(want, all[i].Num)
				}
			}
			slices.SortFunc(want, func(a, b int64) int { return int(b - a) })
			q := c.q
			q.Limit = limit
			for _, e := range w.events(q) {
				got = append(got, e.Num)
				i := slices.IndexFunc(all, func(o store.Event) bool { return o.Num == e.Num })
				if i < 0 {
					continue
				}
				o := all[i]
				if e.Body != nil {
					w.Errorf("Events returned a body")
				}
				if e.ID != o.ID || e.Type != o.Type || e.Scope != o.Scope || !e.StoredAt.Equal(o.StoredAt) || !e.CreatedAt.Equal(o.CreatedAt) ||
					!slices.Equal(e.Refs, o.Refs) || e.Hash != o.Hash || e.SetVersion != o.SetVersion || e.ContentType != o.ContentType {
					w.Errorf("Events and Event disagree:\n%+v\n%+v", e, o)
				}
			}
			if !slices.Equal(got, want) {
				w.Errorf("Events by %s, pages of %d: got %v, want %v, newest first", c.name, limit, got, want)
			}
		}
	}
}

func logPagesUnderWrites(w *world) {
	eps := w.endpoints(3)
	var before []store.DeliveryID
	for range 8 {
		before = append(before, w.send(eps...)...)
	}
	seen := map[store.DeliveryID]int{}
	q := store.DeliveryQuery{Limit: 5}
	for i := 0; ; i++ {
		page, err := w.st.Deliveries(w.ctx(), w.scope, q)
		w.must(err, "Deliveries")
		if len(page) == 0 {
			break
		}
		for _, d := range page {
			seen[d.ID]++
		}
		q.Before = page[len(page)-1].ID
		if i > 100 {
			w.Fatal("pages have no end while events are stored")
		}
		w.send(eps...)
		if i == 1 {
			ev, err := w.st.Events(w.ctx(), w.scope, store.EventQuery{Limit: 1})
			w.must(err, "Events")
			_, err = w.st.Replay(w.ctx(), w.scope, ev[0].ID, eps[0].ID, store.ReplayParams{})
			w.must(err, "Replay")
		}
	}
	for _, id := range before {
		if seen[id] != 1 {
			w.Errorf("delivery %v, there before, was returned %d times", id, seen[id])
		}
	}
	for id, n := range seen {
		if n > 1 {
			w.Errorf("delivery %v was returned %d times", id, n)
		}
	}

	// The order is by number, not by time or text.
	var nums []int64
	for _, e := range w.events(store.EventQuery{}) {
		nums = append(nums, e.Num)
	}
	if !slices.IsSortedFunc(nums, func(a, b int64) int { return int(b - a) }) {
		w.Errorf("Events are not in descending order of Num: %v", nums)
	}
}

func notFound(w *world) {
	ep := w.endpoint()
	id := w.send(ep)[0]
	for _, other := range []store.DeliveryID{
		{},
		{Event: id.Event + 1000, Endpoint: id.Endpoint},
		{Event: id.Event, Endpoint: id.Endpoint + 1000},
		{Event: id.Event, Endpoint: id.Endpoint, Round: 1},
		{Event: -1, Endpoint: -1, Round: -1},
	} {
		_, err := w.st.Delivery(w.ctx(), w.scope, other)
		w.wantErr(err, store.ErrNotFound, "Delivery %v", other)
		_, err = w.st.Attempts(w.ctx(), w.scope, other)
		w.wantErr(err, store.ErrNotFound, "Attempts %v", other)
		w.wantErr(w.st.Cancel(w.ctx(), w.scope, other, "x"), store.ErrNotFound, "Cancel %v", other)
	}
	if as := w.attempts(id); len(as) != 0 {
		w.Errorf("Attempts of a delivery never attempted: %+v, want none and no error", as)
	}
	for _, bad := range []string{"", "evt_unknown", "evt_\x00", fmt.Sprint(id.Event)} {
		_, err := w.st.Event(w.ctx(), w.scope, bad)
		if err == nil {
			w.Errorf("Event %q was found", bad)
		}
	}
	_, err := w.st.Event(w.ctx(), w.scope, "evt_unknown")
	w.wantErr(err, store.ErrNotFound, "Event of an unknown id")
	_, _, _, err = w.st.Undelivered(w.ctx(), w.scope, store.UndeliveredQuery{EndpointID: "ep_unknown"})
	w.wantErr(err, store.ErrNotFound, "Undelivered of an unknown endpoint")
}
