package sender

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/hookpost/hookpost/internal/netguard"
)

const (
	defaultIdleTimeout = 4 * time.Second
	defaultMaxConnAge  = time.Minute
	minMaxConnAge      = time.Second
	maxHeaderBytes     = 64 << 10
	// writeBuffer lets most requests go out in one system call: half of real payloads are
	// larger than the 4 KiB of net/http.
	writeBuffer = 16 << 10
	minSessions = 64
)

// newTransport returns the transport of a poster. There is nothing that makes it
// dial past the policy.
func newTransport(policy *netguard.Policy, o *HTTPOptions, concurrency int) (*rotation, error) {
	concurrency = max(concurrency, 1)
	config, err := clientTLS(o.TLS, concurrency)
	if err != nil {
		return nil, err
	}
	var http1 http.Protocols
	http1.SetHTTP1(true)
	maxAge, idle := max(o.MaxConnAge, 0), max(o.IdleTimeout, 0)
	if maxAge > 0 {
		idle = min(idle, maxAge) // an older one would not be used again
	}
	d := &dialer{policy: policy, tls: config, timeout: o.Timeout}
	t := &http.Transport{
		DialContext:    d.dial,
		DialTLSContext: d.dialTLS,
		Protocols:      &http1,
		// Go's default of two idle connections per host makes most requests of a
		// busy endpoint open a new one.
		MaxIdleConnsPerHost:    concurrency,
		MaxIdleConns:           concurrency,
		IdleConnTimeout:        idle,
		DisableKeepAlives:      o.IdleTimeout < 0,
		DisableCompression:     true, // a small answer could unpack to a large one
		MaxResponseHeaderBytes: maxHeaderBytes,
		WriteBufferSize:        writeBuffer,
	}
	if o.Egress.Proxy != nil {
		proxy, err := checkProxy(o.Egress.Proxy)
		if err != nil {
			return nil, err
		}
		sendThrough(t, proxy, policy, d)
	}
	return newRotation(t, maxAge), nil
}

// clientTLS completes what the user gave.
func clientTLS(given *tls.Config, concurrency int) (*tls.Config, error) {
	config := &tls.Config{}
	if given != nil {
		if given.InsecureSkipVerify {
			return nil, fmt.Errorf("%w: HTTP.TLS.InsecureSkipVerify lets anybody on the way read the events; add the receiver's issuer to RootCAs", ErrInvalidOptions)
		}
		config = given.Clone()
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.NextProtos = []string{"http/1.1"}
	config.ServerName = ""
	if config.ClientSessionCache == nil {
		config.ClientSessionCache = tls.NewLRUClientSessionCache(max(concurrency, minSessions))
	}
	return config, nil
}

// dialer opens the connections that the policy permits. net/http hands it a
// context without the request's deadline, since another request may get the
// connection; so each step ends by itself.
type dialer struct {
	policy  *netguard.Policy
	tls     *tls.Config
	timeout time.Duration
}

type dialTimeoutKey struct{}

// withDialTimeout makes a dialer use timeout in place of its own.
func withDialTimeout(ctx context.Context, timeout time.Duration) context.Context {
	return context.WithValue(ctx, dialTimeoutKey{}, timeout)
}

// limit bounds a step on the way to a connection.
func (d *dialer) limit(ctx context.Context) (context.Context, context.CancelFunc) {
	timeout, ok := ctx.Value(dialTimeoutKey{}).(time.Duration)
	if !ok {
		timeout = d.timeout
	}
	return context.WithTimeout(ctx, timeout)
}

func (d *dialer) dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	defer dialPanicked(&conn, &err)
	ctx, cancel := d.limit(ctx)
	defer cancel()
	conn, err = d.policy.DialContext(ctx, network, addr)
	if err != nil {
		return nil, &stageError{ClassConnect, err}
	}
	return conn, nil
}

func (d *dialer) dialTLS(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	defer dialPanicked(&conn, &err)
	ctx, cancel := d.limit(ctx)
	defer cancel()
	plain, err := d.policy.DialContext(ctx, network, addr)
	if err != nil {
		return nil, &stageError{ClassConnect, err}
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		plain.Close()
		return nil, &stageError{ClassConnect, err}
	}
	config := d.tls.Clone()
	config.ServerName = host
	conn = plain // to be closed if a function in config panics
	secure := tls.Client(plain, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		plain.Close()
		return nil, &stageError{ClassTLS, err}
	}
	return secure, nil
}

// stageError says in which stage of an attempt an error came about.
type stageError struct {
	class string
	err   error
}

func (e *stageError) Error() string { return e.class + ": " + e.err.Error() }
func (e *stageError) Unwrap() error { return e.err }
