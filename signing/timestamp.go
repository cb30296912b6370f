package signing

import "time"

// lastSecond is the last second of the year 9999, the end of RFC 3339 time.
const lastSecond = 253402300799

// parseUnix reads Unix seconds in the one form that printing them gives back:
// the signature covers that text, so "+1" or "01" would let the header differ
// from what was signed.
func parseUnix(s string) (sec int64, ok bool) {
	if s == "" || len(s) > 19 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		sec = sec*10 + int64(c-'0') // 19 digits overflow at most once, into the sign
	}
	return sec, sec >= 0
}

// checkTime applies the tolerance to a parsed timestamp. Both sides are whole
// seconds, so that senders and receivers agree on the edge of the window.
func checkTime(sec int64, now time.Time, tolerance time.Duration) error {
	if sec > lastSecond {
		return ErrTooNew
	}
	if tolerance < 0 {
		return nil
	}
	if tolerance == 0 {
		tolerance = DefaultTolerance
	}
	window := int64(tolerance / time.Second)
	if tolerance%time.Second != 0 {
		window++
	}
	at := now.Unix()
	// Subtracted as unsigned: with the larger one first this is exact even
	// where the signed difference would overflow.
	switch {
	case sec < at && uint64(at)-uint64(sec) > uint64(window):
		return ErrTooOld
	case sec > at && uint64(sec)-uint64(at) > uint64(window):
		return ErrTooNew
	}
	return nil
}

// signable reports whether Verify could accept the timestamp at all.
func signable(sec int64) bool { return sec >= 0 && sec <= lastSecond }
