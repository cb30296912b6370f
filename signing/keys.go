package signing

import (
	"bytes"
	"slices"
)

// checkSecrets refuses what no scheme of this package can bind.
func checkSecrets(secrets []Secret) error {
	switch {
	case len(secrets) == 0:
		return errNoSecret
	case len(secrets) > MaxSecrets:
		return errManySecrets
	case slices.ContainsFunc(secrets, Secret.IsZero):
		return errZeroSecret
	}
	return nil
}

// opaqueKeys returns the whole texts of secrets as HMAC keys, newest first.
// Private ed25519 keys are left out: they are for another scheme of the same
// endpoint. A public one has no business here at all: as an HMAC key, it would
// be one that everybody knows.
func opaqueKeys(secrets []Secret) ([][]byte, error) {
	if err := checkSecrets(secrets); err != nil {
		return nil, err
	}
	var keys [][]byte
	for _, s := range secrets {
		switch s.Kind() {
		case KindShared:
			keys = appendNew(keys, []byte(s.Reveal()))
		case KindPublic:
			return nil, errAsymmetric
		case KindPrivate:
		}
	}
	if len(keys) == 0 {
		return nil, errAsymmetric
	}
	return keys, nil
}

// appendNew appends a key unless it is there already: a message needs no
// second signature under the same key.
func appendNew[K ~[]byte](keys []K, key K) []K {
	if slices.ContainsFunc(keys, func(k K) bool { return bytes.Equal(k, key) }) {
		return keys
	}
	return append(keys, key)
}
