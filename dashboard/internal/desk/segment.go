package desk

import (
	"encoding/hex"
	"strings"

	"github.com/hookpost/hookpost/store"
)

// Segment returns the part of a path that names a scope: "live" or "test", and for
// a tenant that is not empty a tilde and its name, in which bytes other than
// letters, digits, '_' and '-' are written as a tilde and two hexadecimal digits.
func Segment(scope store.Scope) string {
	var b strings.Builder
	b.WriteString(scope.Mode.String())
	if scope.Tenant != "" {
		b.WriteByte('~')
	}
	for i := range len(scope.Tenant) {
		if c := scope.Tenant[i]; plain(c) {
			b.WriteByte(c)
		} else {
			b.WriteString("~" + hex.EncodeToString([]byte{c}))
		}
	}
	return b.String()
}

// ParseSegment is the inverse of Segment. It accepts nothing that Segment does not
// return.
func ParseSegment(s string) (scope store.Scope, ok bool) {
	name, rest, _ := strings.Cut(s, "~")
	mode, err := store.ParseMode(name)
	if err != nil {
		return scope, false
	}
	var tenant []byte
	for i := 0; i < len(rest); i++ {
		switch {
		case plain(rest[i]):
			tenant = append(tenant, rest[i])
		case rest[i] == '~' && i+2 < len(rest):
			b, err := hex.DecodeString(rest[i+1 : i+3])
			if err != nil {
				return scope, false
			}
			tenant = append(tenant, b...)
			i += 2
		default:
			return scope, false
		}
	}
	scope = store.Scope{Tenant: string(tenant), Mode: mode}
	return scope, Segment(scope) == s
}

func plain(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
}
