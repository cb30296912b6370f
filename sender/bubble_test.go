package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// The tests of the engine run in bubbles of fake time, on the memory store, a
// network that is a function, and where needed a store that fails.

var errAway = errors.New("the database is away")

// arrival is a request as it reached a receiver.
type arrival struct {
	host, id string
	at       time.Time
	header   http.Header
}

// fakeNet is every receiver at once.
type fakeNet struct {
	// answer gives the status of an answer, after any delay it likes. Nil answers 200.
	answer func(ctx context.Context, host, id string) (int, error)
	// header, if set, gives the header of an answer.
	header func(status int) http.Header

	mu  sync.Mutex
	got []arrival
}

func (n *fakeNet) RoundTrip(req *http.Request) (*http.Response, error) {
	id := req.Header.Get("Webhook-Id")
	n.mu.Lock()
	n.got = append(n.got, arrival{req.URL.Hostname(), id, time.Now(), req.Header.Clone()})
	n.mu.Unlock()
	status := http.StatusOK
	if n.answer != nil {
		var err error
		if status, err = n.answer(req.Context(), req.URL.Hostname(), id); err != nil {
			return nil, err
		}
	}
	h := http.Header{}
	if n.header != nil {
		h = n.header(status)
	}
	return &http.Response{StatusCode: status, Header: h, Body: http.NoBody}, nil
}

// arrivals returns the requests so far that a host got, or all hosts for "".
func (n *fakeNet) arrivals(host string) []arrival {
	n.mu.Lock()
	defer n.mu.Unlock()
	var found []arrival
	for _, a := range n.got {
		if host == "" || a.host == host {
			found = append(found, a)
		}
	}
	return found
}

// times returns how often each event reached each host.
func (n *fakeNet) times() map[string]int {
	times := make(map[string]int)
	for _, a := range n.arrivals("") {
		times[a.host+" "+a.id]++
	}
	return times
}

// never answers until the sender gives up.
func never(ctx context.Context) (int, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

// late answers a status after d.
func late(ctx context.Context, d time.Duration, status int) (int, error) {
	select {
	case <-time.After(d):
		return status, nil
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// logBook is what was logged, at every level.
type logBook struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBook) lines() []string {
	return strings.FieldsFunc(l.String(), func(r rune) bool { return r == '\n' })
}

// warnings are the lines that are not mere information.
func (l *logBook) warnings() []string {
	return slices.DeleteFunc(l.lines(), func(line string) bool { return strings.Contains(line, "level=INFO") })
}

// bubble is a test's store and network.
type bubble struct {
	t   *testing.T
	mem *memory.Store
	net *fakeNet
	log *logBook
}

func inBubble(t *testing.T, f func(t *testing.T, b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f(t, &bubble{t: t, mem: memory.New(), net: &fakeNet{}, log: &logBook{}})
	})
}

// sender makes a Sender on a store that is not started.
func (b *bubble) sender(st store.Store, o Options) *Sender {
	b.t.Helper()
	if o.HTTP.WrapTransport == nil {
		o.HTTP.WrapTransport = func(http.RoundTripper) http.RoundTripper { return b.net }
	}
	o.Logger = slog.New(slog.NewTextHandler(b.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s, err := New(st, &o)
	require.NoError(b.t, err)
	return s
}

// start makes a Sender and starts it. It is stopped when the test ends.
func (b *bubble) start(st store.Store, o Options) *Sender {
	b.t.Helper()
	s := b.sender(st, o)
	b.run(s)
	return s
}

// run starts a Sender until the test ends.
func (b *bubble) run(s *Sender) {
	b.t.Helper()
	require.NoError(b.t, s.Start(b.t.Context()))
	b.t.Cleanup(func() { b.end(s) })
}

// stop gives a Sender d to stop.
func (b *bubble) stop(s *Sender, d time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	defer cancel()
	return s.Stop(ctx)
}

// end stops a Sender at once, whatever is under way.
func (b *bubble) end(s *Sender) { _ = b.stop(s, 0) }

// endpoint registers a host for all event types.
func (b *bubble) endpoint(t *Tenant, host string) store.Endpoint {
	b.t.Helper()
	ep, _, err := t.CreateEndpoint(b.t.Context(), EndpointSpec{URL: "https://" + host + "/", EventTypes: []string{"*"}, NoTestEvent: true})
	require.NoError(b.t, err)
	return ep
}

// send stores an event and returns its id.
func (b *bubble) send(t *Tenant, id string) string {
	b.t.Helper()
	r, err := t.Send(b.t.Context(), Event{ID: id, Type: "a.b"})
	require.NoError(b.t, err)
	return r.ID
}

// delivery returns the only delivery of an event and its attempts.
func (b *bubble) delivery(t *Tenant, id string) (store.Delivery, []store.Attempt) {
	b.t.Helper()
	list, err := t.Deliveries(b.t.Context(), store.DeliveryQuery{EventID: id})
	require.NoError(b.t, err)
	require.Len(b.t, list, 1)
	d, attempts, err := t.Delivery(b.t.Context(), list[0].ID)
	require.NoError(b.t, err)
	return d, attempts
}

// count returns how many deliveries of a world are in a state.
func (b *bubble) count(t *Tenant, state store.State) int {
	b.t.Helper()
	n := 0
	q := store.DeliveryQuery{States: []store.State{state}, Limit: 1000}
	for {
		page, err := b.mem.Deliveries(b.t.Context(), t.scope, q)
		require.NoError(b.t, err)
		if n += len(page); len(page) < q.Limit {
			return n
		}
		q.Before = page[len(page)-1].ID
	}
}

// pass lets time pass until d is over and everything is quiet.
func (b *bubble) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// brokenStore is a store that fails when it is told to.
type brokenStore struct {
	store.Store
	// before and after are asked around each call, by the method's name. An error of
	// before is returned with nothing done, one of after though all was done.
	before, after func(ctx context.Context, method string) error
	// settle and enqueue, if set, see what is stored.
	settle  func([]store.Settlement) error
	busy    func(store.Settlement) bool // what others hold
	enqueue func(store.EnqueueParams) error
}

// unsettling returns b's store, in which no result can be recorded while away is set.
func (b *bubble) unsettling() (st *brokenStore, away *atomic.Bool) {
	away = new(atomic.Bool)
	return &brokenStore{Store: b.mem, before: func(_ context.Context, method string) error {
		if method == "Settle" && away.Load() {
			return errAway
		}
		return nil
	}}, away
}

func around[R any](ctx context.Context, s *brokenStore, method string, f func() (R, error)) (R, error) {
	var none R
	if s.before != nil {
		if err := s.before(ctx, method); err != nil {
			return none, err
		}
	}
	r, err := f()
	if err == nil && s.after != nil {
		if err := s.after(ctx, method); err != nil {
			return none, err
		}
	}
	return r, err
}

func (s *brokenStore) Now(ctx context.Context) (time.Time, error) {
	return around(ctx, s, "Now", func() (time.Time, error) { return s.Store.Now(ctx) })
}

func (s *brokenStore) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	return around(ctx, s, "Enqueue", func() ([]store.Enqueued, error) {
		if s.enqueue != nil {
			if err := s.enqueue(p); err != nil {
				return nil, err
			}
		}
		return s.Store.Enqueue(ctx, p)
	})
}

func (s *brokenStore) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	return around(ctx, s, "Claim", func() (store.Claims, error) { return s.Store.Claim(ctx, p) })
}

func (s *brokenStore) Settle(ctx context.Context, list []store.Settlement) ([]store.Settled, error) {
	return around(ctx, s, "Settle", func() ([]store.Settled, error) {
		if s.settle != nil {
			if err := s.settle(list); err != nil {
				return nil, err
			}
		}
		if s.busy == nil {
			return s.Store.Settle(ctx, list)
		}
		free := slices.DeleteFunc(slices.Clone(list), s.busy)
		done, err := s.Store.Settle(ctx, free)
		if err != nil {
			return nil, err
		}
		out := make([]store.Settled, len(list))
		for i := range list {
			if s.busy(list[i]) {
				out[i].Busy = true
			} else {
				out[i], done = done[0], done[1:]
			}
		}
		return out, nil
	})
}

func (s *brokenStore) EndpointSet(ctx context.Context, scope store.Scope) (store.EndpointSet, error) {
	return around(ctx, s, "EndpointSet", func() (store.EndpointSet, error) { return s.Store.EndpointSet(ctx, scope) })
}

func (s *brokenStore) LoadEndpoints(ctx context.Context, keys []store.EndpointKey) ([]store.Endpoint, error) {
	return around(ctx, s, "LoadEndpoints", func() ([]store.Endpoint, error) { return s.Store.LoadEndpoints(ctx, keys) })
}

func (s *brokenStore) CreateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	return around(ctx, s, "CreateEndpoint", func() (store.Endpoint, error) { return s.Store.CreateEndpoint(ctx, ep, p) })
}

func (s *brokenStore) UpdateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	return around(ctx, s, "UpdateEndpoint", func() (store.Endpoint, error) { return s.Store.UpdateEndpoint(ctx, ep, p) })
}

func (s *brokenStore) Replay(ctx context.Context, scope store.Scope, event, endpoint string, p store.ReplayParams) (store.DeliveryID, error) {
	return around(ctx, s, "Replay", func() (store.DeliveryID, error) { return s.Store.Replay(ctx, scope, event, endpoint, p) })
}

func (s *brokenStore) Cancel(ctx context.Context, scope store.Scope, id store.DeliveryID, reason string) error {
	_, err := around(ctx, s, "Cancel", func() (struct{}, error) { return struct{}{}, s.Store.Cancel(ctx, scope, id, reason) })
	return err
}

func (s *brokenStore) Recover(ctx context.Context, scope store.Scope, p store.RecoverParams) (store.Recovered, error) {
	return around(ctx, s, "Recover", func() (store.Recovered, error) { return s.Store.Recover(ctx, scope, p) })
}

func (s *brokenStore) BackFill(ctx context.Context, scope store.Scope, endpoint string, events []int64) (int, error) {
	return around(ctx, s, "BackFill", func() (int, error) { return s.Store.BackFill(ctx, scope, endpoint, events) })
}

func (s *brokenStore) Erase(ctx context.Context, scope store.Scope, p store.EraseParams) (store.Erased, error) {
	return around(ctx, s, "Erase", func() (store.Erased, error) { return s.Store.Erase(ctx, scope, p) })
}

func (s *brokenStore) Promote(ctx context.Context, limit int) (store.Promoted, error) {
	return around(ctx, s, "Promote", func() (store.Promoted, error) { return s.Store.Promote(ctx, limit) })
}

func (s *brokenStore) TakeOver(ctx context.Context, limit int) (int, error) {
	return around(ctx, s, "TakeOver", func() (int, error) { return s.Store.TakeOver(ctx, limit) })
}

func (s *brokenStore) Expire(ctx context.Context, window time.Duration, limit int) (int, error) {
	return around(ctx, s, "Expire", func() (int, error) { return s.Store.Expire(ctx, window, limit) })
}

func (s *brokenStore) FanOut(ctx context.Context, limit int) (int, error) {
	return around(ctx, s, "FanOut", func() (int, error) { return s.Store.FanOut(ctx, limit) })
}

func (s *brokenStore) CancelDeleted(ctx context.Context, limit int) (int, error) {
	return around(ctx, s, "CancelDeleted", func() (int, error) { return s.Store.CancelDeleted(ctx, limit) })
}

func (s *brokenStore) DisableFailing(ctx context.Context, rule store.FailingRule, limit int) ([]store.Endpoint, error) {
	return around(ctx, s, "DisableFailing", func() ([]store.Endpoint, error) { return s.Store.DisableFailing(ctx, rule, limit) })
}

func (s *brokenStore) Prune(ctx context.Context, r store.Retention, limit int) (int, error) {
	return around(ctx, s, "Prune", func() (int, error) { return s.Store.Prune(ctx, r, limit) })
}

// requireOnce fails the test unless every event reached every host exactly once.
func (b *bubble) requireOnce(events, hosts int) {
	b.t.Helper()
	times := b.net.times()
	require.Len(b.t, times, events*hosts)
	for what, n := range times {
		require.Equal(b.t, 1, n, what)
	}
}

func host(i int) string { return fmt.Sprintf("h%d.example", i) }
