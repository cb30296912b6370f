package signing_test

import (
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
