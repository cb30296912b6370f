// Package otel records what hookpost does with OpenTelemetry: spans for sending an
// event, for each attempt to deliver it and for its verification by the receiver, and
// metrics under the names of the semantic conventions for messaging and HTTP, version
// 1.43.
//
// An event keeps the trace context in which it was sent, so that its attempts are in
// the same trace, whichever process makes them and when. With
// sender.Options.TraceHeaders a receiver continues that trace. The format is W3C Trace
// Context, whatever propagator the application uses elsewhere.
//
//	observer, err := otel.NewObserver(nil)
//	hooks, err := sender.New(st, &sender.Options{Observer: observer, TraceHeaders: true})
//
//	http.Handle("POST /webhooks", otel.Middleware(v, handler, nil))
//
// Nothing is recorded of secrets, bodies and paths of URLs.
package otel

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

const scopeName = "github.com/hookpost/hookpost/otel"

// system is the value of messaging.system.
const system = "hookpost"

// Options says where spans and metrics go.
type Options struct {
	// TracerProvider makes the spans. Default: the global one.
	TracerProvider trace.TracerProvider
	// MeterProvider makes the metrics. Default: the global one.
	MeterProvider metric.MeterProvider
}

func (o *Options) tracer() trace.Tracer {
	p := otel.GetTracerProvider()
	if o != nil && o.TracerProvider != nil {
		p = o.TracerProvider
	}
	return p.Tracer(scopeName, trace.WithSchemaURL(semconv.SchemaURL))
}

func (o *Options) meter() metric.Meter {
	p := otel.GetMeterProvider()
	if o != nil && o.MeterProvider != nil {
		p = o.MeterProvider
	}
	return p.Meter(scopeName, metric.WithSchemaURL(semconv.SchemaURL))
}

// w3c reads and writes traceparent and tracestate.
var w3c propagation.TraceContext
