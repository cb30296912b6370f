package verifier_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
)

// A payment is what this application cares about in payment.succeeded.
type payment struct {
	ID     string `json:"id"`
	Amount int    `json:"amount"`
}

func Example() {
	v, err := verifier.New(os.Getenv("WEBHOOK_SECRET"), &verifier.Options{
		Dedupe: dedupe.NewMemory(nil), // what is delivered twice is handled once
	})
	if err != nil {
		slog.Error("webhooks are off", "err", err)
		return
	}
	mux := verifier.NewMux(nil)
	verifier.On(mux, "payment.succeeded", func(_ context.Context, e verifier.Event, p payment) error {
		slog.Info("paid", "event", e.ID, "payment", p.ID, "amount", p.Amount)
		return nil // an error makes the sender try again
	})
	http.Handle("POST /webhooks", v.Middleware(mux))
}

const exampleSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var exampleTime = time.Unix(1700000000, 0)

func ExampleVerifier_ConstructEvent() {
	v, err := verifier.New(exampleSecret, &verifier.Options{
		Clock: func() time.Time { return exampleTime }, // for a repeatable example
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	body, h := genuine()
	event, err := v.ConstructEvent(body, h)
	fmt.Println(event.Type, string(event.Data), err)

	_, err = v.ConstructEvent([]byte("forged"), h)
	fmt.Println(errors.Is(err, signing.ErrNoMatch))
	// Output:
	// payment.succeeded {"amount":5000} <nil>
	// true
}

// The form for providers with one signature header.
func ExampleConstructEvent() {
	handler := func(w http.ResponseWriter, body []byte, h http.Header) {
		event, err := verifier.ConstructEvent(body, h.Get("x-xtopay-signature"), "xtopay_client_secret_example")
		if err != nil {
			http.Error(w, "Invalid signature", http.StatusBadRequest)
			return
		}
		_, _ = fmt.Fprintln(w, event.Type)
	}
	w := httptest.NewRecorder()
	handler(w, []byte("{}"), http.Header{"X-Xtopay-Signature": {"t=1700000000,v1=00"}})
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	// Output: 400 Invalid signature
}

func ExampleVerifier_Middleware() {
	v, err := verifier.New(exampleSecret, &verifier.Options{
		Previous: []signing.Secret{signing.MustParseSecret("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")},
		OnError: func(_ http.ResponseWriter, _ *http.Request, err error) {
			fmt.Println("refused:", err) // the sender hears only "Invalid signature"
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}))
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("POST", "/webhooks", strings.NewReader("{}")))
	fmt.Println(w.Code, strings.TrimSpace(w.Body.String()))
	// Output:
	// refused: signing: missing header: webhook-id
	// 400 Invalid signature
}

// The most specific pattern gets the event; what nobody handles is
// acknowledged.
func ExampleMux() {
	mux := verifier.NewMux(nil)
	verifier.On(mux, "payment.succeeded", func(_ context.Context, _ verifier.Event, p payment) error {
		fmt.Println("paid:", p.Amount)
		return nil
	})
	mux.Handle("payment.*", func(_ context.Context, e verifier.Event) error {
		fmt.Println("another one of payments:", e.Type)
		return nil
	})
	handler := verifierAt(exampleTime).Middleware(mux)

	body, h := genuine()
	r := httptest.NewRequest("POST", "/webhooks", bytes.NewReader(body))
	r.Header = h
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// paid: 5000
	// 200
}

// Dispatch is for events that were stored first and are worked on later.
func ExampleMux_Dispatch() {
	mux := verifier.NewMux(nil)
	verifier.On(mux, "payment.succeeded", func(_ context.Context, _ verifier.Event, p payment) error {
		return fmt.Errorf("no mail server for %s", p.ID)
	})
	stored := verifier.Event{ID: "evt_1", Type: "payment.succeeded", Data: []byte(`{"id":"pay_1"}`)}
	fmt.Println(mux.Dispatch(context.Background(), stored))

	stored.Data = []byte(`{"amount":"5000"}`)
	err := mux.Dispatch(context.Background(), stored)
	fmt.Println(errors.Is(err, verifier.ErrDecode))

	// Neither gets better by trying again.
	stored.Type = "payment.failed"
	fmt.Println(mux.Dispatch(context.Background(), stored))
	err = mux.Dispatch(context.Background(), verifier.Event{ID: "evt_2", Body: []byte("<paid/>")})
	fmt.Println(errors.Is(err, verifier.ErrUnreadable), err)
	// Output:
	// no mail server for pay_1
	// true
	// verifier: no handler for the event's type
	// true verifier: the event's type can't be read: the body is not one JSON object in UTF-8
}

// In frameworks without net/http middleware.
func ExampleOnce() {
	seen := dedupe.NewMemory(nil)
	event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}} // from ConstructEvent
	for range 2 {
		err := verifier.Once(context.Background(), seen, event, func(context.Context) error {
			fmt.Println("handled")
			return nil
		})
		switch {
		case err == nil, errors.Is(err, verifier.ErrDuplicate):
			fmt.Println(200)
		case errors.Is(err, verifier.ErrInProgress):
			fmt.Println(409)
		default:
			fmt.Println(500)
		}
	}
	// Output:
	// handled
	// 200
	// 200
}
