package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	leaseTime = time.Hour      // of every claim, far longer than a test runs
	window    = 72 * time.Hour // ClaimParams.Window, where a check doesn't say otherwise
	me        = 7              // the owner of leases
	many      = 1000           // a limit that no check reaches
)

// world is a store under test and the short forms in which checks talk to it.
// Its methods end the test if a call fails that must not.
type world struct {
	*testing.T
	in    Instance
	st    store.Store
	scope store.Scope

	mu sync.Mutex
	n  int
}

func newWorld(t *testing.T, in Instance) *world {
	return &world{T: t, in: in, st: in.Store, scope: store.Scope{Tenant: "acme", Mode: store.Test}}
}

// as returns the same world seen from another scope.
func (w *world) as(scope store.Scope) *world {
	return &world{T: w.T, in: w.in, st: w.st, scope: scope, n: w.next() * 1_000_000}
}

// next returns a number that was not returned before.
func (w *world) next() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.n++
	return w.n
}

// another returns a second handle on the data, or the first where there is none.
func (w *world) another() store.Store {
	if w.in.Another == nil {
		return w.st
	}
	return w.in.Another(w.T)
}

func (w *world) ctx() context.Context { return w.Context() }

// must ends the test if err is not nil.
func (w *world) must(err error, doing string, args ...any) {
	w.Helper()
	if err != nil {
		w.Fatalf("%s: %v", fmt.Sprintf(doing, args...), err)
	}
}

// wantErr reports an error other than the wanted one.
func (w *world) wantErr(err, want error, doing string, args ...any) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: got error %v, want one that is %q", fmt.Sprintf(doing, args...), err, want)
	}
}

// busy repeats a call for as long as it says ErrBusy, which is always safe. It
// is for calls that race with others on purpose.
func busy[T any](call func() (T, error)) (T, error) {
	for i := 0; ; i++ {
		v, err := call()
		if err == nil || i == 100 || !errors.Is(err, store.ErrBusy) {
			return v, err
		}
	}
}

// parallel runs n functions at once and waits for all.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// Time

func (w *world) now() time.Time {
	w.Helper()
	t, err := w.st.Now(w.ctx())
	w.must(err, "Now")
	return t
}

func (w *world) advance(d time.Duration) { w.in.Advance(d) }

// between reports a time that is not within two readings of the store's clock.
func (w *world) between(what string, got, from, to time.Time) {
	w.Helper()
	if got.Before(from.Truncate(time.Microsecond)) || got.After(to) {
		w.Errorf("%s is %v, want a time from %v to %v by the store's clock", what, got, from, to)
	}
	w.stamp(what, got)
}

// stamp reports a time that is not UTC to the microsecond.
func (w *world) stamp(what string, got time.Time) {
	w.Helper()
	if got.Location() != time.UTC {
		w.Errorf("%s is in %v, want UTC", what, got.Location())
	}
	if got.Nanosecond()%1000 != 0 {
		w.Errorf("%s is %v, want whole microseconds", what, got)
	}
}

// Endpoints

// newEndpoint returns an endpoint to create, with a URL of its own.
func (w *world) newEndpoint() store.Endpoint {
	n := w.next()
	url := fmt.Sprintf("https://example.com/hooks/%d", n)
	return store.Endpoint{
		Scope:   w.scope,
		ID:      fmt.Sprintf("ep_%s_%s_%d", w.scope.Tenant, w.scope.Mode, n),
		URLKey:  url,
		Config:  store.Config{URL: url, EventTypes: []string{"*"}, State: store.Enabled},
		Secrets: []store.SealedSecret{{ID: "sec_1", KeyID: "k1", Sealed: []byte{0, 1, 2, 255}, Fingerprint: "abcd"}},
	}
}

func (w *world) create(ep store.Endpoint) store.Endpoint {
	w.Helper()
	got, err := w.st.CreateEndpoint(w.ctx(), ep, store.Created, "ann")
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
	got, err := w.st.UpdateEndpoint(w.ctx(), ep, action, "ann")
	w.must(err, "UpdateEndpoint %s to %v", ep.ID, s)
	return got
}

// edit changes an endpoint without changing what it receives.
func (w *world) edit(ep store.Endpoint) store.Endpoint {
	w.Helper()
	ep = w.reload(ep)
	ep.Description += "edited "
	got, err := w.st.UpdateEndpoint(w.ctx(), ep, store.Edited, "ann")
	w.must(err, "UpdateEndpoint %s", ep.ID)
	return got
}

func (w *world) setVersion() int64 {
	w.Helper()
	set, err := w.st.EndpointSet(w.ctx(), w.scope)
	w.must(err, "EndpointSet")
	return set.Version
}

// Events

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

// Claims

func claimParams() store.ClaimParams {
	return store.ClaimParams{Owner: me, Lease: leaseTime, Limit: many, DefaultRoom: many, Window: window}
}

// claim claims once.
func (w *world) claim(p store.ClaimParams) store.Claims {
	w.Helper()
	c, err := w.st.Claim(w.ctx(), p)
	w.must(err, "Claim")
	if len(c.Deliveries) > p.Limit {
		w.Errorf("Claim with Limit %d returned %d deliveries", p.Limit, len(c.Deliveries))
	}
	return c
}

// claimAll claims until nothing is left, following the cursor.
func (w *world) claimAll() []store.Claimed {
	w.Helper()
	return w.claimWith(claimParams())
}

func (w *world) claimWith(p store.ClaimParams) []store.Claimed {
	w.Helper()
	var all []store.Claimed
	for range 1000 {
		c := w.claim(p)
		all = append(all, c.Deliveries...)
		if len(c.Deliveries) == 0 && !c.More {
			return all
		}
		p.After = c.After
	}
	w.Fatalf("1000 claims in a row said More or found something; %d deliveries so far", len(all))
	return nil
}

// take claims everything and returns the claim of one delivery, which must be
// the only one.
func (w *world) take(id store.DeliveryID) store.Claimed {
	w.Helper()
	all := w.claimAll()
	if len(all) != 1 || all[0].ID != id {
		w.Fatalf("claiming everything found %v, want only %v, which is ready", claimedIDs(all), id)
	}
	return all[0]
}

// idle reports deliveries that can be claimed although none may be.
func (w *world) idle(why string) {
	w.Helper()
	if all := w.claimAll(); len(all) > 0 {
		w.Errorf("claimed %v, want nothing: %s", claimedIDs(all), why)
	}
}

func claimedIDs(cs []store.Claimed) []string {
	ids := []string{}
	for _, c := range cs {
		ids = append(ids, c.ID.String())
	}
	return ids
}

// Settlements

func (w *world) settle(ss ...store.Settlement) []store.Settled {
	w.Helper()
	got, err := w.st.Settle(w.ctx(), ss)
	w.must(err, "Settle")
	if len(got) != len(ss) {
		w.Fatalf("Settle of %d returned %d results, want one per settlement in order", len(ss), len(got))
	}
	return got
}

// success reports the claim's attempt as delivered.
func success(c store.Claimed) store.Settlement {
	return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Deliver, Attempt: &store.Attempt{
		N: c.Attempt, Took: 5 * time.Millisecond, Outcome: store.AttemptDelivered, URL: "https://example.com/", Status: 204,
	}}
}

// failure reports the claim's attempt as failed, to be repeated after delay.
func failure(c store.Claimed, delay time.Duration) store.Settlement {
	return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Retry, Delay: delay, Attempt: &store.Attempt{
		N: c.Attempt, Took: 5 * time.Millisecond, Outcome: store.AttemptFailed, URL: "https://example.com/",
		Status: 500, Class: "status", Error: "answered 500 Internal Server Error",
	}}
}

// exhaust reports the claim's attempt as the last one, failed.
func exhaust(c store.Claimed) store.Settlement {
	s := failure(c, 0)
	s.Verdict, s.Reason = store.Exhaust, "no attempts left"
	return s
}

// release gives the lease back.
func release(c store.Claimed) store.Settlement {
	return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Release}
}

// accepted settles one lease and reports if that did not count.
func (w *world) accepted(s store.Settlement) store.Settled {
	w.Helper()
	got := w.settle(s)[0]
	if !got.Accepted {
		w.Errorf("Settle of %v, verdict %d, under its live lease was not accepted", s.ID, s.Verdict)
	}
	return got
}

// Log

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

// Upkeep

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
