package otel

import (
	"context"
	"errors"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// What the conventions have no word for.
const (
	tenantKey     = attribute.Key("hookpost.tenant")
	modeKey       = attribute.Key("hookpost.mode")
	endpointKey   = attribute.Key("hookpost.endpoint.id")
	deliveryKey   = attribute.Key("hookpost.delivery.id")
	deliveriesKey = attribute.Key("hookpost.deliveries")
	duplicatesKey = attribute.Key("hookpost.duplicates")
)

// NewObserver returns an observer for sender.Options.Observer that records spans and
// metrics. Any number of Senders can share it. It fails if the MeterProvider does.
func NewObserver(o *Options) (*sender.Observer, error) {
	m, err := newInstruments(o.meter())
	if err != nil {
		return nil, err
	}
	t := &tracing{tracer: o.tracer()}
	return &sender.Observer{
		SendStarted: t.sendStarted,
		SendDone: func(ctx context.Context, s sender.SendEnd) {
			t.sendDone(ctx, s)
			m.sendDone(ctx, s)
		},
		TraceContext:   traceContext,
		AttemptStarted: t.attemptStarted,
		AttemptDone: func(ctx context.Context, a sender.AttemptEnd) {
			m.attemptDone(ctx, a) // within the span, for exemplars
			t.attemptDone(ctx, a)
		},
		EventsStored:     func(s sender.StoreEnd) { m.stored("enqueue", s.Took, s.Err) },
		Claimed:          func(c sender.ClaimEnd) { m.stored("claim", c.Took, c.Err) },
		Settled:          func(s sender.SettleEnd) { m.stored("settle", s.Took, s.Err) },
		Exhausted:        m.exhausted,
		EndpointDisabled: m.endpointDisabled,
	}, nil
}

// traceContext is what the headers of a request made in ctx would say.
func traceContext(ctx context.Context) (traceparent, tracestate string) {
	headers := propagation.MapCarrier{}
	w3c.Inject(ctx, headers)
	return headers["traceparent"], headers["tracestate"]
}

// tracing makes the spans of a Sender.
type tracing struct {
	tracer trace.Tracer
}

func (t *tracing) sendStarted(ctx context.Context, s sender.SendStart) context.Context {
	name := "send"
	attrs := append(scopeAttributes(s.Scope),
		semconv.MessagingOperationTypeSend, semconv.MessagingOperationName("send"))
	if s.Events != 1 { // the conventions want no count of one
		attrs = append(attrs, semconv.MessagingBatchMessageCount(s.Events))
	}
	if s.EventType != "" {
		name += " " + s.EventType
		attrs = append(attrs, semconv.MessagingDestinationName(s.EventType))
	}
	ctx, _ = t.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindProducer), trace.WithAttributes(attrs...))
	return ctx
}

func (t *tracing) sendDone(ctx context.Context, s sender.SendEnd) {
	span := trace.SpanFromContext(ctx)
	span.SetAttributes(deliveriesKey.Int(s.Deliveries))
	if s.EventID != "" {
		span.SetAttributes(semconv.MessagingMessageID(s.EventID))
	}
	if s.Duplicates > 0 {
		span.SetAttributes(duplicatesKey.Int(s.Duplicates))
	}
	if s.Err != nil {
		span.SetAttributes(semconv.ErrorTypeKey.String(sendErrorType(s.Err)))
		span.SetStatus(codes.Error, sendErrorText(s.Err))
	}
	span.End()
}

func (t *tracing) attemptStarted(ctx context.Context, a sender.AttemptStart) context.Context {
	if a.TraceParent != "" {
		ctx = w3c.Extract(ctx, propagation.MapCarrier{"traceparent": a.TraceParent, "tracestate": a.TraceState})
	}
	attrs := append(scopeAttributes(a.Scope),
		semconv.HTTPRequestMethodPost, semconv.ServerAddress(a.Host), semconv.ServerPort(a.Port), semconv.HTTPRequestBodySize(a.Bytes),
		semconv.MessagingMessageID(a.EventID), semconv.MessagingDestinationName(a.EventType),
		endpointKey.String(a.EndpointID), deliveryKey.String(a.Delivery.String()))
	if a.N > 1 {
		attrs = append(attrs, semconv.HTTPRequestResendCount(a.N-1))
	}
	ctx, _ = t.tracer.Start(ctx, "POST", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attrs...))
	return ctx
}

func (t *tracing) attemptDone(ctx context.Context, a sender.AttemptEnd) {
	span := trace.SpanFromContext(ctx)
	if a.Status != 0 {
		span.SetAttributes(semconv.HTTPResponseStatusCode(a.Status))
	}
	if kind := attemptErrorType(&a); kind != "" {
		span.SetAttributes(semconv.ErrorTypeKey.String(kind))
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

func scopeAttributes(s store.Scope) []attribute.KeyValue {
	return []attribute.KeyValue{semconv.MessagingSystemKey.String(system), tenantKey.String(s.Tenant), modeKey.String(s.Mode.String())}
}

// sendErrorText describes an error of Send's. What is wrong with an event is left
// out: an error of its marshalling may quote the data.
func sendErrorText(err error) string {
	if bad := (*sender.EventError)(nil); errors.As(err, &bad) {
		return "event " + bad.Field
	}
	return err.Error()
}

// sendErrorType is the kind of an error of Send's in a word.
func sendErrorType(err error) string {
	for _, kind := range []struct {
		is   error
		word string
	}{
		{sender.ErrOutcomeUnknown, "outcome_unknown"},
		{sender.ErrQueueFull, "queue_full"},
		{context.Canceled, "canceled"},
		{context.DeadlineExceeded, "timeout"},
		{sender.ErrInvalidEvent, "invalid_event"},
		{store.ErrConflict, "conflict"},
		{store.ErrInvalid, "invalid"},
		{store.ErrChanged, "changed"},
		{store.ErrBusy, "busy"},
		{store.ErrReadOnly, "read_only"},
		{store.ErrFull, "full"},
		{store.ErrClosed, "closed"},
	} {
		if errors.Is(err, kind.is) {
			return kind.word
		}
	}
	return semconv.ErrorTypeOther.Value.AsString()
}

// attemptErrorType is the kind of failure of an attempt, for a status the status
// itself, as the conventions have it. It is empty for a success.
func attemptErrorType(a *sender.AttemptEnd) string {
	switch {
	case a.Outcome == store.AttemptDelivered:
		return ""
	case a.Outcome == store.AttemptUnknown:
		return "cut_off"
	case a.Class == sender.ClassStatus:
		return strconv.Itoa(a.Status)
	}
	return a.Class
}
