package sender

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/internal/netguard"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

const (
	defaultTimeout   = 10 * time.Second
	maxHTTPTimeout   = time.Hour
	defaultUserAgent = "hookpost/0.1.0"

	maxResponseBody   = 16 << 10 // kept of a failure's body
	maxResponseHeader = 4 << 10  // kept of a failure's header
	maxDrain          = 4 << 10  // read of a success's body, for the connection's sake

	// Once the headers have arrived the outcome is certain, so that nobody should
	// wait long for the body: not the slot, and not the other endpoints.
	drainTime = 250 * time.Millisecond
	bodyTime  = time.Second
)

// HTTPOptions says how requests are made. The zero value of every field means
// its default.
//
// A request is a POST over HTTP/1.1 that succeeds if the status line says 2xx and
// the headers are complete within Timeout; whatever the body does afterwards
// can't undo that. Redirects are not followed, at most 64 KiB of headers accepted,
// TLS 1.2 is the least. "Accept: */*" is there for firewalls that refuse requests
// without it, "Accept-Encoding: identity" because the log can't show compressed
// answers. HTTP/2 is off, so that one attempt is one request on one connection: Go's
// client repeats requests by itself when a server shuts an HTTP/2 connection down,
// which no log would show. When a receiver
// sends more than it announced, that client writes a line to the standard logger of
// package log, quoted and of at most 4 KiB of the answer.
type HTTPOptions struct {
	// Timeout is how long an attempt may take until the answer's headers are there,
	// with name lookup, connecting and TLS handshake. Default 10 s, at most an hour.
	Timeout time.Duration

	// UserAgent is the User-Agent header. Default "hookpost/" and the version.
	UserAgent string

	// Egress says where requests may go. Default: public addresses only.
	Egress Egress

	// TLS is the base of the configuration for https, for own root certificates or
	// client certificates. ServerName and NextProtos are set for each connection.
	// InsecureSkipVerify is refused. Default: the system's root certificates.
	TLS *tls.Config

	// IdleTimeout is how long an unused connection is kept. A server may close its
	// end at any time, and a request written at that moment counts as failed
	// although nobody saw it; so this should be less than the receivers' limits, of
	// which 5 s is a common one. Default 4 s; negative: connections are not reused.
	IdleTimeout time.Duration

	// MaxConnAge is how long a connection is used, however busy it is: no request
	// begins on an older one, and each closes behind its answer. So a receiver that
	// moved in DNS is found, and Egress asked again, after that time at the latest.
	// It varies, down to half, and the requests pass over to new connections bit by
	// bit; meanwhile there can be up to twice as many. Default 1 min, at least 1 s;
	// negative: no limit.
	MaxConnAge time.Duration

	// MaxResponseBody is how many bytes of the body of a failed attempt's answer go
	// into the log. Default and maximum 16 KiB; negative: neither body nor headers
	// are kept.
	MaxResponseBody int

	// WrapTransport, unless nil, returns a RoundTripper around the one it is given,
	// for tracing or metrics; what it returns need not call it, as in a test. It
	// stands above the guard of Egress, which it can't lift. It must not follow
	// redirects, nor repeat requests, and it must return when the request's context
	// ends: until it does, its delivery keeps one of Options.MaxInFlight, as one of a
	// slow endpoint, and what it returns later counts as a timeout. The context need not
	// end with the request: the next one may have the same. Bodies and headers of requests
	// belong to it only until RoundTrip returns.
	WrapTransport func(http.RoundTripper) http.RoundTripper
}

func checkHTTPTimeout(d time.Duration) error {
	if d < 0 || d > maxHTTPTimeout {
		return fmt.Errorf("%w: HTTP.Timeout is %s; it must be positive and at most %s", ErrInvalidOptions, d, maxHTTPTimeout)
	}
	return nil
}

// poster makes HTTP requests; it decides nothing and keeps nothing. It is safe
// for concurrent use.
type poster struct {
	policy    *netguard.Policy
	transport *rotation
	rt        http.RoundTripper // transport, or what wraps it
	timeout   time.Duration
	userAgent []string // the header's values
	keepBody  int      // bytes; negative: no answer is kept
}

// newPoster returns a poster that keeps as many connections as there can be
// requests at once.
func newPoster(o HTTPOptions, concurrency int) (*poster, error) {
	def(&o.Timeout, defaultTimeout)
	def(&o.UserAgent, defaultUserAgent)
	def(&o.IdleTimeout, defaultIdleTimeout)
	def(&o.MaxConnAge, defaultMaxConnAge)
	def(&o.MaxResponseBody, maxResponseBody)
	if err := checkHTTPTimeout(o.Timeout); err != nil {
		return nil, err
	}
	switch {
	case o.MaxResponseBody > maxResponseBody:
		return nil, fmt.Errorf("%w: HTTP.MaxResponseBody is %d; it can be at most %d", ErrInvalidOptions, o.MaxResponseBody, maxResponseBody)
	case o.MaxConnAge > 0 && o.MaxConnAge < minMaxConnAge:
		return nil, fmt.Errorf("%w: HTTP.MaxConnAge is %s; it must be at least %s, or negative for none", ErrInvalidOptions, o.MaxConnAge, minMaxConnAge)
	case !printable(o.UserAgent):
		return nil, fmt.Errorf("%w: HTTP.UserAgent %.80q is not printable ASCII", ErrInvalidOptions, o.UserAgent)
	}
	policy, err := o.Egress.policy()
	if err != nil {
		return nil, err
	}
	transport, err := newTransport(policy, &o, concurrency)
	if err != nil {
		return nil, err
	}
	p := &poster{
		policy:    policy,
		transport: transport,
		rt:        transport,
		timeout:   o.Timeout,
		userAgent: []string{o.UserAgent},
		keepBody:  o.MaxResponseBody,
	}
	if o.WrapTransport != nil {
		if p.rt = o.WrapTransport(transport); p.rt == nil {
			return nil, fmt.Errorf("%w: HTTP.WrapTransport returned nil", ErrInvalidOptions)
		}
	}
	return p, nil
}

// close closes the connections that no request uses.
func (p *poster) close() { p.transport.CloseIdleConnections() }

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// A destination is what requests to one version of an endpoint have in common.
// It is immutable and safe for concurrent use.
type destination struct {
	url     string
	request *http.Request // without a context, body and signature
	keys    []signing.Key

	timeout time.Duration // 0: the poster's
	hidden  *opened       // what the receiver might echo and no log may show; nil: nothing
}

// newDestination prepares requests to a URL that parseEndpointURL returned, signed
// with keys.
func newDestination(rawURL string, keys []signing.Key) (*destination, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Host == "" {
		return nil, &URLError{URL: redactURL(rawURL), Problem: "can't be parsed"}
	}
	if u.Path == "" {
		u.Path = "/"
	}
	var taken []string
	for _, k := range keys {
		names, err := headerNames(k)
		if err != nil {
			return nil, err
		}
		if len(names) == 0 {
			return nil, fmt.Errorf("%w: one of the schemes signs nothing with the secrets given; public keys (whpk_) only verify", signing.ErrBadSecret)
		}
		for _, name := range names {
			if reservedHeader(name) || slices.Contains(taken, name) {
				return nil, fmt.Errorf("%w: Schemes: the header %s is already in use", ErrInvalidOptions, name)
			}
			taken = append(taken, name)
		}
	}
	return &destination{
		url:  rawURL,
		keys: keys,
		request: &http.Request{
			Method:     http.MethodPost,
			URL:        u,
			Host:       u.Host,
			Proto:      "HTTP/1.1",
			ProtoMajor: 1,
			ProtoMinor: 1,
			Header:     http.Header{"Content-Type": {jsonType}, "Accept": {"*/*"}, "Accept-Encoding": {"identity"}},
		},
	}, nil
}

// reservedHeader reports whether a header, in canonical form, must not be set by
// a signature scheme: those that frame the message, those that this package sets,
// and the two that make net/http repeat requests by itself.
func reservedHeader(name string) bool {
	switch name {
	case "Host", "Content-Length", "Content-Type", "User-Agent", "Accept", "Accept-Encoding",
		"Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization", "Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect",
		"Idempotency-Key", "X-Idempotency-Key", "Traceparent", "Tracestate":
		return true
	}
	return false
}

// result is what became of a request.
type result struct {
	store.Attempt // but for N
	// RetryAfter is the pause that the receiver asked for with a 429 or a 503; 0 if
	// it did not.
	RetryAfter time.Duration

	err error // the cause of a failure without an answer
}

// post is postWithin for a single request.
func (p *poster) post(ctx context.Context, d *destination, contentType string, m signing.Message) result {
	within := newDeadline(ctx)
	defer within.end(nil)
	defer within.lift()
	return p.postWithin(ctx, within, d, contentType, m)
}

// postWithin makes one request and waits for its outcome. Message.Timestamp is the
// time now. The deadline is parent's, or of a context below it. Nothing else that
// net/http might still hold after its return is reused.
func (p *poster) postWithin(parent context.Context, within *deadline, d *destination, contentType string, m signing.Message) result {
	r := result{Attempt: store.Attempt{StartedAt: m.Timestamp, URL: d.url, Outcome: store.AttemptFailed}}
	start := time.Now()
	timeout := cmp.Or(d.timeout, p.timeout)
	within.start(timeout)
	ctx := within.ctx
	if d.timeout > 0 {
		ctx = withDialTimeout(ctx, d.timeout)
	}

	req := d.request.WithContext(ctx)
	req.Header = maps.Clone(d.request.Header)
	req.Header["User-Agent"] = p.userAgent
	if contentType != jsonType && contentType != "" {
		req.Header["Content-Type"] = []string{contentType}
	}
	for _, k := range d.keys {
		before := len(req.Header)
		if r.err = setHeaders(k, req.Header, m); r.err != nil {
			r.Class = ClassPanic
			r.Error = explain(r.Class, r.err, timeout)
			return r
		}
		if len(req.Header) == before {
			// An unsigned request would be refused, or worse, accepted.
			r.Class, r.Error = ClassSigning, "the event can't be signed: its id or time is out of the scheme's range"
			return r
		}
	}
	if len(m.Body) == 0 {
		req.Body = http.NoBody
	} else {
		req.Body = newBody(m.Body)
		req.ContentLength = int64(len(m.Body))
		// With GetBody net/http repeats a POST in one case only: a connection kept
		// from before turned out dead and not one byte was written to it.
		req.GetBody = func() (io.ReadCloser, error) { return newBody(m.Body), nil }
	}

	resp, err := p.roundTrip(req)
	r.Took = time.Since(start)
	if err == nil && resp == nil {
		err = errNoResponse
	}
	if err == nil && r.Took > timeout {
		err = context.DeadlineExceeded // from a RoundTripper that ignores the context
	}
	if err != nil {
		within.spent = true
		if resp != nil && resp.Body != nil {
			resp.Body.Close()
		}
		r.err = err
		r.Class = classify(parent, err, r.Took >= timeout)
		r.Error = explain(r.Class, err, timeout)
		return r
	}

	r.Status = resp.StatusCode
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
		r.Outcome = store.AttemptDelivered
		drain(resp.Body, within)
		return r
	case resp.StatusCode == http.StatusSwitchingProtocols:
		// Neither context nor deadline would stop a read of this body.
		closeBody(resp.Body)
		r.Class, r.Error = ClassProtocol, "the receiver answered 101 and switched protocols"
	default:
		r.Class, r.Error = ClassStatus, explainStatus(resp.StatusCode)
		p.keep(&r, resp, within)
	}
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if pause, ok := parseRetryAfter(resp.Header.Get("Retry-After"), m.Timestamp.Add(r.Took)); ok {
			r.RetryAfter = pause
		}
	}
	return r
}

var errNoResponse = errors.New("the transport returned neither a response nor an error")

// newBody returns a reader of a kind that net/http knows to be in memory: of others
// it sends the header in a packet of its own, since they might block.
func newBody(body []byte) io.ReadCloser { return io.NopCloser(bytes.NewReader(body)) }

func closeBody(body io.ReadCloser) {
	if body != nil {
		body.Close()
	}
}

// drain reads the end of a success's body, which lets the connection be used
// again, unless that takes too long.
func drain(body io.ReadCloser, within *deadline) {
	if body == nil || body == http.NoBody {
		return
	}
	defer survived()
	within.atMost(drainTime)
	_, _ = io.Copy(io.Discard, &io.LimitedReader{R: body, N: maxDrain}) // its outcome is no matter
	body.Close()
}

// keep puts the answer into the result, as far as it arrives and fits.
func (p *poster) keep(r *result, resp *http.Response, within *deadline) {
	if p.keepBody < 0 {
		drain(resp.Body, within)
		return
	}
	r.ResponseHeader = headerBytes(resp.Header)
	if resp.Body == nil || resp.Body == http.NoBody {
		return
	}
	defer survived()
	within.atMost(bodyTime)
	body, _ := io.ReadAll(&io.LimitedReader{R: resp.Body, N: int64(p.keepBody)}) // what came before an error is kept
	resp.Body.Close()
	if len(body) > 0 {
		r.ResponseBody = body
	}
}

// headerBytes writes as many whole lines of a header as are kept.
func headerBytes(h http.Header) []byte {
	if len(h) == 0 {
		return nil
	}
	var buf bytes.Buffer
	if h.Write(&buf) != nil {
		return nil
	}
	b := buf.Bytes()
	if len(b) > maxResponseHeader {
		b = b[:bytes.LastIndexByte(b[:maxResponseHeader], '\n')+1]
	}
	return bytes.Clone(b)
}
