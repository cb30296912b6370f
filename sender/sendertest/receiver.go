package sendertest

import (
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// waitLimit ends a Wait that would never end.
const waitLimit = 30 * time.Second

// Loopback returns the prefixes of this machine, for sender.Egress.Allow.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}

// Receiver is a server on loopback. It is safe for concurrent use and closes
// with the test.
type Receiver struct {
	*script
	tb     testing.TB
	server *httptest.Server
	closed chan struct{}
}

// NewReceiver starts a receiver that gives these answers, and then the last one
// again and again; without any, an empty 200.
func NewReceiver(tb testing.TB, answers ...Answer) *Receiver {
	tb.Helper()
	r := newReceiver(tb, answers)
	r.server.Start()
	return r
}

// NewTLSReceiver is like [NewReceiver] with https and a certificate that only
// [Receiver.RootCAs] makes valid.
func NewTLSReceiver(tb testing.TB, answers ...Answer) *Receiver {
	tb.Helper()
	r := newReceiver(tb, answers)
	r.server.StartTLS()
	return r
}

func newReceiver(tb testing.TB, answers []Answer) *Receiver {
	r := &Receiver{script: newScript(answers), tb: tb, closed: make(chan struct{})}
	r.server = httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0) // failed handshakes are part of tests
	tb.Cleanup(r.close)
	return r
}

func (r *Receiver) close() {
	close(r.closed)
	r.server.CloseClientConnections()
	r.server.Close()
}

// URL returns the address of the receiver, such as "http://127.0.0.1:41234".
func (r *Receiver) URL() string { return r.server.URL }

// RootCAs returns the pool that makes the certificate of a TLS receiver valid.
func (r *Receiver) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	if cert := r.server.Certificate(); cert != nil {
		pool.AddCert(cert)
	}
	return pool
}

// Wait returns the requests once there are n of them. If that takes more than 30
// seconds, the test fails. Call it from the test's goroutine.
func (r *Receiver) Wait(n int) []Request {
	r.tb.Helper()
	requests := r.wait(n, waitLimit)
	if len(requests) < n {
		r.tb.Fatalf("sendertest: %d requests have arrived after %s, want %d", len(requests), waitLimit, n)
	}
	return requests
}

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // not a whole request
	}
	a := r.take(Request{
		Method: req.Method,
		URL:    req.URL.RequestURI(),
		Host:   req.Host,
		Header: req.Header.Clone(),
		Body:   body,
		At:     time.Now(),
	})
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-req.Context().Done():
			return
		case <-r.closed:
			panic(http.ErrAbortHandler) // a return would answer 200
		}
	}
	switch a.Fault {
	case Close, Reset:
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		if tcp, ok := conn.(*net.TCPConn); ok && a.Fault == Reset {
			_ = tcp.SetLinger(0) // makes Close send a reset
		}
		conn.Close()
		return
	case Hang:
		select {
		case <-req.Context().Done():
			return
		case <-r.closed:
			panic(http.ErrAbortHandler)
		}
	}
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(a.status())
	_, _ = io.WriteString(w, a.Body) // the sender may be gone
}
