package signing

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"hash"
	"strconv"
	"sync"
)

// What a pooled scratch may keep between uses. The latter covers the bodies
// that a verifier accepts by default, of 1 MiB.
const (
	maxIdleCandidates = 64
	maxIdleWhole      = 2 << 20
)

// macs computes HMAC-SHA256 under several keys without allocating. The body
// is hashed where it lies; only the short prefix before it is assembled.
type macs struct {
	pool sync.Pool // of *scratch
}

// A scratch is what one goroutine needs for one message.
type scratch struct {
	hashes     []hash.Hash // one for each key, newest first
	prefix     []byte
	sum        [sha256.Size]byte
	text       [encodedEd25519]byte          // one encoded ed25519 signature
	raw        [encodedEd25519]byte          // the same decoded
	candidates [][sha256.Size]byte           // the decoded MACs of a header
	signatures [][ed25519.SignatureSize]byte // the decoded ed25519 signatures of a header
	whole      []byte                        // prefix and body in one piece
}

// newMACs builds the pool. It refuses keys that crypto/hmac refuses.
func newMACs(keys [][]byte) (m *macs, err error) {
	defer func() {
		// In FIPS 140-only mode hmac.New panics for keys under 112 bits.
		if recover() != nil {
			m, err = nil, errWeakKey
		}
	}()
	m = &macs{}
	// The keys live in the closure, where fmt cannot reach them.
	m.pool.New = func() any {
		s := &scratch{
			hashes:     make([]hash.Hash, len(keys)),
			prefix:     make([]byte, 0, maxForeignLength+24),
			candidates: make([][sha256.Size]byte, 0, DefaultMaxSignatures),
			signatures: make([][ed25519.SignatureSize]byte, 0, DefaultMaxSignatures),
		}
		for i, key := range keys {
			s.hashes[i] = hmac.New(sha256.New, key)
			// The first Reset caches the states after the padded key; from
			// then on each message hashes two blocks less.
			s.hashes[i].Reset()
		}
		return s
	}
	m.put(m.get())
	return m, nil
}

func (m *macs) get() *scratch { return m.pool.Get().(*scratch) }

func (m *macs) put(s *scratch) {
	if cap(s.candidates) > maxIdleCandidates {
		s.candidates = nil
	}
	if cap(s.signatures) > maxIdleCandidates {
		s.signatures = nil
	}
	if cap(s.whole) > maxIdleWhole {
		s.whole = nil
	}
	s.candidates, s.signatures = s.candidates[:0], s.signatures[:0]
	m.pool.Put(s)
}

// begin sets the signed content that precedes the body: "id.seconds.", or
// "seconds." without an id.
func (s *scratch) begin(id string, sec int64) {
	s.beginID(id)
	s.prefix = strconv.AppendInt(s.prefix, sec, 10)
	s.prefix = append(s.prefix, '.')
}

// beginText is begin with seconds that parseUnix accepted, as they were written.
func (s *scratch) beginText(id, sec string) {
	s.beginID(id)
	s.prefix = append(s.prefix, sec...)
	s.prefix = append(s.prefix, '.')
}

func (s *scratch) beginID(id string) {
	s.prefix = s.prefix[:0]
	if id != "" {
		s.prefix = append(s.prefix, id...)
		s.prefix = append(s.prefix, '.')
	}
}

// compute returns the MAC over prefix and body under one key. The result is
// valid until the next call.
func (s *scratch) compute(h hash.Hash, body []byte) []byte {
	h.Reset()
	h.Write(s.prefix)
	h.Write(body)
	return h.Sum(s.sum[:0])
}

// match reports whether any candidate is the MAC under any key.
func (s *scratch) match(body []byte) bool {
	if len(s.candidates) == 0 {
		return false
	}
	for _, h := range s.hashes {
		want := s.compute(h, body)
		for i := range s.candidates {
			if subtle.ConstantTimeCompare(want, s.candidates[i][:]) == 1 {
				return true
			}
		}
	}
	return false
}

// content returns prefix and body in one piece: unlike HMAC, ed25519 goes over
// it twice. The result is valid until the next call.
func (s *scratch) content(body []byte) []byte {
	s.whole = append(append(s.whole[:0], s.prefix...), body...)
	return s.whole
}

// candidate decodes one MAC and remembers it. What cannot be one is left out:
// it cannot match, and need not spoil the others.
func (s *scratch) candidate(encoded string, e Encoding) {
	n := len(s.candidates)
	s.candidates = append(s.candidates, [sha256.Size]byte{})
	var ok bool
	if e == Hex {
		ok = decodeHexMAC(&s.candidates[n], encoded)
	} else {
		ok = decodeBase64MAC(&s.candidates[n], encoded)
	}
	if !ok {
		s.candidates = s.candidates[:n]
	}
}

// decodeHexMAC is [decodeBase64MAC] for hexadecimal digits of either case.
func decodeHexMAC(dst *[sha256.Size]byte, text string) bool {
	var digits [2 * sha256.Size]byte
	if len(text) != len(digits) {
		return false
	}
	copy(digits[:], text)
	_, err := hex.Decode(dst[:], digits[:])
	return err == nil
}

// signature is candidate for an ed25519 signature in base64.
func (s *scratch) signature(encoded string) {
	if len(encoded) != encodedEd25519 {
		return
	}
	n, err := strictBase64.Decode(s.raw[:], s.text[:copy(s.text[:], encoded)])
	if err == nil && n == ed25519.SignatureSize {
		s.signatures = append(s.signatures, [ed25519.SignatureSize]byte(s.raw[:ed25519.SignatureSize]))
	}
}
