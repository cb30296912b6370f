package storetest

import (
	"crypto/sha256"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/store"
)

// newEndpoint returns an endpoint to create, with a URL of its own.
func (w *world) newEndpoint() store.Endpoint {
	n := w.next()
	url := fmt.Sprintf("https://example.com/hooks/%d", n)
	return store.Endpoint{
		Scope:  w.scope,
		ID:     fmt.Sprintf("ep_%s_%s_%d", w.scope.Tenant, w.scope.Mode, n),
		URLKey: url,
		Config: store.Config{URL: url, EventTypes: []string{"*"}, State: store.Enabled},
		Sealed: store.Sealed{Secrets: []store.SealedSecret{secret("sec_1", "k1", []byte{0, 1, 2, 255}, "abcd")}},
	}
}

func secret(id, kid string, sealed []byte, fingerprint string) store.SealedSecret {
	return store.SealedSecret{SealedValue: store.SealedValue{ID: id, KeyID: kid, Sealed: sealed}, Fingerprint: fingerprint}
}

func (w *world) create(ep store.Endpoint) store.Endpoint {
	w.Helper()
	got, err := w.st.CreateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Created, Actor: "ann"})
	w.must(err, "CreateEndpoint %s", ep.ID)
	return got
}

func (w *world) endpoint() store.Endpoint {
	w.Helper()
	return w.create(w.newEndpoint())
}

// endpoints creates n endpoints, in order of Num.
func (w *world) endpoints(n int) []store.Endpoint {
	w.Helper()
	eps := make([]store.Endpoint, n)
	for i := range eps {
		eps[i] = w.endpoint()
	}
	return eps
}

// reload returns the endpoint as it is now.
func (w *world) reload(ep store.Endpoint) store.Endpoint {
	w.Helper()
	got, err := w.st.Endpoint(w.ctx(), ep.Scope, ep.ID)
	w.must(err, "Endpoint %s", ep.ID)
	return got
}

// setState changes an endpoint's state, whatever its version is by now.
func (w *world) setState(ep store.Endpoint, s store.EndpointState) store.Endpoint {
	w.Helper()
	ep = w.reload(ep)
	ep.State = s
	action := map[store.EndpointState]store.Action{
		store.Enabled: store.WasEnabled, store.Disabled: store.WasDisabled, store.Deleted: store.WasDeleted,
	}[s]
	got, err := w.st.UpdateEndpoint(w.ctx(), ep, store.ChangeParams{Action: action, Actor: "ann"})
	w.must(err, "UpdateEndpoint %s to %v", ep.ID, s)
	return got
}

// edit changes an endpoint without changing what it receives.
func (w *world) edit(ep store.Endpoint) store.Endpoint {
	w.Helper()
	ep = w.reload(ep)
	ep.Description += "edited "
	got, err := w.st.UpdateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.must(err, "UpdateEndpoint %s", ep.ID)
	return got
}

func (w *world) setVersion() int64 {
	w.Helper()
	from := w.now()
	set, err := w.st.EndpointSet(w.ctx(), w.scope)
	w.must(err, "EndpointSet")
	w.stamp("EndpointSet.Now", set.Now)
	w.between("EndpointSet.Now", set.Now, from, w.now())
	return set.Version
}

func hash(typ string, body []byte) [32]byte {
	return sha256.Sum256(append([]byte(typ+"\x00"), body...))
}

// newEvent returns an event for the endpoints, to be stored ready, decided on
// the endpoint set as it is now.
func (w *world) newEvent(eps ...store.Endpoint) store.NewEvent {
	w.Helper()
	n := w.next()
	typ, body := "payment.succeeded", fmt.Appendf(nil, `{"n":%d}`, n)
	ev := store.NewEvent{Event: store.Event{
		Scope:       w.scope,
		ID:          fmt.Sprintf("evt_%06d", n),
		Type:        typ,
		CreatedAt:   time.Date(2026, 1, 2, 3, 4, 5, 678_000, time.UTC),
		ContentType: "application/json",
		Body:        body,
		Hash:        hash(typ, body),
		SetVersion:  w.setVersion(),
	}}
	for _, ep := range eps {
		ev.For = append(ev.For, store.NewDelivery{Endpoint: ep.Num})
	}
	return ev
}

// typed gives an event another type.
func typed(ev store.NewEvent, typ string) store.NewEvent {
	ev.Type, ev.Hash = typ, hash(typ, ev.Body)
	return ev
}

// leased asks for all deliveries of an event to be leased.
func leased(ev store.NewEvent) store.NewEvent {
	ev.For = append([]store.NewDelivery(nil), ev.For...)
	for i := range ev.For {
		ev.For[i].Lease = true
	}
	return ev
}

func enqueueParams(evs ...store.NewEvent) store.EnqueueParams {
	return store.EnqueueParams{Events: evs, Owner: me, Lease: leaseTime}
}

// enqueue calls Enqueue and checks that there is one result per member.
func (w *world) enqueue(evs ...store.NewEvent) []store.Enqueued {
	w.Helper()
	got, err := w.st.Enqueue(w.ctx(), enqueueParams(evs...))
	w.must(err, "Enqueue")
	if len(got) != len(evs) {
		w.Fatalf("Enqueue of %d events returned %d results, want one per member in order", len(evs), len(got))
	}
	return got
}

// store enqueues events that must be stored and returns their numbers.
func (w *world) store(evs ...store.NewEvent) []int64 {
	w.Helper()
	var nums []int64
	for i, r := range w.enqueue(evs...) {
		if r.Status != store.Stored || r.Event <= 0 {
			w.Fatalf("Enqueue of the new event %s: got status %d, number %d, want it stored with a positive number", evs[i].ID, r.Status, r.Event)
		}
		nums = append(nums, r.Event)
	}
	return nums
}

// send stores an event for the endpoints, ready, and returns the ids of its
// deliveries.
func (w *world) send(eps ...store.Endpoint) []store.DeliveryID {
	w.Helper()
	num := w.store(w.newEvent(eps...))[0]
	ids := make([]store.DeliveryID, len(eps))
	for i, ep := range eps {
		ids[i] = store.DeliveryID{Event: num, Endpoint: ep.Num}
	}
	return ids
}

func statuses(rs []store.Enqueued) []store.EnqueueStatus {
	var s []store.EnqueueStatus
	for _, r := range rs {
		s = append(s, r.Status)
	}
	return s
}
