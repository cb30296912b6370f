package otel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/semconv/v1.43.0/httpconv"
	"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// seconds are the bounds that the conventions advise for durations.
var seconds = metric.WithExplicitBucketBoundaries(0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

const storeOperationKey = attribute.Key("hookpost.store.operation")

// instruments are the metrics of a Sender.
type instruments struct {
	operation messagingconv.ClientOperationDuration
	sent      messagingconv.ClientSentMessages
	request   httpconv.ClientRequestDuration
	store     metric.Float64Histogram
	lost      metric.Int64Counter
	disabled  metric.Int64Counter
}

func newInstruments(m metric.Meter) (*instruments, error) {
	var i instruments
	var errs [6]error
	i.operation, errs[0] = messagingconv.NewClientOperationDuration(m, seconds)
	i.sent, errs[1] = messagingconv.NewClientSentMessages(m)
	i.request, errs[2] = httpconv.NewClientRequestDuration(m, seconds)
	i.store, errs[3] = m.Float64Histogram("hookpost.store.duration", seconds,
		metric.WithUnit("s"), metric.WithDescription("Duration of the calls of the store that sending and delivering wait for."))
	i.lost, errs[4] = m.Int64Counter("hookpost.deliveries.exhausted",
		metric.WithUnit("{delivery}"), metric.WithDescription("Deliveries that were given up."))
	i.disabled, errs[5] = m.Int64Counter("hookpost.endpoints.disabled",
		metric.WithUnit("{endpoint}"), metric.WithDescription("Endpoints that were disabled because of their answers or failures."))
	return &i, errors.Join(errs[:]...)
}

func (i *instruments) sendDone(ctx context.Context, s sender.SendEnd) {
	attrs := []attribute.KeyValue{semconv.MessagingOperationTypeSend}
	if s.Err != nil {
		attrs = append(attrs, semconv.ErrorTypeKey.String(sendErrorType(s.Err)))
	}
	i.operation.Record(ctx, s.Took.Seconds(), "send", system, attrs...)
	if s.Stored > 0 {
		i.sent.Add(ctx, int64(s.Stored), "send", system)
	}
}

func (i *instruments) attemptDone(ctx context.Context, a sender.AttemptEnd) {
	var attrs []attribute.KeyValue
	if a.Status != 0 {
		attrs = append(attrs, semconv.HTTPResponseStatusCode(a.Status))
	}
	if kind := attemptErrorType(&a); kind != "" {
		attrs = append(attrs, semconv.ErrorTypeKey.String(kind))
	}
	i.request.Record(ctx, a.Took.Seconds(), httpconv.RequestMethodPost, a.Host, a.Port, attrs...)
}

func (i *instruments) stored(operation string, took time.Duration, err error) {
	attrs := []attribute.KeyValue{semconv.MessagingSystemKey.String(system), storeOperationKey.String(operation)}
	if err != nil {
		attrs = append(attrs, semconv.ErrorTypeKey.String(sendErrorType(err)))
	}
	i.store.Record(context.Background(), took.Seconds(), metric.WithAttributes(attrs...))
}

// exhausted leaves out test events, which are no loss.
func (i *instruments) exhausted(e sender.Exhaustion) {
	if store.Reserved(e.EventType) {
		return
	}
	i.lost.Add(context.Background(), 1, metric.WithAttributes(semconv.MessagingSystemKey.String(system)))
}

func (i *instruments) endpointDisabled(sender.EndpointDisabled) {
	i.disabled.Add(context.Background(), 1, metric.WithAttributes(semconv.MessagingSystemKey.String(system)))
}
