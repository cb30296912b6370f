package signing

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Timestamped returns the one-header scheme that Stripe made common,
// https://docs.stripe.com/webhooks#verify-manually: HMAC-SHA256 over
// "timestamp.body", sent as
//
//	<header>: t=1700000000,v1=<hex>,v1=<hex>
//
// with one v1 field for each secret. Its name is "timestamped:" and the
// canonical header name. Bind reports [ErrBadHeaderName] if header is not a
// valid HTTP header name.
//
// The key is the whole text of the secret, a "whsec_" included. ed25519 keys
// are none, see [Scheme]. Verify wants exactly one t field, in any place, and
// ignores fields it does not know. Spaces and tabs around the commas are
// optional and empty fields mean nothing, as in every list in HTTP (RFC 9110,
// 5.6.1). The signature covers the time; the id and the type only if they are
// in the body.
func Timestamped(header string) Scheme {
	return timestamped{http.CanonicalHeaderKey(header)}
}

type timestamped struct{ header string }

func (t timestamped) Name() string { return "timestamped:" + t.header }

func (t timestamped) Bind(newestFirst ...Secret) (Key, error) {
	if !validHeaderName(t.header) {
		return nil, ErrBadHeaderName
	}
	keys, err := opaqueKeys(newestFirst)
	if err != nil {
		return nil, err
	}
	m, err := newMACs(keys)
	if err != nil {
		return nil, err
	}
	return &timestampedKey{header: t.header, macs: m, secrets: len(keys), errMissing: missing(t.header)}, nil
}

type timestampedKey struct {
	header     string
	macs       *macs
	secrets    int
	errMissing error
}

func (k *timestampedKey) AppendSignature(dst []byte, m Message) []byte {
	sec := m.Timestamp.Unix()
	if !signable(sec) {
		return dst
	}
	s := k.macs.get()
	defer k.macs.put(s)
	s.begin("", sec)
	dst = append(dst, "t="...)
	dst = strconv.AppendInt(dst, sec, 10)
	for _, h := range s.hashes {
		dst = append(dst, ",v1="...)
		dst = hex.AppendEncode(dst, s.compute(h, m.Body))
	}
	return dst
}

func (k *timestampedKey) SetHeaders(h http.Header, m Message) {
	buf := make([]byte, 0, 24+k.secrets*(len(",v1=")+hex.EncodedLen(sha256.Size)))
	buf = k.AppendSignature(buf, m)
	delFold(h, k.header)
	if len(buf) > 0 {
		h[k.header] = []string{string(buf)}
	}
}

func (k *timestampedKey) Verify(h http.Header, body []byte, now time.Time, lim Limits) (Message, error) {
	value, err := header(h, k.header)
	if err != nil {
		return Message{}, err
	}
	if value == "" {
		return Message{}, k.errMissing
	}
	if len(value) > lim.maxHeader() {
		return Message{}, errTooLong
	}
	s := k.macs.get()
	defer k.macs.put(s)
	sec, err := s.readTimestamped(value, lim.maxSignatures())
	if err != nil {
		return Message{}, err
	}
	if err := checkTime(sec, now, lim.Tolerance); err != nil {
		return Message{}, err
	}
	if !s.match(body) {
		return Message{}, ErrNoMatch
	}
	return Message{
		Timestamp: time.Unix(sec, 0).UTC(),
		Body:      body,
		Signed:    Coverage{Time: true},
	}, nil
}

// readTimestamped collects the time, which begins the signed content, and the
// v1 signatures of the header.
func (s *scratch) readTimestamped(value string, limit int) (sec int64, err error) {
	known, total, timed := 0, 0, false
	for more := true; more; {
		var field string
		field, value, more = strings.Cut(value, ",")
		if field = trimSpace(field); field == "" {
			continue
		}
		name, content, ok := strings.Cut(field, "=")
		if !ok {
			return 0, errNotAPair
		}
		if name == "t" {
			if timed {
				return 0, errTimeTwice
			}
			if sec, timed = parseUnix(content); !timed {
				return 0, errBadTime
			}
			s.beginText("", content)
			continue
		}
		if total++; total > limit {
			return 0, errTooMany
		}
		if name == "v1" {
			known++
			s.candidate(content, Hex)
		}
	}
	switch {
	case !timed:
		return 0, errNoTime
	case known == 0:
		return 0, ErrUnknownVersion
	}
	return sec, nil
}
