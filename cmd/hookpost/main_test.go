package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// asProgram makes the test binary be hookpost itself.
const asProgram = "HOOKPOST_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// A shell calls commands in this process.
type shell struct {
	ctx   context.Context
	env   map[string]string
	stdin string
}

func newShell(t *testing.T) *shell {
	t.Helper()
	return &shell{ctx: t.Context(), env: map[string]string{}}
}

// with returns a shell with one more variable.
func (s *shell) with(name, value string) *shell {
	env := map[string]string{name: value}
	for k, v := range s.env {
		if k != name {
			env[k] = v
		}
	}
	return &shell{s.ctx, env, s.stdin}
}

// typing returns a shell with a standard input.
func (s *shell) typing(stdin string) *shell { return &shell{s.ctx, s.env, stdin} }

func (s *shell) call(args ...string) (status int, stdout, stderr string) {
	var out, errs bytes.Buffer
	status = run(s.ctx, args, surroundings{
		stdin: strings.NewReader(s.stdin), stdout: &out, stderr: &errs,
		getenv: func(name string) string { return s.env[name] },
	})
	return status, out.String(), errs.String()
}

// must returns what a command prints that succeeds.
func (s *shell) must(t *testing.T, args ...string) string {
	t.Helper()
	status, out, errs := s.call(args...)
	require.Zero(t, status, "%q: %s", args, errs)
	return out
}

// json reads what a command prints that succeeds.
func (s *shell) json(t *testing.T, v any, args ...string) {
	t.Helper()
	out := s.must(t, append(args, "--json")...)
	require.NoError(t, json.Unmarshal([]byte(out), v), "%s", out)
	for _, at := range regexp.MustCompile(`"\d{4}-\d\d-\d\dT[^"\\]*`).FindAllString(out, -1) {
		require.Regexp(t, `^"[-\d]+T[:\d]{8}\.\d{6}Z$`, at)
	}
}

// refuses checks that a command ends with a status and says why in one line.
func (s *shell) refuses(t *testing.T, status int, words string, args ...string) {
	t.Helper()
	got, out, errs := s.call(args...)
	require.Equal(t, status, got, "%q: %s%s", args, out, errs)
	require.Equal(t, 1, strings.Count(errs, "\n"), "%q: %s", args, errs)
	require.True(t, strings.HasPrefix(errs, "hookpost"), errs)
	require.Contains(t, errs, words, "%q", args)
}

// fullDisk is where nothing can be written.
type fullDisk struct{}

func (fullDisk) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func writeFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(name, []byte(content), 0o600))
	return name
}

// As a program of its own it ends on Ctrl-C: listen in peace, others as interrupted.
func TestInterrupt(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a program can't send Ctrl-C to another on Windows")
	}
	secret := newShell(t).must(t, "keys", "secret")
	start := func(args ...string) (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
		cmd.Env = append(os.Environ(), asProgram+"=1", "HOOKPOST_SECRET="+strings.TrimSpace(secret))
		r, err := cmd.StderrPipe()
		require.NoError(t, err)
		return cmd, bufio.NewScanner(r)
	}
	listen, lines := start("listen", "--addr", "127.0.0.1:0")
	require.NoError(t, listen.Start())
	require.True(t, lines.Scan())
	require.Contains(t, lines.Text(), "Listening on http://127.0.0.1:")
	require.NoError(t, listen.Process.Signal(os.Interrupt))
	require.NoError(t, listen.Wait())

	sign, lines := start("sign") // waits for the end of its standard input
	stdin, err := sign.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, sign.Start())
	_, err = stdin.Write(make([]byte, 1<<20)) // more than a pipe holds: now it is reading
	require.NoError(t, err)
	require.NoError(t, sign.Process.Signal(os.Interrupt))
	require.True(t, lines.Scan())
	require.Equal(t, "hookpost sign: interrupted", lines.Text())
	require.Error(t, sign.Wait())
	require.Equal(t, exitInterrupted, sign.ProcessState.ExitCode())
}
