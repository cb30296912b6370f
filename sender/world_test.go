package sender_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// world is a Sender on a memory store and the receivers that it sends to, all
// inside one bubble of fake time.
type world struct {
	*sender.Sender
	t   *testing.T
	st  *memory.Store
	net *network
	log *logBook // what the Sender logged
}

// inBubble runs f with a started Sender in a bubble of fake time. The options'
// transport and logger are the world's.
func inBubble(t *testing.T, o sender.Options, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, o)
		require.NoError(t, w.Start(t.Context()))
		f(t, w)
	})
}

// newWorld makes a world whose Sender is not started. It stops with the test.
func newWorld(t *testing.T, o sender.Options) *world {
	t.Helper()
	w := &world{t: t, st: memory.New(), net: &network{hosts: make(map[string]*sendertest.Transport)}, log: new(logBook)}
	w.Sender = w.another(o)
	return w
}

// another makes a further Sender on the world's store and network.
func (w *world) another(o sender.Options) *sender.Sender {
	w.t.Helper()
	return w.on(w.st, o)
}

// on makes a Sender on a store and the world's network.
func (w *world) on(st store.Store, o sender.Options) *sender.Sender {
	w.t.Helper()
	if o.HTTP.WrapTransport == nil {
		o.HTTP.WrapTransport = func(http.RoundTripper) http.RoundTripper { return w.net }
	}
	if o.PollInterval == 0 {
		o.PollInterval = time.Minute // 72 hours have many seconds
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(w.log, nil))
	}
	s, err := sender.New(st, &o)
	require.NoError(w.t, err)
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(w.t, s.Stop(ctx))
	})
	return s
}

// receiver sets the answers that a host gives; the last one is repeated.
func (w *world) receiver(host string, answers ...sendertest.Answer) *sendertest.Transport {
	return w.net.at(host, answers...)
}

// endpoint registers https://host/hook without a test event.
func (w *world) endpoint(tenant *sender.Tenant, host string, types ...string) store.Endpoint {
	w.t.Helper()
	ep, _ := w.endpointAndSecret(tenant, host, types...)
	return ep
}

func (w *world) endpointAndSecret(tenant *sender.Tenant, host string, types ...string) (store.Endpoint, signing.Secret) {
	w.t.Helper()
	if len(types) == 0 {
		types = []string{"*"}
	}
	ep, secret, err := tenant.CreateEndpoint(w.t.Context(), sender.EndpointSpec{
		URL: "https://" + host + "/hook", EventTypes: types, NoTestEvent: true,
	})
	require.NoError(w.t, err)
	return ep, secret
}

// send sends an event of the type and returns its id once nothing moves any more.
func (w *world) send(tenant *sender.Tenant, eventType string) string {
	w.t.Helper()
	receipt, err := tenant.Send(w.t.Context(), sender.Event{Type: eventType})
	require.NoError(w.t, err)
	synctest.Wait()
	return receipt.ID
}

// pass lets time pass, and a millisecond more, so that what is due at its end is
// done too.
func (w *world) pass(d time.Duration) {
	if d > 0 {
		time.Sleep(d + time.Millisecond)
	}
	synctest.Wait()
}

// delivery returns the newest delivery of an event to an endpoint.
func (w *world) delivery(tenant *sender.Tenant, eventID string, ep store.Endpoint) store.Delivery {
	w.t.Helper()
	found, err := tenant.Deliveries(w.t.Context(), store.DeliveryQuery{EventID: eventID, EndpointID: ep.ID})
	require.NoError(w.t, err)
	require.NotEmpty(w.t, found, "no delivery of %s to %s", eventID, ep.ID)
	return found[0]
}

// attempts returns the attempts of the newest delivery of an event to an endpoint.
func (w *world) attempts(tenant *sender.Tenant, eventID string, ep store.Endpoint) []store.Attempt {
	w.t.Helper()
	_, attempts, err := tenant.Delivery(w.t.Context(), w.delivery(tenant, eventID, ep).ID)
	require.NoError(w.t, err)
	return attempts
}

// current reads an endpoint anew.
func (w *world) current(tenant *sender.Tenant, ep store.Endpoint) store.Endpoint {
	w.t.Helper()
	now, err := tenant.Endpoint(w.t.Context(), ep.ID)
	require.NoError(w.t, err)
	return now
}

// requireEmpty fails the test if the tenant has any event, delivery or endpoint.
func requireEmpty(t *testing.T, tenant *sender.Tenant) {
	t.Helper()
	ctx := context.Background()
	events, err := tenant.Events(ctx, store.EventQuery{})
	require.NoError(t, err)
	require.Empty(t, events)
	deliveries, err := tenant.Deliveries(ctx, store.DeliveryQuery{})
	require.NoError(t, err)
	require.Empty(t, deliveries)
	endpoints, err := tenant.Endpoints(ctx, store.EndpointQuery{States: []store.EndpointState{store.Enabled, store.Disabled, store.Deleted}})
	require.NoError(t, err)
	require.Empty(t, endpoints)
}

// network answers for all hosts, each by its own script. A host without one
// answers 200.
type network struct {
	mu    sync.Mutex
	hosts map[string]*sendertest.Transport
}

func (n *network) at(host string, answers ...sendertest.Answer) *sendertest.Transport {
	n.mu.Lock()
	defer n.mu.Unlock()
	tr := n.hosts[host]
	if tr == nil {
		tr = sendertest.NewTransport(answers...)
		n.hosts[host] = tr
	} else if len(answers) > 0 {
		tr.Script(answers...)
	}
	return tr
}

func (n *network) RoundTrip(req *http.Request) (*http.Response, error) {
	return n.at(req.URL.Hostname()).RoundTrip(req)
}

// logBook keeps what is logged.
type logBook struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// offsets returns when requests arrived after start, to the millisecond.
func offsets(start time.Time, requests []sendertest.Request) []time.Duration {
	after := make([]time.Duration, len(requests))
	for i, r := range requests {
		after[i] = r.At.Sub(start).Round(time.Millisecond)
	}
	return after
}

// envelope is what an event's request body holds.
type envelope struct {
	ID        string          `json:"id"`
	Type      string          `json:"type"`
	CreatedAt time.Time       `json:"created_at"`
	Data      json.RawMessage `json:"data"`
}

func decode(t *testing.T, r sendertest.Request) envelope {
	t.Helper()
	var e envelope
	require.NoError(t, json.Unmarshal(r.Body, &e))
	return e
}

// ids returns the ids of the events that requests carry.
func ids(t *testing.T, requests []sendertest.Request) []string {
	t.Helper()
	list := make([]string, len(requests))
	for i, r := range requests {
		list[i] = decode(t, r).ID
	}
	return list
}

// durable makes any store call itself durable.
type durable struct{ store.Store }

func (durable) Durable() bool { return true }

func ptr[T any](v T) *T { return &v }

var errBoom = errors.New("boom")

// bubble runs f in a bubble of fake time, without a Sender.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// startReal starts a Sender on a memory store in real time with real sockets.
func startReal(t *testing.T, o *sender.Options) *sender.Sender {
	t.Helper()
	o.Logger = slog.New(slog.DiscardHandler)
	s, err := sender.New(memory.New(), o)
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	t.Cleanup(func() { require.NoError(t, s.Stop(context.Background())) })
	return s
}

// newQuiet makes a Sender on a memory store that is never started.
func newQuiet(t *testing.T, o *sender.Options) *sender.Sender {
	t.Helper()
	return newQuietOn(t, memory.New(), o)
}

func newQuietOn(t *testing.T, st store.Store, o *sender.Options) *sender.Sender {
	t.Helper()
	s, err := sender.New(st, o)
	require.NoError(t, err)
	return s
}
