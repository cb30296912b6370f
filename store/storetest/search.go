package storetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

func searchChecks() []check {
	return []check{
		{"SearchIsBounded", "a search finds what the query without a bound finds, in steps that each end, whatever the filters let pass", searchIsBounded},
		{"EndpointSearch", "endpoints are found by a part of id, URL or description, ASCII letters in either case and nothing taken for a pattern", endpointSearch},
		{"Activity", "the newest deliveries of endpoints are counted, and no others", activity},
		{"ActivityOfTests", "deliveries of webhook.* events are told apart in an activity and count in no rate", activityOfTests},
		{"RecentAttempts", "the attempts of the newest deliveries of an endpoint come in order, without what the receiver answered", recentAttempts},
	}
}

func searchIsBounded(w *world) {
	eps := w.endpoints(2)
	const events = 40
	for i := range events {
		ev := typed(w.newEvent(eps[:1+i%2]...), []string{"push", "payment.succeeded"}[i%2])
		ev.Refs = [][]string{nil, {"a"}}[i%2]
		w.store(ev)
	}
	for i, c := range w.claimAll() {
		if i%10 == 0 {
			w.accepted(exhaust(c))
		} else {
			w.accepted(success(c))
		}
	}
	for name, q := range map[string]store.DeliveryQuery{
		"everything":                    {},
		"nothing":                       {Type: "none"},
		"no pending ones":               {States: []store.State{store.Pending}},
		"type":                          {Type: "push"},
		"reference":                     {Ref: "a"},
		"exhausted":                     {States: []store.State{store.Exhausted}},
		"endpoint":                      {EndpointID: eps[1].ID},
		"endpoint and state":            {EndpointID: eps[0].ID, States: []store.State{store.Exhausted}},
		"event":                         {EventID: w.events(store.EventQuery{})[events-1].ID},
		"type of nothing, by reference": {Ref: "a", Type: "push"},
	} {
		want := []store.DeliveryID{}
		for _, d := range w.deliveries(q) {
			want = append(want, d.ID)
		}
		for _, look := range []int{1, 7, 1000} {
			got := []store.DeliveryID{}
			q := q
			q.Limit = 3
			steps := 0
			for ; ; steps++ {
				page, next, err := w.st.SearchDeliveries(w.ctx(), w.scope, q, look)
				w.must(err, "SearchDeliveries")
				if len(page) > q.Limit {
					w.Errorf("SearchDeliveries with Limit %d returned %d", q.Limit, len(page))
				}
				for _, d := range page {
					got = append(got, d.ID)
				}
				if next == (store.DeliveryID{}) {
					break
				}
				if q.Before != (store.DeliveryID{}) && compareIDs(next, q.Before) >= 0 {
					w.Fatalf("%s: a search before %v says to go on before %v", name, q.Before, next)
				}
				q.Before = next
			}
			if !slices.Equal(got, want) {
				w.Errorf("SearchDeliveries by %s, look %d: got %v, want %v", name, look, got, want)
			}
			if look == 1 && name == "no pending ones" && steps < events/2 {
				w.Errorf("SearchDeliveries that looks at 1 event at a time came through %d of them in %d steps", events, steps)
			}
		}
	}

	for name, q := range map[string]store.EventQuery{
		"everything": {}, "nothing": {Type: "none"}, "type": {Type: "push"}, "reference": {Ref: "a"}, "type, reference": {Type: "push", Ref: "a"},
	} {
		want := []int64{}
		for _, e := range w.events(q) {
			want = append(want, e.Num)
		}
		for _, look := range []int{1, 7, 1000} {
			got := []int64{}
			q := q
			q.Limit = 3
			steps := 0
			for ; ; steps++ {
				page, next, err := w.st.SearchEvents(w.ctx(), w.scope, q, look)
				w.must(err, "SearchEvents")
				for _, e := range page {
					got = append(got, e.Num)
				}
				if next == 0 {
					break
				}
				if q.Before != 0 && next >= q.Before {
					w.Fatalf("%s: a search before %d says to go on before %d", name, q.Before, next)
				}
				q.Before = next
			}
			if !slices.Equal(got, want) {
				w.Errorf("SearchEvents by %s, look %d: got %v, want %v", name, look, got, want)
			}
			if look == 1 && name == "nothing" && steps < events/2 {
				w.Errorf("SearchEvents that looks at 1 event at a time came through %d of them in %d steps", events, steps)
			}
		}
	}
	_, _, err := w.st.SearchDeliveries(w.ctx(), w.scope, store.DeliveryQuery{}, 0)
	w.wantErr(err, store.ErrInvalid, "SearchDeliveries that looks at nothing")
	_, _, err = w.st.SearchEvents(w.ctx(), w.scope, store.EventQuery{}, -1)
	w.wantErr(err, store.ErrInvalid, "SearchEvents that looks at nothing")
}

func endpointSearch(w *world) {
	for i, description := range []string{"Billing, EU", "billing 100%", "Käse", "", "a_b"} {
		ep := w.newEndpoint()
		ep.ID = fmt.Sprintf("ep_Find%d", i)
		ep.URL = fmt.Sprintf("https://Shop%d.example.com/hooks", i)
		ep.URLKey, ep.Description = ep.URL, description
		w.create(ep)
	}
	for _, c := range []struct {
		search string
		want   []int
	}{
		{"", []int{0, 1, 2, 3, 4}},
		{"BILLING", []int{0, 1}},
		{"0%", []int{1}},
		{"%", []int{1}},
		{"_b", []int{4}},
		{"käse", []int{2}},
		{"KäSE", []int{2}},
		{"shop3", []int{3}},
		{"ep_find4", []int{4}},
		{"EXAMPLE.com/h", []int{0, 1, 2, 3, 4}},
		{"'", nil},
		{"nothing", nil},
		{"https://shop0.example.com/hooksx", nil},
	} {
		eps, err := w.st.ListEndpoints(w.ctx(), w.scope, store.EndpointQuery{Search: c.search})
		w.must(err, "ListEndpoints")
		var got, want []string
		for _, ep := range eps {
			got = append(got, ep.ID)
		}
		for _, i := range c.want {
			want = append(want, fmt.Sprintf("ep_Find%d", i))
		}
		if !slices.Equal(got, want) {
			w.Errorf("endpoints found by %q: %v, want %v", c.search, got, want)
		}
	}
	page, err := w.st.ListEndpoints(w.ctx(), w.scope, store.EndpointQuery{Search: "billing", Limit: 1})
	w.must(err, "ListEndpoints")
	rest, err := w.st.ListEndpoints(w.ctx(), w.scope, store.EndpointQuery{Search: "billing", After: page[0].Num})
	w.must(err, "ListEndpoints")
	if len(rest) != 1 || rest[0].ID != "ep_Find1" {
		w.Errorf("the second page of a search has %d endpoints, want the other one", len(rest))
	}
}

func activity(w *world) {
	eps := w.endpoints(3) // the last one never gets anything
	w.accepted(exhaust(w.take(w.send(eps[0])[0])))
	w.accepted(success(w.take(w.send(eps[0])[0])))
	waiting := w.send(eps[0])[0]
	w.accepted(failure(w.take(waiting), 100*time.Hour))
	last := w.send(eps[0])[0]
	w.take(last) // an attempt under way is no result
	w.send(eps[1])

	get := func(newest int) []store.Activity {
		w.Helper()
		list, err := w.st.Activity(w.ctx(), w.scope, []string{eps[1].ID, "ep_unknown", eps[0].ID, eps[2].ID, "\xff"}, newest)
		w.must(err, "Activity")
		if len(list) != 5 {
			w.Fatalf("Activity of 5 endpoints has %d elements", len(list))
		}
		for _, i := range []int{1, 3, 4} {
			if list[i].EndpointID == "" || list[i] != (store.Activity{EndpointID: list[i].EndpointID}) {
				w.Errorf("activity of an endpoint without deliveries is %+v, want its id alone", list[i])
			}
		}
		return list
	}
	d := w.delivery(last)
	want := store.Activity{
		EndpointID: eps[0].ID, Deliveries: 4, Delivered: 1, Exhausted: 1, Attempts: 3,
		Last: last, LastState: store.Pending, LastAt: d.CreatedAt,
	}
	if got := get(100)[2]; got != want {
		w.Errorf("activity is\n%+v, want\n%+v", got, want)
	}
	if got := get(100)[0]; got.Deliveries != 1 || got.Attempts != 0 || got.LastState != store.Pending {
		w.Errorf("activity of an endpoint with one delivery, never attempted, is %+v", got)
	}
	want.Deliveries, want.Exhausted, want.Attempts = 3, 0, 2
	if got := get(3)[2]; got != want {
		w.Errorf("activity in the newest 3 deliveries is\n%+v, want\n%+v", got, want)
	}
	w.setState(eps[0], store.Deleted)
	if got := get(1)[2]; got.LastState != store.Cancelled {
		w.Errorf("the last delivery of a deleted endpoint is %v, want it cancelled", got.LastState)
	}
	_, err := w.st.Activity(w.ctx(), w.scope, nil, 0)
	w.wantErr(err, store.ErrInvalid, "Activity of no deliveries")
	for _, s := range neighbours(w.scope) {
		list, err := w.st.Activity(w.ctx(), s, []string{eps[0].ID}, 10)
		w.must(err, "Activity")
		if len(list) != 1 || list[0].Deliveries != 0 {
			w.Errorf("%v sees the activity of another scope's endpoint: %+v", s, list)
		}
	}
}

func activityOfTests(w *world) {
	ep := w.endpoint()
	send := func(typ string) store.Claimed {
		w.Helper()
		id := store.DeliveryID{Event: w.store(typed(w.newEvent(ep), typ))[0], Endpoint: ep.Num}
		return w.take(id)
	}
	want := func(why string, want store.Activity) {
		w.Helper()
		list, err := w.st.Activity(w.ctx(), w.scope, []string{ep.ID}, 100)
		w.must(err, "Activity")
		got := list[0]
		w.stamp("LastAt", got.LastAt)
		want.EndpointID, got.LastAt = ep.ID, time.Time{}
		if got != want {
			w.Errorf("%s: the activity is\n%+v, want\n%+v", why, got, want)
		}
	}
	c := send("webhook.test")
	reached := success(c)
	reached.Attempt.Status, reached.Attempt.Class, reached.Attempt.Error = 400, "status", "answered 400 Bad Request"
	w.accepted(reached)
	want("a test that was answered 400", store.Activity{Deliveries: 1, Tests: 1, Last: c.ID, LastState: store.Delivered, LastStatus: 400})
	w.accepted(exhaust(send("webhook.test")))
	c = send("webhook.test")
	w.accepted(success(c))
	want("three tests", store.Activity{Deliveries: 3, Tests: 3, Last: c.ID, LastState: store.Delivered, LastStatus: 204})

	// Nothing else is a test.
	for _, typ := range []string{"webhook", "webhooks.test", "Webhook.test", "my.webhook.test"} {
		w.accepted(success(send(typ)))
	}
	c = send("push")
	w.accepted(exhaust(c))
	want("three tests and five others", store.Activity{
		Deliveries: 8, Tests: 3, Delivered: 4, Exhausted: 1, Attempts: 5, Last: c.ID, LastState: store.Exhausted, LastStatus: 500,
	})
	c = send("webhook.test")
	want("a test under way", store.Activity{Deliveries: 9, Tests: 4, Delivered: 4, Exhausted: 1, Attempts: 5, Last: c.ID, LastState: store.Pending})
}

func recentAttempts(w *world) {
	eps := w.endpoints(2)
	first := w.send(eps[0])[0]
	w.accepted(failure(w.take(first), time.Minute))
	w.advance(time.Second)
	w.accepted(success(w.take(w.send(eps[0])[0])))
	w.accepted(success(w.take(w.send(eps[1])[0])))
	w.advance(time.Hour)
	w.promote()
	w.accepted(failure(w.take(first), 100*time.Hour))

	get := func(newest int) (outcomes []store.Outcome) {
		w.Helper()
		list, err := w.st.RecentAttempts(w.ctx(), w.scope, eps[0].ID, newest)
		w.must(err, "RecentAttempts")
		if !slices.IsSortedFunc(list, func(a, b store.Attempt) int { return a.StartedAt.Compare(b.StartedAt) }) {
			w.Errorf("attempts are not in order of their start: %+v", list)
		}
		for _, a := range list {
			outcomes = append(outcomes, a.Outcome)
			if a.ResponseHeader != nil || a.ResponseBody != nil {
				w.Errorf("RecentAttempts returned an answer")
			}
			w.stamp("StartedAt", a.StartedAt)
		}
		return outcomes
	}
	if got, want := get(100), []store.Outcome{store.AttemptFailed, store.AttemptDelivered, store.AttemptFailed}; !slices.Equal(got, want) {
		w.Errorf("recent attempts ended %v, want %v", got, want)
	}
	if got, want := get(1), []store.Outcome{store.AttemptDelivered}; !slices.Equal(got, want) {
		w.Errorf("attempts of the newest delivery ended %v, want %v", got, want)
	}
	list, err := w.st.RecentAttempts(w.ctx(), w.scope, eps[0].ID, 100)
	w.must(err, "RecentAttempts")
	full := w.attempts(first)[0]
	full.ResponseHeader, full.ResponseBody = nil, nil
	if fmt.Sprintf("%+v", list[0]) != fmt.Sprintf("%+v", full) {
		w.Errorf("RecentAttempts and Attempts disagree:\n%+v\n%+v", list[0], full)
	}
	_, err = w.st.RecentAttempts(w.ctx(), w.scope, eps[0].ID, 0)
	w.wantErr(err, store.ErrInvalid, "RecentAttempts of no deliveries")
	for _, s := range append(neighbours(w.scope), w.scope) {
		id := eps[0].ID
		if s == w.scope {
			id = "ep_unknown"
		}
		_, err := w.st.RecentAttempts(w.ctx(), s, id, 10)
		w.wantErr(err, store.ErrNotFound, "RecentAttempts of %s in %v", id, s)
	}
}
