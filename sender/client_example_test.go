package sender_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
)

func ExampleClient_Attempt() {
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Println(r.Header.Get("Webhook-Id"), string(body))
	}))
	defer receiver.Close()

	client, err := sender.NewClient(&sender.ClientOptions{HTTP: sender.HTTPOptions{
		// Only because the receiver of this example is on this machine.
		Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	target := sender.Target{URL: receiver.URL, Secrets: []signing.Secret{signing.NewSecret()}}
	attempt, err := client.Attempt(context.Background(), target, sender.Event{
		ID:        "evt_a1b2c3d4",
		Type:      "payment.succeeded",
		CreatedAt: time.Date(2026, 5, 24, 10, 2, 14, 0, time.UTC),
		Data:      map[string]any{"id": "pay_xyz789", "amount": 5000},
	})
	fmt.Println(attempt.Outcome, attempt.Status, err)
	// Output:
	// evt_a1b2c3d4 {"id":"evt_a1b2c3d4","type":"payment.succeeded","created_at":"2026-05-24T10:02:14.000000Z","data":{"amount":5000,"id":"pay_xyz789"}}
	// delivered 200 <nil>
}

func ExampleClient_Deliver() {
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusInternalServerError)
	}))
	defer receiver.Close()

	client, err := sender.NewClient(&sender.ClientOptions{
		HTTP:     sender.HTTPOptions{Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		Schedule: retry.Steps(time.Millisecond, 2*time.Millisecond),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	target := sender.Target{URL: receiver.URL, Secrets: []signing.Secret{signing.NewSecret()}}
	attempts, err := client.Deliver(context.Background(), target, sender.Event{Type: "payment.succeeded"})
	fmt.Println(errors.Is(err, sender.ErrExhausted))
	for _, a := range attempts {
		fmt.Println(a.N, a.Outcome, a.Status, a.Error)
	}
	// Output:
	// true
	// 1 failed 500 the receiver answered 500 Internal Server Error
	// 2 failed 500 the receiver answered 500 Internal Server Error
	// 3 failed 500 the receiver answered 500 Internal Server Error
}

func ExampleClient_Attempt_blocked() {
	client, err := sender.NewClient(nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	target := sender.Target{URL: "http://127.0.0.1:8080/admin", Secrets: []signing.Secret{signing.NewSecret()}}
	_, err = client.Attempt(context.Background(), target, sender.Event{Type: "payment.succeeded"})
	fmt.Println(err)
	// Output:
	// sender: attempt failed (blocked): requests to this URL are not allowed: localhost is this server; use a tunnel
}
