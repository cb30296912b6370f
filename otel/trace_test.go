package otel_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/hookpost/hookpost/otel"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/verifier"
)

// world is a Sender and a receiver, connected over loopback, whose spans and metrics
// are kept in memory. They have providers of their own, as two companies do.
type world struct {
	t        *testing.T
	st       *memory.Store
	sent     *tracetest.InMemoryExporter
	received *tracetest.InMemoryExporter
	tracer   trace.Tracer // the sending application's
	metrics  *metric.ManualReader
	observer *sender.Observer
	hooks    *sender.Sender
	endpoint store.Endpoint
	url      *url.URL
	fail     atomic.Int64 // how many of the next are answered 503
	handled  chan trace.SpanContext
	breaks   atomic.Bool // the signature, under way
}

func provider(t *testing.T, e sdktrace.SpanExporter) *sdktrace.TracerProvider {
	p := sdktrace.NewTracerProvider(sdktrace.WithSyncer(e))
	t.Cleanup(func() { require.NoError(t, p.Shutdown(context.Background())) })
	return p
}

func newWorld(t *testing.T) *world {
	w := &world{
		t: t, st: memory.New(), sent: tracetest.NewInMemoryExporter(), received: tracetest.NewInMemoryExporter(),
		metrics: metric.NewManualReader(), handled: make(chan trace.SpanContext, 10),
	}
	var handler atomic.Pointer[http.Handler]
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if w.breaks.Load() {
			r.Header.Set("webhook-signature", "v1,"+strings.Repeat("A", 43)+"=")
		}
		(*handler.Load()).ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	var err error
	w.url, err = url.Parse(server.URL)
	require.NoError(t, err)

	senders := provider(t, w.sent)
	w.tracer = senders.Tracer("application")
	w.observer, err = otel.NewObserver(&otel.Options{
		TracerProvider: senders, MeterProvider: metric.NewMeterProvider(metric.WithReader(w.metrics)),
	})
	require.NoError(t, err)
	w.hooks = w.sender(true)
	ep, secret, err := w.hooks.CreateEndpoint(t.Context(), sender.EndpointSpec{
		URL: server.URL + "/secret-path", EventTypes: []string{"*"}, NoTestEvent: true,
	})
	require.NoError(t, err)
	w.endpoint = ep

	v, err := verifier.New(secret.Reveal(), nil)
	require.NoError(t, err)
	receivers := provider(t, w.received)
	guarded := otel.Middleware(v, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, span := receivers.Tracer("receiver").Start(r.Context(), "work")
		span.End()
		if w.fail.Add(-1) >= 0 {
			rw.WriteHeader(http.StatusServiceUnavailable)
		}
		if event, ok := verifier.FromContext(r.Context()); !ok || event.ID == "" {
			t.Error("the handler got no event")
		}
		w.handled <- span.SpanContext()
	}), &otel.Options{TracerProvider: receivers})
	handler.Store(&guarded)
	return w
}

// sender makes a Sender on the world's store.
func (w *world) sender(traceHeaders bool) *sender.Sender {
	w.t.Helper()
	s, err := sender.New(w.st, &sender.Options{
		Observer: w.observer, TraceHeaders: traceHeaders, Schedule: retry.Steps(time.Millisecond),
		HTTP:         sender.HTTPOptions{Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		PollInterval: 5 * time.Millisecond,
		Logger:       slog.New(slog.DiscardHandler),
	})
	require.NoError(w.t, err)
	return s
}

// deliver starts a Sender, waits until an event's delivery is finished and stops it.
func (w *world) deliver(s *sender.Sender, eventID string) store.Delivery {
	w.t.Helper()
	require.NoError(w.t, s.Start(w.t.Context()))
	var d store.Delivery
	require.Eventually(w.t, func() bool {
		list, err := s.Deliveries(w.t.Context(), store.DeliveryQuery{EventID: eventID})
		require.NoError(w.t, err)
		d = list[0]
		return d.State != store.Pending
	}, time.Minute, time.Millisecond)
	require.NoError(w.t, s.Stop(w.t.Context()))
	return d
}

// named returns the spans of that name, in the order in which they ended.
func named(e *tracetest.InMemoryExporter, name string) (spans tracetest.SpanStubs) {
	for _, s := range e.GetSpans() {
		if s.Name == name {
			spans = append(spans, s)
		}
	}
	return spans
}

func attributes(s tracetest.SpanStub) map[attribute.Key]any {
	m := make(map[attribute.Key]any)
	for _, a := range s.Attributes {
		m[a.Key] = a.Value.AsInterface()
	}
	return m
}

func TestSendAttemptAndVerifyAreOneTrace(t *testing.T) {
	w := newWorld(t)
	w.fail.Store(1)
	ctx, request := w.tracer.Start(t.Context(), "POST /payments")
	receipt, err := w.hooks.Send(ctx, sender.Event{Type: "payment.succeeded", Data: 1})
	require.NoError(t, err)
	request.End()
	d := w.deliver(w.hooks, receipt.ID)
	require.Equal(t, store.Delivered, d.State)

	send := named(w.sent, "send payment.succeeded")[0]
	attempts := named(w.sent, "POST")
	verified := named(w.received, "verify")
	work := named(w.received, "work")
	require.Len(t, attempts, 2)
	require.Len(t, verified, 2)
	traceID := request.SpanContext().TraceID()
	require.Equal(t, request.SpanContext().SpanID(), send.Parent.SpanID())
	for i := range 2 {
		require.Equal(t, traceID, attempts[i].SpanContext.TraceID())
		require.Equal(t, send.SpanContext.SpanID(), attempts[i].Parent.SpanID(), "an attempt is part of the send")
		require.Equal(t, traceID, verified[i].SpanContext.TraceID())
		require.Equal(t, attempts[i].SpanContext.SpanID(), verified[i].Parent.SpanID(), "the receiver continues the attempt")
		require.True(t, verified[i].Parent.IsRemote())
		require.Equal(t, verified[i].SpanContext.SpanID(), work[i].Parent.SpanID(), "the handler goes on from there")
	}
	require.Equal(t, trace.SpanKindProducer, send.SpanKind)
	require.Equal(t, trace.SpanKindClient, attempts[0].SpanKind)
	require.Equal(t, trace.SpanKindConsumer, verified[0].SpanKind)

	port, err := strconv.ParseInt(w.url.Port(), 10, 64)
	require.NoError(t, err)
	require.Equal(t, map[attribute.Key]any{
		"messaging.system": "hookpost", "messaging.operation.name": "send", "messaging.operation.type": "send",
		"messaging.destination.name": "payment.succeeded", "messaging.message.id": receipt.ID,
		"hookpost.tenant": "", "hookpost.mode": "live", "hookpost.deliveries": int64(1),
	}, attributes(send))
	first := attributes(attempts[0])
	require.NotZero(t, first["http.request.body.size"])
	delete(first, "http.request.body.size")
	require.Equal(t, map[attribute.Key]any{
		"messaging.system": "hookpost", "messaging.destination.name": "payment.succeeded", "messaging.message.id": receipt.ID,
		"hookpost.tenant": "", "hookpost.mode": "live", "hookpost.endpoint.id": w.endpoint.ID, "hookpost.delivery.id": d.ID.String(),
		"http.request.method": "POST", "server.address": "127.0.0.1", "server.port": port,
		"http.response.status_code": int64(503), "error.type": "503",
	}, first)
	require.Equal(t, codes.Error, attempts[0].Status.Code)
	second := attributes(attempts[1])
	require.Equal(t, int64(1), second["http.request.resend_count"])
	require.NotContains(t, second, attribute.Key("error.type"))
	require.Equal(t, receipt.ID, attributes(verified[0])["messaging.message.id"])
	for _, s := range append(w.sent.GetSpans(), w.received.GetSpans()...) {
		for _, a := range s.Attributes {
			require.NotContains(t, a.Value.String(), "secret-path")
		}
	}
}

func TestBatchesAreCounted(t *testing.T) {
	w := newWorld(t)
	for want := range 3 {
		events := make([]sender.Event, want)
		for i := range events {
			events[i].Type = "push"
		}
		_, err := w.hooks.SendBatch(t.Context(), events)
		require.NoError(t, err)
		spans := w.sent.GetSpans()
		require.Len(t, spans, want+1)
		count, found := attributes(spans[want])["messaging.batch.message_count"]
		require.Equal(t, want != 1, found, "a single message is none by the conventions")
		if found {
			require.EqualValues(t, want, count)
		}
	}
}

// What an error says of an event that can't be marshalled is not recorded.
func TestErrorsQuoteNoData(t *testing.T) {
	w := newWorld(t)
	bad := sender.Event{Type: "push", Data: json.Number("4242 4242")}
	_, err := w.hooks.Send(t.Context(), bad)
	require.ErrorContains(t, err, "4242 4242")
	_, err = w.hooks.SendBatch(t.Context(), []sender.Event{{Type: "push"}, bad})
	require.ErrorContains(t, err, "4242 4242")
	spans := named(w.sent, "send push")
	require.Len(t, spans, 2)
	for _, s := range spans {
		require.Equal(t, sdktrace.Status{Code: codes.Error, Description: "event Data"}, s.Status)
		require.Equal(t, "invalid_event", attributes(s)["error.type"])
	}
}

// The trace is stored: another process may make the attempt.
func TestTransactionsAndOtherProcessesKeepTheTrace(t *testing.T) {
	w := newWorld(t)
	ctx, request := w.tracer.Start(t.Context(), "POST /payments")
	tx := w.st.Begin()
	receipt, err := w.hooks.SendTx(ctx, tx, sender.Event{Type: "payment.succeeded"})
	require.NoError(t, err)
	require.NoError(t, tx.Commit())
	request.End()
	w.deliver(w.sender(true), receipt.ID)
	require.Equal(t, request.SpanContext().TraceID(), named(w.sent, "POST")[0].SpanContext.TraceID())
	require.Equal(t, request.SpanContext().TraceID(), (<-w.handled).TraceID())
}

func TestReceiversLearnOfTracesOnlyIfAsked(t *testing.T) {
	w := newWorld(t)
	s := w.sender(false)
	receipt, err := s.Send(t.Context(), sender.Event{Type: "push"})
	require.NoError(t, err)
	w.deliver(s, receipt.ID)
	require.Equal(t, named(w.sent, "send push")[0].SpanContext.TraceID(), named(w.sent, "POST")[0].SpanContext.TraceID())
	require.NotEqual(t, named(w.sent, "POST")[0].SpanContext.TraceID(), (<-w.handled).TraceID())
}

// Who can't sign does not write into the receiver's traces.
func TestRefusedRequestsAreTracesOfTheirOwn(t *testing.T) {
	w := newWorld(t)
	w.breaks.Store(true)
	receipt, err := w.hooks.Send(t.Context(), sender.Event{Type: "push"})
	require.NoError(t, err)
	require.Equal(t, store.Exhausted, w.deliver(w.hooks, receipt.ID).State)
	require.Empty(t, w.handled)
	verified, attempt := named(w.received, "verify")[0], named(w.sent, "POST")[0]
	require.Equal(t, "no_match", attributes(verified)["error.type"])
	require.Equal(t, codes.Error, verified.Status.Code)
	require.False(t, verified.Parent.IsValid())
	require.NotEqual(t, attempt.SpanContext.TraceID(), verified.SpanContext.TraceID())
	require.Len(t, verified.Links, 1)
	require.Equal(t, attempt.SpanContext.SpanID(), verified.Links[0].SpanContext.SpanID())
	require.Equal(t, "400", attributes(attempt)["error.type"])
}

// Within a span of the server's, as otelhttp makes one, that is the parent.
func TestMiddlewareStaysInTheServersSpan(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	p := provider(t, spans)
	v, err := verifier.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", nil)
	require.NoError(t, err)
	h := otel.Middleware(v, http.NotFoundHandler(), &otel.Options{TracerProvider: p})
	ctx, server := p.Tracer("server").Start(t.Context(), "POST /webhooks")
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks", strings.NewReader("{}"))
	r.Header.Set("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	answer := httptest.NewRecorder()
	h.ServeHTTP(answer, r)
	require.Equal(t, http.StatusBadRequest, answer.Code)
	verified := named(spans, "verify")[0]
	require.Equal(t, server.SpanContext().SpanID(), verified.Parent.SpanID())
	require.Equal(t, "missing_header", attributes(verified)["error.type"])
}

// The answers are those of v.Middleware.
func TestMiddlewareChangesNoAnswer(t *testing.T) {
	v, err := verifier.New("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", &verifier.Options{MaxBody: 10})
	require.NoError(t, err)
	h := otel.Middleware(v, http.NotFoundHandler(), nil)
	for body, want := range map[string]int{"{}": http.StatusBadRequest, strings.Repeat("x", 11): http.StatusRequestEntityTooLarge} {
		for _, length := range []int64{int64(len(body)), -1} {
			r := httptest.NewRequest(http.MethodPost, "/webhooks", strings.NewReader(body))
			r.ContentLength = length
			answer := httptest.NewRecorder()
			h.ServeHTTP(answer, r)
			require.Equal(t, want, answer.Code)
		}
	}
}

func TestMetricsHaveTheConventionsNames(t *testing.T) {
	w := newWorld(t)
	w.fail.Store(2)
	receipt, err := w.hooks.Send(t.Context(), sender.Event{Type: "push"})
	require.NoError(t, err)
	_, err = w.hooks.Send(t.Context(), sender.Event{Type: "no type"})
	require.ErrorIs(t, err, sender.ErrInvalidEvent)
	require.Equal(t, store.Exhausted, w.deliver(w.hooks, receipt.ID).State)

	var all metricdata.ResourceMetrics
	require.NoError(t, w.metrics.Collect(t.Context(), &all))
	require.Len(t, all.ScopeMetrics, 1)
	found := make(map[string]map[string]uint64) // metric, its attributes, the count
	for _, m := range all.ScopeMetrics[0].Metrics {
		found[m.Name+" "+m.Unit] = points(t, m.Data)
	}
	op := func(name string) string { return "hookpost.store.operation=" + name + ",messaging.system=hookpost" }
	for _, o := range []string{"enqueue", "claim", "settle"} {
		require.NotZero(t, found["hookpost.store.duration s"][op(o)], o)
	}
	delete(found, "hookpost.store.duration s")
	require.Equal(t, map[string]map[string]uint64{
		"messaging.client.operation.duration s": {
			"messaging.operation.name=send,messaging.operation.type=send,messaging.system=hookpost":                          1,
			"error.type=invalid_event,messaging.operation.name=send,messaging.operation.type=send,messaging.system=hookpost": 1,
		},
		"messaging.client.sent.messages {message}": {"messaging.operation.name=send,messaging.system=hookpost": 1},
		"http.client.request.duration s": {
			"error.type=503,http.request.method=POST,http.response.status_code=503,server.address=127.0.0.1,server.port=" + w.url.Port(): 2,
		},
		"hookpost.deliveries.exhausted {delivery}": {"messaging.system=hookpost": 1},
	}, found)
}

func points(t *testing.T, data metricdata.Aggregation) map[string]uint64 {
	t.Helper()
	counts := make(map[string]uint64)
	add := func(set attribute.Set, n uint64) { counts[set.Encoded(attribute.DefaultEncoder())] += n }
	switch d := data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range d.DataPoints {
			add(p.Attributes, p.Count)
		}
	case metricdata.Sum[int64]:
		for _, p := range d.DataPoints {
			add(p.Attributes, uint64(p.Value))
		}
	default:
		t.Fatalf("%T", data)
	}
	return counts
}

func TestTestEventsAreNoLoss(t *testing.T) {
	w := newWorld(t)
	for _, typ := range []string{"webhook.test", "push", "webhooks.test"} {
		w.observer.Exhausted(sender.Exhaustion{EventType: typ})
	}
	var all metricdata.ResourceMetrics
	require.NoError(t, w.metrics.Collect(t.Context(), &all))
	m := all.ScopeMetrics[0].Metrics[0]
	require.Equal(t, "hookpost.deliveries.exhausted", m.Name)
	require.Equal(t, map[string]uint64{"messaging.system=hookpost": 2}, points(t, m.Data))
}
