package sender

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
)

// town is a network of pipes for a bubble, with a server for each address.
type town struct {
	*wire
	t       *testing.T
	handler http.HandlerFunc
	servers []*http.Server
	inside  sync.WaitGroup

	mu      sync.Mutex
	streets map[string]chan net.Conn // address and port
	born    map[string][]time.Time   // of each connection
	open    map[net.Conn]bool
	closed  []time.Time
}

type bornKey struct{}

func newTown(t *testing.T, handler http.HandlerFunc, addresses ...string) *town {
	w := &town{wire: newWire(addresses[0]), t: t, handler: handler, streets: map[string]chan net.Conn{}, born: map[string][]time.Time{}, open: map[net.Conn]bool{}}
	for _, address := range addresses {
		at := netip.AddrPortFrom(netip.MustParseAddr(address), 80).String()
		street := make(chan net.Conn)
		w.streets[at] = street
		server := &http.Server{
			ErrorLog: log.New(io.Discard, "", 0),
			Handler:  handler,
			ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.born[at] = append(w.born[at], time.Now())
				return context.WithValue(ctx, bornKey{}, time.Now())
			},
			ConnState: func(c net.Conn, state http.ConnState) {
				w.mu.Lock()
				defer w.mu.Unlock()
				switch state {
				case http.StateNew:
					w.open[c] = true
				case http.StateClosed:
					delete(w.open, c)
					w.closed = append(w.closed, time.Now())
				default:
				}
			},
		}
		w.servers = append(w.servers, server)
		w.inside.Go(func() { _ = server.Serve(&pipes{street, make(chan struct{}), sync.Once{}}) })
	}
	return w
}

// pipes is a listener.
type pipes struct {
	street chan net.Conn
	over   chan struct{}
	once   sync.Once
}

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.street:
		return c, nil
	case <-l.over:
		return nil, net.ErrClosed
	}
}
func (l *pipes) Close() error   { l.once.Do(func() { close(l.over) }); return nil }
func (l *pipes) Addr() net.Addr { return &net.TCPAddr{} }

func (w *town) dial(ctx context.Context, _, address string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case w.streets[address] <- there:
		return here, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (w *town) client(o HTTPOptions) *Client {
	c := w.wire.client(w.t, o)
	c.poster.policy.Dial = w.dial
	return c
}

func (w *town) close(c *Client) {
	c.poster.close()
	for _, s := range w.servers {
		_ = s.Close()
	}
	w.inside.Wait()
}

func (w *town) opened(address string) []time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.born[netip.AddrPortFrom(netip.MustParseAddr(address), 80).String()]
}

// busy sends without a pause, in so many goroutines, until a time.
func (w *town) busy(c *Client, workers int, until time.Time, done func(attemptError error)) {
	target := ssrfTarget(w.t, "http://customer.example/")
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for time.Now().Before(until) {
				_, err := c.Attempt(w.t.Context(), target, Event{Type: "a.b"})
				done(err)
			}
		})
	}
	wg.Wait()
}

// once sends one event.
func (w *town) once(c *Client, id string) {
	_, err := c.Attempt(w.t.Context(), ssrfTarget(w.t, "http://customer.example/"), Event{ID: id, Type: "a.b"})
	require.NoError(w.t, err)
}

// A receiver that moves in DNS is found within MaxConnAge, however busy its
// connections are.
func TestReceiverThatMoved(t *testing.T) {
	const from, to = "93.184.216.34", "93.184.216.35"
	for _, tc := range []struct {
		age   time.Duration
		found time.Duration // within; 0: never
	}{{0, time.Minute}, {10 * time.Second, 10 * time.Second}, {-1, 0}} {
		t.Run(tc.age.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTown(t, func(_ http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					time.Sleep(100 * time.Millisecond)
				}, from, to)
				c := w.client(HTTPOptions{MaxConnAge: tc.age})
				defer w.close(c)
				start := time.Now()
				time.AfterFunc(10*time.Second, func() { w.resolveTo(to) })
				var mu sync.Mutex
				lastDial := start
				w.busy(c, 4, start.Add(100*time.Second), func(err error) {
					mu.Lock()
					defer mu.Unlock()
					require.NoError(t, err)
				})
				if tc.found == 0 {
					require.Empty(t, w.opened(to))
					return
				}
				for _, at := range w.opened(from) {
					if at.After(lastDial) {
						lastDial = at
					}
				}
				require.LessOrEqual(t, lastDial.Sub(start), 10*time.Second, "no connection to the old address after the move")
				require.NotEmpty(t, w.opened(to))
				// Connections last at most that long, so the old address is left by then.
				w.mu.Lock()
				defer w.mu.Unlock()
				require.GreaterOrEqual(t, len(w.closed), 4)
				for _, at := range w.closed[:4] {
					require.LessOrEqual(t, at.Sub(start), 10*time.Second+tc.found+100*time.Millisecond)
				}
			})
		})
	}
}

// A host that moves to a forbidden address is blocked within MaxConnAge.
func TestEgressIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Millisecond) }, "93.184.216.34", "10.0.0.1", "169.254.169.254")
		c := w.client(HTTPOptions{IdleTimeout: time.Hour})
		defer w.close(c)
		target := ssrfTarget(t, "http://customer.example/")
		start := time.Now()
		for time.Since(start) < 200*time.Second {
			switch passed := time.Since(start); {
			case passed > 180*time.Second:
				w.resolveTo("93.184.216.34")
			case passed > 20*time.Second:
				w.resolveTo("10.0.0.1")
			}
			attempt, err := c.Attempt(t.Context(), target, Event{Type: "a.b"})
			switch passed := time.Since(start); {
			case passed < 20*time.Second, passed > 181*time.Second:
				require.NoError(t, err)
			case passed > 80*time.Second && passed < 180*time.Second:
				require.Error(t, err)
				require.Equal(t, ClassBlocked, attempt.Class)
			}
			time.Sleep(100 * time.Millisecond)
		}
		require.Empty(t, w.opened("10.0.0.1"))
	})
}

// No request begins on an older connection, none is lost and none is sent twice.
func TestConnectionsChangeUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		seen, oldest := map[string]int{}, time.Duration(0)
		w := newTown(t, func(rw http.ResponseWriter, r *http.Request) {
			age := time.Since(r.Context().Value(bornKey{}).(time.Time))
			if rand.N(4) > 0 { // otherwise it answers before it has the body
				_, _ = io.Copy(io.Discard, r.Body)
			}
			mu.Lock()
			seen[r.Header.Get("Webhook-Id")]++
			oldest = max(oldest, age)
			mu.Unlock()
			time.Sleep(rand.N(20 * time.Millisecond))
			switch rand.N(3) {
			case 0:
				rw.WriteHeader(http.StatusNoContent)
			case 1:
				_, _ = rw.Write(bytes.Repeat([]byte("x"), 3000))
			}
		}, "93.184.216.34")
		c := w.client(HTTPOptions{MaxConnAge: time.Second})
		defer w.close(c)
		target := ssrfTarget(t, "http://customer.example/")
		var wg sync.WaitGroup
		start := time.Now()
		for i := range 8 {
			wg.Go(func() {
				for n := 0; time.Since(start) < 10*time.Second; n++ {
					id := fmt.Sprintf("evt_%d_%d", i, n)
					attempt, err := c.Attempt(t.Context(), target, Event{ID: id, Type: "a.b", Data: strings.Repeat("x", rand.N(40_000))})
					require.NoError(t, err, attempt.Error)
					mu.Lock()
					require.Equal(t, 1, seen[id])
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		synctest.Wait()
		for id, n := range seen {
			require.Equal(t, 1, n, id)
		}
		require.LessOrEqual(t, oldest, time.Second)
		require.Greater(t, oldest, 400*time.Millisecond)
		require.Greater(t, len(seen), 2_000)
		t.Log(len(seen), "requests on", len(w.opened("93.184.216.34")), "connections")
	})
}

// A request that is under way keeps its connection to the end of the answer, behind
// which it closes.
func TestConnectionClosesBehindItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, func(http.ResponseWriter, *http.Request) { time.Sleep(50 * time.Second) }, "93.184.216.34")
		c := w.client(HTTPOptions{MaxConnAge: 10 * time.Second, IdleTimeout: time.Hour, Timeout: time.Minute})
		defer w.close(c)
		start := time.Now()
		w.busy(c, 4, start.Add(time.Second), func(err error) { require.NoError(t, err) })
		time.Sleep(20 * time.Millisecond)
		// Nothing has asked for the next transport yet: a request does.
		w.once(c, "")
		w.mu.Lock()
		defer w.mu.Unlock()
		require.Len(t, w.open, 1)
		require.Len(t, w.closed, 4)
		for _, at := range w.closed {
			require.LessOrEqual(t, at.Sub(start), 51*time.Second)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		slow := make(chan struct{})
		w := newTown(t, func(_ http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Webhook-Id") == "evt_slow" {
				<-slow
			}
		}, "93.184.216.34")
		c := w.client(HTTPOptions{MaxConnAge: 10 * time.Second, IdleTimeout: time.Hour, Timeout: time.Hour})
		defer w.close(c)
		var wg sync.WaitGroup
		wg.Go(func() {
			w.once(c, "evt_slow")
		})
		for range 60 { // the others go on, on new connections
			time.Sleep(time.Second)
			w.once(c, "")
		}
		w.mu.Lock()
		before := len(w.closed)
		require.Greater(t, before, 3)
		w.mu.Unlock()
		close(slow)
		wg.Wait()
		synctest.Wait()
		w.mu.Lock()
		defer w.mu.Unlock()
		require.Len(t, w.closed, before+1, "at once")
		require.Equal(t, time.Now(), w.closed[before])
	})
}

// Connections are not all opened anew at once.
func TestConnectionsChangeBitByBit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const workers = 32
		w := newTown(t, func(http.ResponseWriter, *http.Request) {
			time.Sleep(400*time.Millisecond + rand.N(200*time.Millisecond))
		}, "93.184.216.34")
		c := w.client(HTTPOptions{})
		defer w.close(c)
		start := time.Now()
		w.busy(c, workers, start.Add(3*time.Minute), func(err error) { require.NoError(t, err) })
		perSecond, most := map[int]int{}, 0
		for _, at := range w.opened("93.184.216.34") {
			if s := int(at.Sub(start).Seconds()); s > 0 {
				perSecond[s]++
				most = max(most, perSecond[s])
			}
		}
		all := len(w.opened("93.184.216.34"))
		t.Logf("%d connections, %d in one second at most", all, most)
		require.Less(t, most, workers/2)
		require.Greater(t, all, 3*workers)
		require.Less(t, all, 10*workers)
	})
}

// After a time without requests nothing old is used, whatever IdleTimeout says.
func TestConnectionsAgeWithoutTraffic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTown(t, func(http.ResponseWriter, *http.Request) {}, "93.184.216.34")
		c := w.client(HTTPOptions{IdleTimeout: time.Hour})
		defer w.close(c)
		w.once(c, "")
		time.Sleep(time.Minute + time.Millisecond)
		synctest.Wait()
		require.Empty(t, w.open, "it closed by itself")
		for i := range 5 {
			w.once(c, "")
			require.Len(t, w.opened("93.184.216.34"), i+2)
			time.Sleep(10 * time.Minute)
		}
		w.once(c, "")
		time.Sleep(time.Second)
		w.once(c, "")
		require.Len(t, w.opened("93.184.216.34"), 7, "and a young one is used again")
	})
}

// A request that chose its transport just before that was retired leaves no connection
// behind.
func TestRequestBehindTheRetirement(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, body := range []string{"", "an answer"} {
			w := newTown(t, func(rw http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(rw, body) }, "93.184.216.34")
			c := w.client(HTTPOptions{IdleTimeout: time.Hour, MaxConnAge: time.Hour})
			r := c.poster.transport
			first := r.pick()
			first.Proxy = func(*http.Request) (*url.URL, error) { // called behind pick
				first.Proxy = nil
				r.change(time.Now().Add(10 * time.Hour))
				return nil, nil
			}
			w.once(c, "")
			synctest.Wait()
			require.NotSame(t, first, r.pick())
			require.Empty(t, w.open)
			require.Len(t, w.opened("93.184.216.34"), 1)
			w.close(c)
		}
	})
}

// The same with HTTP/2, where requests share a connection.
func TestRotationWithHTTP2(t *testing.T) {
	var mu sync.Mutex
	conns, seen := map[string]bool{}, map[string]int{}
	open := map[net.Conn]bool{}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		conns[r.RemoteAddr] = true
		seen[r.Header.Get("Id")]++
		if r.ProtoMajor != 2 {
			rw.WriteHeader(http.StatusHTTPVersionNotSupported)
		}
	}))
	server.Config.ConnState = func(c net.Conn, state http.ConnState) {
		mu.Lock()
		defer mu.Unlock()
		if open[c] = true; state == http.StateClosed {
			delete(open, c)
		}
	}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	base := server.Client().Transport.(*http.Transport).Clone()
	base.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(8)
	base.IdleConnTimeout = 100 * time.Millisecond
	r := newRotation(base, 100*time.Millisecond)
	several := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(conns) >= 8
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; !several(); n++ {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, bytes.NewReader(make([]byte, 2000)))
				if err != nil {
					t.Error(err)
					return
				}
				req.GetBody = nil // so that nothing is repeated behind the scenes
				req.Header.Set("Id", fmt.Sprint(i, " ", n))
				resp, err := r.RoundTrip(req)
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					t.Error(resp.Status)
				}
			}
		})
	}
	wg.Wait()
	for id, n := range seen {
		require.Equal(t, 1, n, id)
	}
	r.CloseIdleConnections()
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(open) == 0
	}, 10*time.Second, time.Millisecond)
}

func TestMaxConnAgeOptions(t *testing.T) {
	for age, ok := range map[time.Duration]bool{0: true, -1: true, -time.Hour: true, time.Second: true, 1<<63 - 1: true, time.Nanosecond: false, 999 * time.Millisecond: false} {
		p, err := newPoster(HTTPOptions{MaxConnAge: age}, 1)
		require.Equal(t, ok, err == nil, age)
		if !ok {
			require.ErrorIs(t, err, ErrInvalidOptions)
			continue
		}
		switch limit := p.transport.now.Load().until; {
		case age < 0:
			require.True(t, limit.IsZero())
		case age == 0:
			require.LessOrEqual(t, time.Until(limit), 45*time.Second)
		}
		require.NotNil(t, p.transport.pick())
	}
}

// A choice costs no memory, in a handover neither.
func TestRotationAllocatesNothing(t *testing.T) {
	r := newRotation(&http.Transport{}, time.Hour)
	require.Zero(t, testing.AllocsPerRun(100, func() { r.pick() }))
	p := *r.now.Load()
	p.old, p.handed, p.handing = p.current, time.Now().Add(time.Hour), time.Hour
	r.now.Store(&p)
	require.Zero(t, testing.AllocsPerRun(100, func() { r.pick() }))
}

// BenchmarkConnections sends over loopback, with connections that last a second, the
// shortest that is possible, and with such that last.
func BenchmarkConnections(b *testing.B) {
	for _, age := range []time.Duration{-1, time.Second, time.Minute} {
		b.Run(age.String(), func(b *testing.B) {
			server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
			defer server.Close()
			p, err := newPoster(HTTPOptions{MaxConnAge: age, Egress: Egress{Allow: sendertest.Loopback()}}, 16)
			require.NoError(b, err)
			defer p.close()
			d, err := newDestination(server.URL, testKeys(b))
			require.NoError(b, err)
			m := testMessage()
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				within := newDeadline(b.Context())
				for pb.Next() {
					if r := p.postWithin(b.Context(), within, d, jsonType, m); r.Status != http.StatusOK {
						b.Error(errors.New(r.Error))
					}
					within = within.next(b.Context())
				}
				within.end(nil)
			})
		})
	}
}
