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
	current := signing.NewSecret()
	client, err := sender.NewClient(&sender.ClientOptions{
		HTTP:    sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
		Schemes: []signing.Scheme{signing.Standard, signing.Timestamped(stripeHeader)},
	})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)

	for _, p := range peers {
		t.Run(p.name, func(t *testing.T) {
			receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err == nil {
					err = p.verify(current.Reveal(), r.Header, body)
				}
				if err != nil {
					http.Error(w, err.Error(), http.StatusBadRequest)
				}
			}))
			t.Cleanup(receiver.Close)
			send := func(newestFirst ...signing.Secret) store.Attempt {
				attempt, _ := client.Attempt(t.Context(), sender.Target{URL: receiver.URL, Secrets: newestFirst},
					sender.Event{Type: "payment.succeeded", Data: map[string]any{"amount": 1250, "name": "Zoë <zoe@example.com>"}})
				return attempt
			}
			for _, secrets := range [][]signing.Secret{{current}, {signing.NewSecret(), current}} {
				attempt := send(secrets...)
				require.Equal(t, store.AttemptDelivered, attempt.Outcome, "%s%s", attempt.Error, attempt.ResponseBody)
			}
			require.Equal(t, http.StatusBadRequest, send(signing.NewSecret()).Status)
		})
	}
}
