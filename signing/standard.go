package signing

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Standard is the symmetric scheme of Standard Webhooks 1.0.0,
// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md:
// HMAC-SHA256 over "id.timestamp.body", sent as
//
//	webhook-id: evt_…
//	webhook-timestamp: 1700000000
//	webhook-signature: v1,<base64> v1,<base64>
//
// with one signature for each secret. Its name is "standard".
//
// The key is the base64 text after "whsec_", decoded; the prefix may be
// absent. The base64 must be standard, padded and canonical, and hold at least
// 24 bytes. Some opaque secrets of other systems are valid base64 by accident;
// here they make another key than they do there.
//
// Verify also accepts a complete set of svix-id, svix-timestamp and
// svix-signature where the webhook- set is incomplete. The two are never
// mixed. Both cover the id and the time.
var Standard Scheme = standard{}

type standard struct{}

func (standard) Name() string { return "standard" }

func (standard) Bind(newestFirst ...Secret) (Key, error) {
	keys, err := deriveKeys(newestFirst, standardKeyBytes)
	if err != nil {
		return nil, err
	}
	m, err := newMACs(keys)
	if err != nil {
		return nil, err
	}
	return &standardKey{macs: m, secrets: len(keys)}, nil
}

// strictBase64 refuses padding bits that are not zero, so that a signature
// has one spelling.
var strictBase64 = base64.StdEncoding.Strict()

// minStandardKey is the specification's minimum, in bytes. Its maximum, 64, is
// not enforced: a longer key is no weaker.
const minStandardKey = 24

func standardKeyBytes(text string) ([]byte, error) {
	if strings.HasPrefix(text, "whsk_") || strings.HasPrefix(text, "whpk_") {
		return nil, errAsymmetric
	}
	key, err := strictBase64.DecodeString(strings.TrimPrefix(text, secretPrefix))
	if err != nil {
		return nil, errNotBase64
	}
	if len(key) < minStandardKey {
		return nil, errShortKey
	}
	return key, nil
}

// deriveKeys turns secrets into keys, leaving out repetitions: a message needs
// no second signature under the same key.
func deriveKeys(secrets []Secret, derive func(text string) ([]byte, error)) ([][]byte, error) {
	if len(secrets) == 0 {
		return nil, errNoSecret
	}
	if len(secrets) > MaxSecrets {
		return nil, errManySecrets
	}
	keys := make([][]byte, 0, len(secrets))
	for _, s := range secrets {
		if s.IsZero() {
			return nil, errZeroSecret
		}
		key, err := derive(s.Reveal())
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(keys, func(k []byte) bool { return bytes.Equal(k, key) }) {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// A headerSet names the three headers of one spelling of the protocol.
type headerSet struct{ id, timestamp, signature string }

var (
	webhookHeaders = headerSet{"Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"}
	svixHeaders    = headerSet{"Svix-Id", "Svix-Timestamp", "Svix-Signature"}

	errNoWebhookID        = missing("webhook-id")
	errNoWebhookTimestamp = missing("webhook-timestamp")
	errNoWebhookSignature = missing("webhook-signature")
)

// read returns the three values, "" for those missing.
func (set *headerSet) read(h http.Header) (v headerSet, err error) {
	if v.id, err = header(h, set.id); err != nil {
		return v, err
	}
	if v.timestamp, err = header(h, set.timestamp); err != nil {
		return v, err
	}
	v.signature, err = header(h, set.signature)
	return v, err
}

func (set *headerSet) complete() bool {
	return set.id != "" && set.timestamp != "" && set.signature != ""
}

type standardKey struct {
	macs    *macs
	secrets int
}

const (
	standardVersion = "v1,"
	// encodedMAC is the length of a MAC in padded base64.
	encodedMAC = (sha256.Size + 2) / 3 * 4
)

func (k *standardKey) AppendSignature(dst []byte, m Message) []byte {
	sec := m.Timestamp.Unix()
	if !ValidID(m.ID) || !signable(sec) {
		return dst
	}
	s := k.macs.get()
	defer k.macs.put(s)
	s.begin(m.ID, sec)
	for i, h := range s.hashes {
		if i > 0 {
			dst = append(dst, ' ')
		}
		dst = append(dst, standardVersion...)
		dst = base64.StdEncoding.AppendEncode(dst, s.compute(h, m.Body))
	}
	return dst
}

func (k *standardKey) SetHeaders(h http.Header, m Message) {
	buf := make([]byte, 0, 20+k.secrets*(len(standardVersion)+encodedMAC+1))
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
	if !ValidID(in.id) {
		return Message{}, errBadID
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
	if err := s.readStandard(in.signature, lim.maxSignatures()); err != nil {
		return Message{}, err
	}
	s.begin(in.id, sec)
	if !s.match(body) {
		return Message{}, ErrNoMatch
	}
	return Message{
		ID:        in.id,
		Timestamp: time.Unix(sec, 0).UTC(),
		Body:      body,
		Signed:    Coverage{ID: true, Time: true},
	}, nil
}

// standardHeaders picks the set of headers that will be verified.
func standardHeaders(h http.Header) (headerSet, error) {
	in, err := webhookHeaders.read(h)
	if err != nil || in.complete() {
		return in, err
	}
	svix, err := svixHeaders.read(h)
	switch {
	case err != nil:
		return svix, err
	case svix.complete():
		return svix, nil
	case in.id == "":
		return in, errNoWebhookID
	case in.timestamp == "":
		return in, errNoWebhookTimestamp
	}
	return in, errNoWebhookSignature
}

// readStandard collects the v1 signatures of a space-separated list. Other
// versions are for other verifiers and only count towards the limit.
func (s *scratch) readStandard(list string, limit int) error {
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
		if encoded, ok := strings.CutPrefix(item, standardVersion); ok {
			known++
			s.candidate(encoded, encodedMAC, strictBase64.Decode)
		}
	}
	if known == 0 {
		return ErrUnknownVersion
	}
	return nil
}
