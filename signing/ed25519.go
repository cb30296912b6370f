package signing

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strings"
)

// NewPrivateKey returns a new random ed25519 key for [Standard]: "whsk_" and
// the base64 of the 64 bytes of seed and public key. Who signs with it cannot
// be imitated by those who verify: receivers get only [Secret.PublicKey].
func NewPrivateKey() Secret {
	var seed [ed25519.SeedSize]byte
	rand.Read(seed[:]) // never fails
	return encodePrivateKey(seed[:])
}

// NewPrivateKeyFrom is NewPrivateKey with the randomness read from r, for
// tests and hardware generators. It reports an error if r gives fewer than 32
// bytes.
func NewPrivateKeyFrom(r io.Reader) (Secret, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := io.ReadFull(r, seed[:]); err != nil {
		return Secret{}, fmt.Errorf("signing: reading %d random bytes for a private key: %w", len(seed), err)
	}
	return encodePrivateKey(seed[:]), nil
}

func encodePrivateKey(seed []byte) Secret {
	text := privatePrefix + base64.StdEncoding.EncodeToString(ed25519.NewKeyFromSeed(seed))
	return Secret{text: &text}
}

// PublicKey returns the text that receivers verify with, "whpk_" and the
// base64 of 32 bytes. It is no secret. The error is [ErrBadSecret] unless s is
// an ed25519 key; the public key of a public key is itself.
func (s Secret) PublicKey() (string, error) {
	var public ed25519.PublicKey
	switch s.Kind() {
	case KindShared:
		return "", errNotEd25519
	case KindPrivate:
		key, err := parsePrivateKey(s.Reveal())
		if err != nil {
			return "", err
		}
		public = publicHalf(key)
	case KindPublic:
		var err error
		if public, err = parsePublicKey(s.Reveal()); err != nil {
			return "", err
		}
	}
	return publicPrefix + base64.StdEncoding.EncodeToString(public), nil
}

// parsePrivateKey reads the two forms in use: seed and public key, and the
// seed alone. Standard Webhooks does not say which it means.
func parsePrivateKey(text string) (ed25519.PrivateKey, error) {
	raw, err := strictBase64.DecodeString(strings.TrimPrefix(text, privatePrefix))
	if err != nil || len(raw) != ed25519.SeedSize && len(raw) != ed25519.PrivateKeySize {
		return nil, errPrivateForm
	}
	key := ed25519.NewKeyFromSeed(raw[:ed25519.SeedSize])
	// A signature made with a foreign public half gives the private key away.
	if len(raw) == ed25519.PrivateKeySize && !key.Equal(ed25519.PrivateKey(raw)) {
		return nil, errPrivateHalves
	}
	return key, nil
}

func parsePublicKey(text string) (ed25519.PublicKey, error) {
	raw, err := strictBase64.DecodeString(strings.TrimPrefix(text, publicPrefix))
	if err != nil || len(raw) != ed25519.PublicKeySize {
		return nil, errPublicForm
	}
	if smallOrder(raw) {
		return nil, errPublicWeak
	}
	return raw, nil
}

func publicHalf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(key[ed25519.SeedSize:])
}

// smallOrderY are the y coordinates of the curve's points of order 1, 2, 4 and
// 8, little-endian, with those spellings that are not reduced. Under such a
// public key anybody can make signatures; 32 zero bytes are one.
var smallOrderY = [...]string{
	"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
	"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
	"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
	"\xec\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	"\xed\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
	"\xee\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f",
}

func smallOrder(public []byte) bool {
	y := slices.Clone(public)
	y[len(y)-1] &= 0x7f // the sign of x
	return slices.Contains(smallOrderY[:], string(y))
}

// edwards is the ed25519 half of a [Standard] key.
type edwards struct {
	private func() []ed25519.PrivateKey // a func, because fmt prints unexported fields; newest first
	public  []ed25519.PublicKey         // whose signatures are accepted
	signing int                         // len(private())
}

func newEdwards(private []ed25519.PrivateKey, public []ed25519.PublicKey) edwards {
	return edwards{private: func() []ed25519.PrivateKey { return private }, public: public, signing: len(private)}
}

// match reports whether any candidate is a signature by any of the public keys.
func (e *edwards) match(s *scratch, body []byte) bool {
	if len(s.signatures) == 0 || len(e.public) == 0 {
		return false
	}
	content := s.content(body)
	for i := range s.signatures {
		for _, key := range e.public {
			if ed25519.Verify(key, content, s.signatures[i][:]) {
				return true
			}
		}
	}
	return false
}
