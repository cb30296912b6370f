package signing

import (
	"bytes"
	"encoding/hex"
	"slices"
)

// payloadField is the field of a form in which GitHub, by default, and others
// that copy it send their JSON.
const payloadField = "payload"

var errBadForm error = &refusal{ErrMalformed, "signing: malformed body: a form must be percent-encoded and have exactly one field payload"}

// readForm returns the text of the field payload of a form, nil if body is none:
// if it does not begin with that field. The Content-Type header is not asked,
// because no signature covers it.
func readForm(body []byte) ([]byte, error) {
	rest, ok := bytes.CutPrefix(body, []byte(payloadField+"="))
	if !ok {
		return nil, nil
	}
	value, rest, more := bytes.Cut(rest, []byte("&"))
	// Its spare capacity takes one name or value after the other.
	payload, ok := appendUnescaped(make([]byte, 0, len(body)), value)
	for more && ok {
		var field []byte
		field, rest, more = bytes.Cut(rest, []byte("&"))
		name, value, _ := bytes.Cut(field, []byte("="))
		spare := payload[len(payload):]
		if _, ok = appendUnescaped(spare, value); !ok {
			break
		}
		if name, ok = appendUnescaped(spare, name); string(name) == payloadField {
			ok = false
		}
	}
	if !ok {
		return nil, errBadForm
	}
	return slices.Clip(payload), nil
}

// appendUnescaped appends what percent-encoded text of a form stands for.
func appendUnescaped(dst, text []byte) ([]byte, bool) {
	for len(text) > 0 {
		c, n := text[0], 1
		switch c {
		case '+':
			c = ' '
		case '%':
			var b [1]byte
			n = 3
			if len(text) < n {
				return dst, false
			}
			if _, err := hex.Decode(b[:], text[1:n]); err != nil {
				return dst, false
			}
			c = b[0]
		}
		dst, text = append(dst, c), text[n:]
	}
	return dst, true
}
