package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

const (
	maxReceived   = 8 << 20 // bytes of a request body
	shutdownGrace = 3 * time.Second
)

var listenCommand = command{
	name:  "listen",
	short: "receive webhooks: verify, print, answer by a script, forward",
	long: `
Any path is accepted. A request whose signature is not right is answered 400 and is
not counted, scripted or forwarded. Events go to the standard output, with --json
one a line. Ctrl-C ends it, with the exit status 0.`,
	prepare: func(c *call) func(context.Context) error {
		l := &listener{call: c, scheme: signing.Standard, tolerance: signing.DefaultTolerance, addr: "127.0.0.1:8080"}
		valueFlag(c.flags, &l.addr, "addr", "the `ADDRESS` to listen on (127.0.0.1:8080); port 0 takes a free one", parseAddress)
		valueFlag(c.flags, &l.scheme, "scheme", schemeUsage, parseScheme)
		valueFlag(c.flags, &l.tolerance, "tolerance", "how far the signed time may lie from now, a `DURATION` or any (5m)", parseTolerance)
		valueFlag(c.flags, &l.script, "fail", scriptUsage, parseScript)
		valueFlag(c.flags, &l.forward, "forward-to", "pass requests that the script lets succeed on to a `URL`, with its answer back", parseForward)
		valueFlag(c.flags, &l.limit, "count", "end after `N` events (0: never)", count(0, 1<<30))
		boolFlag(c.flags, &l.quiet, "quiet", "print a line for each event, without its data")
		source := c.secretFlags()
		return func(ctx context.Context) error {
			secrets, err := c.secrets(ctx, source)
			if err != nil {
				return err
			}
			if l.checker, err = newChecker(l.scheme, secrets, l.tolerance, time.Now); err != nil {
				return err
			}
			return l.run(ctx)
		}
	},
}

// A listener is one call of listen.
type listener struct {
	*call
	addr      string
	scheme    signing.Scheme
	tolerance time.Duration
	checker   *checker
	script    *script
	forward   *forwarder
	limit     int
	quiet     bool

	mu   sync.Mutex // one event is printed at a time
	seen int
	stop context.CancelFunc
	ctx  context.Context // of the whole call
}

func parseAddress(s string) (string, error) {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = count(0, 65535)(port)
	}
	if err != nil {
		return "", errors.New("want a host and a port, such as 127.0.0.1:8080 or :8080")
	}
	return s, nil
}

func (l *listener) run(ctx context.Context) error {
	l.ctx, l.stop = context.WithCancel(ctx)
	defer l.stop()
	socket, err := net.Listen("tcp", l.addr)
	if err != nil {
		return trouble("can't listen on %s: %v; --addr names another address", l.addr, errors.Unwrap(err))
	}
	if l.forward != nil {
		l.forward.avoid(socket.Addr())
	}
	server := &http.Server{Handler: http.HandlerFunc(l.serve), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: time.Minute, IdleTimeout: time.Minute}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-l.ctx.Done()
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	}()
	fmt.Fprintf(l.stderr, "Listening on http://%s for %s signatures; Ctrl-C ends.\n", socket.Addr(), l.scheme.Name())
	err = server.Serve(socket)
	l.stop()
	<-ended
	if !errors.Is(err, http.ErrServerClosed) {
		return trouble("listening on %s ended: %v", socket.Addr(), err)
	}
	return nil
}

func (l *listener) serve(w http.ResponseWriter, r *http.Request) {
	arrived := time.Now()
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", "POST")
		l.refuse(w, r, arrived, http.StatusMethodNotAllowed, "webhooks are sent with POST")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxReceived))
	if err != nil {
		status := http.StatusBadRequest
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			status = http.StatusRequestEntityTooLarge
		}
		l.refuse(w, r, arrived, status, "the body could not be read: "+err.Error())
		return
	}
	event, reason := l.checker.check(body, r.Header)
	if reason != "" {
		l.refuse(w, r, arrived, http.StatusBadRequest, reason)
		return
	}
	answer := reply{status: http.StatusOK}
	if l.script != nil {
		answer = l.script.next()
	}
	if l.forward != nil && answer.succeeds() {
		passed := l.forward.pass(r, body)
		l.print(receivedJSON{
			At: utc(arrived), Path: r.URL.Path, Answer: fmt.Sprint(passed.status), Forwarded: passed.problem == "", Problem: passed.problem,
			verdictJSON: newVerdict(event, ""),
		}, &event, passed.problem)
		passed.give(w)
	} else {
		l.print(receivedJSON{At: utc(arrived), Path: r.URL.Path, Answer: answer.String(), verdictJSON: newVerdict(event, "")}, &event, "")
		answer.give(w, r, l.ctx)
	}
}

// refuse answers what is no webhook of ours. The reason is for this side only.
func (l *listener) refuse(w http.ResponseWriter, r *http.Request, arrived time.Time, status int, reason string) {
	l.print(receivedJSON{At: utc(arrived), Path: r.URL.Path, Answer: fmt.Sprint(status), verdictJSON: verdictJSON{Reason: reason}}, nil, reason)
	text := http.StatusText(status)
	if status == http.StatusBadRequest {
		text = "Invalid signature"
	}
	http.Error(w, text, status)
}

// receivedJSON is one request, for programs.
type receivedJSON struct {
	At        stamp  `json:"at"`
	Path      string `json:"path"`
	Answer    string `json:"answer"` // a status, "hang" or "close"
	Forwarded bool   `json:"forwarded,omitempty"`
	Problem   string `json:"problem,omitempty"` // why it was not
	verdictJSON
}

// print shows a request, and ends the call after as many events as were asked for.
func (l *listener) print(r receivedJSON, e *verifier.Event, problem string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.json {
		_ = l.out.jsonLine(r)
	} else {
		l.printEvent(r, e, problem)
	}
	if l.out.err != nil {
		l.stop() // nobody would see what comes
	}
	if e == nil {
		return
	}
	if l.seen++; l.seen == l.limit {
		l.stop()
	}
}

func (l *listener) printEvent(r receivedJSON, e *verifier.Event, problem string) {
	line := []string{r.At.Local().Format(time.TimeOnly), r.Answer}
	if e == nil {
		line = append(line, "refused: "+problem)
	} else {
		for _, text := range []string{e.Type, e.ID} {
			if text != "" {
				line = append(line, text)
			}
		}
		if problem != "" {
			line = append(line, problem)
		}
	}
	fmt.Fprintln(l.out, inert.Line(strings.Join(line, "  ")))
	if e != nil && !l.quiet {
		l.out.payload(inert.Text(content(e), maxPrinted), "    ")
	}
}

// content is what people want to see of an event: its data, or else its body.
func content(e *verifier.Event) []byte {
	if e.Data != nil {
		return e.Data
	}
	return e.Body
}
