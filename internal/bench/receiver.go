package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/signing"
)

const (
	// receiverEnv, when set, makes this program the receiver.
	receiverEnv = "HOOKPOST_BENCH_RECEIVER"
	// verified is how many requests of each run have their signatures checked.
	// Checking all would measure the receiver.
	verified = 100
	// hangPath begins the paths that get no answer.
	hangPath = "/hangs/"
	// timedPath begins the paths to which events say when they were sent.
	timedPath = "/timed/"
)

// receiver is the process that requests go to.
type receiver struct {
	url   string
	cmd   *exec.Cmd
	stdin io.Closer
}

// tally is what the receiver saw since it was reset.
type tally struct {
	Requests int64
	Distinct int64 // pairs of path and webhook-id
	Refused  int64 // without an id, a body or a valid signature
	CPU      time.Duration
	P50, P99 time.Duration // from sending to receipt; 0: nothing said when it was sent
}

// check compares the tally with what should have come.
func (t tally) check(want int) error {
	var errs []error
	if lost := int64(want) - t.Distinct; lost != 0 {
		errs = append(errs, fmt.Errorf("%d of %d events were lost", lost, want))
	}
	if twice := t.Requests - t.Distinct - t.Refused; twice != 0 {
		errs = append(errs, fmt.Errorf("%d requests came again", twice))
	}
	if t.Refused != 0 {
		errs = append(errs, fmt.Errorf("%d requests were refused", t.Refused))
	}
	return errors.Join(errs...)
}

func startReceiver() (*receiver, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), receiverEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	r := &receiver{cmd: cmd, stdin: stdin}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		r.stop()
		return nil, fmt.Errorf("the receiver did not start: %w", err)
	}
	r.url = "http://" + strings.TrimSpace(line)
	return r, nil
}

// stop ends the process, which runs as long as its standard input is open.
func (r *receiver) stop() {
	_ = r.stdin.Close()
	_ = r.cmd.Wait()
}

// endpoint returns the URL of the ith endpoint.
func (r *receiver) endpoint(i int) string { return fmt.Sprintf("%s/hooks/%d", r.url, i) }

// timed returns the URL of the ith endpoint whose requests are timed.
func (r *receiver) timed(i int) string { return fmt.Sprintf("%s%s%d", r.url, timedPath, i) }

// hangs returns the URL of the ith endpoint that doesn't answer.
func (r *receiver) hangs(i int) string { return fmt.Sprintf("%s%s%d", r.url, hangPath, i) }

func (r *receiver) reset(ctx context.Context) error {
	_, err := r.ask(ctx, "/reset")
	return err
}

func (r *receiver) tally(ctx context.Context) (tally, error) { return r.ask(ctx, "/tally") }

func (r *receiver) ask(ctx context.Context, path string) (t tally, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, http.NoBody)
	if err != nil {
		return t, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return t, err
	}
	defer resp.Body.Close()
	return t, json.NewDecoder(resp.Body).Decode(&t)
}

// serveReceiver is the receiver's process.
func serveReceiver() error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	c, err := newCounter()
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	fmt.Println(ln.Addr())
	srv := &http.Server{Handler: c, ReadHeaderTimeout: 10 * time.Second}
	return srv.Serve(ln)
}

// counter is the receiver's handler.
type counter struct {
	key       signing.Key
	requests  atomic.Int64
	distinct  atomic.Int64
	refused   atomic.Int64
	unchecked atomic.Int64 // requests whose signatures are still to be checked
	cpuBefore atomic.Int64 // time.Duration used until reset
	seed      maphash.Seed
	shards    [64]shard
	mu        sync.Mutex
	took      []time.Duration // of the timed requests
}

type shard struct {
	mu   sync.Mutex
	seen map[seenKey]struct{}
}

type seenKey struct{ path, id string }

func newCounter() (*counter, error) {
	key, err := bindSecret()
	if err != nil {
		return nil, err
	}
	c := &counter{key: key, seed: maphash.MakeSeed()}
	c.reset()
	return c, nil
}

func (c *counter) reset() {
	for i := range c.shards {
		c.shards[i].mu.Lock()
		c.shards[i].seen = make(map[seenKey]struct{})
		c.shards[i].mu.Unlock()
	}
	c.mu.Lock()
	c.took = nil
	c.mu.Unlock()
	c.requests.Store(0)
	c.distinct.Store(0)
	c.refused.Store(0)
	c.unchecked.Store(verified)
	runtime.GC() // of what the run before left
	c.cpuBefore.Store(int64(cpuTime()))
}

func (c *counter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/reset":
		c.reset()
		fallthrough
	case "/tally":
		_ = json.NewEncoder(w).Encode(c.tally())
	default:
		if strings.HasPrefix(r.URL.Path, hangPath) {
			_, _ = io.Copy(io.Discard, r.Body) // else nobody sees the sender go
			<-r.Context().Done()
			return
		}
		c.requests.Add(1)
		if !c.take(r, time.Now()) {
			c.refused.Add(1)
			w.WriteHeader(http.StatusBadRequest)
		}
	}
}

func (c *counter) tally() tally {
	t := tally{
		Requests: c.requests.Load(), Distinct: c.distinct.Load(), Refused: c.refused.Load(),
		CPU: cpuTime() - time.Duration(c.cpuBefore.Load()),
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.took)
	t.P50, t.P99 = quantile(c.took, 0.50), quantile(c.took, 0.99)
	return t
}

// take notes a request and reports whether it was in order.
func (c *counter) take(r *http.Request, arrived time.Time) bool {
	id := r.Header.Get("Webhook-Id")
	check := c.unchecked.Load() > 0 && c.unchecked.Add(-1) >= 0
	if timed := strings.HasPrefix(r.URL.Path, timedPath); check || timed {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return false
		}
		if timed {
			c.time(body, arrived)
		}
		if check {
			if _, err := c.key.Verify(r.Header, body, arrived, signing.Limits{}); err != nil {
				return false
			}
		}
	} else if n, err := io.Copy(io.Discard, r.Body); err != nil || n == 0 {
		return false
	}
	if id == "" {
		return false
	}
	k := seenKey{r.URL.Path, id}
	s := &c.shards[maphash.String(c.seed, id)%uint64(len(c.shards))]
	s.mu.Lock()
	_, again := s.seen[k]
	s.seen[k] = struct{}{}
	s.mu.Unlock()
	if !again {
		c.distinct.Add(1)
	}
	return true
}

// time notes how long a request that says when it was sent took to arrive.
func (c *counter) time(body []byte, arrived time.Time) {
	sent := sentAt(body)
	if sent.IsZero() {
		return
	}
	c.mu.Lock()
	c.took = append(c.took, arrived.Sub(sent))
	c.mu.Unlock()
}
