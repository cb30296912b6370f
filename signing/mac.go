package signing

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"strconv"
	"sync"
)

// maxIdleCandidates bounds what a pooled scratch may keep between uses.
const maxIdleCandidates = 64

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
	text       [2 * sha256.Size]byte // one encoded signature, hex being the longest
	raw        [2 * sha256.Size]byte // the same decoded
	candidates [][sha256.Size]byte   // the decoded signatures of a header
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
			prefix:     make([]byte, 0, maxIDLength+24),
			candidates: make([][sha256.Size]byte, 0, DefaultMaxSignatures),
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
	s.candidates = s.candidates[:0]
	m.pool.Put(s)
}

// begin sets the signed content that precedes the body: "id.seconds.", or
// "seconds." without an id.
func (s *scratch) begin(id string, sec int64) {
	s.prefix = s.prefix[:0]
	if id != "" {
		s.prefix = append(s.prefix, id...)
		s.prefix = append(s.prefix, '.')
	}
	s.prefix = strconv.AppendInt(s.prefix, sec, 10)
	s.prefix = append(s.prefix, '.')
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

// candidate decodes one signature and remembers it. What cannot be a MAC is
// left out: it cannot match, and need not spoil the others.
func (s *scratch) candidate(encoded string, size int, decode func(dst, src []byte) (int, error)) {
	if len(encoded) != size {
		return
	}
	n, err := decode(s.raw[:], s.text[:copy(s.text[:], encoded)])
	if err == nil && n == sha256.Size {
		s.candidates = append(s.candidates, [sha256.Size]byte(s.raw[:sha256.Size]))
	}
}
