package sender

import (
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// sealSecret seals one signing secret for one endpoint.
func sealSecret(ring keyring.Sealer, ep *store.Endpoint, secret signing.Secret) (_ store.SealedSecret, err error) {
	defer keyringPanics(&err)
	s := store.SealedSecret{Fingerprint: secret.Fingerprint()}
	if s.ID, err = newID("sec_"); err != nil {
		return s, err
	}
	if s.KeyID, s.Sealed, err = ring.Seal(nil, []byte(secret.Reveal()), secretContext(ep, s.ID)); err != nil {
		return s, fmt.Errorf("sender: sealing the secret of %s: %w", ep.ID, err)
	}
	return s, nil
}

// errPublicSecret: the receiver's half of a key pair was given for the sender's.
var errPublicSecret = fmt.Errorf("%w: a public key (whpk_) only verifies; signing needs the private one (whsk_)", signing.ErrBadSecret)

// sealHeader seals the value of a custom header for one endpoint.
func sealHeader(ring keyring.Sealer, ep *store.Endpoint, name, value string) (_ store.SealedHeader, err error) {
	defer keyringPanics(&err)
	h := store.SealedHeader{Name: name}
	if h.ID, err = newID("hdr_"); err != nil {
		return h, err
	}
	if h.KeyID, h.Sealed, err = ring.Seal(nil, []byte(value), headerContext(ep, &h)); err != nil {
		return h, fmt.Errorf("sender: sealing the header %s of %s: %w", name, ep.ID, err)
	}
	return h, nil
}

// opened is what an endpoint's sealed values say.
type opened struct {
	secrets []openedSecret // newest first
	headers []openedHeader
}

type openedSecret struct {
	signing.Secret
	expires time.Time // zero: it does not
}

type openedHeader struct{ name, value string }

// openSealed opens the secrets of an endpoint that are not expired at now, and its
// headers. One that can't be opened fails them all: signing with the other secrets
// would be a wrong signature to receivers that trust only this one, and a request
// without its Authorization would be refused.
func openSealed(ring keyring.Sealer, ep *store.Endpoint, now time.Time) (_ *opened, err error) {
	defer keyringPanics(&err)
	o := &opened{}
	for i := range ep.Secrets {
		s := &ep.Secrets[i]
		if expired(s, now) {
			continue
		}
		plain, err := ring.Open(nil, s.KeyID, s.Sealed, secretContext(ep, s.ID))
		if err != nil {
			return nil, fmt.Errorf("sender: opening a secret of %s: %w", ep.ID, err)
		}
		secret, err := signing.ParseSecret(string(plain))
		clear(plain)
		if err != nil {
			return nil, fmt.Errorf("sender: secret of %s: %w", ep.ID, err)
		}
		o.secrets = append(o.secrets, openedSecret{secret, s.ExpiresAt})
	}
	for i := range ep.HeaderValues {
		h := &ep.HeaderValues[i]
		plain, err := ring.Open(nil, h.KeyID, h.Sealed, headerContext(ep, h))
		if err != nil {
			return nil, fmt.Errorf("sender: opening the header %s of %s: %w", h.Name, ep.ID, err)
		}
		o.headers = append(o.headers, openedHeader{h.Name, string(plain)})
		clear(plain)
	}
	return o, nil
}

// openSecrets is openSealed for what needs no headers.
func openSecrets(ring keyring.Sealer, ep *store.Endpoint, now time.Time) (*opened, error) {
	return openSealed(ring, &store.Endpoint{Scope: ep.Scope, ID: ep.ID, Sealed: store.Sealed{Secrets: ep.Secrets}}, now)
}

func expired(s *store.SealedSecret, now time.Time) bool {
	return !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt)
}

// current returns the secrets that sign at now, and when the next of them expires
// (zero: none does).
func (o *opened) current(now time.Time) (secrets []signing.Secret, next time.Time) {
	for _, s := range o.secrets {
		if !s.expires.IsZero() {
			if !now.Before(s.expires) {
				continue
			}
			if next.IsZero() || s.expires.Before(next) {
				next = s.expires
			}
		}
		secrets = append(secrets, s.Secret)
	}
	return secrets, next
}

// sealedValues yields an endpoint's sealed values, but for expired secrets, with
// what each is bound to.
func sealedValues(ep *store.Endpoint, now time.Time) iter.Seq2[*store.SealedValue, []byte] {
	return func(yield func(*store.SealedValue, []byte) bool) {
		for i := range ep.Secrets {
			if s := &ep.Secrets[i]; !expired(s, now) && !yield(&s.SealedValue, secretContext(ep, s.ID)) {
				return
			}
		}
		for i := range ep.HeaderValues {
			if h := &ep.HeaderValues[i]; !yield(&h.SealedValue, headerContext(ep, h)) {
				return
			}
		}
	}
}

// secretContext is the associated data that binds a sealed secret to its place: a
// ciphertext copied to another tenant, mode or endpoint does not open there.
func secretContext(ep *store.Endpoint, id string) []byte {
	return sealContext(ep, id)
}

// headerContext does the same for a header's value. The name is part of it, so that
// nobody makes a secret a header and has it sent in the clear.
func headerContext(ep *store.Endpoint, h *store.SealedHeader) []byte {
	return sealContext(ep, h.ID, h.Name)
}

func sealContext(ep *store.Endpoint, place ...string) []byte {
	b := []byte{byte(ep.Mode)}
	for _, s := range append([]string{ep.Tenant, ep.ID}, place...) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	return b
}
