package sender

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// sealSecret seals one signing secret for one endpoint.
func sealSecret(ring keyring.Sealer, scope store.Scope, endpointID, id string, secret signing.Secret) (store.SealedSecret, error) {
	kid, sealed, err := ring.Seal(nil, []byte(secret.Reveal()), secretContext(scope, endpointID, id))
	if err != nil {
		return store.SealedSecret{}, fmt.Errorf("sender: sealing the secret of %s: %w", endpointID, err)
	}
	return store.SealedSecret{ID: id, KeyID: kid, Sealed: sealed, Fingerprint: secret.Fingerprint()}, nil
}

// errPublicSecret: the receiver's half of a key pair was given for the sender's.
var errPublicSecret = fmt.Errorf("%w: a public key (whpk_) only verifies; signing needs the private one (whsk_)", signing.ErrBadSecret)

// openSecrets opens the secrets of an endpoint that are current at now, and
// returns when the next of them expires (zero: none does). A secret that can't be
// opened fails them all: signing with the others would be a wrong signature to
// receivers that trust only this one.
func openSecrets(ring keyring.Sealer, ep *store.Endpoint, now time.Time) ([]signing.Secret, time.Time, error) {
	var next time.Time
	secrets := make([]signing.Secret, 0, len(ep.Secrets))
	for i := range ep.Secrets {
		s := &ep.Secrets[i]
		if !s.ExpiresAt.IsZero() {
			if !now.Before(s.ExpiresAt) {
				continue
			}
			if next.IsZero() || s.ExpiresAt.Before(next) {
				next = s.ExpiresAt
			}
		}
		plain, err := ring.Open(nil, s.KeyID, s.Sealed, secretContext(ep.Scope, ep.ID, s.ID))
		if err != nil {
			return nil, next, fmt.Errorf("sender: opening a secret of %s: %w", ep.ID, err)
		}
		secret, err := signing.ParseSecret(string(plain))
		clear(plain)
		if err != nil {
			return nil, next, fmt.Errorf("sender: secret of %s: %w", ep.ID, err)
		}
		secrets = append(secrets, secret)
	}
	return secrets, next, nil
}

// secretContext is the associated data that binds a sealed secret to its place: a
// ciphertext copied to another tenant, mode or endpoint does not open there.
func secretContext(scope store.Scope, endpointID, secretID string) []byte {
	b := []byte{byte(scope.Mode)}
	for _, s := range []string{scope.Tenant, endpointID, secretID} {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}
