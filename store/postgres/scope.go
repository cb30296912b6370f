package postgres

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/hookpost/hookpost/store"
)

func checkScope(s store.Scope) error {
	switch {
	case !s.Mode.Valid():
		return fmt.Errorf("%w: %v is neither live nor test", store.ErrInvalid, s.Mode)
	case len(s.Tenant) > 255:
		return fmt.Errorf("%w: tenant has %d bytes, more than 255", store.ErrInvalid, len(s.Tenant))
	case !isText(s.Tenant):
		return fmt.Errorf("%w: tenant %q is not UTF-8 without NUL", store.ErrInvalid, s.Tenant)
	}
	return nil
}

// isText reports whether every database can store s as text.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// toText makes s what the database can store as text, for what comes from
// receivers and must not stop the queue.
func toText(s string) string {
	if isText(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
