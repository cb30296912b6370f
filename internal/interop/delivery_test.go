package interop

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// One request with the headers of every scheme satisfies a receiver with any of the
// libraries, so that a sender can change its scheme without asking its receivers.
func TestOneRequestSatisfiesEveryReceiver(t *testing.T) {
	client, err := sender.NewClient(&sender.ClientOptions{
		HTTP:    sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
		Schemes: []signing.Scheme{signing.Standard, signing.Timestamped(stripeHeader), signing.GitHub},
	})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)

	held, stranger, private := signing.NewSecret(), signing.NewSecret(), signing.NewPrivateKey()
	const refused, accepted = http.StatusBadRequest, http.StatusOK
	tests := map[string]struct {
		signWith []signing.Secret // newest first
		peers    int              // the answer of the peers
		gitHub   int              // that of go-github, whose header has room for the newest only
	}{
		"the secret":                 {[]signing.Secret{held}, accepted, accepted},
		"it and an old one":          {[]signing.Secret{held, stranger}, accepted, accepted},
		"it and a newer one":         {[]signing.Secret{stranger, held}, accepted, refused},
		"it and an ed25519 key":      {[]signing.Secret{held, private}, accepted, accepted},
		"it after an ed25519 key":    {[]signing.Secret{private, held}, accepted, accepted},
		"another":                    {[]signing.Secret{stranger}, refused, refused},
		"another and an ed25519 key": {[]signing.Secret{stranger, private}, refused, refused},
	}
	receivers := map[string]func(secret string, h http.Header, body []byte) error{"go-github": verifyGitHub}
	for _, p := range peers {
		receivers[p.name] = p.verify
	}
	for name, verify := range receivers {
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err == nil {
				err = verify(held.Reveal(), r.Header, body)
			}
			if err != nil {
				http.Error(w, err.Error(), refused)
			}
		}))
		t.Cleanup(receiver.Close)
		for signedWith, tt := range tests {
			t.Run(name+"/"+signedWith, func(t *testing.T) {
				attempt, err := client.Attempt(t.Context(), sender.Target{URL: receiver.URL, Secrets: tt.signWith},
					sender.Event{Type: "payment.succeeded", Data: map[string]any{"amount": 1250, "name": "Zoë <zoe@example.com>"}})
				want := tt.peers
				if name == "go-github" {
					want = tt.gitHub
				}
				require.Equal(t, want, attempt.Status, "%v: %s", err, attempt.ResponseBody)
				require.Equal(t, want == accepted, attempt.Outcome == store.AttemptDelivered)
			})
		}
	}
}
