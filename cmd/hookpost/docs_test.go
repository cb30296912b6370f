package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The commands that the documentation shows exist, with their flags and arguments.
func TestDocumentedCommands(t *testing.T) {
	text, err := os.ReadFile("../../docs/command-line.md")
	require.NoError(t, err)
	// Of $(…), redirections and pipes only the command itself matters.
	form := regexp.MustCompile(`(?m)^    (?:.*\$\()?hookpost ((?:'[^']*'|[^|>)\n'])*)`)
	found := 0
	for _, m := range form.FindAllStringSubmatch(string(text), -1) {
		args := words(m[1])
		cmd, rest, err := find(args)
		require.NoError(t, err, "%s", m[0])
		c := newCall(cmd, surroundings{})
		cmd.prepare(c)
		require.NoError(t, c.parse(rest), "%s", m[0])
		found++
	}
	require.Greater(t, found, 10)
}

// words splits a line as a shell does, as far as single quotes go.
func words(line string) []string {
	var list []string
	for _, m := range regexp.MustCompile(`'([^']*)'|(\S+)`).FindAllStringSubmatch(line, -1) {
		list = append(list, m[1]+m[2])
	}
	return list
}

// Every exit status and variable is in the documentation.
func TestDocumentedFacts(t *testing.T) {
	text, err := os.ReadFile("../../docs/command-line.md")
	require.NoError(t, err)
	for _, fact := range []string{envSecret, envStore, envKeys, "| 0 |", "| 1 |", "| 2 |", "| 3 |", "| 130 |"} {
		require.True(t, strings.Contains(string(text), fact), fact)
	}
}
