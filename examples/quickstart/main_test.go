package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

// TestMain lets the test's binary be the quickstart itself, so that it can be killed.
func TestMain(m *testing.M) {
	if os.Getenv("HOOKPOST_QUICKSTART") != "" {
		main()
		return
	}
	goleak.VerifyTestMain(m)
}

func TestBuiltIn(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), config{}, &out), out.String())
	text := out.String()
	require.Contains(t, text, "60 of 60 events were delivered, and verified byte for byte as sent.")
	require.Regexp(t, `\n61 deliveries: 61 delivered, `, text)
	require.Regexp(t, `payment\.succeeded +[2-9] +delivered +\S+ +500`, text, "the receiver misbehaves at first")
	require.Regexp(t, `\ds  accepted \d+ of 60`, text, "progress")

	dir := filepath.Dir(regexp.MustCompile(`database +(\S+)`).FindStringSubmatch(text)[1])
	require.NoDirExists(t, dir, "the temporary database is removed")
}

// Bytes that another JSON encoder would write differently.
const oddLines = `{"type":"push","payload":{"z":1.0,"a":1e2,"html":"<b>&\u00e9é</b>", "z" : 2}}
{"type":"create","payload": [ 1 ,2,  3 ] }

{"payload":"\ud83d\ude00 😀\u2028","type":"delete"}
{"type":"number","payload":12345678901234567890.10}
`

func TestFile(t *testing.T) {
	t.Parallel()
	in := filepath.Join(t.TempDir(), "events.jsonl")
	require.NoError(t, os.WriteFile(in, []byte(oddLines), 0o600))
	db := filepath.Join(t.TempDir(), "hooks.db")
	var out bytes.Buffer
	require.NoError(t, run(t.Context(), config{in: in, db: db, n: 50, verbose: true}, &out), out.String())
	require.Contains(t, out.String(), "50 of 50 events were delivered")
	require.NotContains(t, out.String(), "more; -v")

	// Again, with some more: what was sent before is not sent twice.
	out.Reset()
	require.NoError(t, run(t.Context(), config{in: in, db: db, n: 60}, &out), out.String())
	require.Contains(t, out.String(), "(50 already in an earlier run)")
	require.Contains(t, out.String(), "\n61 deliveries: 61 delivered") // one is the test event
	// And with other events: the check includes the earlier ones.
	out.Reset()
	require.NoError(t, run(t.Context(), config{db: db, n: 5}, &out), out.String())
	require.Contains(t, out.String(), "65 of 65 events were delivered")
}

func TestBadFile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "no events",
		`{"type":"push"}`:                `events.jsonl:1: a line needs "type" and "payload"`,
		oddLines + `{"type":"push","pay`: "events.jsonl:6:",
	} {
		in := filepath.Join(t.TempDir(), "events.jsonl")
		require.NoError(t, os.WriteFile(in, []byte(text), 0o600))
		require.ErrorContains(t, run(t.Context(), config{in: in}, t.Output()), want)
	}
	err := run(t.Context(), config{in: filepath.Join(t.TempDir(), "none.jsonl")}, t.Output())
	require.ErrorIs(t, err, os.ErrNotExist)
}

// A receiver that got something else than was sent must not pass.
func TestCheckFails(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "hooks.db")
	require.NoError(t, run(t.Context(), config{db: db, n: 3}, t.Output()))
	journal := db + ".received"
	good, err := os.ReadFile(journal)
	require.NoError(t, err)

	events, err := load("", 3)
	require.NoError(t, err)
	forged := regexp.MustCompile(`"`+events[1].ID+`"(.*)"sha256":"....`).ReplaceAll(good, []byte(`"`+events[1].ID+`"$1"sha256":"AAAA`))
	require.NotEqual(t, good, forged)
	require.NoError(t, os.WriteFile(journal, forged, 0o600))
	err = run(t.Context(), config{db: db, n: 3}, t.Output())
	require.ErrorContains(t, err, "1 of 3 events failed:\n"+events[1].ID+", payment.succeeded, did not arrive as it was sent")

	require.NoError(t, os.Truncate(journal, 0))
	require.ErrorContains(t, run(t.Context(), config{db: db, n: 3}, t.Output()), "3 of 3 events failed")

	require.NoError(t, os.Remove(db+".secrets"))
	require.ErrorContains(t, run(t.Context(), config{db: db}, t.Output()), "exists without")
}

// ctrl-C in the middle, and again from where it stopped.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "hooks.db")
	ctx, cancel := context.WithCancel(t.Context())
	out := writerFunc(func(p []byte) {
		if !bytes.Contains(p, []byte("accepted 0 of")) && bytes.Contains(p, []byte("accepted")) {
			cancel()
		}
	})
	require.ErrorContains(t, run(ctx, config{db: db, n: 200, rate: 100}, out), "interrupted; start it again with -db")
	cancel()

	var text bytes.Buffer
	require.NoError(t, run(t.Context(), config{db: db, n: 200}, &text), text.String())
	require.Contains(t, text.String(), "200 of 200 events were delivered")

	require.ErrorContains(t, run(ctx, config{db: db}, t.Output()), "interrupted")
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

// kill -9, several times.
func TestKilled(t *testing.T) {
	t.Parallel()
	const events = 1000
	db := filepath.Join(t.TempDir(), "hooks.db")
	start := func() (*exec.Cmd, *bufio.Scanner) {
		cmd := exec.Command(os.Args[0], "-db", db, "-n", fmt.Sprint(events), "-rate", "200")
		cmd.Env = append(os.Environ(), "HOOKPOST_QUICKSTART=1")
		cmd.Stderr = t.Output()
		stdout, err := cmd.StdoutPipe()
		require.NoError(t, err)
		require.NoError(t, cmd.Start())
		t.Cleanup(func() { _ = cmd.Process.Kill() })
		return cmd, bufio.NewScanner(stdout)
	}
	for range 3 {
		cmd, lines := start()
		for lines.Scan() {
			var seconds float64
			var accepted int
			if n, _ := fmt.Sscanf(strings.TrimSpace(lines.Text()), "%fs  accepted %d", &seconds, &accepted); n == 2 && accepted > 0 {
				break
			}
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	cmd, lines := start()
	var last string
	for lines.Scan() {
		last = lines.Text()
	}
	require.NoError(t, cmd.Wait())
	require.Equal(t, "1000 of 1000 events were delivered, and verified byte for byte as sent.", last)
}

// A run that was killed before it wrote its endpoint's secret down.
func TestLostSecret(t *testing.T) {
	t.Parallel()
	ctx, db := t.Context(), filepath.Join(t.TempDir(), "hooks.db")
	_, err := openSecrets(db)
	require.NoError(t, err)
	st, err := sqlite.Open(ctx, db, nil)
	require.NoError(t, err)
	hooks, err := sender.New(st, &sender.Options{PlaintextSecrets: true})
	require.NoError(t, err)
	_, _, err = hooks.For("acme", store.Test).CreateEndpoint(ctx, sender.EndpointSpec{URL: "http://127.0.0.1:1/webhooks", EventTypes: []string{"*"}})
	require.NoError(t, err)
	require.NoError(t, st.Close())

	var out bytes.Buffer
	require.NoError(t, run(ctx, config{db: db, n: 5}, &out), out.String())
	require.Contains(t, out.String(), "5 of 5 events were delivered")
}

func TestSecretsFile(t *testing.T) {
	t.Parallel()
	db := filepath.Join(t.TempDir(), "hooks.db")
	require.NoError(t, run(t.Context(), config{db: db, n: 1}, t.Output()))
	info, err := os.Stat(db + ".secrets")
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	first, err := openSecrets(db)
	require.NoError(t, err)
	require.NotEmpty(t, first.Endpoint)
	raw, err := os.ReadFile(db)
	require.NoError(t, err)
	require.False(t, bytes.Contains(raw, []byte(first.Signing.Reveal())), "the database holds no readable secret")
}
