package verifier_test

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

func Example() {
	v, err := verifier.New(os.Getenv("WEBHOOK_SECRET"), nil)
	if err != nil {
		slog.Error("webhooks are off", "err", err)
		return
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		event, _ := verifier.FromContext(r.Context())
		switch event.Type {
		case "payment.succeeded":
			slog.Info("paid", "event", event.ID, "data", string(event.Data))
		}
		w.WriteHeader(http.StatusNoContent)
	})
	http.Handle("POST /webhooks", v.Middleware(handler))
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
	body := []byte(`{"id":"evt_1","type":"payment.succeeded","created_at":"2023-11-14T22:13:20Z","data":{"amount":5000}}`)
	h := http.Header{}
	h.Set("webhook-id", "evt_1")
	h.Set("webhook-timestamp", "1700000000")
	h.Set("webhook-signature", "v1,Uui/uQkYtjQZsDwYeehFpbafKAiC0Oae/I3CqmPqxcU=")

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
		Previous: []string{"whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"},
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

func BenchmarkConstructEvent(b *testing.B) {
	v := newVerifier(b, nil)
	h := sign(b, signing.Standard, "evt_a1b2c3d4", payment)
	body := []byte(payment)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.ConstructEvent(body, h); err != nil {
			b.Fatal(err)
		}
	}
}
