package sender

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestParseRetryAfter(t *testing.T) {
	now := time.Date(2026, 5, 24, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"120":                            2 * time.Minute,
		" 120\t":                         2 * time.Minute,
		"0120":                           2 * time.Minute,
		"2592000":                        maxRetryAfter,
		"2592001":                        maxRetryAfter,
		"99999999999999999999999999":     maxRetryAfter,
		"Sun, 24 May 2026 10:05:00 GMT":  5 * time.Minute,
		"Sunday, 24-May-26 10:05:00 GMT": 5 * time.Minute,
		"Sun May 24 10:05:00 2026":       5 * time.Minute,
		"Fri, 31 Dec 9999 23:59:59 GMT":  maxRetryAfter,
	} {
		got, ok := parseRetryAfter(value, now)
		require.True(t, ok, value)
		require.Equal(t, want, got, value)
	}
	for _, value := range []string{
		"", "0", "-1", "+5", "1.5", "1e3", "NaN", "Inf", "soon", "0x10", "١٢", "5 s",
		"Sun, 24 May 2026 10:00:00 GMT", "Sun, 24 May 2026 09:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
		"2026-05-24T10:05:00Z",
	} {
		got, ok := parseRetryAfter(value, now)
		require.False(t, ok, value)
		require.Zero(t, got, value)
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, s := range []string{"120", "-1", "NaN", "Sun, 24 May 2026 10:05:00 GMT", "99999999999999999999"} {
		f.Add(s, int64(1_700_000_000))
	}
	f.Fuzz(func(t *testing.T, value string, sec int64) {
		got, ok := parseRetryAfter(value, time.Unix(sec, 0))
		if ok != (got > 0) || got > maxRetryAfter {
			t.Fatalf("%q: %v %v", value, got, ok)
		}
	})
}
