//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// npmPayload has what is easily changed on the way: characters beyond ASCII, and
// those that Go's encoder escapes for HTML by default.
const npmPayload = `{"amount":5000,"note":"zoé ☃ <b>&","exact":1.10}`

// npmLibraries are the libraries of testdata/npm with the scheme that they speak.
var npmLibraries = []struct{ name, scheme, id string }{
	{"stripe", "stripe", "evt_in_body"}, // the scheme has no header for an id
	{"svix", "standard", "msg_from_npm"},
	{"standardwebhooks", "standard", "msg_from_npm"},
}

// What the libraries that Node programs use sign, hookpost listen accepts, and they
// accept what hookpost send sends.
func TestNodeLibraries(t *testing.T) {
	if raceEnabled {
		t.Skip("one call after the other, and in other processes")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	node := installNode(ctx, t)
	hookpost := buildCommand(ctx, t)
	secret, other := hookpost.line(t, "", "keys", "secret"), hookpost.line(t, "", "keys", "secret")

	for _, lib := range npmLibraries {
		t.Run(lib.name+" signs", func(t *testing.T) {
			listen := hookpost.start(t, secret, "listen", "--addr", "127.0.0.1:0", "--json", "--scheme", lib.scheme)
			url := listen.find(t, regexp.MustCompile(`http://\S+`))
			body := `{"id":"evt_in_body","type":"payment.succeeded","created_at":"2026-05-24T10:02:14Z","data":` + npmPayload + `}`

			require.Equal(t, "400", node.line(t, other, "peer.mjs", lib.name, "sign", url, body), "another secret")
			require.Equal(t, "200", node.line(t, secret, "peer.mjs", lib.name, "sign", url, body))

			type event struct {
				Verified         bool
				Reason, ID, Type string
				Data             json.RawMessage
			}
			var forged, genuine event
			listen.json(t, &forged)
			listen.json(t, &genuine)
			require.False(t, forged.Verified)
			require.Contains(t, forged.Reason, "no matching signature")
			require.Equal(t, event{Verified: true, ID: lib.id, Type: "payment.succeeded", Data: json.RawMessage(npmPayload)}, genuine)
		})
		t.Run(lib.name+" verifies", func(t *testing.T) {
			receive := node.start(t, secret, "peer.mjs", lib.name, "receive")
			url := "http://127.0.0.1:" + receive.find(t, regexp.MustCompile(`^\d+$`)) + "/webhooks"
			send := []string{"send", url, "--scheme", lib.scheme, "--type", "payment.succeeded", "--data", npmPayload, "--id", "evt_1"}

			_, status := hookpost.run(t, other, send...)
			require.Equal(t, 1, status, "another secret")
			out, status := hookpost.run(t, secret, send...)
			require.Equal(t, 0, status, out)

			var refusal, report struct {
				Error   string
				Payload struct {
					ID, Type string
					Data     json.RawMessage
				}
			}
			receive.json(t, &refusal)
			receive.json(t, &report)
			require.NotEmpty(t, refusal.Error)
			require.Empty(t, report.Error)
			require.Equal(t, "evt_1", report.Payload.ID)
			require.Equal(t, "payment.succeeded", report.Payload.Type)
			require.JSONEq(t, npmPayload, string(report.Payload.Data))
		})
	}
}

// A program is hookpost or Node, with the secret in the variable that it reads.
type program struct {
	ctx      context.Context
	path     string
	dir      string // "" is the test's own
	variable string
}

func (p *program) command(secret string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(p.ctx, p.path, args...)
	cmd.Dir = p.dir
	cmd.Env = append(os.Environ(), p.variable+"="+secret)
	return cmd
}

// run returns what the program prints, and its exit status.
func (p *program) run(t *testing.T, secret string, args ...string) (string, int) {
	t.Helper()
	cmd := p.command(secret, args...)
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		require.NoError(t, err, "%s", text)
	}
	return string(text), cmd.ProcessState.ExitCode()
}

// line returns the one line that the program prints.
func (p *program) line(t *testing.T, secret string, args ...string) string {
	t.Helper()
	cmd := p.command(secret, args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	text, err := cmd.Output()
	require.NoError(t, err, "%s", &stderr)
	return strings.TrimSpace(string(text))
}

// A service is a program that runs until the test ends.
type service struct{ lines *bufio.Scanner }

// start runs the program. Its lines come from both outputs.
func (p *program) start(t *testing.T, secret string, args ...string) *service {
	t.Helper()
	cmd := p.command(secret, args...)
	r, w := io.Pipe()
	cmd.Stdout, cmd.Stderr = w, w
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = r.Close()
		_ = cmd.Wait()
	})
	return &service{bufio.NewScanner(r)}
}

// find returns what form finds in the next line.
func (s *service) find(t *testing.T, form *regexp.Regexp) string {
	t.Helper()
	require.True(t, s.lines.Scan(), "the program ended: %v", s.lines.Err())
	found := form.FindString(s.lines.Text())
	require.NotEmpty(t, found, "%s", s.lines.Text())
	return found
}

// json reads the next line.
func (s *service) json(t *testing.T, v any) {
	t.Helper()
	require.True(t, s.lines.Scan(), "the program ended: %v", s.lines.Err())
	require.NoError(t, json.Unmarshal(s.lines.Bytes(), v), "%s", s.lines.Text())
}

// buildCommand builds hookpost as its own module has it.
func buildCommand(ctx context.Context, t *testing.T) *program {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hookpost")
	build := exec.CommandContext(ctx, "go", "build", "-o", path, ".")
	build.Dir = filepath.Join("..", "..", "cmd", "hookpost")
	text, err := build.CombinedOutput()
	require.NoError(t, err, "%s", text)
	return &program{ctx: ctx, path: path, variable: "HOOKPOST_SECRET"}
}

// installNode puts the libraries into a directory of their own, in the versions
// that the lock file pins.
func installNode(ctx context.Context, t *testing.T) *program {
	t.Helper()
	node, err := exec.LookPath("node")
	npm, npmErr := exec.LookPath("npm")
	if err = errors.Join(err, npmErr); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("Node and npm are needed in CI:", err)
		}
		t.Skip("no Node for the libraries from npm:", err)
	}
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(filepath.Join("testdata", "npm"))))
	install := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	install.Dir = dir
	text, err := install.CombinedOutput()
	require.NoError(t, err, "npm ci: %s", text)
	return &program{ctx: ctx, path: node, dir: dir, variable: "PEER_SECRET"}
}
