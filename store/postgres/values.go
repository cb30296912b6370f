package postgres

import (
	"math"
	"strings"
	"time"

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

// int4 is a number as an integer column takes it. What does not fit becomes the end
// that is next to it.
func int4[N int | int64](n N) int32 {
	return int32(min(max(int64(n), math.MinInt32), math.MaxInt32))
}

// micros is a duration as the statements take it.
func micros(d time.Duration) int64 { return d.Microseconds() }
