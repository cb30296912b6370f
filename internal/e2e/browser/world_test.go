package browser

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// world is an application with the dashboard mounted in it, and the server of a
// customer.
type world struct {
	*testing.T
	live     *sender.Tenant // the visitor's account, which has one in test mode too
	receiver *sendertest.Receiver
	site     string // address of the dashboard
}

// visitor is who looks at the pages, with all rights.
var visitor = dashboard.Access{Actor: "ann@example.com", Accounts: []dashboard.Account{
	{Tenant: "acme", Mode: store.Live, Name: "Acme Ltd", Rights: dashboard.AllRights},
	{Tenant: "acme", Mode: store.Test, Name: "Acme Ltd", Rights: dashboard.AllRights},
}}

type object = map[string]any

// catalogue has payments in both sections of the picker.
var catalogue = []sender.EventType{
	{Name: "payment.succeeded", Resource: "Payments", Recommended: true, Description: "A payment went through.", Example: object{"amount": 5000, "currency": "GHS"}},
	{Name: "payment.failed", Resource: "Payments", Recommended: true, Description: "A payment was declined.", Example: object{"amount": 5000}},
	{Name: "customer.created", Resource: "Customers", Recommended: true, Description: "A customer was registered.", Example: object{"id": "cus_1"}},
	{Name: "payment.disputed", Resource: "Payments", Description: "A customer wants their money back.", Example: object{"amount": 5000}},
	{Name: "payment.expired", Resource: "Payments", Description: "A customer did not pay in time.", Example: object{"amount": 5000}},
	{Name: "payout.paid", Resource: "Payouts", Description: "Money has arrived at the bank.", Example: object{"amount": 120000}},
}

// newWorld starts everything; it ends with the test.
func newWorld(t *testing.T, change ...func(*sender.Options, *dashboard.Access)) *world {
	t.Helper()
	w := &world{T: t, receiver: sendertest.NewReceiver(t)}
	access := visitor
	o := &sender.Options{
		PlaintextSecrets: true,
		EventTypes:       catalogue,
		Schedule:         retry.Steps(time.Millisecond),
		HTTP:             sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
		Logger:           slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(o, &access)
	}
	hooks, err := sender.New(memory.New(), o)
	require.NoError(t, err)
	require.NoError(t, hooks.Start(t.Context()))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, hooks.Stop(ctx))
	})
	w.live = hooks.For("acme", store.Live)

	pages, err := dashboard.New(hooks, func(*http.Request) (dashboard.Access, error) { return access, nil }, nil)
	require.NoError(t, err)
	t.Cleanup(pages.Close)
	mux := http.NewServeMux()
	mux.Handle("/settings/webhooks/", http.StripPrefix("/settings/webhooks", pages))
	mux.HandleFunc("GET /favicon.ico", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) })
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	w.site = server.URL + "/settings/webhooks/"
	return w
}

// endpoint makes an endpoint of the live account on the customer's server.
func (w *world) endpoint(path string, types ...string) store.Endpoint {
	w.Helper()
	ep, _, err := w.live.CreateEndpoint(w.Context(), sender.EndpointSpec{URL: w.receiver.URL() + path, EventTypes: types})
	require.NoError(w, err)
	return ep
}

// only is the live account's only endpoint.
func (w *world) only() store.Endpoint {
	w.Helper()
	list, err := w.live.Endpoints(w.Context(), store.EndpointQuery{Limit: 2})
	require.NoError(w, err)
	require.Len(w, list, 1)
	return list[0]
}

// send sends an event of the live account and returns its id.
func (w *world) send(eventType string, data any, refs ...string) string {
	w.Helper()
	receipt, err := w.live.Send(w.Context(), sender.Event{Type: eventType, Data: data, Refs: refs})
	require.NoError(w, err)
	return receipt.ID
}

// settled waits until no delivery of the live account is pending.
func (w *world) settled() {
	w.Helper()
	w.until("nothing is pending", func() bool {
		list, err := w.live.Deliveries(w.Context(), store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1})
		require.NoError(w, err)
		return len(list) == 0
	})
}

// patience ends a test that waits for what never comes.
const patience = time.Minute

// until waits for a condition that no event announces.
func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(10 * time.Millisecond) {
		require.True(w, time.Now().Before(end), "waited in vain until %s", what)
	}
}
