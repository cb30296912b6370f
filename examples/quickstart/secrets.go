package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store/keyring"
)

// secrets is what both sides must keep out of the database, in a file beside it
// that only its owner can read. In a real application the key comes from the
// environment or a secret manager, and the signing secret lies with the customer,
// who copied it when it was shown.
type secrets struct {
	path string

	Key      keyring.Key    // the sender's: opens the secrets in the database
	Endpoint string         // empty: not created yet
	Signing  signing.Secret // the receiver's
}

// secretsFile is their form on disk.
type secretsFile struct {
	Key      string `json:"key"`
	Endpoint string `json:"endpoint,omitempty"`
	Signing  string `json:"signing_secret,omitempty"`
}

// openSecrets reads the secrets of the database at db, or makes a key if both are new.
func openSecrets(db string) (*secrets, error) {
	s := &secrets{path: db + ".secrets"}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Stat(db); err == nil {
			return nil, fmt.Errorf("%s exists without %s, which has its key; give another -db", db, s.path)
		}
		if s.Key, err = keyring.GenerateKey("quickstart"); err != nil {
			return nil, err
		}
		return s, s.write()
	}
	if err != nil {
		return nil, err
	}
	var f secretsFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	if s.Key, err = keyring.ParseKey(f.Key); err != nil {
		return nil, fmt.Errorf("%s: %w", s.path, err)
	}
	if f.Endpoint != "" {
		s.Endpoint = f.Endpoint
		if s.Signing, err = signing.ParseSecret(f.Signing); err != nil {
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
	}
	return s, nil
}

// remember keeps an endpoint's secret, which is shown only once.
func (s *secrets) remember(endpoint string, secret signing.Secret) error {
	s.Endpoint, s.Signing = endpoint, secret
	return s.write()
}

// write replaces the file in one step, so that a crash leaves the old one or the new.
func (s *secrets) write() error {
	text, err := json.Marshal(secretsFile{Key: s.Key.Reveal(), Endpoint: s.Endpoint, Signing: s.Signing.Reveal()})
	if err != nil {
		return err
	}
	tmp := s.path + ".new"
	if err := os.WriteFile(tmp, text, 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, s.path)
}
