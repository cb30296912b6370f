package signing

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Standard is the scheme of Standard Webhooks 1.0.0,
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md:
// signatures over "id.timestamp.body", sent as
//
//	webhook-id: evt_…
//	webhook-timestamp: 1700000000
//	webhook-signature: v1,<base64> v1a,<base64>
//
// Its name is "standard". The signatures cover the id and the time.
//
// There is one v1 for each shared secret, HMAC-SHA256, and one v1a for each
// private key, ed25519. Both may be bound together, so that receivers verify
// with what they have: a shared secret accepts nothing but v1, an ed25519 key
// nothing but v1a. A private key verifies like its public key; public keys
// alone sign nothing.
//
//   - The key of a shared secret is the base64 after "whsec_", decoded; the
//     prefix may be absent. The base64 must be standard, padded and canonical,
//     and hold at least 24 bytes. Some opaque secrets of other systems are valid
//     base64 by accident; here they make another key than they do there.
//   - A private key is "whsk_" and the base64 of 64 bytes, seed and public key,
//     or of the 32 of the seed: [NewPrivateKey].
//   - A public key is "whpk_" and the base64 of 32 bytes: [Secret.PublicKey].
//
// Only ids that are [ValidID] are signed. Verify accepts every id of 1 to 256
// characters of printable ASCII without a full stop.
//
// Verify also accepts a complete set of svix-id, svix-timestamp and
// svix-signature where the webhook- set is incomplete. The two are never
// mixed, and a complete webhook- set is the only one looked at.
//
// At 1 KiB an ed25519 signature costs some 25 times what a MAC does to make, and
// 50 times to check; a forged request can make a receiver check as many as
// [Limits].MaxSignatures allows, under each public key.
var Standard Scheme = standard{}

type standard struct{}

func (standard) Name() string { return "standard" }

func (standard) Bind(newestFirst ...Secret) (Key, error) {
	if err := checkSecrets(newestFirst); err != nil {
		return nil, err
	}
	var (
		shared  [][]byte
		private []ed25519.PrivateKey
		public  []ed25519.PublicKey
	)
	for _, s := range newestFirst {
		switch s.Kind() {
		case KindShared:
			key, err := sharedKey(s.Reveal())
			if err != nil {
				return nil, err
			}
			shared = appendNew(shared, key)
		case KindPrivate:
			key, err := parsePrivateKey(s.Reveal())
			if err != nil {
				return nil, err
			}
			private = appendNew(private, key)
			public = appendNew(public, publicHalf(key))
		case KindPublic:
			key, err := parsePublicKey(s.Reveal())
			if err != nil {
				return nil, err
			}
			public = appendNew(public, key)
		}
	}
	m, err := newMACs(shared)
	if err != nil {
		return nil, err
	}
	return &standardKey{macs: m, shared: len(shared), edwards: newEdwards(private, public)}, nil
}

// strictBase64 refuses padding bits that are not zero, so that a signature
// has one spelling.
var strictBase64 = base64.StdEncoding.Strict()

// minStandardKey is the specification's minimum, in bytes. Its maximum, 64, is
// not enforced: a longer key is no weaker.
const minStandardKey = 24

func sharedKey(text string) ([]byte, error) {
	key, err := strictBase64.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil {
		return nil, errNotBase64
	}
	if len(key) < minStandardKey {
		return nil, errShortKey
	}
	return key, nil
}

type standardKey struct {
	macs    *macs
	shared  int // secrets among them
	edwards edwards
}

const (
	versionHMAC    = "v1,"
	versionEd25519 = "v1a,"

	// The lengths of signatures in padded base64.
	encodedMAC     = (sha256.Size + 2) / 3 * 4
	encodedEd25519 = (ed25519.SignatureSize + 2) / 3 * 4
)

func (k *standardKey) AppendSignature(dst []byte, m Message) []byte {
	sec := m.Timestamp.Unix()
	if !ValidID(m.ID) || !signable(sec) {
		return dst
	}
	s := k.macs.get()
	defer k.macs.put(s)
	s.begin(m.ID, sec)
	start := len(dst)
	version := func(label string) {
		if len(dst) > start {
			dst = append(dst, ' ')
		}
		dst = append(dst, label...)
	}
	for _, h := range s.hashes {
		version(versionHMAC)
		dst = base64.StdEncoding.AppendEncode(dst, s.compute(h, m.Body))
	}
	if k.edwards.signing > 0 {
		content := s.content(m.Body)
		for _, key := range k.edwards.private() {
			version(versionEd25519)
			dst = base64.StdEncoding.AppendEncode(dst, ed25519.Sign(key, content))
		}
	}
	return dst
}

// signatureLength is how much AppendSignature appends.
func (k *standardKey) signatureLength() int {
	return k.shared*(len(versionHMAC)+encodedMAC+1) + k.edwards.signing*(len(versionEd25519)+encodedEd25519+1)
}

func (k *standardKey) SetHeaders(h http.Header, m Message) {
	buf := make([]byte, 0, 20+k.signatureLength())
	buf = strconv.AppendInt(buf, m.Timestamp.Unix(), 10)
	n := len(buf)
	buf = k.AppendSignature(buf, m)
	delFold(h, webhookHeaders.id)
	delFold(h, webhookHeaders.timestamp)
	delFold(h, webhookHeaders.signature)
	if len(buf) == n {
		return
	}
	// One string and one backing array serve the three headers.
	text := string(buf)
	values := []string{m.ID, text[:n], text[n:]}
	h[webhookHeaders.id] = values[0:1:1]
	h[webhookHeaders.timestamp] = values[1:2:2]
	h[webhookHeaders.signature] = values[2:3:3]
}

func (k *standardKey) Verify(h http.Header, body []byte, now time.Time, lim Limits) (Message, error) {
	in, err := standardHeaders(h)
	if err != nil {
		return Message{}, err
	}
	if len(in.signature) > lim.maxHeader() {
		return Message{}, errTooLong
	}
	if !validForeignID(in.id) {
		return Message{}, errForeignID
	}
	sec, ok := parseUnix(in.timestamp)
	if !ok {
		return Message{}, errBadTime
	}
	if err := checkTime(sec, now, lim.Tolerance); err != nil {
		return Message{}, err
	}
	s := k.macs.get()
	defer k.macs.put(s)
	if err := k.read(s, in.signature, lim.maxSignatures()); err != nil {
		return Message{}, err
	}
	s.beginText(in.id, in.timestamp)
	if !s.match(body) && !k.edwards.match(s, body) {
		return Message{}, ErrNoMatch
	}
	return Message{
		ID:        in.id,
		Timestamp: time.Unix(sec, 0).UTC(),
		Body:      body,
		Signed:    Coverage{ID: true, Time: true},
	}, nil
}

// read collects the signatures of a space-separated list that k has keys for.
// Those of other versions are for other verifiers and only count towards the
// limit.
func (k *standardKey) read(s *scratch, list string, limit int) error {
	known, total := 0, 0
	for list != "" {
		var item string
		item, list, _ = strings.Cut(list, " ")
		if item == "" {
			continue
		}
		if total++; total > limit {
			return errTooMany
		}
		// Which keys a signature is tried with depends on its label alone.
		if encoded, ok := strings.CutPrefix(item, versionHMAC); ok && k.shared > 0 {
			known++
			s.candidate(encoded, Base64)
		} else if encoded, ok := strings.CutPrefix(item, versionEd25519); ok && len(k.edwards.public) > 0 {
			known++
			s.signature(encoded)
		}
	}
	if known == 0 {
		return ErrUnknownVersion
	}
	return nil
}
