package sender_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// An endpoint with shared secrets and private keys, both in the middle of a
// rotation, sends what every receiver can verify: in the header of Standard with
// either kind, in other schemes with the shared secrets.
func TestSharedAndPrivateKeys(t *testing.T) {
	xtopay := signing.Timestamped("X-Xtopay-Signature")
	o := sender.Options{Schemes: []signing.Scheme{signing.Standard, xtopay, signing.GitHub}}
	inBubble(t, o, func(t *testing.T, w *world) {
		newShared, oldShared := signing.NewSecret(), signing.NewSecret()
		newPrivate, oldPrivate := signing.NewPrivateKey(), signing.NewPrivateKey()
		receiver := w.receiver("shop.example")
		ep, first, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://shop.example/hook", EventTypes: []string{"*"}, NoTestEvent: true,
			Secret: newShared, MoreSecrets: []signing.Secret{newPrivate, oldShared, oldPrivate},
		})
		require.NoError(t, err)
		require.True(t, first.Equal(newShared))
		w.send(&w.Tenant, "push")
		r := receiver.Requests()[0]
		require.Regexp(t, `^v1,\S{44} v1,\S{44} v1a,\S{88} v1a,\S{88}$`, r.Header.Get("Webhook-Signature"))
		require.Regexp(t, `^t=\d+,v1=[0-9a-f]{64},v1=[0-9a-f]{64}$`, r.Header.Get("X-Xtopay-Signature"))
		require.Equal(t, "push", r.Header.Get("X-GitHub-Event"))
		for name, c := range map[string]struct {
			scheme signing.Scheme
			secret signing.Secret
		}{
			"new shared": {signing.Standard, newShared},
			"old shared": {signing.Standard, oldShared},
			"new public": {signing.Standard, public(t, newPrivate)},
			"old public": {signing.Standard, public(t, oldPrivate)},
			"xtopay new": {xtopay, newShared},
			"xtopay old": {xtopay, oldShared},
			"github new": {signing.GitHub, newShared},
		} {
			require.NoError(t, verify(t, c.scheme, c.secret, r), name)
		}

		// The old ones expire.
		stored, err := w.st.Endpoint(t.Context(), ep.Scope, ep.ID)
		require.NoError(t, err)
		for _, i := range []int{2, 3} {
			stored.Secrets[i].ExpiresAt = time.Now().Add(time.Hour)
		}
		_, err = w.st.UpdateEndpoint(t.Context(), stored, store.ChangeParams{Action: store.SecretRotated, Actor: "test"})
		require.NoError(t, err)
		for _, after := range []struct {
			pass       time.Duration
			signatures int
		}{{0, 4}, {2 * time.Hour, 2}} {
			w.pass(after.pass)
			w.send(&w.Tenant, "push")
			w.pass(2 * time.Minute) // a poll finds what a stale cache left
			requests := receiver.Requests()
			r = requests[len(requests)-1]
			require.Len(t, strings.Fields(r.Header.Get("Webhook-Signature")), after.signatures)
		}
		require.NoError(t, verify(t, signing.Standard, newShared, r))
		require.NoError(t, verify(t, signing.Standard, public(t, newPrivate), r))
		require.ErrorIs(t, verify(t, signing.Standard, oldShared, r), signing.ErrNoMatch)
		require.ErrorIs(t, verify(t, signing.Standard, public(t, oldPrivate), r), signing.ErrNoMatch)
	})
}

func public(t *testing.T, private signing.Secret) signing.Secret {
	t.Helper()
	text, err := private.PublicKey()
	require.NoError(t, err)
	s, err := signing.ParseSecret(text)
	require.NoError(t, err)
	return s
}

func verify(t *testing.T, scheme signing.Scheme, secret signing.Secret, r sendertest.Request) error {
	t.Helper()
	key, err := scheme.Bind(secret)
	require.NoError(t, err)
	m, err := key.Verify(r.Header, r.Body, r.At, signing.Limits{})
	if m.Signed.ID {
		require.Equal(t, decode(t, r).ID, m.ID)
	}
	return err
}

// The receiver's half of a key pair is refused before anything is stored or sent,
// and so is a private key where no scheme can use one.
func TestSecretsThatCannotSign(t *testing.T) {
	private, shared := signing.NewPrivateKey(), signing.NewSecret()
	key := public(t, private)
	xtopay := signing.Timestamped("X-Xtopay-Signature")
	s := newQuiet(t, &sender.Options{Schemes: []signing.Scheme{signing.Standard, xtopay}})
	for name, spec := range map[string]sender.EndpointSpec{
		"public":               {Secret: key, Schemes: []string{"standard"}},
		"public beside shared": {Secret: shared, MoreSecrets: []signing.Secret{key}},
		"private without use":  {Secret: private},
	} {
		spec.URL, spec.EventTypes = "https://shop.example/hook", []string{"*"}
		_, _, err := s.CreateEndpoint(t.Context(), spec)
		require.ErrorIs(t, err, sender.ErrInvalidEndpoint, name)
		require.NotContains(t, err.Error(), strings.TrimPrefix(private.Reveal(), "whsk_"))
	}
	requireEmpty(t, &s.Tenant)

	c, err := sender.NewClient(&sender.ClientOptions{HTTP: sender.HTTPOptions{
		WrapTransport: func(http.RoundTripper) http.RoundTripper { return sendertest.NewTransport() },
	}})
	require.NoError(t, err)
	target := sender.Target{URL: "https://shop.example/hook", Secrets: []signing.Secret{key}}
	_, err = c.Attempt(t.Context(), target, sender.Event{Type: "push"})
	require.ErrorIs(t, err, signing.ErrBadSecret)
	target.Secrets = []signing.Secret{private}
	_, err = c.Attempt(t.Context(), target, sender.Event{Type: "push"})
	require.NoError(t, err)
}

// A rotation ends the secrets of one kind and leaves those of the other.
func TestRotateOneKind(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		ep, shared := w.endpointAndSecret(&w.Tenant, "shop.example")
		rotate := func(r sender.Rotation) signing.Secret {
			_, secret, err := w.RotateSecret(t.Context(), ep.ID, &r)
			require.NoError(t, err)
			return secret
		}
		require.Equal(t, signing.KindPrivate, rotate(sender.Rotation{Secret: signing.NewPrivateKey()}).Kind())
		w.pass(25 * time.Hour)
		newShared := rotate(sender.Rotation{})
		require.Equal(t, signing.KindShared, newShared.Kind(), "an endpoint with a shared secret gets another")
		private := rotate(sender.Rotation{Secret: signing.NewPrivateKey(), Overlap: -1})
		w.send(&w.Tenant, "push")
		w.pass(25 * time.Hour)
		w.send(&w.Tenant, "push")
		requests := receiver.Requests()
		require.Regexp(t, `^v1,\S{44} v1,\S{44} v1a,\S{88}$`, requests[0].Header.Get("Webhook-Signature"))
		require.NoError(t, verify(t, signing.Standard, shared, requests[0]))
		require.Regexp(t, `^v1,\S{44} v1a,\S{88}$`, requests[1].Header.Get("Webhook-Signature"))
		require.NoError(t, verify(t, signing.Standard, newShared, requests[1]))
		require.NoError(t, verify(t, signing.Standard, public(t, private), requests[1]))

		// Without a shared secret the default is a private key.
		_, err := w.RevokeSecret(t.Context(), ep.ID, w.current(&w.Tenant, ep).Secrets[1].ID)
		require.NoError(t, err)
		require.Equal(t, signing.KindPrivate, rotate(sender.Rotation{}).Kind())
	})
}
