package netguard

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDialContextResolvesOnceAndDialsWhatItJudged(t *testing.T) {
	f := fakeFor("::ffff:93.184.216.34", "93.184.216.34", "2606:4700::1111")
	_, err := f.policy(Policy{}).DialContext(t.Context(), "tcp", "customer.example:00443")
	require.ErrorIs(t, err, errFakeDial)
	require.Equal(t, []string{"customer.example"}, f.lookups)
	require.Equal(t, []string{"93.184.216.34:443", "[2606:4700::1111]:443"}, f.dials)
}

func TestDialContextRefusesMixedAnswers(t *testing.T) {
	f := fakeFor("93.184.216.34", "10.0.0.10")
	_, err := f.policy(Policy{}).DialContext(t.Context(), "tcp", "customer.example:443")
	var blocked *BlockedError
	require.ErrorAs(t, err, &blocked)
	require.Equal(t, &BlockedError{Host: "customer.example", Addr: netip.MustParseAddr("10.0.0.10"), Reason: privateReason}, blocked)
	require.Empty(t, f.dials)
}

func TestDialContextRefuses(t *testing.T) {
	for _, tc := range []struct{ network, addr string }{
		{"unix", "/run/docker.sock"},
		{"unix", "a:1"},
		{"udp", "example.com:443"},
		{"tcp", ""},
		{"tcp", "example.com"},
		{"tcp", "example.com:"},
		{"tcp", "example.com:0"},
		{"tcp", "example.com:65536"},
		{"tcp", "example.com:https"},
		{"tcp", "example.com:-1"},
		{"tcp", "example.com:+443"},
		{"tcp", ":443"},
		{"tcp", "[]:443"},
		{"tcp", "[fe80::1%lo]:443"},
		{"tcp", "2130706433:443"},
		{"tcp", "127.0.0.1:443"},
		{"tcp", "[::1]:443"},
		{"tcp", "example.com:22"},
	} {
		f := fakeFor("93.184.216.34")
		_, err := f.policy(Policy{}).DialContext(t.Context(), tc.network, tc.addr)
		require.ErrorIs(t, err, ErrBlocked, "%s %s", tc.network, tc.addr)
		require.Empty(t, f.dials)
	}
}

func TestDialContextResolverErrors(t *testing.T) {
	var dns *net.DNSError
	_, err := fakeFor().policy(Policy{}).DialContext(t.Context(), "tcp", "customer.example:443")
	require.ErrorAs(t, err, &dns)
	require.True(t, dns.IsNotFound)

	failing := &fakeNet{err: context.DeadlineExceeded}
	_, err = failing.policy(Policy{}).DialContext(t.Context(), "tcp", "customer.example:443")
	require.ErrorIs(t, err, context.DeadlineExceeded)
	require.NotErrorIs(t, err, ErrBlocked)
}

func TestOnly(t *testing.T) {
	p := Policy{Only: []string{"Staging.example.", "bücher.example", "10.0.0.1"}}
	for _, host := range []string{"staging.example", "STAGING.example.", "xn--bcher-kva.example"} {
		f := fakeFor("93.184.216.34")
		_, err := f.policy(p).DialContext(t.Context(), "tcp", net.JoinHostPort(host, "443"))
		require.ErrorIs(t, err, errFakeDial, host)
	}
	for _, host := range []string{"example", "x.staging.example", "93.184.216.34", "10.0.0.1"} {
		f := fakeFor("93.184.216.34")
		_, err := f.policy(p).DialContext(t.Context(), "tcp", net.JoinHostPort(host, "443"))
		require.ErrorIs(t, err, ErrBlocked, host)
		require.Empty(t, f.lookups, "a host outside Only is not even looked up")
	}
}

// localhost has an address in both families; allowing one of them is enough.
func TestLocalhostNeedsOneFamily(t *testing.T) {
	dev := Policy{Allow: prefixes("127.0.0.0/8")}
	f := fakeFor("::1", "127.0.0.1")
	_, err := f.policy(dev).DialContext(t.Context(), "tcp", "localhost:3000")
	require.ErrorIs(t, err, errFakeDial)
	require.Equal(t, []string{"127.0.0.1:3000"}, f.dials)

	for _, f := range []*fakeNet{fakeFor("::1"), fakeFor("127.0.0.1", "10.0.0.1")} {
		_, err = f.policy(dev).DialContext(t.Context(), "tcp", "localhost:3000")
		require.ErrorIs(t, err, ErrBlocked)
		require.Empty(t, f.dials)
	}

	// Only names of localhost get that leniency.
	f = fakeFor("::1", "127.0.0.1")
	_, err = f.policy(dev).DialContext(t.Context(), "tcp", "customer.example:3000")
	require.ErrorIs(t, err, ErrBlocked)
}

func TestLoopbackNamesTheTunnel(t *testing.T) {
	_, err := fakeFor("127.0.0.1").policy(Policy{}).DialContext(t.Context(), "tcp", "localhost:3000")
	require.ErrorContains(t, err, "localhost is this server; use a tunnel")
}

func TestDialsAreBounded(t *testing.T) {
	f := &fakeNet{}
	for i := range 200 {
		f.answers = append(f.answers, netip.AddrFrom4([4]byte{93, 184, 216, byte(i)}))
	}
	_, err := f.policy(Policy{}).DialContext(t.Context(), "tcp", "customer.example:443")
	require.ErrorIs(t, err, errFakeDial)
	require.Len(t, f.dials, maxDials)

	// The verdict still covers the answers that are not dialled.
	f.answers, f.dials = append(f.answers, netip.MustParseAddr("10.0.0.1")), nil
	_, err = f.policy(Policy{}).DialContext(t.Context(), "tcp", "customer.example:443")
	require.ErrorIs(t, err, ErrBlocked)
	require.Empty(t, f.dials)
}

func TestDialStopsWithContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	f := fakeFor("93.184.216.34")
	_, err := f.policy(Policy{}).DialContext(ctx, "tcp", "customer.example:443")
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, f.dials)
}

// Through real sockets: refused by default, reached when allowed, with every host
// spelling that leads to this machine.
func TestLoopbackServer(t *testing.T) {
	reached := 0
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached++ }))
	defer server.Close()
	port := strconv.Itoa(server.Listener.Addr().(*net.TCPAddr).Port)

	for _, host := range []string{"127.0.0.1", "①②⑦.⓪.⓪.①", "127。0。0。1", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "[::]", "0.0.0.0", "localhost", "customer.example"} {
		p := &Policy{Resolver: fakeFor("127.0.0.1")}
		require.ErrorIs(t, get(t, p, "http://"+host+":"+port), ErrBlocked, host)
	}
	require.Zero(t, reached)

	p := &Policy{Resolver: fakeFor("127.0.0.1"), Allow: prefixes("127.0.0.0/8")}
	for _, host := range []string{"127.0.0.1", "①②⑦.⓪.⓪.①", "localhost", "customer.example"} {
		require.NoError(t, get(t, p, "http://"+host+":"+port), host)
	}
	require.Equal(t, 4, reached)
}

func TestControlJudgesAgain(t *testing.T) {
	p := &Policy{}
	require.NoError(t, p.control(t.Context(), "tcp4", "93.184.216.34:443", nil))
	for _, tc := range [][2]string{
		{"tcp4", "127.0.0.1:443"},
		{"tcp6", "[::1]:443"},
		{"tcp6", "[fe80::1%lo]:443"},
		{"tcp4", "93.184.216.34:22"},
		{"udp4", "93.184.216.34:443"},
		{"unix", "/run/docker.sock"},
		{"tcp4", "nonsense"},
	} {
		require.ErrorIs(t, p.control(t.Context(), tc[0], tc[1], nil), ErrBlocked, tc)
	}
	dialer := &net.Dialer{ControlContext: p.control}
	_, err := dialer.DialContext(t.Context(), "tcp", "127.0.0.1:1")
	require.ErrorIs(t, err, ErrBlocked, "the error reaches the caller through net's own")
}

// FuzzDialContext: whatever is asked for and whatever the resolver answers,
// nothing forbidden is dialled and the host that is dialled is in one spelling.
func FuzzDialContext(f *testing.F) {
	for _, c := range loadCases(f) {
		f.Add(c.URL, []byte{10, 0, 0, 1}, false)
	}
	for _, addr := range []string{"[fe80::1%25lo]:1", "①②⑦.⓪.⓪.①:80", "customer.example:443", ":", "[", "ü\xff:443"} {
		f.Add(addr, []byte{93, 184, 216, 34, 127, 0, 0, 1}, true)
	}
	f.Fuzz(func(t *testing.T, addr string, answers []byte, nat64 bool) {
		fake := &fakeNet{}
		for len(answers) >= 4 {
			if a, ok := netip.AddrFromSlice(answers[:min(len(answers), 16)]); ok {
				fake.answers = append(fake.answers, a)
			}
			fake.answers = append(fake.answers, netip.AddrFrom4([4]byte(answers)))
			answers = answers[4:]
		}
		p := fake.policy(Policy{NAT64: nat64})
		_, err := p.DialContext(t.Context(), "tcp", addr)
		require.Error(t, err)
		var dns *net.DNSError
		if !errors.Is(err, errFakeDial) && !errors.As(err, &dns) {
			require.ErrorIs(t, err, ErrBlocked)
			require.Empty(t, fake.dials)
		}
		_ = get(t, p, addr)
		for _, d := range fake.dials {
			ap := netip.MustParseAddrPort(d)
			require.NoError(t, p.Check(ap.Addr()))
			require.NoError(t, p.CheckPort(ap.Addr(), ap.Port()))
		}
		for _, h := range fake.lookups {
			require.NoError(t, CheckHost(h))
		}
		_ = IsLoopbackHost(addr)
	})
}
