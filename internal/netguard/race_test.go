package netguard

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func addrs(list ...string) []netip.Addr {
	var as []netip.Addr
	for _, s := range list {
		as = append(as, netip.MustParseAddr(s))
	}
	return as
}

func TestInterleave(t *testing.T) {
	for _, tc := range [][2]string{
		{"", ""},
		{"1.0.0.1", "1.0.0.1"},
		{"1.0.0.1 1.0.0.2", "1.0.0.1 1.0.0.2"},
		{"2600::1 2600::2 2600::3 1.0.0.1", "2600::1 1.0.0.1 2600::2 2600::3"},
		{"2600::1 2600::2 1.0.0.1 1.0.0.2", "2600::1 1.0.0.1 2600::2 1.0.0.2"},
		{"1.0.0.1 1.0.0.2 2600::1 1.0.0.3", "1.0.0.1 2600::1 1.0.0.2 1.0.0.3"},
		{"1.0.0.1 2600::1 2600::2 2600::3", "1.0.0.1 2600::1 2600::2 2600::3"},
		{
			"2600::1 2600::2 2600::3 2600::4 2600::5 2600::6 2600::7 2600::8 2600::9 1.0.0.1",
			"2600::1 1.0.0.1 2600::2 2600::3 2600::4 2600::5 2600::6 2600::7",
		},
	} {
		given := addrs(strings.Fields(tc[0])...)
		before := slices.Clone(given)
		require.Equal(t, addrs(strings.Fields(tc[1])...), interleave(given))
		require.Equal(t, before, given)
	}
}

// racer is a network in which each address behaves in its own way.
type racer struct {
	takes map[string]time.Duration // how long the dial takes; missing: for ever
	fails map[string]error         // how it ends, unless with a connection
	deaf  bool                     // dials do not notice that their context ends

	mu    sync.Mutex
	began []string // "250ms 93.184.216.34"
	conns map[string]*tracked
	start time.Time
}

// tracked is a connection that notes whether it is closed.
type tracked struct {
	net.Conn
	closed bool
}

func (c *tracked) Close() error { c.closed = true; return nil }

func (r *racer) dial(ctx context.Context, _, address string) (net.Conn, error) {
	ap := netip.MustParseAddrPort(address)
	name := ap.Addr().String()
	r.mu.Lock()
	r.began = append(r.began, time.Since(r.start).String()+" "+name)
	r.mu.Unlock()
	takes, ends := r.takes[name]
	if !ends {
		takes = 1000 * time.Hour
	}
	done := ctx.Done()
	if r.deaf && ends {
		done = nil
	}
	select {
	case <-done:
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(ap), Err: ctx.Err()}
	case <-time.After(takes):
	}
	if err := r.fails[name]; err != nil {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(ap), Err: os.NewSyscallError("connect", err)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	conn := &tracked{}
	r.conns[name] = conn
	return conn, nil
}

func TestRace(t *testing.T) {
	const a, b, c = "93.184.216.1", "93.184.216.2", "93.184.216.3"
	const a6, b6 = "2600::1", "2600::2"
	for name, tc := range map[string]struct {
		answers string
		takes   map[string]time.Duration
		fails   map[string]error
		deaf    bool

		wins  string // the address; empty: none
		errIs error
		errOf string // the address that the error names
		after time.Duration
		began []string
	}{
		"the first answers at once": {
			answers: a + " " + b, takes: map[string]time.Duration{a: time.Millisecond},
			wins: a, after: time.Millisecond, began: []string{"0s " + a},
		},
		"the first leads nowhere": {
			answers: a + " " + b, takes: map[string]time.Duration{b: time.Millisecond},
			wins: b, after: 251 * time.Millisecond, began: []string{"0s " + a, "250ms " + b},
		},
		"IPv6 leads nowhere": {
			answers: a6 + " " + b6 + " " + a, takes: map[string]time.Duration{a: time.Millisecond},
			wins: a, after: 251 * time.Millisecond, began: []string{"0s " + a6, "250ms " + a},
		},
		"two lead nowhere": {
			answers: a + " " + b + " " + c, takes: map[string]time.Duration{c: time.Millisecond},
			wins: c, after: 501 * time.Millisecond, began: []string{"0s " + a, "250ms " + b, "500ms " + c},
		},
		"the first is slow and wins": {
			answers: a + " " + b, takes: map[string]time.Duration{a: 300 * time.Millisecond, b: time.Second},
			wins: a, after: 300 * time.Millisecond, began: []string{"0s " + a, "250ms " + b},
		},
		"the first is slow and loses": {
			answers: a + " " + b, takes: map[string]time.Duration{a: 300 * time.Millisecond, b: time.Millisecond}, deaf: true,
			wins: b, after: 251 * time.Millisecond, began: []string{"0s " + a, "250ms " + b},
		},
		"the first fails": {
			answers: a + " " + b, takes: map[string]time.Duration{a: time.Millisecond, b: time.Millisecond},
			fails: map[string]error{a: syscall.ECONNREFUSED},
			wins:  b, after: 2 * time.Millisecond, began: []string{"0s " + a, "1ms " + b},
		},
		"the second fails while the first hangs": {
			answers: a + " " + b + " " + c, takes: map[string]time.Duration{b: time.Millisecond, c: time.Millisecond},
			fails: map[string]error{b: syscall.ECONNREFUSED},
			wins:  c, after: 252 * time.Millisecond, began: []string{"0s " + a, "250ms " + b, "251ms " + c},
		},
		"the last but one answers after all have begun": {
			answers: a + " " + b, takes: map[string]time.Duration{a: 5 * time.Second},
			wins: a, after: 5 * time.Second, began: []string{"0s " + a, "250ms " + b},
		},
		"all fail": {
			answers: a + " " + b, takes: map[string]time.Duration{a: 400 * time.Millisecond, b: time.Millisecond},
			fails: map[string]error{a: syscall.ECONNREFUSED, b: syscall.EHOSTUNREACH},
			errIs: syscall.ECONNREFUSED, errOf: a, after: 400 * time.Millisecond, began: []string{"0s " + a, "250ms " + b},
		},
		"no route for IPv6": {
			answers: a6 + " " + a + " " + b6, takes: map[string]time.Duration{a6: 0, b6: 0, a: time.Millisecond},
			fails: map[string]error{a6: syscall.ENETUNREACH, b6: syscall.ENETUNREACH, a: syscall.ECONNREFUSED},
			errIs: syscall.ECONNREFUSED, errOf: a, after: time.Millisecond, began: []string{"0s " + a6, "0s " + a, "1ms " + b6},
		},
		"no route at all": {
			answers: a6 + " " + a, takes: map[string]time.Duration{a6: 0, a: 0},
			fails: map[string]error{a6: syscall.EADDRNOTAVAIL, a: syscall.ENETUNREACH},
			errIs: syscall.EADDRNOTAVAIL, errOf: a6, began: []string{"0s " + a6, "0s " + a},
		},
		"all hang": {
			answers: a + " " + b, errIs: context.DeadlineExceeded, errOf: a, after: 10 * time.Second, began: []string{"0s " + a, "250ms " + b},
		},
		"one hangs": {
			answers: a, errIs: context.DeadlineExceeded, errOf: a, after: 10 * time.Second, began: []string{"0s " + a},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails if a goroutine stays
				r := &racer{takes: tc.takes, fails: tc.fails, deaf: tc.deaf, conns: map[string]*tracked{}, start: time.Now()}
				p := &Policy{Resolver: fakeFor(strings.Fields(tc.answers)...), Dial: r.dial}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				conn, err := p.DialContext(ctx, "tcp", "customer.example:443")
				require.Equal(t, tc.after, time.Since(r.start))
				require.Equal(t, tc.began, r.began)
				time.Sleep(time.Minute)
				synctest.Wait()
				if tc.wins == "" {
					require.ErrorIs(t, err, tc.errIs)
					var op *net.OpError
					require.ErrorAs(t, err, &op)
					require.Equal(t, tc.errOf, op.Addr.(*net.TCPAddr).AddrPort().Addr().String())
					return
				}
				require.NoError(t, err)
				require.Same(t, r.conns[tc.wins], conn)
				for name, conn := range r.conns {
					require.Equal(t, name != tc.wins, conn.closed, name)
				}
			})
		})
	}
}

// However many addresses there are and however long they hang, the work is bounded.
func TestRaceIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{}
		for i := range 200 {
			f.answers = append(f.answers, netip.AddrFrom4([4]byte{93, 184, 216, byte(i)}))
		}
		r := &racer{start: time.Now()}
		p := &Policy{Resolver: f, Dial: r.dial}
		_, err := p.DialContext(t.Context(), "tcp", "customer.example:443")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, maxDialTime, time.Since(r.start), "without a deadline of the caller's")
		require.Len(t, r.began, maxDials)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		r.began, r.start = nil, time.Now()
		_, err = p.DialContext(ctx, "tcp", "customer.example:443")
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(r.start))
		require.LessOrEqual(t, len(r.began), 5)
	})
}

// With one address, nothing stands between the caller and the dial.
func TestOneAddressIsDialledDirectly(t *testing.T) {
	f := fakeFor("93.184.216.34", "::ffff:93.184.216.34")
	p := f.policy(Policy{})
	p.Dial = func(context.Context, string, string) (net.Conn, error) { panic("on the caller's goroutine") }
	require.Panics(t, func() { _, _ = p.DialContext(t.Context(), "tcp", "customer.example:443") })
}

// Through real sockets: one address refuses, the other answers.
func TestRaceOnSockets(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") }))
	defer server.Close()
	port := strconv.Itoa(server.Listener.Addr().(*net.TCPAddr).Port)
	p := &Policy{Resolver: fakeFor("127.0.0.2", "127.0.0.1", "::1"), Allow: prefixes("127.0.0.0/8", "::1/128")}
	require.NoError(t, get(t, p, "http://customer.example:"+port))

	server.Close()
	_, err := p.DialContext(t.Context(), "tcp", "customer.example:"+port)
	require.True(t, errors.Is(err, syscall.ECONNREFUSED), err)
}

// A short deadline leaves time for the last address too.
func TestRaceWithinADeadline(t *testing.T) {
	for _, within := range []time.Duration{100 * time.Millisecond, 200 * time.Millisecond, time.Second, 4 * time.Second} {
		for _, dead := range []int{1, 4, maxDials - 1} {
			synctest.Test(t, func(t *testing.T) {
				var answers []netip.Addr
				for i := range dead {
					answers = append(answers, netip.AddrFrom4([4]byte{93, 184, 216, byte(10 + i)}))
				}
				answers = append(answers, netip.MustParseAddr("93.184.216.1"))
				r := &racer{takes: map[string]time.Duration{"93.184.216.1": within / 4}, conns: map[string]*tracked{}, start: time.Now()}
				ctx, cancel := context.WithTimeout(t.Context(), within)
				defer cancel()
				conn, err := (&Policy{Dial: r.dial}).dial(ctx, "tcp", answers, 443)
				require.NoError(t, err, "%d of %d lead nowhere, %s", dead, dead+1, within)
				require.NotNil(t, conn)
			})
		}
	}
}
