package sender

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxRetryAfter is the longest pause that is believed.
const maxRetryAfter = 30 * 24 * time.Hour

// parseRetryAfter reads a Retry-After header (RFC 9110, section 10.2.3): a number
// of seconds, or a date, which is relative to now. It returns false for anything
// else and for pauses that are over already. More than 30 days count as 30.
func parseRetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.Trim(value, " \t")
	if isDigits(value) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter, true // so many digits are many seconds
		}
		return time.Duration(seconds) * time.Second, seconds > 0
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	switch pause := at.Sub(now); { // Sub saturates
	case pause <= 0:
		return 0, false
	case pause > maxRetryAfter:
		return maxRetryAfter, true
	default:
		return pause, true
	}
}

func isDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}
