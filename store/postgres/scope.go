package postgres

import (
	"strings"

	"github.com/hookpost/hookpost/store"
)

// toText makes s what the database can store as text, for what comes from
// receivers and must not stop the queue.
func toText(s string) string {
	if store.IsText(s) {
		return s
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
