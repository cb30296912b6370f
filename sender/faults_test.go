package sender

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"runtime/metrics"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
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

// ok is the first line of a success.
const ok = "HTTP/1.1 200 OK\r\n"

// then reads the request, writes text and goes on with more.
func then(text string, more func(net.Conn)) func(net.Conn) {
	return func(c net.Conn) {
		readRequest(c)
		_, _ = io.WriteString(c, text)
		more(c)
	}
}

// drip writes text slowly, without end.
func drip(text string) func(net.Conn) {
	return func(c net.Conn) { forever(c, text, 20*time.Millisecond) }
}

// flood writes text as fast as it goes, without end.
func flood(text string) func(net.Conn) {
	return func(c net.Conn) { forever(c, text, 0) }
}

// answers returns an answer without a body.
func answers(statusLine string, header ...string) func(net.Conn) {
	return says("HTTP/1.1 " + statusLine + "\r\nContent-Length: 0\r\n" + strings.Join(header, "\r\n") + "\r\n\r\n")
}

// bomb is a body of 64 MiB once it is unpacked, with its Content-Length.
func bomb() string {
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	zeros := make([]byte, 1<<20)
	for range 64 {
		_, _ = z.Write(zeros)
	}
	z.Close()
	return fmt.Sprintf("Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", packed.Len(), packed.Bytes())
}

// fault is something that a receiver does, and what has to come of it.
type fault struct {
	name  string
	serve func(net.Conn)
	// secure makes it a receiver behind TLS that is known as valid.example.
	secure *tls.Config
	url    string // in place of the receiver's
	silent bool   // nobody accepts the connection

	class  string // of the failure; empty: delivered
	status int
	// What follows for the delivery and its endpoint.
	gone  bool          // the end of both
	hold  time.Duration // of the endpoint
	delay time.Duration // until the next attempt; default 5 min
}

// faults lists the ways of receivers to be broken or evil.
func faults(t *testing.T) (list []fault, trust *authority) {
	ca, stranger := newAuthority(t), newAuthority(t)
	valid := ca.config(t, "valid.example")
	expired := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{ca.certificate(t, time.Now().Add(-time.Hour), "valid.example")}}
	old := ca.config(t, "valid.example")
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	both, onlyH2 := valid.Clone(), valid.Clone()
	both.NextProtos, onlyH2.NextProtos = []string{"h2", "http/1.1"}, []string{"h2"}
	packed := bomb()
	const settings = "\x00\x00\x12\x04\x00\x00\x00\x00\x00"
	busy := func(retryAfter string) func(net.Conn) { return answers("503 Busy", "Retry-After: "+retryAfter) }
	return []fault{
		{name: "never accepts", silent: true, class: ClassTimeout},
		{name: "accepts and hangs", serve: hang, class: ClassTimeout},
		{name: "drips the status line", serve: then("", drip("H")), class: ClassTimeout},
		{name: "drips headers", serve: then(ok+"X: ", drip("y")), class: ClassTimeout},
		{name: "drips the body after 200", serve: then(ok+"\r\n", drip("z")), status: 200},
		{name: "drips the body after 500", serve: then("HTTP/1.1 500 No\r\n\r\n", drip("z")), class: ClassStatus, status: 500},
		{name: "infinite body after 200", serve: then(ok+"\r\n", flood(strings.Repeat("z", 4096))), status: 200},
		{name: "infinite body after 500", serve: then("HTTP/1.1 500 No\r\n\r\n", flood(strings.Repeat("z", 4096))), class: ClassStatus, status: 500},
		{name: "infinite headers", serve: then(ok, flood("X-Flood: "+strings.Repeat("y", 1000)+"\r\n")), class: ClassProtocol},
		{name: "one infinite header", serve: then(ok+"X: ", flood(strings.Repeat("y", 4096))), class: ClassProtocol},
		{name: "64 KiB of headers and a bit", serve: says(ok + strings.Repeat("X: "+strings.Repeat("y", 1019)+"\r\n", 65) + "\r\n"), class: ClassProtocol},
		{name: "flood of 103s", serve: then("", flood("HTTP/1.1 103 Early Hints\r\nLink: "+strings.Repeat("y", 500)+"\r\n\r\n")), class: ClassProtocol},
		{name: "flood of empty 100s", serve: then("", flood("HTTP/1.1 100 Continue\r\n\r\n")), class: ClassProtocol},
		{name: "slow 102s", serve: then("", drip("HTTP/1.1 102 Processing\r\n\r\n")), class: ClassTimeout},
		{name: "switches protocols", serve: then("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", hang), class: ClassProtocol, status: 101},
		{name: "resets before the status", serve: then("", reset), class: ClassClosed},
		{name: "closes before the status", serve: readRequest, class: ClassClosed},
		{name: "closes in the status line", serve: says("HTTP/1.1 20"), class: ClassProtocol},
		{name: "closes in the headers", serve: says(ok + "X: y\r\n"), class: ClassClosed},
		{name: "resets in the body", serve: then(ok+"Content-Length: 10\r\n\r\nabc", reset), status: 200},
		{name: "short body", serve: says(ok + "Content-Length: 10\r\n\r\nabc"), status: 200},
		{name: "more body than announced", serve: says(ok + "Content-Length: 2\r\n\r\nabc"), status: 200},
		{name: "two lengths", serve: says(ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), class: ClassProtocol},
		{name: "length and chunks", serve: says(ok + "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), status: 200},
		{name: "negative length", serve: says(ok + "Content-Length: -1\r\n\r\n"), class: ClassProtocol},
		{name: "bad chunk", serve: says(ok + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n"), status: 200},
		{name: "status 099", serve: answers("099 Odd"), class: ClassStatus, status: 99},
		{name: "status 999", serve: answers("999 Odd"), class: ClassStatus, status: 999},
		{name: "status 2000", serve: answers("2000 Odd"), class: ClassProtocol},
		{name: "banner of another protocol", serve: says("220 mail.example ESMTP\r\n"), class: ClassProtocol},
		{name: "banner before the request", serve: func(c net.Conn) { _, _ = io.WriteString(c, "220 mail.example ESMTP\r\n"); readRequest(c) }, class: ClassProtocol},
		{name: "frame of HTTP/2", serve: says(settings), class: ClassProtocol},
		{name: "NUL in a header", serve: says(ok + "X: a\x00b\r\n\r\n"), class: ClassProtocol},
		{name: "CR in a header's name", serve: says(ok + "X\rY: a\r\n\r\n"), class: ClassProtocol},

		{name: "valid certificate", secure: valid, serve: answers("200 OK"), status: 200},
		{name: "unknown authority", secure: stranger.config(t, "valid.example"), class: ClassTLS},
		{name: "expired certificate", secure: expired, class: ClassTLS},
		{name: "certificate of another host", secure: ca.config(t, "other.example"), class: ClassTLS},
		{name: "TLS 1.1", secure: old, class: ClassTLS},
		{name: "handshake hangs", url: "https://valid.example", serve: hang, class: ClassTimeout},
		{name: "closes in the handshake", url: "https://valid.example", serve: func(c net.Conn) { _, _ = c.Read(make([]byte, 10)) }, class: ClassTLS},
		{name: "HTTP instead of TLS", url: "https://valid.example", serve: answers("200 OK"), class: ClassTLS},
		{name: "HTTP to a TLS port", secure: valid, url: "http://valid.example", class: ClassClosed},

		{name: "unpacking bomb after 200", serve: says(ok + packed), status: 200},
		{name: "unpacking bomb after 500", serve: says("HTTP/1.1 500 No\r\n" + packed), class: ClassStatus, status: 500},
		{name: "301", serve: answers("301 There", "Location: http://169.254.169.254/"), class: ClassStatus, status: 301},
		{name: "302", serve: answers("302 There", "Location: http://169.254.169.254/"), class: ClassStatus, status: 302},
		{name: "303", serve: answers("303 There", "Location: /"), class: ClassStatus, status: 303},
		{name: "307", serve: answers("307 There", "Location: /"), class: ClassStatus, status: 307},
		{name: "308 to itself", serve: answers("308 There", "Location: /?token=s3cret"), class: ClassStatus, status: 308},
		{name: "304", serve: answers("304 Not Modified"), class: ClassStatus, status: 304},
		{name: "410", serve: answers("410 Gone"), class: ClassStatus, status: 410, gone: true},
		{name: "429, come back in 20 minutes", serve: answers("429 Slow", "Retry-After: 1200"), class: ClassStatus, status: 429, hold: 20 * time.Minute, delay: 20 * time.Minute},
		{name: "503, come back on a date", serve: busy(testNow.Add(30 * time.Minute).Format(http.TimeFormat)), class: ClassStatus, status: 503, hold: 30 * time.Minute, delay: 30 * time.Minute},
		{name: "503, a date long past", serve: busy("Sat, 01 Jan 2000 00:00:00 GMT"), class: ClassStatus, status: 503},
		{name: "503, in ten thousand years", serve: busy("315360000000"), class: ClassStatus, status: 503, hold: maxHold, delay: defaultGiveUpAfter},
		{name: "503, more digits than a number has", serve: busy(strings.Repeat("9", 1000)), class: ClassStatus, status: 503, hold: maxHold, delay: defaultGiveUpAfter},
		{name: "503, NaN", serve: busy("NaN"), class: ClassStatus, status: 503},
		{name: "503, negative", serve: busy("-1"), class: ClassStatus, status: 503},
		{name: "200 too late", serve: func(c net.Conn) {
			readRequest(c)
			time.Sleep(shortTimeout + shortTimeout/5)
			_, _ = io.WriteString(c, ok+"Content-Length: 0\r\n\r\n")
		}, class: ClassTimeout},
		{name: "204 with a body", serve: says("HTTP/1.1 204 No Content\r\n\r\nabc"), status: 204},
		// An answer to nothing would be luck: Go may see it before it has sent a byte.
		{name: "200 after the first byte", serve: func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1))
			_, _ = io.WriteString(c, ok+"Content-Length: 0\r\n\r\n")
			hang(c)
		}, status: 200},
		{name: "offers HTTP/2 and 1.1", secure: both, serve: answers("200 OK"), status: 200},
		{name: "speaks HTTP/2 only", secure: onlyH2, serve: says(settings), class: ClassProtocol},
		{name: "GOAWAY", serve: says("\x00\x00\x08\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02"), class: ClassProtocol},
		{name: "RST_STREAM", serve: says("\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08"), class: ClassProtocol},
		{name: "script everywhere", serve: says("HTTP/1.1 500 <script>\r\nX-A: <script>\r\n X-B: c\r\nContent-Length: 9\r\n\r\n<script>\x00"), class: ClassStatus, status: 500},
		{name: "its name server hangs", url: "http://hang.example", class: ClassTimeout},
	}, ca
}

const (
	// shortTimeout is that of attempts that are to time out; all others have a
	// minute, so that no verdict depends on how fast the machine is.
	shortTimeout = 500 * time.Millisecond
	// slack is what a busy machine may take beyond a deadline.
	slack = 30 * time.Second
	// atOnce is how many attempts meet each fault together.
	atOnce = 4
)

// Whatever a receiver does, an attempt has one outcome, within its deadline and
// little memory, and is one request.
func TestFaults(t *testing.T) {
	log.SetOutput(io.Discard) // where net/http says that an answer was longer than announced
	t.Cleanup(func() { log.SetOutput(os.Stderr) })
	list, ca := faults(t)
	peak := watchHeap(t)
	t.Run("all", func(t *testing.T) {
		for _, f := range list {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				f.test(t, ca)
			})
		}
	})
	grown := peak()
	t.Logf("%d faults, %d at once: the heap grew by %.1f MiB", len(list), atOnce, float64(grown)/(1<<20))
	require.Less(t, grown, int64(64<<20))
}

func (f *fault) test(t *testing.T, ca *authority) {
	addr, conns := f.start(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	target := "http://" + addr
	switch {
	case f.url != "":
		target = f.url + ":" + port
	case f.secure != nil:
		target = "https://valid.example:" + port
	}
	timeout := time.Minute
	if f.class == ClassTimeout {
		timeout = shortTimeout
	}
	o := HTTPOptions{
		Timeout: timeout, TLS: ca.trusting(),
		Egress: Egress{Allow: sendertest.Loopback(), Resolver: fakeResolver{"valid.example": {netip.MustParseAddr("127.0.0.1")}}},
	}
	d, err := newDestination(target+"/?token=s3cret", testKeys(t))
	require.NoError(t, err)

	results := make([]result, atOnce)
	start := time.Now()
	var wg sync.WaitGroup
	for i := range results {
		p := testPoster(t, o) // its own, and so is the connection
		wg.Go(func() { results[i] = p.post(t.Context(), d, jsonType, testMessage()) })
	}
	wg.Wait()
	require.Less(t, time.Since(start), timeout+bodyTime+slack)
	for i := range results {
		f.check(t, &results[i])
	}
	switch {
	case f.serve == nil && f.secure == nil:
	case f.class == ClassTimeout: // which may come before the receiver, on a busy machine
		require.LessOrEqual(t, conns.Load(), int32(atOnce), "one request each")
	default:
		require.EqualValues(t, atOnce, conns.Load(), "one request each")
	}
}

// start starts the receiver.
func (f *fault) start(t *testing.T) (addr string, conns *atomic.Int32) {
	switch {
	case f.silent:
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		t.Cleanup(func() { l.Close() })
		return l.Addr().String(), nil
	case f.secure == nil:
		serve := f.serve
		if serve == nil {
			serve = hang
		}
		return rawReceiver(t, serve)
	}
	return rawReceiver(t, func(c net.Conn) {
		conn := tls.Server(c, f.secure)
		if conn.HandshakeContext(t.Context()) == nil && f.serve != nil {
			f.serve(conn)
		}
		conn.Close()
	})
}

func (f *fault) check(t *testing.T, r *result) {
	require.Equal(t, f.class, r.Class, r.Error)
	require.Equal(t, f.status, r.Status)
	require.Equal(t, f.class == "", r.Outcome == store.AttemptDelivered)
	require.Equal(t, f.class == "", r.Error == "")
	require.LessOrEqual(t, len(r.Error), maxErrorText+3)
	require.LessOrEqual(t, len(r.ResponseBody), maxResponseBody)
	require.LessOrEqual(t, len(r.ResponseHeader), maxResponseHeader)
	for _, secret := range []string{"s3cret", "127.0.0.1", "<"} {
		require.NotContains(t, r.Error, secret)
	}

	j := &job{endpoint: &liveEndpoint{Endpoint: store.Endpoint{Version: 7}}}
	s := judge(j, retry.Default, defaultGiveUpAfter, r)
	switch {
	case f.class == "":
		require.Equal(t, store.Deliver, s.Verdict)
	case f.gone:
		require.Equal(t, store.Exhaust, s.Verdict)
		require.EqualValues(t, 7, s.DisableVersion)
		require.NotEmpty(t, s.DisableReason)
	default:
		require.Equal(t, store.Retry, s.Verdict)
		require.InDelta(t, cmp.Or(f.delay, 5*time.Minute), s.Delay, float64(slack))
		require.InDelta(t, f.hold, s.Hold, float64(slack))
		require.Equal(t, f.hold > 0, s.Hold > 0)
	}
}

// watchHeap looks at the heap until the function that it returns is called, which
// says how much it has grown at most.
func watchHeap(t *testing.T) (peak func() int64) {
	t.Helper()
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	read := func() int64 {
		metrics.Read(sample)
		return int64(sample[0].Value.Uint64())
	}
	runtime.GC()
	base := read()
	most := base
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		tick := time.NewTicker(2 * time.Millisecond)
		defer tick.Stop()
		for {
			most = max(most, read())
			select {
			case <-tick.C:
			case <-stop:
				return
			}
		}
	}()
	return func() int64 {
		close(stop)
		<-stopped
		return most - base
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
	require.Nil(t, p.transport.pick().Proxy) // net/http's function reads the environment but once
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
