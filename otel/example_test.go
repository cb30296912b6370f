package otel_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/hookpost/hookpost/otel"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store/memory"
)

func ExampleNewObserver() {
	ctx := context.Background()
	spans := tracetest.NewInMemoryExporter() // instead of one that sends them somewhere
	observer, err := otel.NewObserver(&otel.Options{TracerProvider: trace.NewTracerProvider(trace.WithSyncer(spans))})
	if err != nil {
		fmt.Println(err)
		return
	}
	arrived := make(receiver)
	hooks, err := sender.New(memory.New(), &sender.Options{
		Observer:     observer,
		TraceHeaders: true,
		HTTP:         sender.HTTPOptions{WrapTransport: func(http.RoundTripper) http.RoundTripper { return arrived }},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, _, err = hooks.CreateEndpoint(ctx, sender.EndpointSpec{
		URL: "https://example.com/webhooks", EventTypes: []string{"*"}, NoTestEvent: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := hooks.Send(ctx, sender.Event{Type: "payment.succeeded"}); err != nil {
		fmt.Println(err)
		return
	}
	if err := hooks.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	<-arrived
	if err := hooks.Stop(ctx); err != nil {
		fmt.Println(err)
	}

	all := spans.GetSpans()
	slices.SortFunc(all, func(a, b tracetest.SpanStub) int { return a.StartTime.Compare(b.StartTime) })
	for _, s := range all {
		fmt.Println(s.Name, s.SpanKind, s.SpanContext.TraceID() == all[0].SpanContext.TraceID())
	}
	// Output:
	// send payment.succeeded producer true
	// POST client true
}

// receiver takes the place of the network, and says when a request has arrived.
type receiver chan struct{}

func (arrived receiver) RoundTrip(r *http.Request) (*http.Response, error) {
	defer close(arrived)
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
}
