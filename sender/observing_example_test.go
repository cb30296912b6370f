package sender_test

import (
	"context"
	"fmt"
	"net/http"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

func ExampleObserver() {
	ctx := context.Background()
	arrived := make(chan struct{})
	receiver := answering(arrived, http.StatusServiceUnavailable)
	defer receiver.Close()

	ended := make(chan sender.AttemptEnd, 100) // observers must not wait
	hooks := must(sender.New(memory.New(), onLoopback(sender.Options{Observer: &sender.Observer{
		AttemptDone: func(_ context.Context, a sender.AttemptEnd) {
			select {
			case ended <- a:
			default:
			}
		},
	}})))
	if err := hooks.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	_, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: receiver.URL, EventTypes: []string{"*"}, NoTestEvent: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	must(hooks.Send(ctx, sender.Event{Type: "payment.succeeded"}))
	<-arrived
	if err := hooks.Stop(ctx); err != nil {
		fmt.Println(err)
	}
	a := <-ended
	fmt.Println(a.EventType, "attempt", a.N, a.Outcome, a.Status, a.Class)
	// Output:
	// payment.succeeded attempt 1 failed 503 status
}

func ExampleTenant_Stats() {
	ctx := context.Background()
	hooks := must(sender.New(memory.New(), nil)) // not started: nothing is delivered
	acme := hooks.For("acme", store.Live)
	_, _, err := acme.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/hooks", EventTypes: []string{"*"}, NoTestEvent: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	for range 150 {
		must(acme.Send(ctx, sender.Event{Type: "payment.succeeded"}))
	}
	stats := must(acme.Stats(ctx))
	fmt.Println("pending:", stats.Total.Pending(), "in flight:", stats.Total.InFlight)
	exact := must(acme.EndpointStats(ctx, stats.Endpoints[0].EndpointID, 1000))
	fmt.Println("pending:", exact.Pending())
	// Output:
	// pending: 50+ in flight: 0
	// pending: 150
}
