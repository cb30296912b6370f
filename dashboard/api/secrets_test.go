package api

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
)

func TestRotation(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://one.example.com", "*")
		path := account + "/endpoints/" + ep.ID
		secrets := func() (list []map[string]any) {
			for _, s := range w.must("GET", path, "")["secrets"].([]any) {
				list = append(list, s.(map[string]any))
			}
			return list
		}
		rotate := func(body string) signing.Secret {
			a := w.do("POST", path+"/rotate", body)
			require.Equal(w, http.StatusOK, a.Status, a.Body)
			require.Equal(w, "no-store", a.Header.Get("Cache-Control"))
			secret, err := signing.ParseSecret(decode(w, a)["secret"].(string))
			require.NoError(w, err)
			require.Equal(w, secret.Fingerprint(), secrets()[0]["fingerprint"])
			require.NotContains(w, secrets()[0], "expires_at")
			return secret
		}
		now := time.Now()
		for i, c := range []struct {
			body string
			ends time.Duration
		}{{"", 24 * time.Hour}, {`{"overlap_seconds": 60}`, time.Minute}} {
			rotate(c.body)
			require.Len(w, secrets(), i+2)
			require.Equal(w, now.Add(c.ends).UTC().Format("2006-01-02T15:04:05.000000Z"), secrets()[1]["expires_at"])
		}
		old := secrets()
		require.Equal(w, http.StatusNoContent, w.do("DELETE", path+"/secrets/"+old[1]["id"].(string), "").Status)
		require.Equal(w, []map[string]any{old[0], old[2]}, secrets())
		for id, kind := range map[string]kind{old[1]["id"].(string): notFound, "x": notFound, "%00": notFound, old[0]["id"].(string): currentSecret} {
			require.Equal(w, problemTypes+kind.name, w.do("DELETE", path+"/secrets/"+id, "").problem(w).Type)
		}
		require.Equal(w, problemTypes+"not-found", w.do("DELETE", account+"/endpoints/x/secrets/"+old[0]["id"].(string), "").problem(w).Type)

		last := rotate(`{"overlap_seconds": 0}`)
		require.Len(w, secrets(), 1)
		for _, body := range []string{`{"overlap_seconds": -1}`, `{"overlap_seconds": 2592001}`, `{"overlap_seconds": 1.5}`} {
			require.Equal(w, "#/overlap_seconds", w.do("POST", path+"/rotate", body).problem(w).Errors[0].Pointer)
		}
		for range signing.MaxSecrets - 1 {
			rotate("")
		}
		p := w.do("POST", path+"/rotate", "").problem(w)
		require.Equal(w, problemTypes+"invalid", p.Type)
		require.Contains(w, p.Detail, "revoke one")

		var actions []string
		for _, line := range data(w.must("GET", path+"/history", "")) {
			actions = append(actions, line["action"].(string))
		}
		require.Contains(w, actions, "secret_rotated")
		require.Contains(w, actions, "secret_revoked")
		require.NotContains(w, w.do("GET", path+"/history", "").Body, last.Reveal())
		w.must("DELETE", path, "")
		require.Equal(w, problemTypes+"endpoint-deleted", w.do("POST", path+"/rotate", "").problem(w).Type)
		require.Equal(w, problemTypes+"endpoint-deleted", w.do("DELETE", path+"/secrets/x", "").problem(w).Type)
	})
}

// Of an ed25519 key nobody is told more than the public half.
func TestRotatedPrivateKey(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		key := signing.NewPrivateKey()
		ep, _, err := w.acme.CreateEndpoint(w.Context(), sender.EndpointSpec{URL: "https://one.example.com", EventTypes: []string{"*"}, Secret: key})
		require.NoError(w, err)
		a := w.do("POST", account+"/endpoints/"+ep.ID+"/rotate", "")
		require.Equal(w, http.StatusOK, a.Status)
		require.NotContains(w, a.Body, "whsk_")
		require.True(w, strings.HasPrefix(decode(w, a)["public_key"].(string), "whpk_"))
	})
}
