package otel

import (
	"errors"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// Middleware is v.Middleware(next) with a span for the verification of each
// request, named "verify". It ends before next is called, whose context has it as
// the parent of what follows.
//
// If the request's context has a span already, as within otelhttp, that is the
// parent. Otherwise a request that is verified continues the trace that its headers
// traceparent and tracestate name, and one that is refused, which anybody can send,
// is a trace of its own with a link to that one.
//
// The body is verified twice, here and by v.Middleware, which decides.
func Middleware(v *verifier.Verifier, next http.Handler, o *Options) http.Handler {
	tracer := o.tracer()
	guarded := v.Middleware(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		event, err := v.ConstructEventFromRequest(r)
		ctx := r.Context()
		how := []trace.SpanStartOption{
			trace.WithSpanKind(trace.SpanKindConsumer), trace.WithTimestamp(began),
			trace.WithAttributes(semconv.MessagingSystemKey.String(system), semconv.MessagingOperationName("verify")),
		}
		if !trace.SpanContextFromContext(ctx).IsValid() {
			sent := w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
			if err == nil {
				ctx = sent
			} else if link := trace.SpanContextFromContext(sent); link.IsValid() {
				how = append(how, trace.WithLinks(trace.Link{SpanContext: link}))
			}
		}
		ctx, span := tracer.Start(ctx, "verify", how...)
		if err == nil {
			span.SetAttributes(eventAttributes(event)...)
		} else {
			span.SetAttributes(semconv.ErrorTypeKey.String(verifyErrorType(err)))
			span.SetStatus(codes.Error, "")
		}
		span.End()
		guarded.ServeHTTP(w, r.WithContext(ctx))
	})
}

func eventAttributes(e verifier.Event) []attribute.KeyValue {
	attrs := []attribute.KeyValue{semconv.MessagingMessageBodySize(len(e.Body))}
	if e.ID != "" {
		attrs = append(attrs, semconv.MessagingMessageID(e.ID))
	}
	if e.Type != "" {
		attrs = append(attrs, semconv.MessagingDestinationName(e.Type))
	}
	return attrs
}

// verifyErrorType is why a request is refused, in a word.
func verifyErrorType(err error) string {
	for _, kind := range []struct {
		is   error
		word string
	}{
		{signing.ErrMissingHeader, "missing_header"},
		{signing.ErrMalformed, "malformed_header"},
		{signing.ErrTooOld, "too_old"},
		{signing.ErrTooNew, "too_new"},
		{signing.ErrNoMatch, "no_match"},
		{verifier.ErrBodyTooLarge, "body_too_large"},
	} {
		if errors.Is(err, kind.is) {
			return kind.word
		}
	}
	return semconv.ErrorTypeOther.Value.AsString()
}
