package keyring_test

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store/keyring"
)

// KMS is what is needed of a key management service: AWS, Google Cloud, Vault and
// others have it under similar names. The master key never leaves the service.
type KMS interface {
	// GenerateDataKey returns a new 256-bit key, and the same encrypted under the
	// master key.
	GenerateDataKey(ctx context.Context, masterKeyID string) (plain, encrypted []byte, err error)
	// Decrypt returns the key that GenerateDataKey encrypted.
	Decrypt(ctx context.Context, masterKeyID string, encrypted []byte) (plain []byte, err error)
}

// KMSSealer seals with data keys that a KMS has encrypted (envelope encryption).
// Beside each ciphertext stands its encrypted data key, so that nothing is needed
// to open it but the service.
//
// Data keys are cached: the service is asked once an hour for sealing, and once
// per data key for opening, whatever is sent. While it is down, everything sealed
// under a cached key can be opened; the rest fails with the service's error. The
// sender then leaves those endpoints alone, without charging an attempt, and tries
// again every 30 s; that is also why a call here has a timeout.
type KMSSealer struct {
	kms    KMS
	master string // the id of the master key, which is also the key id of what is sealed

	mu      sync.Mutex
	current []byte // encrypted data key that seals
	since   time.Time
	cache   map[string]cipher.AEAD // by encrypted data key
}

const (
	dataKeyLife  = time.Hour       // of the one that seals
	dataKeyCache = 1000            // of those that open
	kmsTimeout   = 2 * time.Second // the sender waits for it
)

// NewKMSSealer returns a Sealer under one master key of a KMS. To change to another
// master key: keyring.Migrate(NewKMSSealer(kms, "new"), NewKMSSealer(kms, "old")).
func NewKMSSealer(kms KMS, masterKeyID string) *KMSSealer {
	return &KMSSealer{kms: kms, master: masterKeyID, cache: make(map[string]cipher.AEAD)}
}

// Seal implements keyring.Sealer. The sealed form is the length of the encrypted
// data key in two bytes, that key, the nonce and the ciphertext.
func (s *KMSSealer) Seal(dst, plain, associated []byte) (kid string, sealed []byte, err error) {
	encrypted, aead, err := s.sealing()
	if err != nil {
		return "", nil, err
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce)
	out := binary.BigEndian.AppendUint16(nil, uint16(len(encrypted)))
	out = append(append(out, encrypted...), nonce...)
	out = aead.Seal(out, nonce, plain, associated)
	return s.master, append(dst, out...), nil
}

// Open implements keyring.Sealer.
func (s *KMSSealer) Open(dst []byte, kid string, sealed, associated []byte) ([]byte, error) {
	if kid != s.master {
		return nil, fmt.Errorf("%w: %q, and this is %q", keyring.ErrUnknownKey, kid, s.master)
	}
	if len(sealed) < 2 || len(sealed) < 2+int(binary.BigEndian.Uint16(sealed)) {
		return nil, fmt.Errorf("%w: too short", keyring.ErrOpen)
	}
	n := 2 + int(binary.BigEndian.Uint16(sealed))
	encrypted, rest := sealed[2:n], sealed[n:]
	aead := s.cached(encrypted)
	if aead == nil {
		ctx, cancel := context.WithTimeout(context.Background(), kmsTimeout)
		defer cancel()
		key, err := s.kms.Decrypt(ctx, s.master, encrypted)
		if err != nil {
			return nil, fmt.Errorf("kms: decrypt a data key: %w", err) // it may work later
		}
		if aead, err = s.remember(key, encrypted); err != nil {
			return nil, err
		}
	}
	if len(rest) < aead.NonceSize() {
		return nil, fmt.Errorf("%w: too short", keyring.ErrOpen)
	}
	plain, err := aead.Open(nil, rest[:aead.NonceSize()], rest[aead.NonceSize():], associated)
	if err != nil {
		return nil, fmt.Errorf("%w: it was changed or belongs to something else", keyring.ErrOpen)
	}
	return append(dst, plain...), nil
}

// sealing returns the data key that seals now.
func (s *KMSSealer) sealing() (encrypted []byte, aead cipher.AEAD, err error) {
	s.mu.Lock()
	encrypted, fresh := s.current, time.Since(s.since) < dataKeyLife
	s.mu.Unlock()
	if aead := s.cached(encrypted); aead != nil && fresh {
		return encrypted, aead, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), kmsTimeout)
	defer cancel()
	key, encrypted, err := s.kms.GenerateDataKey(ctx, s.master)
	if err != nil {
		return nil, nil, fmt.Errorf("kms: make a data key: %w", err)
	}
	if aead, err = s.remember(key, encrypted); err != nil {
		return nil, nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current, s.since = encrypted, time.Now()
	return encrypted, aead, nil
}

func (s *KMSSealer) cached(encrypted []byte) cipher.AEAD {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cache[string(encrypted)]
}

// remember caches a data key and wipes it.
func (s *KMSSealer) remember(key, encrypted []byte) (cipher.AEAD, error) {
	defer clear(key)
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("kms: data key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("kms: data key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= dataKeyCache {
		clear(s.cache)
	}
	s.cache[string(encrypted)] = aead
	return aead, nil
}

// fakeKMS encrypts data keys under one master key in memory.
type fakeKMS struct {
	master *keyring.Ring
	down   bool
	calls  int
}

func (k *fakeKMS) call(what string) error {
	if k.down {
		return errors.New("service unavailable")
	}
	k.calls++
	fmt.Println("KMS:", what)
	return nil
}

func (k *fakeKMS) GenerateDataKey(context.Context, string) (plain, encrypted []byte, err error) {
	if err := k.call("generate"); err != nil {
		return nil, nil, err
	}
	plain = make([]byte, 32)
	rand.Read(plain)
	_, encrypted, err = k.master.Seal(nil, plain, nil)
	return plain, encrypted, err
}

func (k *fakeKMS) Decrypt(_ context.Context, _ string, encrypted []byte) ([]byte, error) {
	if err := k.call("decrypt"); err != nil {
		return nil, err
	}
	return k.master.Open(nil, "master", encrypted, nil)
}

// A Sealer whose master key is in a key management service.
func ExampleSealer_kms() {
	key, err := keyring.GenerateKey("master")
	if err != nil {
		fmt.Println(err)
		return
	}
	master, err := keyring.New(key)
	if err != nil {
		fmt.Println(err)
		return
	}
	kms := &fakeKMS{master: master}

	s := NewKMSSealer(kms, "arn:key/1")
	for range 3 { // one data key for all
		kid, sealed, err := s.Seal(nil, []byte("whsec_..."), []byte("ep_1"))
		if err != nil {
			fmt.Println(err)
			return
		}
		plain, err := s.Open(nil, kid, sealed, []byte("ep_1"))
		fmt.Println(kid, string(plain), err)
	}
	kid, sealed, err := s.Seal(nil, []byte("whsec_..."), []byte("ep_1"))
	if err != nil {
		fmt.Println(err)
		return
	}

	// The service is down: who has the data key goes on, a new process waits.
	kms.down = true
	_, err = s.Open(nil, kid, sealed, []byte("ep_1"))
	fmt.Println("here:", err)
	restarted := NewKMSSealer(kms, "arn:key/1")
	_, err = restarted.Open(nil, kid, sealed, []byte("ep_1"))
	fmt.Println("restarted:", err)

	kms.down = false
	plain, err := restarted.Open(nil, kid, sealed, []byte("ep_1"))
	fmt.Println("restarted:", string(plain), err)
	// Output:
	// KMS: generate
	// arn:key/1 whsec_... <nil>
	// arn:key/1 whsec_... <nil>
	// arn:key/1 whsec_... <nil>
	// here: <nil>
	// restarted: kms: decrypt a data key: service unavailable
	// KMS: decrypt
	// restarted: whsec_... <nil>
}
