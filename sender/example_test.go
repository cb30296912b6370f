package sender_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// payment is something that the examples tell about.
type payment struct {
	ID     string `json:"id"`
	Amount int    `json:"amount"`
}

// must keeps the examples short.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// answering is a receiver that answers with the next of the statuses, the last one
// again and again, and says so.
func answering(arrived chan<- struct{}, statuses ...int) *httptest.Server {
	n := 0
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(statuses[min(n, len(statuses)-1)])
		n++
		arrived <- struct{}{}
	}))
}

// onLoopback permits the examples' receivers, which are on this machine.
func onLoopback(o sender.Options) *sender.Options {
	o.HTTP.Egress.Allow = sendertest.Loopback()
	return &o
}

func Example() {
	ctx := context.Background()
	arrived := make(chan struct{})
	receiver := answering(arrived, http.StatusNoContent)
	defer receiver.Close()

	// A durable store, sqlite.Open(ctx, "webhooks.db", nil), takes memory's place in
	// earnest; it wants Options.Keyring.
	hooks, err := sender.New(memory.New(), onLoopback(sender.Options{}))
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := hooks.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}

	acme := hooks.For("acme", store.Test)
	ep, secret, err := acme.CreateEndpoint(ctx, sender.EndpointSpec{
		URL:        receiver.URL,
		EventTypes: []string{"payment.*"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("printed:", secret)
	fmt.Println("revealed, this once:", secret.Reveal()[:6])
	<-arrived // the test event

	receipt, err := acme.Send(ctx, sender.Event{Type: "payment.succeeded", Data: payment{"pay_xyz789", 5000}})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("deliveries:", receipt.Deliveries)
	<-arrived

	drain, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	if err := hooks.Stop(drain); err != nil {
		fmt.Println(err)
		return
	}
	log, err := acme.Deliveries(ctx, store.DeliveryQuery{EndpointID: ep.ID})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range log {
		fmt.Println(d.EventType, d.State, d.LastStatus)
	}
	// Output:
	// printed: whsec_***
	// revealed, this once: whsec_
	// deliveries: 1
	// payment.succeeded delivered 204
	// webhook.test delivered 204
}

// The mode of a request to the application's own API decides which world its
// events belong to.
func ExampleSender_For() {
	ctx := context.Background()
	hooks := must(sender.New(memory.New(), nil))
	for _, key := range []string{"sk_live_51H", "sk_test_51H"} {
		mode, err := sender.ModeOfKey(key)
		if err != nil {
			fmt.Println(err)
			return
		}
		acme := hooks.For("acme", mode)
		// One URL, twice: the modes are separate.
		_, _, err = acme.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/webhooks", EventTypes: []string{"*"}})
		fmt.Println(acme.Scope(), err)
	}
	// Output:
	// {acme live} <nil>
	// {acme test} <nil>
}

// Sending again with the same id is safe; that is how a caller retries.
func ExampleTenant_Send() {
	ctx := context.Background()
	hooks := must(sender.New(memory.New(), nil))
	e := sender.Event{ID: "evt_pay_xyz789", Type: "payment.succeeded", Data: payment{"pay_xyz789", 5000}, Refs: []string{"pay_xyz789"}}
	for range 2 {
		receipt, err := hooks.Send(ctx, e)
		fmt.Println(receipt.ID, receipt.Duplicate, err)
	}
	e.Data = payment{"pay_xyz789", 1}
	_, err := hooks.Send(ctx, e)
	fmt.Println(errors.Is(err, store.ErrConflict))
	// Output:
	// evt_pay_xyz789 false <nil>
	// evt_pay_xyz789 true <nil>
	// true
}

// In a batch each event succeeds or fails alone.
func ExampleTenant_SendBatch() {
	hooks := must(sender.New(memory.New(), nil))
	_, err := hooks.SendBatch(context.Background(), []sender.Event{
		{Type: "payment.succeeded"},
		{Type: "payment succeeded"},
	})
	var batch *sender.BatchError
	if errors.As(err, &batch) {
		for i, err := range batch.Errs {
			fmt.Println(i, errors.Is(err, sender.ErrInvalidEvent))
		}
	}
	// Output:
	// 0 false
	// 1 true
}

// The event exists if and only if the application's own transaction commits. The
// memory store's transaction stands for one of the application's database, which
// is given as st.Tx(tx).
func ExampleTenant_SendTx() {
	ctx := context.Background()
	st := memory.New()
	hooks := must(sender.New(st, nil))

	tx := st.Begin()
	receipt, err := hooks.SendTx(ctx, tx, sender.Event{Type: "payment.succeeded", Data: payment{"pay_xyz789", 5000}})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = hooks.Event(ctx, receipt.ID)
	fmt.Println("before the commit, not found:", errors.Is(err, store.ErrNotFound))
	if err := tx.Commit(); err != nil {
		fmt.Println(err)
		return
	}
	hooks.Wake() // optional: no poll delay
	_, err = hooks.Event(ctx, receipt.ID)
	fmt.Println("after the commit:", err)
	// Output:
	// before the commit, not found: true
	// after the commit: <nil>
}

func ExampleTenant_CreateEndpoint() {
	ctx := sender.WithActor(context.Background(), "ama@example.com")
	hooks := must(sender.New(memory.New(), nil))
	spec := sender.EndpointSpec{URL: "https://example.com/webhooks", EventTypes: []string{"payment.*", "refund.created"}}
	ep, _, err := hooks.CreateEndpoint(ctx, spec)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = hooks.CreateEndpoint(ctx, spec)
	fmt.Println(errors.Is(err, store.ErrDuplicateURL))
	_, _, err = hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: "example.com", EventTypes: []string{"*"}})
	fmt.Println(err)

	if _, err := hooks.DisableEndpoint(ctx, ep.ID, "debugging"); err != nil {
		fmt.Println(err)
		return
	}
	if _, err := hooks.EnableEndpoint(ctx, ep.ID); err != nil {
		fmt.Println(err)
		return
	}
	history, err := hooks.EndpointHistory(ctx, ep.ID)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range history {
		fmt.Printf("%s: %s %q\n", c.Actor, c.Action, c.New.Reason)
	}
	// Output:
	// true
	// sender: endpoint URL "example.com" is not absolute; begin with https://
	// ama@example.com: created ""
	// ama@example.com: disabled "debugging"
	// ama@example.com: enabled ""
}

// The URL and the selection change, the secret stays.
func ExampleTenant_EditEndpoint() {
	ctx := context.Background()
	hooks := must(sender.New(memory.New(), nil))
	ep, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/webhooks", EventTypes: []string{"push"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	moved := "https://example.com/v2/webhooks"
	ep, err = hooks.EditEndpoint(ctx, ep.ID, sender.EndpointEdit{URL: &moved})
	fmt.Println(ep.URL, ep.EventTypes, err)
	// Output: https://example.com/v2/webhooks [push] <nil>
}

// exhausted makes a started Sender with a tenant one of whose events was given up,
// and whose receiver works from then on.
func exhausted(ctx context.Context) (hooks *sender.Sender, arrived chan struct{}, eventID, endpointID string) {
	arrived = make(chan struct{})
	gaveUp := make(chan sender.Exhaustion, 1)
	receiver := answering(arrived, http.StatusInternalServerError, http.StatusOK)
	hooks = must(sender.New(memory.New(), onLoopback(sender.Options{
		Schedule: retry.None, // in earnest: three days
		Hooks: sender.Hooks{
			DeliveryExhausted: func(_ context.Context, d sender.Exhaustion) { gaveUp <- d },
		},
	})))
	if err := hooks.Start(ctx); err != nil {
		panic(err)
	}
	ep, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: receiver.URL, EventTypes: []string{"*"}, NoTestEvent: true})
	if err != nil {
		panic(err)
	}
	receipt := must(hooks.Send(ctx, sender.Event{Type: "push"}))
	<-arrived
	d := <-gaveUp
	fmt.Println("given up:", d.EventType, d.LastStatus)
	return hooks, arrived, receipt.ID, ep.ID
}

// A person sends an event once more.
func ExampleTenant_Replay() {
	ctx := context.Background()
	hooks, arrived, eventID, endpointID := exhausted(ctx)
	if _, err := hooks.Replay(ctx, eventID, endpointID); err != nil {
		fmt.Println(err)
		return
	}
	<-arrived
	if err := hooks.Stop(ctx); err != nil { // waits for the result
		fmt.Println(err)
		return
	}
	log, err := hooks.Deliveries(ctx, store.DeliveryQuery{EventID: eventID})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, d := range log {
		fmt.Println(d.State, d.LastStatus)
	}
	// Output:
	// given up: push 500
	// delivered 200
	// exhausted 500
}

// After an outage of a receiver, everything that was given up goes out again.
func ExampleTenant_Recover() {
	ctx := context.Background()
	hooks, arrived, _, endpointID := exhausted(ctx)
	outage := sender.Recovery{EndpointID: endpointID, From: time.Now().Add(-3 * time.Hour), DryRun: true}
	report, err := hooks.Recover(ctx, outage)
	fmt.Println("would replay:", report.Replayed, err)
	outage.DryRun, outage.Rate = false, 50
	report, err = hooks.Recover(ctx, outage)
	fmt.Println("replayed:", report.Replayed, err)
	<-arrived
	fmt.Println(hooks.Stop(ctx))
	// Output:
	// given up: push 500
	// would replay: 1 <nil>
	// replayed: 1 <nil>
	// <nil>
}

func ExampleTenant_Explain() {
	ctx := context.Background()
	noon := time.Date(2026, 5, 24, 12, 0, 0, 0, time.UTC)
	hooks := must(sender.New(memory.NewWithClock(func() time.Time { return noon }), nil))
	ep, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/webhooks", EventTypes: []string{"payment.*"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	receipt, err := hooks.Send(ctx, sender.Event{Type: "refund.created"})
	if err != nil {
		fmt.Println(err)
		return
	}
	x, err := hooks.Explain(ctx, receipt.ID, ep.ID)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(x.Why)
	fmt.Println(x.Text)
	// Output:
	// not selecting
	// The endpoint did not select refund.created when the event was stored at 2026-05-24 12:00:00 UTC.
}

// The log is read in pages, newest first.
func ExampleTenant_Deliveries() {
	ctx := context.Background()
	hooks := must(sender.New(memory.New(), nil))
	_, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/webhooks", EventTypes: []string{"*"}, NoTestEvent: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for i := range 5 {
		must(hooks.Send(ctx, sender.Event{ID: fmt.Sprintf("evt_%d", i), Type: "push"}))
	}
	q := store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 2}
	for {
		page, err := hooks.Deliveries(ctx, q)
		if err != nil || len(page) == 0 {
			break
		}
		for _, d := range page {
			fmt.Println(d.EventID, d.State)
		}
		fmt.Println("--")
		q.Before = page[len(page)-1].ID
	}
	// Output:
	// evt_4 pending
	// evt_3 pending
	// --
	// evt_2 pending
	// evt_1 pending
	// --
	// evt_0 pending
	// --
}
