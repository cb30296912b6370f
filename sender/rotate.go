package sender

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

const (
	defaultOverlap = 24 * time.Hour
	maxOverlap     = 30 * 24 * time.Hour
)

// Rotation says how an endpoint changes to a new secret. The zero value of every
// field means its default.
type Rotation struct {
	// Secret is the new signing secret. Default: one is made.
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
// With a negative Overlap it also is the way out when the key is lost that the old
// secrets were sealed under; else they must be readable.
//
// Errors: ErrInvalidEndpoint, store.ErrNotFound, store.ErrDeleted and those of the
// keyring.
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
	if secret.IsZero() {
		secret = signing.NewSecret()
	}
	if err := s.clock.ask(ctx, s.st); err != nil {
		return none(err)
	}
	ep, err := t.change(ctx, endpointID, store.SecretRotated, func(ep *store.Endpoint) (bool, error) {
		now := s.clock.at(time.Now())
		signs := []signing.Secret{secret}
		var kept []store.SealedSecret
		if overlap > 0 {
			o, err := openSealed(s.cfg.Keyring, &store.Endpoint{
				Scope: ep.Scope, ID: ep.ID, Sealed: store.Sealed{Secrets: ep.Secrets},
			}, now)
			if err != nil {
				return false, err
			}
			old, _ := o.current(now)
			signs = append(signs, old...)
			kept = expireAt(ep.Secrets, now, now.Add(overlap))
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
	if err != nil {
		return none(err)
	}
	return ep, secret, nil
}

// expireAt returns the secrets that have not expired at now, with an end of at the
// latest.
func expireAt(secrets []store.SealedSecret, now, end time.Time) (kept []store.SealedSecret) {
	for _, s := range secrets {
		switch {
		case expired(&s, now):
			continue
		case s.ExpiresAt.IsZero(), s.ExpiresAt.After(end):
			s.ExpiresAt = end
		}
		kept = append(kept, s)
	}
	return kept
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
