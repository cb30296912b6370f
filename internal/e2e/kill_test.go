package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
	"github.com/hookpost/hookpost/verifier"
)

const (
	events    = 5000
	kills     = 5
	endpoints = 3               // each selects a type of its own
	patience  = 2 * time.Minute // ends a test that hangs; it takes some seconds
)

// Workers are killed while they send and deliver, and started again until all is
// done: nothing that Send has acknowledged is lost, and no more is repeated than
// was in flight at the kills.
func TestKill(t *testing.T) {
	worker := filepath.Join(t.TempDir(), "worker")
	text, err := exec.CommandContext(t.Context(), "go", "build", "-o", worker, "./worker").CombinedOutput()
	require.NoError(t, err, string(text))
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) { testKill(t, worker, workers) })
	}
}

func testKill(t *testing.T, binary string, workers int) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	db := filepath.Join(t.TempDir(), "hooks.db")
	st, err := sqlite.Open(ctx, db, nil)
	require.NoError(t, err)
	defer st.Close()
	hooks, err := sender.New(st, setup.Options()) // not started: for endpoints and the log
	require.NoError(t, err)
	rcv := newReceiver(t)
	for i := range endpoints {
		_, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{
			URL: fmt.Sprintf("%s/%d", rcv.url, i), EventTypes: []string{eventType(i)}, Secret: rcv.secret, NoTestEvent: true,
		})
		require.NoError(t, err)
	}

	// Each worker sends its share. It gets the events that nobody has acknowledged
	// yet, again those whose acknowledgement was cut off.
	shares := make([]*share, workers)
	for i := range shares {
		shares[i] = &share{ctx: ctx, binary: binary, db: db, acked: make(map[string]bool)}
		for n := i; n < events; n += workers {
			shares[i].lines = append(shares[i].lines, fmt.Sprintf("evt_%05d %s", n, eventType(n)))
		}
		shares[i].start(t)
		defer shares[i].kill()
	}
	acknowledged, missing := 0, 0 // of the victims' shares
	for k := range kills {
		rcv.wait(ctx, t, events*(k+1)/(kills+1))
		victim := shares[k%workers]
		victim.kill()
		acknowledged += victim.count()
		missing += victim.missing()
		victim.start(t)
	}
	for _, s := range shares {
		s.finish(t)
		require.Zero(t, s.missing())
	}

	log := readLog(ctx, t, hooks)
	requests := rcv.requests()
	lost, repeated, unknown, open := 0, 0, 0, 0
	for n := range events {
		id := fmt.Sprintf("evt_%05d", n)
		got, entry := requests[id], log[id]
		if got.verified == 0 || entry.delivery.State != store.Delivered {
			lost++
			t.Errorf("%s: lost; %d requests, delivery %+v", id, got.total, entry.delivery)
			continue
		}
		if entry.delivery.InFlight {
			open++
		}

		// The log has every request, and no answer that was not given.
		outcomes, answered := make(map[store.Outcome]int), 0
		for i, a := range entry.attempts {
			require.Equal(t, i+1, a.N, id)
			outcomes[a.Outcome]++
			if a.Status != 0 {
				answered++
			}
		}
		reported := outcomes[store.AttemptDelivered] + outcomes[store.AttemptFailed]
		repeated += max(0, got.total-reported)
		unknown += outcomes[store.AttemptUnknown]
		require.GreaterOrEqual(t, len(entry.attempts), got.total, "%s: requests that are not in the log", id)
		require.LessOrEqual(t, answered, got.total, "%s: the log invents answers", id)
		require.Equal(t, 1, outcomes[store.AttemptDelivered], "%s: %v", id, entry.attempts)
	}
	bound := kills * setup.MaxInFlight
	t.Logf("%d events, %d kills (when on average %d events were acknowledged and %d not yet): %d lost, %d left leased, %d repeated requests of at most %d, %d unknown attempts",
		events, kills, acknowledged/kills, missing/kills, lost, open, repeated, bound, unknown)
	require.Zero(t, lost)
	require.Zero(t, open)
	require.LessOrEqual(t, repeated, bound)
	require.LessOrEqual(t, unknown, bound)
	require.Len(t, log, events)
	require.Zero(t, rcv.refused(), "requests that didn't verify")
}

func eventType(n int) string { return fmt.Sprintf("kill.type%d", n%endpoints) }

// failsFirst says which events the receiver answers with 500 at first.
func failsFirst(id string) bool { return id[len(id)-1] == '7' }

// share is a part of the events and the process that sends it.
type share struct {
	ctx    context.Context
	binary string
	db     string
	lines  []string

	cmd    *exec.Cmd
	stdin  io.WriteCloser
	output sync.WaitGroup // the process's, being read

	mu    sync.Mutex
	acked map[string]bool
}

// start runs a worker with all lines that were not acknowledged.
func (s *share) start(t *testing.T) {
	t.Helper()
	s.cmd = exec.CommandContext(s.ctx, s.binary, "-db", s.db)
	s.cmd.Stderr = t.Output()
	var err error
	s.stdin, err = s.cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := s.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, s.cmd.Start())

	s.mu.Lock()
	todo := slices.DeleteFunc(slices.Clone(s.lines), func(line string) bool { return s.acked[lineID(line)] })
	s.mu.Unlock()
	stdin := s.stdin
	s.output.Go(func() {
		for _, line := range todo {
			if _, err := fmt.Fprintln(stdin, line); err != nil {
				return // killed
			}
		}
	})
	s.output.Go(func() {
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			s.mu.Lock()
			s.acked[lines.Text()] = true
			s.mu.Unlock()
		}
	})
}

func lineID(line string) string { return line[:len("evt_00000")] }

// kill ends the process with SIGKILL.
func (s *share) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Kill()
	s.output.Wait()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// finish lets the process end by itself when all is delivered.
func (s *share) finish(t *testing.T) {
	t.Helper()
	for s.missing() > 0 && s.ctx.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	require.NoError(t, s.stdin.Close())
	s.output.Wait()
	require.NoError(t, s.cmd.Wait())
	s.cmd = nil
}

// missing is how many events are not acknowledged.
func (s *share) missing() int { return len(s.lines) - s.count() }

func (s *share) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.acked)
}

// receiver counts the requests that it verified.
type receiver struct {
	url    string
	secret signing.Secret

	mu      sync.Mutex
	got     map[string]tally
	bad     int
	changed chan struct{}
}

// tally counts the requests for an event.
type tally struct {
	total    int
	verified int // and answered with 200
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{secret: signing.NewSecret(), got: make(map[string]tally), changed: make(chan struct{}, 1)}
	v, err := verifier.New(r.secret.Reveal(), &verifier.Options{
		OnError: func(_ http.ResponseWriter, _ *http.Request, err error) {
			if !refused(err) {
				return // a request that a kill cut off
			}
			r.mu.Lock()
			r.bad++
			r.mu.Unlock()
		},
	})
	require.NoError(t, err)
	server := httptest.NewServer(v.Middleware(http.HandlerFunc(r.receive)))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// refused reports whether a request arrived whole and was not genuine.
func refused(err error) bool {
	for _, cause := range []error{
		signing.ErrMissingHeader, signing.ErrMalformed, signing.ErrTooOld, signing.ErrTooNew, signing.ErrNoMatch, verifier.ErrBodyTooLarge,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	event, _ := verifier.FromContext(req.Context())
	time.Sleep(2 * time.Millisecond) // so that something is in flight when a kill comes
	r.mu.Lock()
	n := r.got[event.ID]
	n.total++
	ok := n.total > 1 || !failsFirst(event.ID)
	if ok {
		n.verified++
	}
	r.got[event.ID] = n
	r.mu.Unlock()
	if !ok {
		w.WriteHeader(http.StatusInternalServerError)
	}
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// wait returns once requests for n events have come.
func (r *receiver) wait(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for {
		r.mu.Lock()
		have := len(r.got)
		r.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			require.FailNow(t, "took too long", "%d of %d events have arrived", have, n)
		}
	}
}

func (r *receiver) requests() map[string]tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.got)
}

func (r *receiver) refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}

// entry is what the log says about an event.
type entry struct {
	delivery store.Delivery
	attempts []store.Attempt
}

func readLog(ctx context.Context, t *testing.T, hooks *sender.Sender) map[string]entry {
	t.Helper()
	log := make(map[string]entry)
	query := store.DeliveryQuery{Limit: 1000}
	for {
		page, err := hooks.Deliveries(ctx, query)
		require.NoError(t, err)
		if len(page) == 0 {
			return log
		}
		for _, d := range page {
			require.NotContains(t, log, d.EventID, "a second delivery")
			full, attempts, err := hooks.Delivery(ctx, d.ID)
			require.NoError(t, err)
			log[d.EventID] = entry{full, attempts}
		}
		query.Before = page[len(page)-1].ID
	}
}
