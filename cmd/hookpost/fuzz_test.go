package main

import (
	"errors"
	"flag"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Whatever stands on a command line, it is parsed or refused in one line with the
// status of bad input.
func FuzzCommandLine(f *testing.F) {
	for _, line := range []string{
		"sign --at 1700000000 body.json", "verify --tolerance any --header a:b", "send --timeout 1s -- http://localhost/", "listen --fail 503,429:30s,hang",
		"endpoints create --events a,b --allow ::1", "deliveries --state pending --before dlv_1_2_0 --from 7d", "keys new --id=x", "-h", "--", "recover --json=maybe",
		"deliveries --from 106751d", "listen --fail 429:9223372036s", "sign --scheme body-hmac:A:hex:\xff",
	} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		cmd, rest, err := find(args)
		if err == nil {
			c := newCall(cmd, surroundings{getenv: func(string) string { return "" }})
			cmd.prepare(c)
			err = c.parse(rest)
		}
		if err == nil || errors.Is(err, flag.ErrHelp) {
			return
		}
		var out strings.Builder
		require.Equal(t, exitBadInput, report(t.Context(), &out, "x", err))
		require.Equal(t, 1, strings.Count(out.String(), "\n"), "%q", out.String())
		require.NotEqual(t, "hookpost x: \n", out.String())
	})
}

func FuzzDuration(f *testing.F) {
	for _, s := range []string{"5m", "7d", "-1s", "106751d", "106752d", "213504d", "9223372036854775807d", "d"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := parseDuration(s)
		if err == nil {
			require.False(t, d < 0, d)
		}
		_, _ = parseTime(s)
	})
}
