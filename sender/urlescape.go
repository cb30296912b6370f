package sender

import "strings"

// escapeTarget escapes the bytes that may not stand in the path and the query of a
// URL (RFC 3986, 3.3 and 3.4) and keeps all others. An escape that stands there
// already stays as it is: what %2F says is not what / says (2.2).
//
// The result is what goes over the wire. net/url keeps a path as it was written if
// nothing in it needs escaping, and a query always.
func escapeTarget(target string) string {
	n := 0
	for i := range len(target) {
		if !mayStand(target[i]) {
			n++
		}
	}
	if n == 0 {
		return target
	}
	const digits = "0123456789ABCDEF"
	var b strings.Builder
	b.Grow(len(target) + 2*n)
	for i := range len(target) {
		if c := target[i]; mayStand(c) {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(digits[c>>4])
			b.WriteByte(digits[c&15])
		}
	}
	return b.String()
}

// mayStand reports whether c may stand in a path or a query, the % of an escape and
// the ? between the two included.
func mayStand(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("-._~!$&'()*+,;=:@/?%", c) >= 0
}

// hasStrayPercent reports whether a % begins no escape.
func hasStrayPercent(s string) bool {
	for {
		_, after, found := strings.Cut(s, "%")
		if !found {
			return false
		}
		if len(after) < 2 || !isHex(after[0]) || !isHex(after[1]) {
			return true
		}
		s = after[2:]
	}
}
