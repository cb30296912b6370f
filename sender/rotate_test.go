package sender_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
	"github.com/hookpost/hookpost/verifier"
)

// signedWith says which of the secrets a request is signed with.
func signedWith(t *testing.T, r sendertest.Request, secrets ...signing.Secret) []bool {
	t.Helper()
	with := make([]bool, len(secrets))
	for i, s := range secrets {
		v, err := verifier.New(s.Reveal(), &verifier.Options{Clock: func() time.Time { return r.At }})
		require.NoError(t, err)
		_, err = v.ConstructEvent(r.Body, r.Header)
		with[i] = err == nil
		if err != nil {
			require.ErrorIs(t, err, signing.ErrNoMatch)
		}
	}
	return with
}

func fingerprints(ep store.Endpoint) (list []string) {
	for _, s := range ep.Secrets {
		list = append(list, s.Fingerprint)
	}
	return list
}

func TestRotateSecret(t *testing.T) {
	for name, tc := range map[string]struct {
		overlap, lasts time.Duration
	}{
		"default": {0, 24 * time.Hour},
		"an hour": {time.Hour, time.Hour},
		"at once": {-1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
				shop := w.receiver("shop.example")
				ep, first := w.endpointAndSecret(&w.Tenant, "shop.example")
				last := func() sendertest.Request {
					w.send(&w.Tenant, "push")
					all := shop.Requests()
					return all[len(all)-1]
				}
				require.Equal(t, []bool{true}, signedWith(t, last(), first))

				began := time.Now()
				rotated, second, err := w.RotateSecret(sender.WithActor(t.Context(), "ann"), ep.ID, &sender.Rotation{Overlap: tc.overlap})
				require.NoError(t, err)
				require.False(t, second.Equal(first))
				require.Equal(t, second.Fingerprint(), rotated.Secrets[0].Fingerprint)
				require.True(t, rotated.Secrets[0].ExpiresAt.IsZero())
				for _, s := range rotated.Secrets {
					require.Nil(t, s.Sealed)
				}
				require.Equal(t, ep.Version+1, rotated.Version)
				require.Equal(t, []bool{tc.lasts > 0, true}, signedWith(t, last(), first, second))
				if tc.lasts > 0 {
					require.Equal(t, []string{second.Fingerprint(), first.Fingerprint()}, fingerprints(rotated))
					require.True(t, rotated.Secrets[1].ExpiresAt.Equal(began.Add(tc.lasts)))
					w.pass(tc.lasts - time.Minute - time.Since(began))
					require.Equal(t, []bool{true, true}, signedWith(t, last(), first, second))
					w.pass(time.Minute)
					require.Equal(t, []bool{false, true}, signedWith(t, last(), first, second))
					w.pass(time.Hour)
				}
				require.Equal(t, []string{second.Fingerprint()}, fingerprints(w.current(&w.Tenant, ep)), "what is over is destroyed")
				require.Equal(t, rotated.Version, w.current(&w.Tenant, ep).Version)

				history, err := w.EndpointHistory(t.Context(), ep.ID)
				require.NoError(t, err)
				require.Len(t, history, 2)
				require.Equal(t, store.SecretRotated, history[1].Action)
				require.Equal(t, "ann", history[1].Actor)
				require.Equal(t, history[1].Old, history[1].New)
			})
		})
	}
}

// A retry is signed with what the endpoint has by then.
func TestRotateWhileRetrying(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(500), sendertest.Status(200))
		ep, first := w.endpointAndSecret(&w.Tenant, "shop.example")
		w.send(&w.Tenant, "push")
		_, second, err := w.RotateSecret(t.Context(), ep.ID, &sender.Rotation{Overlap: 10 * time.Minute})
		require.NoError(t, err)
		w.pass(5 * time.Minute)
		w.pass(30 * time.Minute)
		got := shop.Requests()
		require.Len(t, got, 3)
		require.Equal(t, []bool{true, false}, signedWith(t, got[0], first, second))
		require.Equal(t, []bool{true, true}, signedWith(t, got[1], first, second))
		require.Equal(t, []bool{false, true}, signedWith(t, got[2], first, second))
	})
}

// Another process signs with the new secret from its next claim on.
func TestRotateElsewhere(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example")
		ep, first := w.endpointAndSecret(&w.Tenant, "shop.example")
		w.send(&w.Tenant, "push") // it knows the endpoint now
		other := w.another(sender.Options{})
		_, second, err := other.RotateSecret(t.Context(), ep.ID, &sender.Rotation{Overlap: -1})
		require.NoError(t, err)
		w.send(&w.Tenant, "push")
		w.pass(time.Minute)
		got := shop.Requests()
		require.Equal(t, []bool{false, true}, signedWith(t, got[len(got)-1], first, second))
	})
}

func TestRevokeSecret(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example")
		ep, first := w.endpointAndSecret(&w.Tenant, "shop.example")
		_, second, err := w.RotateSecret(t.Context(), ep.ID, nil)
		require.NoError(t, err)
		rotated, third, err := w.RotateSecret(t.Context(), ep.ID, nil)
		require.NoError(t, err)
		require.Len(t, rotated.Secrets, 3)

		_, err = w.RevokeSecret(t.Context(), ep.ID, rotated.Secrets[0].ID)
		require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
		require.ErrorContains(t, err, "current")
		_, err = w.RevokeSecret(t.Context(), ep.ID, "sec_unknown")
		require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
		_, err = w.RevokeSecret(t.Context(), "ep_unknown", rotated.Secrets[0].ID)
		require.ErrorIs(t, err, store.ErrNotFound)

		revoked, err := w.RevokeSecret(t.Context(), ep.ID, rotated.Secrets[1].ID)
		require.NoError(t, err)
		require.Equal(t, []string{third.Fingerprint(), first.Fingerprint()}, fingerprints(revoked))
		w.send(&w.Tenant, "push")
		require.Equal(t, []bool{true, false, true}, signedWith(t, shop.Requests()[0], first, second, third))
		history, err := w.EndpointHistory(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, store.SecretRevoked, history[len(history)-1].Action)

		require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
		_, _, err = w.RotateSecret(t.Context(), ep.ID, nil)
		require.ErrorIs(t, err, store.ErrDeleted)
		_, err = w.RevokeSecret(t.Context(), ep.ID, rotated.Secrets[2].ID)
		require.ErrorIs(t, err, store.ErrDeleted)
	})
}

func TestRotationsRefused(t *testing.T) {
	s := newQuiet(t, nil)
	ep, secret, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://shop.example", EventTypes: []string{"*"}})
	require.NoError(t, err)
	opaque, err := signing.ParseSecret("not for Standard, which wants base64")
	require.NoError(t, err)
	for name, r := range map[string]sender.Rotation{
		"the same secret":  {Secret: secret},
		"of another kind":  {Secret: opaque},
		"overlap too long": {Overlap: 31 * 24 * time.Hour},
	} {
		got, again, err := s.RotateSecret(t.Context(), ep.ID, &r)
		require.ErrorIs(t, err, sender.ErrInvalidEndpoint, name)
		require.NotContains(t, err.Error(), secret.Reveal())
		require.NotContains(t, err.Error(), opaque.Reveal())
		require.Zero(t, got)
		require.True(t, again.IsZero())
	}
	_, _, err = s.RotateSecret(t.Context(), "ep_unknown", nil)
	require.ErrorIs(t, err, store.ErrNotFound)

	// As many as a verifier accepts, and no more.
	for i := 1; i < signing.MaxSecrets; i++ {
		_, _, err = s.RotateSecret(t.Context(), ep.ID, nil)
		require.NoError(t, err)
	}
	_, _, err = s.RotateSecret(t.Context(), ep.ID, nil)
	require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
	got, last, err := s.RotateSecret(t.Context(), ep.ID, &sender.Rotation{Overlap: -1})
	require.NoError(t, err)
	require.Equal(t, []string{last.Fingerprint()}, fingerprints(got))

	more := make([]signing.Secret, signing.MaxSecrets)
	for i := range more {
		more[i] = signing.NewSecret()
	}
	_, _, err = s.CreateEndpoint(t.Context(), sender.EndpointSpec{
		URL: "https://other.example", EventTypes: []string{"*"}, Secret: secret, MoreSecrets: more,
	})
	require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
	require.ErrorContains(t, err, "MoreSecrets")
}

// Secrets that came with an import end with the first rotation, unless their own
// end is earlier.
func TestRotateImported(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ep, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://shop.example/", EventTypes: []string{"*"}, NoTestEvent: true,
			Secret: signing.NewSecret(), MoreSecrets: []signing.Secret{signing.NewSecret()},
		})
		require.NoError(t, err)
		own := signing.NewSecret()
		ep, given, err := w.RotateSecret(t.Context(), ep.ID, &sender.Rotation{Secret: own, Overlap: time.Hour})
		require.NoError(t, err)
		require.True(t, given.Equal(own))
		soon := time.Now().Add(time.Hour)
		ep, _, err = w.RotateSecret(t.Context(), ep.ID, nil)
		require.NoError(t, err)
		require.Len(t, ep.Secrets, 4)
		for i, want := range []time.Time{{}, time.Now().Add(24 * time.Hour), soon, soon} {
			require.True(t, ep.Secrets[i].ExpiresAt.Equal(want), i)
		}
	})
}

// brokenRing can't open anything.
type brokenRing struct {
	keyring.Sealer
	err error
}

func (r brokenRing) Open([]byte, string, []byte, []byte) ([]byte, error) {
	return nil, fmt.Errorf("%w: for the test", r.err)
}

// A secret whose key is lost can't stay beside a new one, but be replaced by it.
func TestRotateAfterLoss(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		shop := w.receiver("shop.example")
		ep, first := w.endpointAndSecret(&w.Tenant, "shop.example")
		other := w.another(sender.Options{Keyring: brokenRing{keyring.Plaintext, keyring.ErrUnknownKey}})
		_, _, err := other.RotateSecret(t.Context(), ep.ID, nil)
		require.ErrorIs(t, err, keyring.ErrUnknownKey)
		require.ErrorContains(t, err, ep.ID)
		require.Equal(t, ep.Version, w.current(&w.Tenant, ep).Version)
		_, second, err := other.RotateSecret(t.Context(), ep.ID, &sender.Rotation{Overlap: -1})
		require.NoError(t, err)
		w.send(&w.Tenant, "push")
		w.pass(time.Minute)
		require.Equal(t, []bool{false, true}, signedWith(t, shop.Requests()[0], first, second))
	})
}

// A key service that does not answer has lost nothing: what it can't open now is not
// destroyed, whatever the overlap.
func TestRotateWhileTheKeysAreAway(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ep, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://shop.example/", EventTypes: []string{"*"}, NoTestEvent: true, Secret: signing.NewPrivateKey(),
		})
		require.NoError(t, err)
		away := errors.New("the key service is away")
		other := w.another(sender.Options{Keyring: brokenRing{keyring.Plaintext, away}})
		for _, secret := range []signing.Secret{{}, signing.NewSecret()} {
			_, _, err = other.RotateSecret(t.Context(), ep.ID, &sender.Rotation{Secret: secret, Overlap: -1})
			require.ErrorIs(t, err, away)
			require.Equal(t, fingerprints(ep), fingerprints(w.current(&w.Tenant, ep)))
		}
	})
}

// changesOnce is a store in which somebody else is always a moment faster, once.
type changesOnce struct {
	store.Store
	done bool
}

func (s *changesOnce) Endpoint(ctx context.Context, scope store.Scope, id string) (store.Endpoint, error) {
	ep, err := s.Store.Endpoint(ctx, scope, id)
	if err == nil && !s.done {
		s.done = true
		other := ep
		other.Description = "by somebody else"
		_, otherErr := s.UpdateEndpoint(ctx, other, store.ChangeParams{Action: store.Edited, Actor: "bob"})
		err = errors.Join(err, otherErr)
	}
	return ep, err
}

func TestRotateBesideAnEdit(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ep, first := w.endpointAndSecret(&w.Tenant, "shop.example")
		got, second, err := w.on(&changesOnce{Store: w.st}, sender.Options{}).RotateSecret(t.Context(), ep.ID, nil)
		require.NoError(t, err)
		require.Equal(t, "by somebody else", got.Description)
		require.Equal(t, []string{second.Fingerprint(), first.Fingerprint()}, fingerprints(got))
	})
}
