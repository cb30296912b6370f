package signing

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	secretPrefix  = "whsec_"
	privatePrefix = "whsk_"
	publicPrefix  = "whpk_"
	// secretSize is the number of random bytes in a new secret. Standard
	// Webhooks wants 24 to 64.
	secretSize = 32
	// maxSecretLength bounds imported secrets, in bytes.
	maxSecretLength = 1024
	mask            = "***"
)

// A Secret is what the two sides of an endpoint sign and verify with: opaque
// text, which the [Scheme] turns into a key. It redacts itself in fmt, log/slog and every
// encoding that knows text or JSON, in nested and unexported fields too; only
// Reveal shows it. Compare with Equal; == does not compile.
//
// The zero Secret is empty and refused by every scheme. A Secret is safe for
// concurrent use and cheap to copy.
type Secret struct {
	_ [0]func()
	// A pointer, because fmt walks unexported fields without asking their
	// methods. A pointer to a string, because with a verb that does not suit
	// pointers, such as %s, fmt follows those to structs.
	text *string
}

// NewSecret returns a new random secret: "whsec_" and the base64 of 32 bytes
// from crypto/rand, which serves every symmetric scheme.
func NewSecret() Secret {
	var key [secretSize]byte
	rand.Read(key[:]) // never fails
	return encodeSecret(key[:])
}

// NewSecretFrom is NewSecret with the randomness read from r, for tests and
// hardware generators. It reports an error if r gives fewer than 32 bytes.
func NewSecretFrom(r io.Reader) (Secret, error) {
	var key [secretSize]byte
	if _, err := io.ReadFull(r, key[:]); err != nil {
		return Secret{}, fmt.Errorf("signing: reading %d random bytes for a secret: %w", secretSize, err)
	}
	return encodeSecret(key[:]), nil
}

func encodeSecret(key []byte) Secret {
	text := secretPrefix + base64.StdEncoding.EncodeToString(key)
	return Secret{text: &text}
}

// ParseSecret makes a Secret of existing text, such as one issued by another
// system. It must be 1 to 1024 bytes of UTF-8 without control characters and
// without white space around it (a line end that came along from a file would
// be part of the key), not a bare "whsec_", "whsk_" or "whpk_", and not the
// redacted form of a secret. Otherwise the
// error is [ErrBadSecret]. Whether a scheme can use the secret is for
// [Scheme].Bind to say.
func ParseSecret(text string) (Secret, error) {
	switch {
	case text == "", text == secretPrefix, text == privatePrefix, text == publicPrefix:
		return Secret{}, errZeroSecret
	case len(text) > maxSecretLength:
		return Secret{}, errLongSecret
	case !utf8.ValidString(text):
		return Secret{}, errSecretUTF8
	case strings.TrimSpace(text) != text:
		return Secret{}, errSecretSpace
	case strings.ContainsFunc(text, unicode.IsControl):
		return Secret{}, errSecretControl
	case text == redact(text):
		return Secret{}, errRedacted
	}
	text = strings.Clone(text) // it may be a part of something long
	return Secret{text: &text}, nil
}

// MustParseSecret is [ParseSecret] in one expression, for configuration in code
// and for tests. It panics with the error, which does not show the text, where
// ParseSecret reports one: an environment variable that is not set, for
// instance, ends the program as it starts.
func MustParseSecret(text string) Secret {
	s, err := ParseSecret(text)
	if err != nil {
		panic(err)
	}
	return s
}

var (
	errLongSecret    = badSecret("it is longer than 1024 bytes")
	errSecretUTF8    = badSecret("it is not valid UTF-8")
	errSecretSpace   = badSecret("it begins or ends with white space")
	errSecretControl = badSecret("it contains a control character")
	errRedacted      = badSecret("this is a redacted secret, not the secret itself")
)

// Reveal returns the text of the secret, "" for the zero Secret. It is the
// only way to see it.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsZero reports whether s is the zero Secret, which holds no text.
func (s Secret) IsZero() bool { return s.text == nil }

// A Kind says who may know a secret. Standard Webhooks marks ed25519 keys in
// their text, and no scheme of this package uses a key as another kind than
// that.
type Kind uint8

const (
	// KindShared is known to sender and receiver: every text without one of
	// the marks below.
	KindShared Kind = iota
	// KindPrivate begins with "whsk_": an ed25519 key that only the sender
	// knows.
	KindPrivate
	// KindPublic begins with "whpk_": an ed25519 key that everybody may know.
	// It verifies and cannot sign.
	KindPublic
)

// Kind returns the kind of the secret; that of the zero Secret is KindShared.
func (s Secret) Kind() Kind {
	switch text := s.Reveal(); {
	case strings.HasPrefix(text, privatePrefix):
		return KindPrivate
	case strings.HasPrefix(text, publicPrefix):
		return KindPublic
	}
	return KindShared
}

// Equal reports whether both hold the same text, in time that does not depend
// on the text.
func (s Secret) Equal(other Secret) bool {
	a, b := sha256.Sum256([]byte(s.Reveal())), sha256.Sum256([]byte(other.Reveal()))
	return subtle.ConstantTimeCompare(a[:], b[:]) == 1
}

// Fingerprint returns 8 hexadecimal digits by which people can tell secrets
// apart, "" for the zero Secret. It is derived by hashing and does not reveal
// a random secret.
func (s Secret) Fingerprint() string {
	if s.IsZero() {
		return ""
	}
	sum := sha256.Sum256([]byte("hookpost secret fingerprint\x00" + *s.text))
	return hex.EncodeToString(sum[:4])
}

// redact keeps the kind of a secret and hides the rest.
func redact(text string) string {
	for _, prefix := range [...]string{secretPrefix, privatePrefix, publicPrefix} {
		if strings.HasPrefix(text, prefix) {
			return prefix + mask
		}
	}
	return mask
}

// String returns the redacted form: "whsec_***", "***" for secrets of other
// shapes, "" for the zero Secret.
func (s Secret) String() string {
	if s.IsZero() {
		return ""
	}
	return redact(*s.text)
}

// GoString returns the redacted form.
func (s Secret) GoString() string { return s.String() }

// Format writes the redacted form, whatever the verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns the redacted form.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns the redacted form; it never fails.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON returns the redacted form as a JSON string; it never fails.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }
