package signing_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hookpost/hookpost/signing"
)

func Example() {
	// In a program: secret := signing.NewSecret()
	secret, err := signing.NewSecretFrom(strings.NewReader("thirty-two bytes, none random..."))
	if err != nil {
		panic(err)
	}
	fmt.Println(secret, secret.Fingerprint())

	key, err := signing.Standard.Bind(secret)
	if err != nil {
		panic(err)
	}
	body := []byte(`{"id":"evt_1","type":"payment.succeeded"}`)
	sentAt := time.Unix(1700000000, 0)
	h := make(http.Header)
	key.SetHeaders(h, signing.Message{ID: "evt_1", Timestamp: sentAt, Body: body})
	for _, name := range signing.HeaderNames(key) {
		fmt.Printf("%s: %s\n", name, h.Get(name))
	}

	m, err := key.Verify(h, body, sentAt.Add(time.Second), signing.Limits{})
	fmt.Println(m.ID, err)
	_, err = key.Verify(h, body, sentAt.Add(time.Hour), signing.Limits{})
	fmt.Println(err)
	// Output:
	// whsec_*** fa7b5f6b
	// Webhook-Id: evt_1
	// Webhook-Signature: v1,vZ6jn1CDp5B6AxTnUQ25nVya3SBb1rzr8FAl1VJEpIc=
	// Webhook-Timestamp: 1700000000
	// evt_1 <nil>
	// signing: timestamp is too old
}

func ExampleTimestamped() {
	secret, err := signing.ParseSecret("whsec_test_secret")
	if err != nil {
		panic(err)
	}
	key, err := signing.Timestamped("X-Xtopay-Signature").Bind(secret)
	if err != nil {
		panic(err)
	}
	value := key.AppendSignature(nil, signing.Message{Timestamp: time.Unix(1700000000, 0), Body: []byte("{}")})
	fmt.Printf("%s\n", value)
	// Output: t=1700000000,v1=ceb8863f7208fa249a6cd8f951e993c7563412aca65866f6272283debe143ab3
}

func ExampleBodyHMAC() {
	secret, err := signing.ParseSecret("the secret that the provider shows")
	if err != nil {
		panic(err)
	}
	// What Shopify sends: base64, no prefix.
	key, err := signing.BodyHMAC("X-Shopify-Hmac-Sha256", "", signing.Base64).Bind(secret)
	if err != nil {
		panic(err)
	}
	h := http.Header{"X-Shopify-Hmac-Sha256": {"qLDh4YgII4vqQ/cY8+jixP6Yak3FLPqe11KmwyZSK+Y="}}
	m, err := key.Verify(h, []byte(`{"id":820982911946154508}`), time.Now(), signing.Limits{})
	fmt.Printf("%s %+v %v\n", m.Body, m.Signed, err)
	// Output: {"id":820982911946154508} {ID:false Type:false Time:false} <nil>
}

// GitHub's example from its documentation on validating deliveries, and the
// headers that say which event it is.
func Example_github() {
	secret, err := signing.ParseSecret("It's a Secret to Everybody")
	if err != nil {
		panic(err)
	}
	key, err := signing.GitHub.Bind(secret)
	if err != nil {
		panic(err)
	}
	h := make(http.Header)
	h.Set("X-GitHub-Event", "issues")
	h.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	h.Set("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	m, err := key.Verify(h, []byte("Hello, World!"), time.Now(), signing.Limits{})
	fmt.Println(m.Type, m.ID, err)
	fmt.Println("type and id may be anybody's:", !m.Signed.Type && !m.Signed.ID)
	// Output:
	// issues 72d3162e-cc78-11e3-81ab-4c9367dc0958 <nil>
	// type and id may be anybody's: true
}

// With ed25519 the sender keeps a private key, and receivers get a public one
// that can forge nothing.
func Example_ed25519() {
	private := signing.NewPrivateKey()
	public, err := private.PublicKey() // for the receivers; no secret
	if err != nil {
		panic(err)
	}
	sender, err := signing.Standard.Bind(private)
	if err != nil {
		panic(err)
	}
	now, body := time.Now(), []byte("{}")
	h := make(http.Header)
	sender.SetHeaders(h, signing.Message{ID: "evt_1", Timestamp: now, Body: body})

	// The receiver's list of trusted keys; several during a rotation.
	var trusted []signing.Secret
	for _, text := range []string{public} {
		key, err := signing.ParseSecret(text)
		if err != nil {
			panic(err)
		}
		trusted = append(trusted, key)
	}
	receiver, err := signing.Standard.Bind(trusted...)
	if err != nil {
		panic(err)
	}
	m, err := receiver.Verify(h, body, now, signing.Limits{})
	fmt.Println(m.ID, err, h.Get("webhook-signature")[:4])
	fmt.Printf("what the receiver could sign: %q\n", receiver.AppendSignature(nil, m))
	// Output:
	// evt_1 <nil> v1a,
	// what the receiver could sign: ""
}

// One sender can sign for receivers with a shared secret and for those with a
// public key, and keep a header of its own that older receivers know.
func Example_together() {
	shared, private := signing.NewSecret(), signing.NewPrivateKey()
	h := make(http.Header)
	for _, scheme := range []signing.Scheme{signing.Standard, signing.Timestamped("X-Xtopay-Signature")} {
		key, err := scheme.Bind(shared, private)
		if err != nil {
			panic(err)
		}
		key.SetHeaders(h, signing.Message{ID: "evt_1", Timestamp: time.Unix(1700000000, 0), Body: []byte("{}")})
	}
	for _, signature := range strings.Fields(h.Get("Webhook-Signature")) {
		fmt.Println("Webhook-Signature:", signature[:strings.Index(signature, ",")])
	}
	fmt.Println("X-Xtopay-Signature:", h.Get("X-Xtopay-Signature")[:16])
	// Output:
	// Webhook-Signature: v1
	// Webhook-Signature: v1a
	// X-Xtopay-Signature: t=1700000000,v1=
}

// Why a request was refused is for the log; the sender hears only that it was.
func Example_refused() {
	secret, err := signing.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		panic(err)
	}
	key, err := signing.Standard.Bind(secret)
	if err != nil {
		panic(err)
	}
	sentAt, body := time.Unix(1700000000, 0), []byte("{}")
	reason := func(err error) string {
		switch {
		case errors.Is(err, signing.ErrMissingHeader):
			return "not a webhook, or a proxy removes headers"
		case errors.Is(err, signing.ErrMalformed):
			return "another scheme, or an attack"
		case errors.Is(err, signing.ErrTooOld):
			return "captured and sent again, queued on the way, or our clock is ahead"
		case errors.Is(err, signing.ErrTooNew):
			return "our clock is behind"
		case errors.Is(err, signing.ErrUnknownVersion):
			return "signed with a kind of key that we do not hold"
		case errors.Is(err, signing.ErrNoMatch):
			return "another secret, or the body was changed"
		}
		return "genuine"
	}
	for _, c := range []struct {
		header, value string
		body          []byte
		late          time.Duration
	}{
		{"webhook-id", "evt_1", body, 0},
		{"webhook-id", "", body, 0},
		{"webhook-timestamp", "+1700000000", body, 0},
		{"webhook-id", "evt_1", body, time.Hour},
		{"webhook-id", "evt_1", body, -time.Hour},
		{"webhook-signature", "v1a,AAAA", body, 0},
		{"webhook-id", "evt_1", []byte("{ }"), 0},
	} {
		h := make(http.Header)
		key.SetHeaders(h, signing.Message{ID: "evt_1", Timestamp: sentAt, Body: body})
		h.Set(c.header, c.value)
		_, err := key.Verify(h, c.body, sentAt.Add(c.late), signing.Limits{})
		fmt.Println(reason(err))
	}
	_, err = signing.ParseSecret("")
	fmt.Println(errors.Is(err, signing.ErrBadSecret), err)
	// Output:
	// genuine
	// not a webhook, or a proxy removes headers
	// another scheme, or an attack
	// captured and sent again, queued on the way, or our clock is ahead
	// our clock is behind
	// signed with a kind of key that we do not hold
	// another secret, or the body was changed
	// true signing: bad secret: it is empty
}

// During a rotation the sender signs with both secrets, so that receivers
// change theirs when they like.
func ExampleScheme_rotation() {
	older, newer := signing.NewSecret(), signing.NewSecret()
	sender, err := signing.Standard.Bind(newer, older)
	if err != nil {
		panic(err)
	}
	receiver, err := signing.Standard.Bind(older)
	if err != nil {
		panic(err)
	}
	now := time.Now()
	h := make(http.Header)
	sender.SetHeaders(h, signing.Message{ID: "evt_1", Timestamp: now, Body: []byte("{}")})
	_, err = receiver.Verify(h, []byte("{}"), now, signing.Limits{})
	fmt.Println(strings.Count(h.Get("webhook-signature"), "v1,"), err)
	// Output: 2 <nil>
}
