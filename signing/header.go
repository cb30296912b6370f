package signing

import (
	"net/http"
	"strings"
)

// header returns the only value of a header, given by its canonical name. It
// returns "" if the header is absent or empty, and an error if there are
// several values: HTTP libraries disagree on which of them counts.
func header(h http.Header, canonical string) (string, error) {
	values, ok := h[canonical]
	if !ok {
		// A server always canonicalises. A header map written as a literal,
		// or filled from another framework's, may not.
		for name, v := range h {
			if len(name) != len(canonical) || !strings.EqualFold(name, canonical) {
				continue
			}
			if values != nil {
				return "", errRepeated
			}
			values = v
		}
	}
	switch len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", errRepeated
}

// trimSpace removes the white space that may stand around the elements of a list
// (RFC 9110, 5.6.3).
func trimSpace(s string) string {
	isSpace := func(c byte) bool { return c == ' ' || c == '\t' }
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}

// validHeaderName reports whether name is an HTTP token (RFC 9110, 5.6.2).
func validHeaderName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0:
		default:
			return false
		}
	}
	return name != ""
}

// delFold removes a header however it is spelled, so that a signature set in
// its place is the only one.
func delFold(h http.Header, canonical string) {
	for name := range h {
		if len(name) == len(canonical) && strings.EqualFold(name, canonical) {
			delete(h, name)
		}
	}
}
