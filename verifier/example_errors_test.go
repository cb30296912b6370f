package verifier_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// genuine is a request as it arrived at exampleTime.
func genuine() (body []byte, h http.Header) {
	h = http.Header{}
	h.Set("webhook-id", "evt_1")
	h.Set("webhook-timestamp", "1700000000")
	h.Set("webhook-signature", "v1,Uui/uQkYtjQZsDwYeehFpbafKAiC0Oae/I3CqmPqxcU=")
	return []byte(`{"id":"evt_1","type":"payment.succeeded","created_at":"2023-11-14T22:13:20Z","data":{"amount":5000}}`), h
}

// verifierAt returns a verifier whose clock stands still.
func verifierAt(now time.Time) *verifier.Verifier {
	v, err := verifier.New(exampleSecret, &verifier.Options{Clock: func() time.Time { return now }})
	if err != nil {
		panic(err)
	}
	return v
}

// The request has none of the scheme's headers. Somebody who is not the sender
// called, a proxy dropped them, or the sender uses another scheme:
// Options.Scheme.
func Example_missingHeader() {
	body, h := genuine()
	h.Del("webhook-signature")
	_, err := verifierAt(exampleTime).ConstructEvent(body, h)
	fmt.Println(err)
	fmt.Println(errors.Is(err, signing.ErrMissingHeader))
	// Output:
	// signing: missing header: webhook-signature
	// true
}

// A header is not in the form that the scheme asks for, is there twice or is
// longer than the limits. The error says which.
func Example_malformed() {
	body, h := genuine()
	h.Set("webhook-timestamp", "2023-11-14T22:13:20Z")
	_, err := verifierAt(exampleTime).ConstructEvent(body, h)
	fmt.Println(err)
	fmt.Println(errors.Is(err, signing.ErrMalformed))
	// Output:
	// signing: malformed header: the timestamp must be Unix seconds in plain decimal digits
	// true
}

// There are signatures, but none of a version that the secret can verify. The
// sender signs with another kind of key: a shared secret (whsec_) verifies v1,
// an ed25519 key (whpk_) v1a.
func Example_unknownVersion() {
	body, h := genuine()
	h.Set("webhook-signature", "v9,Uui/uQkYtjQZsDwYeehFpbafKAiC0Oae/I3CqmPqxcU=")
	_, err := verifierAt(exampleTime).ConstructEvent(body, h)
	fmt.Println(errors.Is(err, signing.ErrUnknownVersion), errors.Is(err, signing.ErrNoMatch))
	// Output: true true
}

// The request was signed more than 5 minutes ago. Somebody replays a captured
// one, or this machine's clock is fast: see that it is synchronised before
// raising Options.Tolerance. A sender's retry is not the reason, since each
// attempt is signed afresh.
func Example_tooOld() {
	body, h := genuine()
	_, err := verifierAt(exampleTime.Add(301*time.Second)).ConstructEvent(body, h)
	fmt.Println(err)
	fmt.Println(errors.Is(err, signing.ErrTooOld))
	// Output:
	// signing: timestamp is too old
	// true
}

// The request claims to be signed more than 5 minutes from now: this machine's
// clock is slow, or the sender's is fast.
func Example_tooNew() {
	body, h := genuine()
	_, err := verifierAt(exampleTime.Add(-301*time.Second)).ConstructEvent(body, h)
	fmt.Println(err)
	fmt.Println(errors.Is(err, signing.ErrTooNew))
	// Output:
	// signing: timestamp is too far in the future
	// true
}

// No signature fits the body. In the order of likelihood: the secret is that of
// another endpoint or mode (or a new one whose predecessor is missing from
// Options.Previous); the body is not what arrived, because a framework decoded
// and encoded it again; the request is forged.
func Example_noMatch() {
	body, h := genuine()
	body = []byte(strings.ReplaceAll(string(body), ":", ": ")) // the same JSON in other bytes
	_, err := verifierAt(exampleTime).ConstructEvent(body, h)
	fmt.Println(err)
	fmt.Println(errors.Is(err, signing.ErrNoMatch))
	// Output:
	// signing: no matching signature
	// true
}

// New refuses what can't be a secret of the scheme, so that the program does
// not start rather than refuse every request. An empty one comes from an
// environment variable that isn't set.
func Example_badSecret() {
	for _, secret := range []string{"", "whsec_abc\n", "whsec_abc"} {
		_, err := verifier.New(secret, nil)
		fmt.Println(errors.Is(err, signing.ErrBadSecret), err)
	}
	// Output:
	// true verifier: the secret: signing: bad secret: it is empty
	// true verifier: the secret: signing: bad secret: it begins or ends with white space
	// true verifier: scheme standard: signing: bad secret: it must be "whsec_" followed by padded standard base64
}

// The body is longer than Options.MaxBody, 1 MiB by default. Middleware answers
// 413 and the rest is not read.
func Example_bodyTooLarge() {
	_, h := genuine()
	r := httptest.NewRequest("POST", "/webhooks", io.LimitReader(zeros{}, verifier.DefaultMaxBody+1))
	r.Header = h
	_, err := verifierAt(exampleTime).ConstructEventFromRequest(r)
	fmt.Println(err)
	fmt.Println(errors.Is(err, verifier.ErrBodyTooLarge))
	// Output:
	// verifier: request body is too large
	// true
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

// The log hears the cause. Whoever called hears the same answer whatever it
// was.
func Example_log() {
	v, err := verifier.New(exampleSecret, &verifier.Options{
		Clock: func() time.Time { return exampleTime },
		OnError: func(_ http.ResponseWriter, r *http.Request, err error) {
			fmt.Println("refused:", r.URL.Path, err) // slog.Warn and a counter
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	handler := v.Middleware(http.NotFoundHandler())
	for _, change := range []func(http.Header){
		func(h http.Header) { h.Del("webhook-id") },
		func(h http.Header) { h.Set("webhook-id", "evt_2") },
		func(h http.Header) { h.Set("webhook-timestamp", "1600000000") },
	} {
		body, h := genuine()
		change(h)
		r := httptest.NewRequest("POST", "/webhooks", strings.NewReader(string(body)))
		r.Header = h
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		fmt.Print(w.Code, " ", w.Body)
	}
	// Output:
	// refused: /webhooks signing: missing header: webhook-id
	// 400 Invalid signature
	// refused: /webhooks signing: no matching signature
	// 400 Invalid signature
	// refused: /webhooks signing: timestamp is too old
	// 400 Invalid signature
}
