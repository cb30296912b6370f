package sender

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// rawReceiver runs serve on every connection to a socket of its own and returns
// the address and a count of the connections.
func rawReceiver(t *testing.T, serve func(c net.Conn)) (string, *atomic.Int32) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		conns []net.Conn
		count atomic.Int32
	)
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			count.Add(1)
			mu.Lock()
			conns = append(conns, c)
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				serve(c)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return l.Addr().String(), &count
}

// readRequest reads one request to its end.
func readRequest(c net.Conn) {
	if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
		_, _ = io.Copy(io.Discard, req.Body)
	}
}

// says answers every request with text and then closes the connection.
func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
	}
}

// forever writes text again and again until the connection ends.
func forever(c net.Conn, text string, pause time.Duration) {
	for {
		if _, err := io.WriteString(c, text); err != nil {
			return
		}
		time.Sleep(pause)
	}
}

// hang waits for the other side to go.
func hang(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

func reset(c net.Conn) {
	_ = c.(*net.TCPConn).SetLinger(0)
	c.Close()
}

func TestHostileReceivers(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\n"
	const delivered = "" // the class of a success
	for name, tc := range map[string]struct {
		serve  func(net.Conn)
		class  string
		status int
	}{
		"accepts and hangs":     {hang, ClassTimeout, 0},
		"drips the status line": {func(c net.Conn) { readRequest(c); forever(c, "H", 20*time.Millisecond) }, ClassTimeout, 0},
		"drips headers slowly": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, ok+"X: ")
			forever(c, "y", 20*time.Millisecond)
		}, ClassTimeout, 0},
		"drips the body after 200": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, ok+"\r\n")
			forever(c, "z", 20*time.Millisecond)
		}, delivered, 200},
		"drips the body after 500": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 500 No\r\n\r\n")
			forever(c, "z", 20*time.Millisecond)
		}, ClassStatus, 500},
		"infinite body": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, ok+"\r\n")
			forever(c, strings.Repeat("z", 4096), 0)
		}, delivered, 200},
		"infinite body after 500": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 500 No\r\n\r\n")
			forever(c, strings.Repeat("z", 4096), 0)
		}, ClassStatus, 500},
		"header flood": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, ok)
			forever(c, "X-Flood: "+strings.Repeat("y", 1000)+"\r\n", 0)
		}, ClassProtocol, 0},
		"flood of 1xx": {func(c net.Conn) {
			readRequest(c)
			forever(c, "HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("y", 500)+"\r\n\r\n", 0)
		}, ClassProtocol, 0},
		"slow 102s": {func(c net.Conn) {
			readRequest(c)
			forever(c, "HTTP/1.1 102 Processing\r\n\r\n", 50*time.Millisecond)
		}, ClassTimeout, 0},
		"switches protocols": {func(c net.Conn) {
			readRequest(c)
			_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
			hang(c)
		}, ClassProtocol, 101},
		"resets before the status":   {func(c net.Conn) { readRequest(c); reset(c) }, ClassClosed, 0},
		"closes before the status":   {readRequest, ClassClosed, 0},
		"closes in the status line":  {says("HTTP/1.1 20"), ClassProtocol, 0},
		"closes in the headers":      {says(ok + "X: y\r\n"), ClassClosed, 0},
		"resets in the body":         {func(c net.Conn) { says(ok + "Content-Length: 10\r\n\r\nabc")(c); reset(c) }, delivered, 200},
		"short body":                 {says(ok + "Content-Length: 10\r\n\r\nabc"), delivered, 200},
		"two lengths":                {says(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), ClassProtocol, 0},
		"length and chunks":          {says(ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), delivered, 200},
		"negative length":            {says(ok + "Content-Length: -1\r\n\r\n"), ClassProtocol, 0},
		"bad chunk":                  {says(ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), delivered, 200},
		"status 099":                 {says("HTTP/1.1 099 Odd\r\n\r\n"), ClassStatus, 99},
		"status 999":                 {says("HTTP/1.1 999 Odd\r\n\r\n"), ClassStatus, 999},
		"status 2000":                {says("HTTP/1.1 2000 Odd\r\n\r\n"), ClassProtocol, 0},
		"banner of another protocol": {says("220 mail.example ESMTP\r\n"), ClassProtocol, 0},
		"frame of HTTP/2":            {says("\x00\x00\x12\x04\x00\x00\x00\x00\x00"), ClassProtocol, 0},
		"NUL in a header":            {says(ok + "X: a\x00b\r\n\r\n"), ClassProtocol, 0},
		"unpacking bomb":             {says(ok + "Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"), delivered, 200},
		"204 with a body":            {says("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\nabc"), delivered, 204},
		// An answer to nothing would be luck: Go may see it before it has sent a byte.
		"200 after the first byte": {func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			_, _ = io.WriteString(c, ok+"Content-Length: 0\r\n\r\n")
			hang(c)
		}, delivered, 200},
		"redirect":           {says("HTTP/1.1 307 There\r\nLocation: http://169.254.169.254/\r\nContent-Length: 0\r\n\r\n"), ClassStatus, 307},
		"script in the body": {says("HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n<script>\x00"), ClassStatus, 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			addr, conns := rawReceiver(t, tc.serve)
			timeout := 500 * time.Millisecond
			if tc.class != ClassTimeout {
				timeout = time.Minute // no verdict depends on the machine's speed
			}
			p := testPoster(t, HTTPOptions{Timeout: timeout, Egress: Egress{Allow: sendertest.Loopback()}})
			d, err := newDestination("http://"+addr+"/?token=s3cret", testKeys(t))
			require.NoError(t, err)
			r := p.post(t.Context(), d, jsonType, testMessage())
			require.Equal(t, tc.class, r.Class, r.Error)
			require.Equal(t, tc.status, r.Status)
			require.Equal(t, tc.class == delivered, r.Outcome == store.AttemptDelivered)
			require.Equal(t, tc.class == delivered, r.Error == "")
			require.LessOrEqual(t, len(r.ResponseBody), 16<<10)
			require.LessOrEqual(t, len(r.Error), maxErrorText+3)
			require.NotContains(t, r.Error, "s3cret")
			require.NotContains(t, r.Error, "127.0.0.1")
			require.EqualValues(t, 1, conns.Load(), "one request")
		})
	}
}

func TestConnectFailures(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	free := l.Addr().String()
	l.Close()
	plain := sendertest.NewReceiver(t)
	secure := sendertest.NewTLSReceiver(t)
	silent, _ := rawReceiver(t, hang)
	other := strings.Replace(secure.URL(), "127.0.0.1", "localhost", 1)
	resolver := fakeResolver{
		"localhost":     {netip.MustParseAddr("127.0.0.1")},
		"mixed.example": {netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("127.0.0.1")},
		"inner.example": {netip.MustParseAddr("10.1.2.3")},
	}
	for name, tc := range map[string]struct {
		url    string
		class  string
		text   string
		closed bool // Egress allows nothing
	}{
		"refused":              {"http://" + free, ClassConnect, "could not connect: connection refused", false},
		"unknown authority":    {secure.URL(), ClassTLS, "the TLS handshake failed: x509: certificate signed by unknown authority", false},
		"wrong name":           {other, ClassTLS, "the TLS handshake failed: the certificate is for another host", false},
		"http on an TLS port":  {strings.Replace(secure.URL(), "https", "http", 1), ClassStatus, "the receiver answered 400 Bad Request", false},
		"https on a http port": {strings.Replace(plain.URL(), "http", "https", 1), ClassTLS, "the TLS handshake failed: tls: first record does not look like a TLS handshake", false},
		"handshake hangs":      {"https://" + silent, ClassTimeout, "no answer within 1s", false},
		"unknown host":         {"http://nowhere.example", ClassDNS, `the host "nowhere.example" does not exist`, false},
		"broken name server":   {"http://servfail.example", ClassDNS, `the addresses of the host "servfail.example" could not be looked up`, false},
		"name server hangs":    {"http://hang.example", ClassTimeout, "no answer within 1s", false},
		"loopback":             {plain.URL(), ClassBlocked, "requests to this URL are not allowed: localhost is this server; use a tunnel", true},
		"private name":         {"http://inner.example", ClassBlocked, "requests to this URL are not allowed: a private network", true},
		"mixed answers":        {"http://mixed.example", ClassBlocked, "requests to this URL are not allowed: localhost is this server; use a tunnel", true},
		"metadata":             {"http://169.254.169.254/latest", ClassBlocked, "requests to this URL are not allowed: a cloud metadata service, which is never allowed", false},
		"service port":         {"http://1.1.1.1:25/", ClassBlocked, "requests to this URL are not allowed: port 25 is not allowed; use 80, 443, 8080, 8443 or one above 1023", false},
	} {
		t.Run(name, func(t *testing.T) {
			o := HTTPOptions{Timeout: time.Second, Egress: Egress{Resolver: resolver}}
			if !tc.closed {
				o.Egress.Allow = sendertest.Loopback()
			}
			if tc.class != ClassTimeout {
				o.Timeout = time.Minute
			}
			if name == "wrong name" {
				o.TLS = &tls.Config{RootCAs: secure.RootCAs(), MinVersion: tls.VersionTLS12}
			}
			p := testPoster(t, o)
			d, err := newDestination(tc.url+"?token=s3cret", testKeys(t))
			require.NoError(t, err)
			r := p.post(t.Context(), d, jsonType, testMessage())
			require.Equal(t, tc.class, r.Class, r.Error)
			require.Equal(t, tc.text, r.Error)
		})
	}
	require.Zero(t, plain.Count()+secure.Count())
}

// fakeResolver knows some hosts.
type fakeResolver map[string][]netip.Addr

func (f fakeResolver) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	switch host {
	case "servfail.example":
		return nil, &net.DNSError{Err: "server misbehaving", Name: host, Server: "10.0.0.53:53", IsTemporary: true}
	case "hang.example":
		<-ctx.Done()
		return nil, &net.DNSError{Err: ctx.Err().Error(), Name: host, IsTimeout: true}
	}
	if addrs, found := f[host]; found {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func TestTLSDelivers(t *testing.T) {
	receiver := sendertest.NewTLSReceiver(t)
	p := testPoster(t, HTTPOptions{
		Egress: Egress{Allow: sendertest.Loopback()},
		TLS:    &tls.Config{RootCAs: receiver.RootCAs(), MinVersion: tls.VersionTLS12},
	})
	d, err := newDestination(receiver.URL(), testKeys(t))
	require.NoError(t, err)
	for range 3 {
		r := p.post(t.Context(), d, jsonType, testMessage())
		require.Equal(t, store.AttemptDelivered, r.Outcome, r.Error)
	}
}

func TestProxyOfTheEnvironmentIsIgnored(t *testing.T) {
	proxy := sendertest.NewReceiver(t)
	t.Setenv("HTTP_PROXY", proxy.URL())
	t.Setenv("http_proxy", proxy.URL())
	p := testPoster(t, HTTPOptions{Egress: Egress{Allow: sendertest.Loopback()}})
	require.Nil(t, p.transport.Proxy) // net/http's function reads the environment but once
	d, err := newDestination("http://169.254.169.254/", testKeys(t))
	require.NoError(t, err)
	require.Equal(t, ClassBlocked, p.post(t.Context(), d, jsonType, testMessage()).Class)
	require.Zero(t, proxy.Count())
}

// TestConnectionsAreReused shows that a success with a body and a failure with a
// small one give their connection back.
func TestConnectionsAreReused(t *testing.T) {
	var answers []string
	for _, a := range []string{"200 OK|ok", "500 No|sorry", "204 No Content|", "200 OK|" + strings.Repeat("x", 2000)} {
		status, body, _ := strings.Cut(a, "|")
		text := "HTTP/1.1 " + status + "\r\n"
		if body != "" {
			text += fmt.Sprintf("Content-Length: %d\r\n", len(body))
		}
		answers = append(answers, text+"\r\n"+body)
	}
	answers = append(answers, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")
	addr, conns := rawReceiver(t, func(c net.Conn) {
		br := bufio.NewReader(c)
		for i := 0; ; i++ {
			req, err := http.ReadRequest(br)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = io.WriteString(c, answers[i%len(answers)])
		}
	})
	p := testPoster(t, HTTPOptions{Egress: Egress{Allow: sendertest.Loopback()}})
	d, err := newDestination("http://"+addr, testKeys(t))
	require.NoError(t, err)
	for range 4 * len(answers) {
		require.Contains(t, []int{200, 204, 500}, p.post(t.Context(), d, jsonType, testMessage()).Status)
	}
	require.EqualValues(t, 1, conns.Load())
}

// TestDeadConnection closes every connection after its first answer: the next
// request must neither fail on it nor be written twice.
func TestDeadConnection(t *testing.T) {
	var requests atomic.Int32
	closed := make(chan struct{}, 1)
	addr, conns := rawReceiver(t, func(c net.Conn) {
		readRequest(c)
		requests.Add(1)
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		c.Close()
		closed <- struct{}{}
	})
	p := testPoster(t, HTTPOptions{Egress: Egress{Allow: sendertest.Loopback()}})
	d, err := newDestination("http://"+addr, testKeys(t))
	require.NoError(t, err)
	delivered := int32(0)
	for range 20 {
		r := p.post(t.Context(), d, jsonType, testMessage())
		if r.Outcome == store.AttemptDelivered {
			delivered++
			<-closed
		} else {
			// Written in the very moment of closing: logged as what it was.
			require.Equal(t, ClassClosed, r.Class, r.Error)
		}
	}
	require.Equal(t, delivered, requests.Load(), "nothing arrives twice")
	require.GreaterOrEqual(t, conns.Load(), delivered)
}
