package main

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestHelp(t *testing.T) {
	s := newShell(t)
	overview := s.must(t, "-h")
	require.Equal(t, overview, s.must(t, "help"))
	require.Equal(t, overview, s.must(t, "--help"))
	for _, cmd := range commands() {
		require.Contains(t, overview, "\n  "+cmd.name+" ")
		args := strings.Fields(cmd.name)
		text := s.must(t, append(args, "-h")...)
		require.Equal(t, text, s.must(t, append([]string{"help"}, args...)...))
		require.Contains(t, text, "Usage: hookpost "+cmd.name+" [flags]")
		require.Contains(t, text, "\n  --json ")
		narrow(t, text)
	}
	narrow(t, overview)
	require.Contains(t, s.must(t, "keys", "-h"), "\n  keys new ")
	require.Contains(t, s.must(t, "endpoints", "-h"), "\n  endpoints create ")
	require.Contains(t, s.must(t, "version"), "hookpost ")
}

// narrow checks that a text fits a terminal.
func narrow(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		require.LessOrEqual(t, utf8.RuneCountInString(line), helpWidth+1, "%s", line)
		require.Equal(t, strings.TrimRight(line, " \n"), strings.TrimRight(line, "\n"), "%q", line)
	}
}

// Flags may stand before and behind the arguments, and "--" ends them.
func TestFlagsStandAnywhere(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	body := writeFile(t, "{}")
	want := s.must(t, "sign", "--at", "1700000000", "--id", "evt_1", body)
	require.Contains(t, want, "Webhook-Timestamp: 1700000000\n")
	require.Equal(t, want, s.must(t, "sign", body, "--at", "1700000000", "--id=evt_1"))
	require.Equal(t, want, s.must(t, "sign", "-at", "2023-11-14T22:13:20Z", "-id", "evt_1", "--", body))
	s.refuses(t, exitBadInput, "--json does not exist", "sign", "--", "--json")
}
