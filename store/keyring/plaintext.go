package keyring

import "fmt"

// PlaintextID is the key id of values that [Plaintext] has passed through.
const PlaintextID = "plaintext"

// Plaintext is a [Sealer] that doesn't encrypt.
//
// With it, whoever can read the database, a backup or a replica of it can sign
// webhooks in the application's name, and whoever can write to it can replace a
// secret unnoticed: associated data is ignored and nothing is authenticated. It is
// for tests and for databases that hold nothing worth protecting, and has to be
// asked for by name. To leave it behind, see [Migrate].
var Plaintext = plaintext{}

// plaintext is an empty struct so that nobody can assign another value to Plaintext.
type plaintext struct{}

// Seal implements [Sealer]: it appends plain to dst as it is.
func (plaintext) Seal(dst, plain, _ []byte) (kid string, sealed []byte, err error) {
	return PlaintextID, append(dst, plain...), nil
}

// Open implements [Sealer]: it appends sealed to dst as it is. It refuses values
// of every other key id, so that ciphertext is never taken for a secret.
func (plaintext) Open(dst []byte, kid string, sealed, _ []byte) ([]byte, error) {
	if kid != PlaintextID {
		return nil, fmt.Errorf("%w: the value was sealed under key %s, and no keyring is configured", ErrUnknownKey, quoteID(kid))
	}
	return append(dst, sealed...), nil
}
