// Package keyring keeps secrets unreadable at rest.
//
// A [Sealer] encrypts a secret before it reaches a store and decrypts it when it
// is needed, so that a store, its backups and whoever reads them hold only
// ciphertext. [Ring] is the Sealer of this package: AES-256-GCM under one or
// several keys, each with an id. The newest key seals and all of them open, which
// is what a change of keys needs. A Sealer of your own can call a key management
// service instead.
package keyring

import (
	"errors"
	"fmt"
)

// Errors of the Sealers in this package. The errors that are returned wrap them
// and say more; none of them contains key material or a secret.
var (
	// ErrUnknownKey means that a value was sealed under a key that the Sealer
	// doesn't have. The message names the missing key's id.
	ErrUnknownKey = errors.New("keyring: unknown key")

	// ErrOpen means that a value can't be opened though its key is known: it was
	// changed, it was sealed with other associated data, or the key that has its
	// id is a different one.
	ErrOpen = errors.New("keyring: cannot open sealed value")

	// ErrInvalidKey means that a key or a set of keys can't be used.
	ErrInvalidKey = errors.New("keyring: invalid key")
)

// Sealer encrypts and authenticates small values such as signing secrets.
// Implementations are safe for concurrent use. One that calls a service limits how
// long that takes by itself, to a few seconds, since its caller waits.
type Sealer interface {
	// Seal encrypts plain, binds it to associated and appends the result to dst.
	// It returns the id of the key that was used, which the caller stores beside
	// the sealed value, and the extended dst. Associated says what the value
	// belongs to; it is authenticated, not stored. As long as the id stays the
	// same, nothing that has it needs to be sealed anew.
	Seal(dst, plain, associated []byte) (kid string, sealed []byte, err error)

	// Open decrypts a value that Seal returned together with kid and appends the
	// result to dst. Associated must be what it was for Seal. If the value can't
	// be opened, the error wraps ErrUnknownKey or ErrOpen and nothing of the value
	// is returned; another error says that it may work later.
	Open(dst []byte, kid string, sealed, associated []byte) ([]byte, error)
}

// Migrate returns a Sealer that seals with current and opens values of current
// and of the older Sealers: each is asked in turn as long as the one before
// answers [ErrUnknownKey]. It serves the change from one kind of Sealer to
// another, for example from [Plaintext] to a [Ring], until every value has been
// sealed again.
//
// As long as Plaintext is among them, whoever can write to the store can put
// secrets of their choice there. Drop it when the change is complete.
func Migrate(current Sealer, older ...Sealer) Sealer {
	if len(older) == 0 {
		return current
	}
	return migration{Sealer: current, older: append([]Sealer(nil), older...)}
}

type migration struct {
	Sealer
	older []Sealer
}

// Open implements [Sealer].
func (m migration) Open(dst []byte, kid string, sealed, associated []byte) ([]byte, error) {
	plain, err := m.Sealer.Open(dst, kid, sealed, associated)
	for _, s := range m.older {
		if !errors.Is(err, ErrUnknownKey) {
			break
		}
		var olderErr error
		plain, olderErr = s.Open(dst, kid, sealed, associated)
		if olderErr == nil || !errors.Is(olderErr, ErrUnknownKey) {
			err = olderErr // otherwise keep the current Sealer's words
		}
	}
	if err != nil {
		return nil, err
	}
	return plain, nil
}

// quoteID makes an id that was read from a store fit for an error message.
func quoteID(kid string) string {
	if len(kid) > maxIDLen {
		return fmt.Sprintf("%q...", kid[:maxIDLen])
	}
	return fmt.Sprintf("%q", kid)
}
