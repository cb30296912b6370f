package sender

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/netguard"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// forwardProxy is an HTTP proxy that leads every host to one receiver.
type forwardProxy struct {
	*httptest.Server
	to     string // host:port of the receiver
	status int    // if not 0, it answers that and passes nothing on

	mu  sync.Mutex
	got []string // method, target and Proxy-Authorization of each request
}

func newForwardProxy(t *testing.T, receiver *sendertest.Receiver) *forwardProxy {
	t.Helper()
	u, err := url.Parse(receiver.URL())
	require.NoError(t, err)
	p := &forwardProxy{to: u.Host}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

func (p *forwardProxy) url(t *testing.T, userinfo string) *url.URL {
	t.Helper()
	u, err := url.Parse(strings.Replace(p.URL, "http://", "http://"+userinfo, 1))
	require.NoError(t, err)
	return u
}

func (p *forwardProxy) requests() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.got
}

func (p *forwardProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	p.got = append(p.got, fmt.Sprint(r.Method, " ", r.RequestURI, " ", r.Header.Get("Proxy-Authorization")))
	p.mu.Unlock()
	if p.status != 0 {
		w.WriteHeader(p.status)
		return
	}
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer up.Close()
	if r.Method != http.MethodConnect {
		r.Header.Del("Proxy-Authorization")
		r.Close = true
		if r.Write(up) != nil {
			return
		}
		resp, err := http.ReadResponse(bufio.NewReader(up), r)
		if err != nil {
			return
		}
		defer resp.Body.Close()
		w.WriteHeader(resp.StatusCode)
		_, _ = io.Copy(w, resp.Body)
		return
	}
	// Answered after the hijacking: the server would read ahead of it.
	down, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	_, _ = io.WriteString(down, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(up, down); up.Close() }()
	_, _ = io.Copy(down, up)
}

func TestEgressProxy(t *testing.T) {
	plain := sendertest.NewReceiver(t)
	proxy := newForwardProxy(t, plain)
	p := testPoster(t, HTTPOptions{Egress: Egress{Proxy: proxy.url(t, "user:s3cret@")}})
	d, err := newDestination("http://customer.example/hook?a=1", testKeys(t))
	require.NoError(t, err)
	r := p.post(t.Context(), d, jsonType, testMessage())
	require.Equal(t, store.AttemptDelivered, r.Outcome, r.Error)
	got := plain.Wait(1)[0]
	require.Equal(t, "customer.example", got.Host)
	require.NotContains(t, fmt.Sprint(got.Header), "Proxy")
	require.Equal(t, []string{"POST http://customer.example/hook?a=1 Basic dXNlcjpzM2NyZXQ="}, proxy.requests())
}

func TestEgressProxyWithTLS(t *testing.T) {
	secure := sendertest.NewTLSReceiver(t) // as example.com
	proxy := newForwardProxy(t, secure)
	p := testPoster(t, HTTPOptions{Egress: Egress{Proxy: proxy.url(t, "user:s3cret@")}, TLS: &tls.Config{RootCAs: secure.RootCAs(), MinVersion: tls.VersionTLS12}})
	for url, class := range map[string]string{
		"https://example.com/hook":   "",
		"https://other.example/hook": ClassTLS, // the certificate is checked behind the proxy, too
	} {
		d, err := newDestination(url, testKeys(t))
		require.NoError(t, err)
		r := p.post(t.Context(), d, jsonType, testMessage())
		require.Equal(t, class, r.Class, r.Error)
	}
	require.Equal(t, "/hook", secure.Wait(1)[0].URL)
	require.ElementsMatch(t, []string{
		"CONNECT example.com:443 Basic dXNlcjpzM2NyZXQ=", "CONNECT other.example:443 Basic dXNlcjpzM2NyZXQ=",
	}, proxy.requests())
}

// What can be judged without a lookup is judged before the proxy hears of it.
func TestEgressProxyIsAskedForNothingForbidden(t *testing.T) {
	proxy := newForwardProxy(t, sendertest.NewReceiver(t))
	p := testPoster(t, HTTPOptions{Egress: Egress{Proxy: proxy.url(t, ""), Resolver: fakeResolver{}}})
	n := 0
	for _, c := range loadSSRFCases(t) {
		u, err := url.Parse(c.URL)
		if err != nil || c.Expect == "allow" || c.Stage == "redirect" || u.Host == "" || u.User != nil {
			continue
		}
		if _, err := netip.ParseAddr(u.Hostname()); err != nil && netguard.CheckHost(u.Hostname()) == nil &&
			!netguard.IsLoopbackHost(u.Hostname()) && u.Port() == "" {
			continue // a name that only a lookup gives away
		}
		n++
		d, err := newDestination(c.URL, testKeys(t))
		require.NoError(t, err)
		r := p.post(t.Context(), d, jsonType, testMessage())
		require.NotEqual(t, store.AttemptDelivered, r.Outcome, c.URL)
		require.Empty(t, proxy.requests(), c.URL)
	}
	require.Greater(t, n, 80)

	p = testPoster(t, HTTPOptions{Egress: Egress{Proxy: proxy.url(t, ""), Only: []string{"staging.example"}}})
	for host, class := range map[string]string{"staging.example": "", "customer.example": ClassBlocked} {
		d, err := newDestination("http://"+host, testKeys(t))
		require.NoError(t, err)
		require.Equal(t, class, p.post(t.Context(), d, jsonType, testMessage()).Class)
	}
	require.Len(t, proxy.requests(), 1)
}

func TestEgressProxyFailures(t *testing.T) {
	receiver := sendertest.NewReceiver(t)
	refusing := newForwardProxy(t, receiver)
	refusing.status = http.StatusProxyAuthRequired
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	gone := &url.URL{Scheme: "http", Host: l.Addr().String(), User: url.UserPassword("user", "s3cret")}
	l.Close()
	hanging, _ := rawReceiver(t, hang)
	notTLS := *refusing.url(t, "user:s3cret@")
	notTLS.Scheme = "https"
	long := strings.Repeat("x", 64) // than a name can be: no name server is asked
	unknown := &url.URL{Scheme: "http", Host: long + ".example:3128", User: url.UserPassword("user", "s3cret")}
	for name, tc := range map[string]struct {
		proxy       *url.URL
		target      string
		class, text string
	}{
		"refuses":      {refusing.url(t, "user:s3cret@"), "https://customer.example", ClassProxy, "the sender's egress proxy answered 407 Proxy Authentication Required"},
		"gone":         {gone, "http://customer.example", ClassProxy, "the sender's egress proxy could not be reached"},
		"unknown name": {unknown, "https://customer.example", ClassProxy, "the sender's egress proxy could not be reached"},
		"not TLS":      {&notTLS, "http://customer.example", ClassProxy, "the sender's egress proxy could not be reached"},
		"hangs":        {&url.URL{Scheme: "http", Host: hanging}, "https://customer.example", ClassTimeout, "no answer within 1s"},
	} {
		t.Run(name, func(t *testing.T) {
			timeout := time.Minute
			if tc.class == ClassTimeout {
				timeout = time.Second
			}
			p := testPoster(t, HTTPOptions{Timeout: timeout, Egress: Egress{Proxy: tc.proxy}})
			d, err := newDestination(tc.target, testKeys(t))
			require.NoError(t, err)
			r := p.post(t.Context(), d, jsonType, testMessage())
			require.Equal(t, tc.class, r.Class, r.Error)
			require.Equal(t, tc.text, r.Error)
		})
	}
	require.Zero(t, receiver.Count())
}

func TestEgressProxyRefusedAsOption(t *testing.T) {
	for _, text := range []string{
		"socks5://user:s3cret@proxy.internal:1080", "//user:s3cret@proxy.internal", "http:opaque-s3cret", "http://user:s3cret@:3128",
		"http://user:s3cret@proxy.internal:0", "http://proxy.internal/s3cret", "http://proxy.internal?s3cret", "http://proxy.internal#s3cret",
	} {
		u, err := url.Parse(text)
		require.NoError(t, err)
		_, err = newPoster(HTTPOptions{Egress: Egress{Proxy: u}}, 1)
		require.ErrorIs(t, err, ErrInvalidOptions, text)
		require.NotContains(t, err.Error(), "s3cret")
	}
}
