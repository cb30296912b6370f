package verifier_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// GitHub signs the body alone. Type and id come from headers that no signature
// covers, which Event.Signed says; what a handler does should depend on what
// is in the body.
func Example_gitHub() {
	v, err := verifier.New("It's a Secret to Everybody", &verifier.Options{Scheme: signing.GitHub})
	if err != nil {
		fmt.Println(err)
		return
	}
	type push struct {
		Ref string `json:"ref"`
	}
	mux := verifier.NewMux(nil)
	verifier.On(mux, "push", func(_ context.Context, e verifier.Event, p push) error {
		fmt.Println(e.ID, p.Ref, e.Signed.ID, e.Signed.Type)
		return nil
	})
	handler := v.Middleware(mux)

	r := httptest.NewRequest("POST", "/github", strings.NewReader(`{"ref":"refs/heads/main","commits":[]}`))
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	r.Header.Set("X-Hub-Signature-256", "sha256=956e09ea38c603d2f2b61e38d03c391ceba8d994bb4ea8c7d300c83fb62840d9")
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	fmt.Println(w.Code)
	// Output:
	// 72d3162e-cc78-11e3-81ab-4c9367dc0958 refs/heads/main false false
	// 200
}

// Stripe's form in its own header, and Stripe's envelope: the resource is the
// member "object" of the data.
func Example_stripe() {
	v, err := verifier.New("whsec_example_stripe_endpoint_secret", &verifier.Options{
		Scheme: signing.Timestamped("Stripe-Signature"),
		Clock:  func() time.Time { return exampleTime }, // for a repeatable example
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	body := []byte(`{"id":"evt_1NG8Du","object":"event","created":1700000000,"type":"charge.succeeded","data":{"object":{"id":"ch_1","amount":5000}}}`)
	h := http.Header{}
	h.Set("Stripe-Signature", "t=1700000000,v1=167a8c5fe60168481b9a447f193067872952df5292dd47b067e366ecb81c0d6f")
	event, err := v.ConstructEvent(body, h)
	fmt.Println(event.ID, event.Type, event.CreatedAt.Format(time.RFC3339), err)

	type charge struct {
		Object struct {
			ID     string `json:"id"`
			Amount int    `json:"amount"`
		} `json:"object"`
	}
	mux := verifier.NewMux(nil)
	verifier.On(mux, "charge.succeeded", func(_ context.Context, _ verifier.Event, c charge) error {
		fmt.Println(c.Object.ID, c.Object.Amount)
		return nil
	})
	fmt.Println(mux.Dispatch(context.Background(), event)) // what the Mux does behind Middleware
	// Output:
	// evt_1NG8Du charge.succeeded 2023-11-14T22:13:20Z <nil>
	// ch_1 5000
	// <nil>
}

// Senders that use Svix need nothing special: the default scheme accepts a
// complete set of svix-id, svix-timestamp and svix-signature as well.
func Example_svix() {
	body, h := genuine()
	svix := http.Header{}
	for _, name := range []string{"id", "timestamp", "signature"} {
		svix.Set("svix-"+name, h.Get("webhook-"+name))
	}
	event, err := verifierAt(exampleTime).ConstructEvent(body, svix)
	fmt.Println(event.ID, err)
	// Output: evt_1 <nil>
}
