package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
)

// The sealed form is the version, the nonce and the ciphertext with its tag.
// The version is also authenticated, ahead of the associated data.
const (
	version   = 1
	nonceSize = 12
	tagSize   = 16
	overhead  = 1 + nonceSize + tagSize
)

// Ring is a [Sealer] with AES-256-GCM (NIST SP 800-38D) and a random nonce for
// each value. A sealed value is 29 bytes longer than the plain one.
//
// A key should seal at most 2^32 values, the bound of SP 800-38D for random
// nonces; rotate long before. To rotate, add a new key behind the old ones in every
// process, then put it in front, and keep the old ones until nothing is sealed under
// them any more: see SealedUnder of package sender.
type Ring struct {
	newestFirst []ringKey
	rand        io.Reader
}

type ringKey struct {
	id   string
	aead func() cipher.AEAD // hidden from fmt like the material of a Key
}

// New returns a ring of the given keys. The first seals; all of them open. The
// error wraps [ErrInvalidKey] if there is no key, a zero Key or an id twice.
func New(newestFirst ...Key) (*Ring, error) {
	if len(newestFirst) == 0 {
		return nil, fmt.Errorf("%w: a ring needs at least one key; GenerateKey makes one", ErrInvalidKey)
	}
	r := &Ring{rand: rand.Reader}
	for i, k := range newestFirst {
		if k.material == nil {
			return nil, fmt.Errorf("%w: key %d of the ring is the zero Key", ErrInvalidKey, i+1)
		}
		if _, found := r.lookup(k.ID()); found {
			return nil, fmt.Errorf("%w: the ring has two keys with the id %q", ErrInvalidKey, k.ID())
		}
		block, err := aes.NewCipher(k.material().bytes[:])
		if err != nil {
			return nil, fmt.Errorf("keyring: key %q: %w", k.ID(), err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("keyring: key %q: %w", k.ID(), err)
		}
		r.newestFirst = append(r.newestFirst, ringKey{k.ID(), func() cipher.AEAD { return aead }})
	}
	return r, nil
}

// WithRand returns a ring with the same keys that takes its nonces from source,
// which must be safe for concurrent use. It is meant for tests: two values under
// the same nonce and key give each other away. A nil source means
// [crypto/rand.Reader], which is also what New uses.
func (r *Ring) WithRand(source io.Reader) *Ring {
	if source == nil {
		source = rand.Reader
	}
	if r == nil {
		return nil
	}
	return &Ring{newestFirst: r.newestFirst, rand: source}
}

// KeyIDs returns the ids of the ring's keys in the order given to [New]: the
// first is that of the key that seals. A value that was sealed under another one
// should be sealed again.
func (r *Ring) KeyIDs() []string {
	if r == nil {
		return nil
	}
	ids := make([]string, len(r.newestFirst))
	for i, k := range r.newestFirst {
		ids[i] = k.id
	}
	return ids
}

// Seal implements [Sealer] with the ring's newest key. It fails only if the
// source of randomness does, or if the ring was not made by [New].
func (r *Ring) Seal(dst, plain, associated []byte) (kid string, sealed []byte, err error) {
	if r == nil || len(r.newestFirst) == 0 {
		return "", nil, fmt.Errorf("%w: the ring is empty; make one with New", ErrInvalidKey)
	}
	k := r.newestFirst[0]
	// Sealed apart and then appended: GCM panics when its buffers overlap.
	buf := make([]byte, 1+nonceSize, overhead+len(plain))
	buf[0] = version
	nonce := buf[1:]
	if _, err := io.ReadFull(r.rand, nonce); err != nil {
		return "", nil, fmt.Errorf("keyring: read nonce: %w", err)
	}
	buf = k.aead().Seal(buf, nonce, plain, withVersion(associated))
	return k.id, append(dst, buf...), nil
}

// Open implements [Sealer].
func (r *Ring) Open(dst []byte, kid string, sealed, associated []byte) ([]byte, error) {
	k, found := r.lookup(kid)
	switch {
	case !found && kid == PlaintextID:
		return nil, fmt.Errorf("%w: the value was stored without encryption, and this ring has only %q; Migrate opens both", ErrUnknownKey, r.KeyIDs())
	case !found:
		return nil, fmt.Errorf("%w: the value was sealed under key %s, and this ring has %q", ErrUnknownKey, quoteID(kid), r.KeyIDs())
	case len(sealed) < overhead:
		return nil, fmt.Errorf("%w: %d bytes under key %q are too short to be one", ErrOpen, len(sealed), kid)
	case sealed[0] != version:
		return nil, fmt.Errorf("%w: under key %q it has format version %d, want %d", ErrOpen, kid, sealed[0], version)
	}
	nonce, ciphertext := sealed[1:1+nonceSize], sealed[1+nonceSize:]
	plain, err := k.aead().Open(nil, nonce, ciphertext, withVersion(associated))
	if err != nil {
		return nil, fmt.Errorf("%w: under key %q it was changed, it belongs to something else, or the key is another one", ErrOpen, kid)
	}
	defer clear(plain)
	return append(dst, plain...), nil
}

// String names the ring's keys by their ids.
func (r *Ring) String() string {
	if r == nil {
		return "keyring.Ring(nil)"
	}
	return "keyring.Ring(" + strings.Join(r.KeyIDs(), ", ") + ")"
}

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (r *Ring) Format(f fmt.State, _ rune) { fmt.Fprint(f, r.String()) }

// lookup is a scan because a ring has a handful of keys.
func (r *Ring) lookup(kid string) (ringKey, bool) {
	if r == nil {
		return ringKey{}, false
	}
	for _, k := range r.newestFirst {
		if k.id == kid {
			return k, true
		}
	}
	return ringKey{}, false
}

func withVersion(associated []byte) []byte {
	return append([]byte{version}, associated...)
}
