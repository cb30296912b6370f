package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// A listening is a listen that runs until the test ends.
type listening struct {
	url  string
	stop func() (status int, stdout string) // as Ctrl-C does
	done <-chan struct{}                    // closed when it has ended by itself
}

func startListen(t *testing.T, s *shell, args ...string) *listening {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out bytes.Buffer
	news, w := io.Pipe()
	ended := make(chan struct{})
	var status int
	go func() {
		defer close(ended)
		status = run(ctx, append([]string{"listen", "--addr", "127.0.0.1:0"}, args...), surroundings{
			stdout: &out, stderr: w, getenv: func(name string) string { return s.env[name] },
		})
		_ = w.Close()
	}()
	text := make([]byte, 200)
	n, err := news.Read(text)
	require.NoError(t, err)
	url := regexp.MustCompile(`http://\S+`).FindString(string(text[:n]))
	require.NotEmpty(t, url, "%s", text[:n])
	go func() { _, _ = io.Copy(io.Discard, news) }()
	stop := sync.OnceValues(func() (int, string) {
		cancel()
		<-ended
		return status, out.String()
	})
	t.Cleanup(func() { stop() })
	return &listening{url, stop, ended}
}

func TestSendAndListen(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	l := startListen(t, s, "--fail", "503,429:30s,close,200")
	send := []string{"send", l.url + "/webhooks", "--type", "payment.succeeded", "--data", `{"amount":5000}`, "--id", "evt_1"}

	status, out, errs := s.call(send...)
	require.Equal(t, exitNo, status)
	require.Empty(t, errs)
	require.Regexp(t, `^Not delivered: the receiver answered 503 Service Unavailable, after \S+, event evt_1\nService Unavailable\n$`, out)
	status, out, _ = s.call(send...)
	require.Equal(t, exitNo, status)
	require.Contains(t, out, "429")
	s.refuses(t, exitTrouble, "no answer from "+l.url+"/webhooks", send...)
	require.Regexp(t, `^Delivered: 200 OK after \S+, event evt_1\n$`, s.must(t, send...))
	require.Contains(t, s.must(t, send...), "Delivered", "the last answer is repeated")
	other := s.with("HOOKPOST_SECRET", "whsec_"+strings.Repeat("B", 32))
	status, out, _ = other.call(send...)
	require.Equal(t, exitNo, status)
	require.Contains(t, out, "400 Bad Request")
	require.Contains(t, out, "\nInvalid signature\n", "the sender learns no more than that")
	resp, err := http.Get(l.url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode)

	status, out = l.stop()
	require.Equal(t, exitOK, status)
	var answers []string
	for line := range strings.Lines(out) {
		if m := regexp.MustCompile(`^\d\d:\d\d:\d\d  (\w+)  (.*)`).FindStringSubmatch(line); m != nil {
			answers = append(answers, m[1])
			if m[1] != "400" && m[1] != "405" {
				require.Equal(t, "payment.succeeded  evt_1", m[2])
			} else {
				require.Contains(t, m[2], "refused: ")
			}
		}
	}
	require.Equal(t, []string{"503", "429", "close", "200", "200", "400", "405"}, answers)
	require.Contains(t, out, "    {\n      \"amount\": 5000\n    }\n")
}

// With --json each request is a line, and --count ends the call.
func TestListenJSON(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	l := startListen(t, s, "--json", "--count", "2")
	s.must(t, "send", l.url+"/a", "--type", "x.y", "--data", `{"n":1}`, "--id", "evt_1")
	s.with("HOOKPOST_SECRET", "whsec_"+strings.Repeat("B", 32)).call("send", l.url, "--type", "x.y")
	s.must(t, "send", l.url, "--type", "x.y", "--body", writeFile(t, "no envelope"), "--content-type", "text/plain", "--id", "evt_2")
	<-l.done // three requests, two of them events
	status, out := l.stop()
	require.Equal(t, exitOK, status)
	var lines []map[string]any
	for line := range strings.Lines(out) {
		var v map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &v))
		delete(v, "at")
		delete(v, "signed_at")
		delete(v, "created_at")
		lines = append(lines, v)
	}
	require.Len(t, lines, 3)
	require.Equal(t, map[string]any{
		"path": "/a", "answer": "200", "verified": true, "id": "evt_1", "type": "x.y",
		"signed": []any{"id", "type", "time"}, "data": map[string]any{"n": 1.0},
	}, lines[0])
	require.Equal(t, false, lines[1]["verified"])
	require.Equal(t, "400", lines[1]["answer"])
	require.Equal(t, "no envelope", lines[2]["body"])
	require.Equal(t, []byte("\xff"), newBody([]byte("\xff")).Base64)
}

// What is forwarded arrives as it was sent, and the answer comes back.
func TestForward(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	var got []string
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got = append(got, r.URL.Path+" "+r.Header.Get("Webhook-Id")+" "+string(body))
		w.Header().Set("X-App", "yes")
		w.WriteHeader(http.StatusUnprocessableEntity)
		_, _ = io.WriteString(w, "no such order")
	}))
	defer app.Close()
	l := startListen(t, s, "--fail", "500,200", "--forward-to", app.URL+"/hooks", "--quiet")
	send := []string{"send", l.url + "/x", "--type", "a", "--body", writeFile(t, "the body"), "--id", "evt_1"}
	_, out, _ := s.call(send...)
	require.Contains(t, out, "500")
	require.Empty(t, got, "the script said that it fails")
	status, out, _ := s.call(send...)
	require.Equal(t, exitNo, status)
	require.Contains(t, out, "422")
	require.Contains(t, out, "\nno such order\n")
	require.Equal(t, []string{"/hooks evt_1 the body"}, got)

	app.Close()
	_, out, _ = s.call(send...)
	require.Contains(t, out, "502")
	_, out = l.stop()
	require.Contains(t, out, "502  evt_1  not forwarded: ")
}

// As JSON too it is told what was not forwarded, and why.
func TestNotForwarded(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	app := httptest.NewServer(http.NotFoundHandler())
	app.Close()
	l := startListen(t, s, "--forward-to", app.URL, "--json")
	_, out, _ := s.call("send", l.url, "--type", "a", "--id", "evt_1")
	require.Contains(t, out, "502")
	_, out = l.stop()
	var v map[string]any
	require.NoError(t, json.Unmarshal([]byte(out), &v), out)
	require.Equal(t, "502", v["answer"])
	require.NotContains(t, v, "forwarded")
	require.Contains(t, v["problem"], "not forwarded: ")
	require.Contains(t, v["problem"], "refused")
}

// A listener that is told to forward to itself says so, and does not call itself
// again and again.
func TestForwardToItself(t *testing.T) {
	secret, err := signing.ParseSecret(someSecret)
	require.NoError(t, err)
	check, err := newChecker(signing.Standard, []signing.Secret{secret}, signing.DefaultTolerance, time.Now)
	require.NoError(t, err)
	for _, addr := range []string{"127.0.0.1:0", ":0"} {
		forward, err := parseForward("http://localhost/hooks")
		require.NoError(t, err)
		var out bytes.Buffer
		news, w := io.Pipe()
		l := &listener{
			call: &call{surroundings: surroundings{stderr: w}, out: &output{to: &out}},
			addr: addr, scheme: signing.Standard, checker: check, forward: forward, limit: 1, quiet: true,
		}
		ended := make(chan error, 1)
		go func() { ended <- l.run(t.Context()) }()
		line, err := bufio.NewReader(news).ReadString('\n')
		require.NoError(t, err)
		port := regexp.MustCompile(`:(\d+) `).FindStringSubmatch(line)[1]
		forward.to.Host = "localhost:" + port
		_, answer, _ := newShell(t).with("HOOKPOST_SECRET", someSecret).call("send", "http://127.0.0.1:"+port, "--type", "a", "--id", "evt_1")
		require.Contains(t, answer, "502")
		require.NoError(t, <-ended)
		require.Equal(t, 1, strings.Count(out.String(), "evt_1"), out.String())
		require.Contains(t, out.String(), "not forwarded: the URL leads back to this listener")
	}
}

// What can't be printed ends it: nobody would see what it goes on to acknowledge.
func TestListenEndsWithItsOutput(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	news, w := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(t.Context(), []string{"listen", "--addr", "127.0.0.1:0"}, surroundings{
			stdout: fullDisk{}, stderr: w, getenv: func(name string) string { return s.env[name] },
		})
		_ = w.Close()
	}()
	lines := bufio.NewScanner(news)
	require.True(t, lines.Scan())
	s.call("send", regexp.MustCompile(`http://\S+`).FindString(lines.Text()), "--type", "a")
	require.True(t, lines.Scan())
	require.Equal(t, "hookpost listen: writing the output: no space left", lines.Text())
	require.Equal(t, exitTrouble, <-status)
}

// A request that hangs ends with the receiver, and the sender's patience.
func TestHang(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	for patience := 50 * time.Millisecond; ; patience *= 4 { // on a busy machine a request needs longer to arrive
		l := startListen(t, s, "--fail", "hang")
		s.refuses(t, exitTrouble, "(timeout)", "send", l.url, "--type", "a", "--timeout", patience.String())
		status, out := l.stop()
		require.Equal(t, exitOK, status)
		if patience > 10*time.Second || strings.Contains(out, "  hang  ") {
			require.Contains(t, out, "  hang  a  evt_")
			return
		}
	}
}

func TestListenNeedsAFreeAddress(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	l := startListen(t, s)
	s.refuses(t, exitTrouble, "--addr names another address", "listen", "--addr", strings.TrimPrefix(l.url, "http://"))
}

// What an event holds does not reach the terminal as commands to it.
func TestTerminalIsSafe(t *testing.T) {
	require.Equal(t, "a b c", oneLine(" a\r\nb\t c\n"))
}
