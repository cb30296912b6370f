package sender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
)

// Rotation says how an endpoint changes to a new secret. The zero value of every
// field means its default.
type Rotation struct {
	// Secret is the new signing secret. Default: one is made, of the kind that the
	// endpoint has: a private ed25519 key if it has no shared secret.
	Secret signing.Secret
	// Overlap is how long the secrets so far sign as well, so that the receiver
	// accepts requests before it has the new secret as well as after. Default 24 h,
	// at most 30 days; negative: they are destroyed at once.
	Overlap time.Duration
}

// RotateSecret gives an endpoint a new signing secret and returns it: the only time
// that anyone sees it. Nil means the defaults. During the overlap every request is
// signed with the new secret and with those before it; when that ends they sign no
// more, and are destroyed within about an hour. Secrets whose own end is earlier
// keep it. An endpoint has at most signing.MaxSecrets at a time.
//
// It is the secrets of the new one's kind that end. Those of the other kind stay as
// they are: so a private key comes to stand beside a shared secret, and each is
// rotated by itself.
//
// With a negative Overlap it also is the way out when the key is lost that the old
// secrets were sealed under: all of them are destroyed then. Else they must be
// readable.
//
// Errors: ErrInvalidEndpoint, store.ErrNotFound, store.ErrDeleted and those of the
// keyring. With an ErrOutcomeUnknown comes the secret that the endpoint may have now;
// its history says whether it has.
func (t *Tenant) RotateSecret(ctx context.Context, endpointID string, r *Rotation) (store.Endpoint, signing.Secret, error) {
	none := func(err error) (store.Endpoint, signing.Secret, error) {
		return store.Endpoint{}, signing.Secret{}, err
	}
	if t.err != nil {
		return none(t.err)
	}
	s := t.sender
	if r == nil {
		r = &Rotation{}
	}
	overlap, secret := r.Overlap, r.Secret
	def(&overlap, defaultOverlap)
	if overlap > maxOverlap {
		return none(&EndpointError{"Overlap", fmt.Sprintf("is %s, more than %s (30 days)", overlap, maxOverlap)})
	}
	if err := s.clock.ask(ctx, s.st); err != nil {
		return none(err)
	}
	ep, err := t.change(ctx, endpointID, store.SecretRotated, func(ep *store.Endpoint) (bool, error) {
		now := s.clock.at(time.Now())
		o, err := openSecrets(s.cfg.Keyring, ep, now)
		if err != nil {
			if overlap > 0 || !isLoss(err) {
				return false, err
			}
			ep.Secrets, o = nil, &opened{}
		}
		current, _ := o.current(now)
		if secret.IsZero() {
			secret = newSecretBeside(current)
		}
		signs := []signing.Secret{secret}
		var kept []store.SealedSecret
		current = slices.DeleteFunc(current, func(old signing.Secret) bool { return overlap < 0 && old.Kind() == secret.Kind() })
		signs = append(signs, current...)
		for i, old := range unexpired(ep.Secrets, now) {
			switch {
			case o.secrets[i].Kind() != secret.Kind():
			case overlap < 0:
				continue
			case old.ExpiresAt.IsZero() || old.ExpiresAt.After(now.Add(overlap)):
				old.ExpiresAt = now.Add(overlap)
			}
			kept = append(kept, old)
		}
		if slices.ContainsFunc(signs[1:], secret.Equal) {
			return false, &EndpointError{"Secret", "is one of the endpoint's already"}
		}
		if len(signs) > signing.MaxSecrets {
			return false, &EndpointError{"Secret", fmt.Sprintf("would be one more than the %d that can sign at once; revoke one, or rotate without an overlap", signing.MaxSecrets)}
		}
		if _, err := s.cfg.bind(ep.Schemes, signs); err != nil {
			return false, &EndpointError{"Secret", err.Error()}
		}
		sealed, err := sealSecret(s.cfg.Keyring, ep, secret)
		if err != nil {
			return false, err
		}
		ep.Secrets = append([]store.SealedSecret{sealed}, kept...)
		return true, nil
	})
	switch {
	case errors.Is(err, ErrOutcomeUnknown):
		return store.Endpoint{}, secret, err
	case err != nil:
		return none(err)
	}
	return ep, secret, nil
}

// isLoss reports whether a secret that could not be opened never will be. A keyring's
// service that is away comes back, and with it the secrets of the other kind.
func isLoss(err error) bool {
	return errors.Is(err, keyring.ErrUnknownKey) || errors.Is(err, keyring.ErrOpen) || errors.Is(err, signing.ErrBadSecret)
}

// newSecretBeside makes a secret of the kind that an endpoint's current ones have.
func newSecretBeside(current []signing.Secret) signing.Secret {
	if len(current) > 0 && !slices.ContainsFunc(current, func(s signing.Secret) bool { return s.Kind() != signing.KindPrivate }) {
		return signing.NewPrivateKey()
	}
	return signing.NewSecret()
}

func unexpired(secrets []store.SealedSecret, now time.Time) []store.SealedSecret {
	return slices.DeleteFunc(slices.Clone(secrets), func(s store.SealedSecret) bool { return expired(&s, now) })
}

// RevokeSecret destroys one of an endpoint's secrets, named by its ID: nothing is
// signed with it any more, here at once, in other processes with their next claim.
// The current one can't be revoked; RotateSecret with a negative Overlap replaces
// it. A secret that the endpoint does not have is an ErrInvalidEndpoint; other
// errors are store.ErrNotFound and store.ErrDeleted.
func (t *Tenant) RevokeSecret(ctx context.Context, endpointID, secretID string) (store.Endpoint, error) {
	return t.change(ctx, endpointID, store.SecretRevoked, func(ep *store.Endpoint) (bool, error) {
		i := slices.IndexFunc(ep.Secrets, func(s store.SealedSecret) bool { return s.ID == secretID })
		if i < 0 {
			return false, &EndpointError{"Secret", fmt.Sprintf("%.100q is not one of the endpoint's; its Secrets have their IDs", secretID)}
		}
		ep.Secrets = slices.Delete(slices.Clone(ep.Secrets), i, i+1)
		if !slices.ContainsFunc(ep.Secrets, func(s store.SealedSecret) bool { return s.ExpiresAt.IsZero() }) {
			return false, &EndpointError{"Secret", "is the current one; RotateSecret with a negative Overlap replaces it at once"}
		}
		return true, nil
	})
}
