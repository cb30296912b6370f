package signing

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"time"
)

// An Encoding is how a signature is written as text.
type Encoding uint8

const (
	// Hex is hexadecimal, lower case. Verify accepts upper case as well.
	Hex Encoding = iota
	// Base64 is base64 with the standard alphabet and padding.
	Base64
)

// String returns "hex" or "base64".
func (e Encoding) String() string {
	switch e {
	case Hex:
		return "hex"
	case Base64:
		return "base64"
	}
	return "unknown"
}

// BodyHMAC returns the scheme of providers that sign nothing but the body:
// HMAC-SHA256, sent as
//
//	<header>: <prefix><signature>
//
// with a prefix such as "sha256=", or none. [GitHub] is one. Its name is
// "body-hmac:", the canonical header name, ":", the encoding, ":" and the
// prefix. Bind reports [ErrBadScheme] if the header is not a valid HTTP header
// name, the prefix is longer than 64 bytes, begins with a space or holds
// anything but printable ASCII, or the encoding is none of the constants.
//
// The key is the whole text of the secret, a "whsec_" included. ed25519 keys
// are none, see [Scheme]. The header has
// room for one signature: with several secrets a Key signs with the newest
// alone, and accepts signatures made with any. To rotate without a gap,
// receivers must know the new secret before the sender does.
//
// The signature covers neither an id nor the time. A captured request stays
// valid until the secret changes, whatever the tolerance; only what is in the
// body can tell a repetition.
func BodyHMAC(header, prefix string, encoding Encoding) Scheme {
	header = http.CanonicalHeaderKey(header)
	return bodyHMAC{
		name:     "body-hmac:" + header + ":" + encoding.String() + ":" + prefix,
		header:   header,
		prefix:   prefix,
		encoding: encoding,
	}
}

type bodyHMAC struct {
	name     string
	header   string
	prefix   string
	encoding Encoding

	idHeader, typeHeader string // carry these unsigned; "" if nothing does
	forms                bool   // bodies may be forms, see readForm
}

const maxPrefix = 64 // bytes

func (b bodyHMAC) Name() string { return b.name }

func (b bodyHMAC) Bind(newestFirst ...Secret) (Key, error) {
	switch {
	case !validHeaderName(b.header):
		return nil, ErrBadHeaderName
	case b.encoding > Base64:
		return nil, errBadEncoding
	case len(b.prefix) > maxPrefix, strings.HasPrefix(b.prefix, " "), strings.ContainsFunc(b.prefix, notPrintable):
		return nil, errBadPrefix
	}
	keys, err := opaqueKeys(newestFirst)
	if err != nil {
		return nil, err
	}
	m, err := newMACs(keys)
	if err != nil {
		return nil, err
	}
	return &bodyKey{bodyHMAC: b, macs: m, errMissing: missing(b.header)}, nil
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

type bodyKey struct {
	bodyHMAC
	macs       *macs
	errMissing error
}

func (k *bodyKey) AppendSignature(dst []byte, m Message) []byte {
	if k.idHeader != "" && m.ID != "" && !ValidID(m.ID) || k.typeHeader != "" && m.Type != "" && !validType(m.Type) {
		return dst
	}
	s := k.macs.get()
	defer k.macs.put(s)
	s.prefix = s.prefix[:0]
	mac := s.compute(s.hashes[0], m.Body)
	dst = append(dst, k.prefix...)
	if k.encoding == Hex {
		return hex.AppendEncode(dst, mac)
	}
	return base64.StdEncoding.AppendEncode(dst, mac)
}

func (k *bodyKey) SetHeaders(h http.Header, m Message) {
	buf := k.AppendSignature(make([]byte, 0, len(k.prefix)+hex.EncodedLen(sha256.Size)), m)
	signed := len(buf) > 0
	setHeader(h, k.header, string(buf), signed)
	setHeader(h, k.idHeader, m.ID, signed)
	setHeader(h, k.typeHeader, m.Type, signed)
}

// setHeader replaces a header of the scheme, or removes it if there is nothing
// to say.
func setHeader(h http.Header, canonical, value string, signed bool) {
	if canonical == "" {
		return
	}
	delFold(h, canonical)
	if signed && value != "" {
		h[canonical] = []string{value}
	}
}

func (k *bodyKey) Verify(h http.Header, body []byte, _ time.Time, lim Limits) (Message, error) {
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
	encoded, ok := strings.CutPrefix(value, k.prefix)
	if !ok {
		return Message{}, errNoPrefix
	}
	m := Message{Body: body}
	if err := k.readUnsigned(h, &m); err != nil {
		return Message{}, err
	}
	s := k.macs.get()
	defer k.macs.put(s)
	if err := s.readEncoded(encoded, k.encoding); err != nil {
		return Message{}, err
	}
	s.prefix = s.prefix[:0]
	if !s.match(body) {
		return Message{}, ErrNoMatch
	}
	if k.forms {
		if m.Payload, err = readForm(body); err != nil {
			return Message{}, err
		}
	}
	return m, nil
}

// readUnsigned reads the headers that say which event this is and that no
// signature covers.
func (k *bodyKey) readUnsigned(h http.Header, m *Message) (err error) {
	if k.idHeader != "" {
		if m.ID, err = header(h, k.idHeader); err != nil {
			return err
		}
		if m.ID != "" && !ValidID(m.ID) {
			return errBadID
		}
	}
	if k.typeHeader != "" {
		if m.Type, err = header(h, k.typeHeader); err != nil {
			return err
		}
		if m.Type != "" && !validType(m.Type) {
			return errBadType
		}
	}
	return nil
}

// readEncoded collects the one signature of the header. Text that is well
// formed but of another length cannot match, which is not the same as damaged.
func (s *scratch) readEncoded(encoded string, e Encoding) error {
	s.candidate(encoded, e)
	switch {
	case len(s.candidates) > 0:
		return nil
	case e == Hex && !wellFormedHex(encoded):
		return errNotHex
	case e == Base64 && (len(encoded) == encodedMAC || !wellFormedBase64(encoded)):
		return errNotStdBase64
	}
	return ErrNoMatch
}

func wellFormedHex(s string) bool {
	return s != "" && len(s)%2 == 0 && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < '0' || r > '9') && (r < 'a' || r > 'f') && (r < 'A' || r > 'F')
	})
}

func wellFormedBase64(s string) bool {
	digits := strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	return s != "" && len(s)%4 == 0 && !strings.ContainsFunc(digits, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '/'
	})
}
