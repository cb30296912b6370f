package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The program on a real socket, called by hookpost's own client.
func TestReceiver(t *testing.T) {
	secret := signing.NewSecret()
	app := new(shop)
	handler, err := newHandler(secret.Reveal(), app)
	require.NoError(t, err)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, listener, handler) }()

	client, err := sender.NewClient(&sender.ClientOptions{
		HTTP: sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
	})
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	target := sender.Target{URL: "http://" + listener.Addr().String() + "/webhooks", Secrets: []signing.Secret{secret}}

	send := func(id, typ, data string) int {
		attempt, _ := client.Attempt(t.Context(), target, sender.Event{ID: id, Type: typ, Data: []byte(data)})
		return attempt.Status
	}
	paid := `{"id":"pay_1","amount":5000,"metadata":{"order_id":"ord_001"}}`
	require.Equal(t, 200, send("evt_1", "payment.succeeded", paid))
	require.Equal(t, 200, send("evt_1", "payment.succeeded", paid), "the same event again")
	require.Equal(t, 200, send("evt_2", "invoice.sent", `{}`), "a type that the shop doesn't know")
	require.Equal(t, 500, send("evt_3", "payment.succeeded", `{"amount":1}`), "an event that can't be handled")
	require.Equal(t, 500, send("evt_3", "payment.succeeded", `{"amount":1}`), "nor when it comes again")
	require.Equal(t, 500, send("evt_7", "payment.succeeded", `{"amount":"much"}`), "data of another shape")
	require.Equal(t, 200, send("evt_4", "subscription.renewed", `{"customer":{"id":"cus_1"},"current_period_end":"2026-06-24T10:00:00Z"}`))
	require.Equal(t, 200, send("evt_5", "subscription.renewed", `{"customer":{"id":"cus_1"},"current_period_end":"2026-05-24T10:00:00Z"}`), "older, but later")
	require.Equal(t, map[string]int{"ord_001": 5000}, app.orders())
	require.Equal(t, time.Date(2026, 6, 24, 10, 0, 0, 0, time.UTC), app.accessUntil("cus_1"))
	require.Equal(t, 200, send("evt_6", "subscription.cancelled", `{"customer":{"id":"cus_1"}}`))
	require.Zero(t, app.accessUntil("cus_1"))

	target.Secrets = []signing.Secret{signing.NewSecret()}
	attempt, err := client.Attempt(t.Context(), target, sender.Event{Type: "payment.succeeded"})
	require.Error(t, err)
	require.Equal(t, store.AttemptFailed, attempt.Outcome)
	require.Equal(t, 400, attempt.Status, "another secret")

	stop()
	require.NoError(t, <-served)
}

// Handlers can be tested without a socket too, and must refuse every fault.
func TestRefusal(t *testing.T) {
	secret := signing.NewSecret().Reveal()
	app := new(shop)
	handler, err := newHandler(secret, app)
	require.NoError(t, err)
	event := verifier.Event{Type: "payment.succeeded", Data: []byte(`{"amount":1,"metadata":{"order_id":"ord_1"}}`)}
	for _, fault := range verifiertest.Faults(nil) {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, verifiertest.NewRequest(t, secret, event, &verifiertest.Options{Fault: fault}))
		require.Equal(t, http.StatusBadRequest, w.Code, fault)
	}
	require.Empty(t, app.orders())
}

func TestNeedsSecret(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), "127.0.0.1:0", ""), "WEBHOOK_SECRET")
	require.ErrorIs(t, run(t.Context(), "127.0.0.1:0", "whsec_short"), signing.ErrBadSecret)
}
