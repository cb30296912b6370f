package keyring

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

const (
	keySize  = 32 // AES-256
	maxIDLen = 64
)

// Key is a 256-bit encryption key with an id. Only [Key.Reveal] shows it: printed,
// logged or marshalled, a Key shows its id and not its bytes. Make one with
// [GenerateKey], [ParseKey] or [NewKey]; the zero value is not a key.
type Key struct {
	// A function, because fmt doesn't ask a Key that stands in an unexported
	// field of another struct how to print it: it would print a slice or array
	// as it is, and under %s even what a pointer leads to. Of a function it
	// prints the address. The zero Key has none.
	material func() *material
}

type material struct {
	id    string
	bytes [keySize]byte
}

// GenerateKey returns a new random key with the given id: 1 to 64 letters,
// digits, full stops, hyphens and underscores, and not "plaintext". An id such as
// the month in which the key was made, "2026-11", says which key is newer.
func GenerateKey(id string) (Key, error) {
	var b [keySize]byte
	if _, err := io.ReadFull(rand.Reader, b[:]); err != nil {
		return Key{}, fmt.Errorf("keyring: generate key: %w", err)
	}
	return NewKey(id, b[:])
}

// NewKey returns the key with the given id, whose rules are those of
// [GenerateKey], and a copy of the given 32 bytes, which must be random: a
// password is not a key. The error wraps [ErrInvalidKey] and repeats neither.
func NewKey(id string, key []byte) (Key, error) {
	if err := checkID(id); err != nil {
		return Key{}, err
	}
	if len(key) != keySize {
		return Key{}, fmt.Errorf("%w: the key has %d bytes, want %d", ErrInvalidKey, len(key), keySize)
	}
	m := &material{id: id}
	copy(m.bytes[:], key)
	return Key{func() *material { return m }}, nil
}

// ParseKey reads a key in the form that [Key.Reveal] writes: the id, a colon and
// the standard base64 of 32 bytes, 44 characters. Surrounding white space is
// ignored, since files and environment variables often end in a newline.
//
// `openssl rand -base64 32` writes the part after the colon. The error wraps
// [ErrInvalidKey] and repeats nothing of the text, whose halves may be swapped.
func ParseKey(s string) (Key, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return Key{}, errNoText
	}
	id, text, found := strings.Cut(s, ":")
	if !found {
		return Key{}, fmt.Errorf("%w: want an id, a colon and the base64 of %d bytes, found no colon", ErrInvalidKey, keySize)
	}
	if err := checkID(id); err != nil {
		return Key{}, err
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	if err != nil {
		return Key{}, fmt.Errorf("%w: want the standard base64 of %d bytes, with padding, after the colon and the id in front of it", ErrInvalidKey, keySize)
	}
	defer clear(b)
	return NewKey(id, b)
}

// ParseKeys reads several keys in the form of [ParseKey], separated by commas,
// newest first: what one environment variable can hold for [New]. The error is like
// that of ParseKey.
func ParseKeys(s string) ([]Key, error) {
	if strings.TrimSpace(s) == "" {
		return nil, errNoText
	}
	var keys []Key
	for i, part := range strings.Split(s, ",") {
		if strings.TrimSpace(part) == "" {
			return nil, fmt.Errorf("%w: key %d of the list is empty; there is a comma too many", ErrInvalidKey, i+1)
		}
		k, err := ParseKey(part)
		if err != nil {
			return nil, fmt.Errorf("%w (key %d of the list)", err, i+1)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// errNoText is nearly always about a variable that this process doesn't have.
var errNoText = fmt.Errorf("%w: the text is empty; is the environment variable set that should hold it?", ErrInvalidKey)

// ID returns the key's id, or "" for the zero Key.
func (k Key) ID() string {
	if k.material == nil {
		return ""
	}
	return k.material().id
}

// Reveal returns the key as text, secret bytes included, in the form that
// [ParseKey] reads. For the zero Key it returns "".
func (k Key) Reveal() string {
	if k.material == nil {
		return ""
	}
	m := k.material()
	return m.id + ":" + base64.StdEncoding.EncodeToString(m.bytes[:])
}

// String returns the id and the word "redacted" in place of the key.
func (k Key) String() string {
	if k.material == nil {
		return "[no key]"
	}
	return k.material().id + ":[redacted]"
}

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (k Key) Format(f fmt.State, _ rune) { fmt.Fprint(f, k.String()) }

// LogValue implements [slog.LogValuer] and returns what String returns.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// MarshalText implements [encoding.TextMarshaler] and returns what String
// returns, so that neither JSON nor another encoding shows the key. Use
// [Key.Reveal] to store it.
func (k Key) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// checkID refuses ids that would be ambiguous in the text form or in a log. Its
// error doesn't repeat the id: in "secret:id" the key would be printed.
func checkID(id string) error {
	switch {
	case id == "":
		return fmt.Errorf("%w: the id is empty", ErrInvalidKey)
	case len(id) > maxIDLen:
		return fmt.Errorf("%w: the id has %d bytes, want at most %d", ErrInvalidKey, len(id), maxIDLen)
	case id == PlaintextID:
		return fmt.Errorf("%w: the id %q is reserved for values that are not encrypted", ErrInvalidKey, id)
	}
	for _, c := range []byte(id) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			return fmt.Errorf("%w: an id holds only letters, digits, full stops, hyphens and underscores", ErrInvalidKey)
		}
	}
	return nil
}
