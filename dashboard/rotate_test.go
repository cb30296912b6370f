package dashboard

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

func TestRotateSecret(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "push")
		old := ep.Secrets[0]
		require.Contains(w, w.get("endpoints/"+ep.ID).text(), "Rotate secret")
		require.Contains(w, w.get("endpoints/"+ep.ID+"/rotate").text(), "The present secret stays valid for 24 hours")
		require.Equal(w, http.StatusBadRequest, w.post("endpoints/"+ep.ID+"/rotate", nil).Status)
		require.Equal(w, http.StatusBadRequest, w.post("endpoints/"+ep.ID+"/rotate", url.Values{"overlap": {"9h"}}).Status)
		signatures := func() int {
			w.send(sender.Event{Type: "push"})
			requests := w.receiver.Requests()
			return strings.Count(requests[len(requests)-1].Header.Get("Webhook-Signature"), "v1,")
		}
		require.Equal(w, 1, signatures())

		a := w.post("endpoints/"+ep.ID+"/rotate", url.Values{"overlap": {"24h"}})
		require.Equal(w, http.StatusOK, a.Status)
		require.Equal(w, 1, strings.Count(a.Body, "whsec_"))
		require.Contains(w, a.text(), "The new secret of https://example.com/hooks")
		require.Equal(w, "no-store", a.Header.Get("Cache-Control"))
		require.Equal(w, 2, signatures(), "both sign")
		page := w.get("endpoints/" + ep.ID)
		require.Contains(w, page.text(), old.Fingerprint+" until ")
		require.Contains(w, page.text(), "secret rotated by ann@example.com")
		require.NotContains(w, page.Body, "whsec_")

		require.Contains(w, w.follow("endpoints/"+ep.ID+"/revoke", url.Values{"secret": {old.ID}}).text(), "The secret is revoked.")
		synctest.Wait()
		require.Equal(w, 1, signatures())
		now, err := w.acme.Endpoint(w.Context(), ep.ID)
		require.NoError(w, err)
		require.Equal(w, http.StatusBadRequest, w.post("endpoints/"+ep.ID+"/revoke", url.Values{"secret": {now.Secrets[0].ID}}).Status, "the current one")

		require.Equal(w, http.StatusOK, w.post("endpoints/"+ep.ID+"/rotate", url.Values{"overlap": {"none"}}).Status)
		require.Equal(w, 1, signatures())
		w.follow("endpoints/"+ep.ID+"/delete", nil)
		require.Equal(w, http.StatusConflict, w.post("endpoints/"+ep.ID+"/rotate", url.Values{"overlap": {"24h"}}).Status)
		require.Equal(w, store.Deleted, func() store.EndpointState { e, _ := w.acme.Endpoint(w.Context(), ep.ID); return e.State }())
	})
}

// What the receiver of an endpoint with a key pair needs is the public half.
func TestRotateKeyPair(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep, _, err := w.acme.CreateEndpoint(w.Context(), sender.EndpointSpec{
			URL: "https://example.com/keys", EventTypes: []string{"push"}, Secret: signing.NewPrivateKey(), NoTestEvent: true,
		})
		require.NoError(w, err)
		a := w.post("endpoints/"+ep.ID+"/rotate", url.Values{"overlap": {"24h"}})
		require.Equal(w, http.StatusOK, a.Status)
		require.Equal(w, 1, strings.Count(a.Body, "whpk_"))
		require.NotContains(w, a.Body, "whsk_")
		require.Contains(w, a.text(), "Webhook public key")
	})
}
