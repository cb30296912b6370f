package interop

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85/webhook"
	svix "github.com/svix/svix-webhooks/go"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// A peer is another library, used as its documentation says. All tell the time by
// time.Now, so that tests run in synctest bubbles, where it stands still.
type peer struct {
	name   string
	scheme signing.Scheme // that it speaks

	// sign returns the headers of a request.
	sign func(t *testing.T, secret string, m signing.Message) http.Header
	// verify returns the library's own error.
	verify func(secret string, h http.Header, body []byte) error
	// join returns the headers of one request with the signatures of both.
	join func(a, b http.Header) http.Header

	idSigned    bool
	takesFuture bool // accepts a time of signing that lies in the future
}

// peers lists the libraries that sign and verify a time.
var peers = []peer{
	{
		name: "standard-webhooks", scheme: signing.Standard, idSigned: true,
		sign: signStandardWebhooks, verify: verifyStandardWebhooks, join: joinStandard("Webhook-Signature"),
	},
	{
		name: "svix", scheme: signing.Standard, idSigned: true,
		sign: signSvix, verify: verifySvix, join: joinStandard("Svix-Signature"),
	},
	{
		name: "stripe-go", scheme: signing.Timestamped(stripeHeader), takesFuture: true,
		sign: signStripe, verify: verifyStripe, join: joinStripe,
	},
}

// eachPeer runs a test with each of the peers, inside a bubble.
func eachPeer(t *testing.T, test func(t *testing.T, p peer)) {
	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { test(t, p) }) })
	}
}

// signed returns the headers of m by who signed them.
func (p *peer) signed(t *testing.T, secret string, m signing.Message) map[string]http.Header {
	t.Helper()
	return map[string]http.Header{"hookpost": signHere(t, p.scheme, m, secret), p.name: p.sign(t, secret, m)}
}

func signStandardWebhooks(t *testing.T, secret string, m signing.Message) http.Header {
	wh, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	signature, err := wh.Sign(m.ID, m.Timestamp, m.Body)
	require.NoError(t, err)
	return standardHeaders("Webhook-", m, signature)
}

func verifyStandardWebhooks(secret string, h http.Header, body []byte) error {
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(body, h)
}

func signSvix(t *testing.T, secret string, m signing.Message) http.Header {
	wh, err := svix.NewWebhook(secret)
	require.NoError(t, err)
	signature, err := wh.Sign(m.ID, m.Timestamp, m.Body)
	require.NoError(t, err)
	return standardHeaders("Svix-", m, signature)
}

func verifySvix(secret string, h http.Header, body []byte) error {
	wh, err := svix.NewWebhook(secret)
	if err != nil {
		return err
	}
	return wh.Verify(body, h)
}

// standardHeaders returns the three headers of Standard Webhooks under a prefix.
func standardHeaders(prefix string, m signing.Message, signature string) http.Header {
	return http.Header{
		prefix + "Id":        {m.ID},
		prefix + "Timestamp": {strconv.FormatInt(m.Timestamp.Unix(), 10)},
		prefix + "Signature": {signature},
	}
}

func joinStandard(name string) func(a, b http.Header) http.Header {
	return func(a, b http.Header) http.Header {
		both := a.Clone()
		both.Set(name, a.Get(name)+" "+b.Get(name))
		return both
	}
}

const stripeHeader = "Stripe-Signature"

func signStripe(_ *testing.T, secret string, m signing.Message) http.Header {
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: m.Body, Secret: secret, Timestamp: m.Timestamp})
	return http.Header{stripeHeader: {signed.Header}}
}

func verifyStripe(secret string, h http.Header, body []byte) error {
	return webhook.ValidatePayload(body, h.Get(stripeHeader), secret)
}

func joinStripe(a, b http.Header) http.Header {
	_, second, _ := strings.Cut(b.Get(stripeHeader), ",") // the time is there once
	return http.Header{stripeHeader: {a.Get(stripeHeader) + "," + second}}
}

// newSecret returns the text of a secret that serves every symmetric scheme.
func newSecret() string { return signing.NewSecret().Reveal() }

// message returns one that was signed that long ago.
func message(age time.Duration) signing.Message {
	return signing.Message{
		ID:        "evt_018f2b6c4d5e7a8b9c0d1e2f3a4b5c6d",
		Timestamp: time.Now().Add(-age),
		Body:      []byte(`{"type":"payment.succeeded","timestamp":"2026-05-24T10:02:14Z","data":{"amount":12.50,"name":"Zoë"}}`),
	}
}

// signHere returns the headers that a sender with these secrets sets.
func signHere(t *testing.T, scheme signing.Scheme, m signing.Message, newestFirst ...string) http.Header {
	t.Helper()
	secrets := make([]signing.Secret, len(newestFirst))
	for i, text := range newestFirst {
		var err error
		secrets[i], err = signing.ParseSecret(text)
		require.NoError(t, err)
	}
	key, err := scheme.Bind(secrets...)
	require.NoError(t, err)
	h := http.Header{}
	key.SetHeaders(h, m)
	return h
}

// verifyHere returns the error of a receiver with these secrets.
func verifyHere(scheme signing.Scheme, h http.Header, body []byte, secret string, previous ...string) error {
	opts := verifier.Options{Scheme: scheme}
	for _, text := range previous {
		opts.Previous = append(opts.Previous, signing.MustParseSecret(text))
	}
	v, err := verifier.New(secret, &opts)
	if err != nil {
		return err
	}
	_, err = v.ConstructEvent(body, h)
	return err
}
