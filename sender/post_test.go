package sender

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// testKeys returns keys of one secret in each scheme.
func testKeys(tb testing.TB, schemes ...signing.Scheme) []signing.Key {
	tb.Helper()
	if len(schemes) == 0 {
		schemes = []signing.Scheme{signing.Standard}
	}
	secret, err := signing.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(tb, err)
	keys, err := bindKeys(schemes, []signing.Secret{secret})
	require.NoError(tb, err)
	return keys
}

func testPoster(tb testing.TB, o HTTPOptions) *poster {
	tb.Helper()
	p, err := newPoster(o, 8)
	require.NoError(tb, err)
	tb.Cleanup(p.close)
	return p
}

func testMessage() signing.Message {
	return signing.Message{ID: "evt_1", Type: "a.b", Timestamp: testNow, Body: []byte(`{"id":"evt_1"}`)}
}

func TestPostRequest(t *testing.T) {
	receiver := sendertest.NewReceiver(t)
	p := testPoster(t, HTTPOptions{Egress: Egress{Allow: sendertest.Loopback()}})
	keys := testKeys(t, signing.Standard, signing.Timestamped("X-Xtopay-Signature"))
	d, err := newDestination(receiver.URL()+"/hook?a=1", keys)
	require.NoError(t, err)

	r := p.post(t.Context(), d, jsonType, testMessage())
	require.Equal(t, store.AttemptDelivered, r.Outcome)
	require.Equal(t, 200, r.Status)
	require.Equal(t, receiver.URL()+"/hook?a=1", r.URL)
	require.Equal(t, testNow, r.StartedAt)
	require.Positive(t, r.Took)
	require.Empty(t, r.Class+r.Error)

	got := receiver.Wait(1)[0]
	require.Equal(t, "POST", got.Method)
	require.Equal(t, "/hook?a=1", got.URL)
	require.Equal(t, `{"id":"evt_1"}`, string(got.Body))
	require.Equal(t, "application/json", got.Header.Get("Content-Type"))
	require.Equal(t, defaultUserAgent, got.Header.Get("User-Agent"))
	require.Equal(t, "14", got.Header.Get("Content-Length"))
	require.Equal(t, []string{"identity"}, got.Header["Accept-Encoding"])
	require.Equal(t, []string{"*/*"}, got.Header["Accept"])
	for _, k := range keys {
		m, err := k.Verify(got.Header, got.Body, testNow, signing.Limits{})
		require.NoError(t, err)
		require.Equal(t, testNow, m.Timestamp)
	}
	require.Len(t, got.Header, 5+3+1, "nothing else: %v", got.Header)

	m := testMessage()
	m.Body = []byte{}
	r = p.post(t.Context(), d, "text/plain", m)
	require.Equal(t, store.AttemptDelivered, r.Outcome)
	require.Equal(t, "text/plain", receiver.Wait(2)[1].Header.Get("Content-Type"))
	require.Empty(t, receiver.Requests()[1].Body)
}

func TestPostStatus(t *testing.T) {
	for status := 200; status < 1000; status++ {
		if status == 304 {
			status = 399
		}
		tr := sendertest.NewTransport(sendertest.Answer{Status: status, Body: "why", Header: http.Header{"Location": {"http://x/"}}})
		p := testPoster(t, HTTPOptions{WrapTransport: tr.Wrap})
		d, err := newDestination("https://example.com", testKeys(t))
		require.NoError(t, err)
		r := p.post(t.Context(), d, jsonType, testMessage())
		require.Equal(t, status, r.Status)
		require.Equal(t, 1, tr.Count(), "one request, whatever the answer")
		if status < 300 {
			require.Equal(t, store.AttemptDelivered, r.Outcome)
			require.Nil(t, r.ResponseBody)
			require.Nil(t, r.ResponseHeader)
			continue
		}
		require.Equal(t, store.AttemptFailed, r.Outcome, status)
		require.Equal(t, ClassStatus, r.Class)
		require.Contains(t, r.Error, fmt.Sprint(status))
		require.Equal(t, "why", string(r.ResponseBody))
		require.Equal(t, "Location: http://x/\r\n", string(r.ResponseHeader))
	}
}

func TestPostKeepsBoundedAnswer(t *testing.T) {
	header := http.Header{}
	for i := range 100 {
		header.Set(fmt.Sprintf("X-%03d", i), strings.Repeat("v", 100))
	}
	answer := sendertest.Answer{Status: 500, Body: strings.Repeat("b", 20_000), Header: header}
	for _, tc := range []struct{ option, body int }{{0, 16 << 10}, {100, 100}, {-1, 0}} {
		p := testPoster(t, HTTPOptions{MaxResponseBody: tc.option, WrapTransport: sendertest.NewTransport(answer).Wrap})
		d, err := newDestination("https://example.com", testKeys(t))
		require.NoError(t, err)
		r := p.post(t.Context(), d, jsonType, testMessage())
		require.Len(t, r.ResponseBody, tc.body)
		if tc.body == 0 {
			require.Empty(t, r.ResponseHeader)
			continue
		}
		require.LessOrEqual(t, len(r.ResponseHeader), maxResponseHeader)
		require.Greater(t, len(r.ResponseHeader), maxResponseHeader-200)
		require.True(t, strings.HasSuffix(string(r.ResponseHeader), "\r\n"))
	}
}

func TestPostTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := sendertest.NewTransport(
			sendertest.Answer{Delay: 9999 * time.Millisecond},
			sendertest.Answer{Delay: 10001 * time.Millisecond},
			sendertest.Answer{Fault: sendertest.Hang})
		p := testPoster(t, HTTPOptions{WrapTransport: tr.Wrap})
		d, err := newDestination("https://example.com", testKeys(t))
		require.NoError(t, err)
		for _, want := range []store.Outcome{store.AttemptDelivered, store.AttemptFailed, store.AttemptFailed} {
			r := p.post(t.Context(), d, jsonType, testMessage())
			require.Equal(t, want, r.Outcome)
			if want == store.AttemptDelivered {
				require.Equal(t, 9999*time.Millisecond, r.Took)
				continue
			}
			require.Equal(t, ClassTimeout, r.Class)
			require.Equal(t, "no answer within 10s", r.Error)
			require.Equal(t, 10*time.Second, r.Took)
		}
	})
}

// An endpoint's own timeout replaces the poster's, for the way to a connection,
// too.
func TestPostTimeoutOfADestination(t *testing.T) {
	for _, own := range []time.Duration{time.Second, 25 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			w := newWire("93.184.216.34")
			p := testPoster(t, HTTPOptions{Egress: Egress{Resolver: w}})
			p.policy.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			for _, url := range []string{"http://customer.example", "https://customer.example"} {
				d, err := newDestination(url, testKeys(t))
				require.NoError(t, err)
				d.timeout = own
				r := p.post(t.Context(), d, jsonType, testMessage())
				require.Equal(t, ClassTimeout, r.Class, r.Error)
				require.Equal(t, own, r.Took)
				require.Equal(t, "no answer within "+own.String(), r.Error)
			}
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPostOddTransports(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, tc := range map[string]struct {
			rt    roundTripper
			class string
		}{
			"deaf to the context": {func(*http.Request) (*http.Response, error) {
				time.Sleep(11 * time.Second)
				return &http.Response{StatusCode: 200}, nil
			}, ClassTimeout},
			"nothing":      {func(*http.Request) (*http.Response, error) { return nil, nil }, ClassProtocol},
			"own error":    {func(*http.Request) (*http.Response, error) { return nil, errors.New("a\x00b\xff\n") }, ClassProtocol},
			"no body":      {func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 500}, nil }, ClassStatus},
			"no body, 101": {func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 101}, nil }, ClassProtocol},
			"no body, 200": {func(*http.Request) (*http.Response, error) { return &http.Response{StatusCode: 200}, nil }, ""},
		} {
			p := testPoster(t, HTTPOptions{WrapTransport: func(http.RoundTripper) http.RoundTripper { return tc.rt }})
			d, err := newDestination("https://example.com", testKeys(t))
			require.NoError(t, err)
			r := p.post(t.Context(), d, jsonType, testMessage())
			require.Equal(t, tc.class, r.Class, name)
			require.NotContains(t, r.Error, "\x00")
			require.NotContains(t, r.Error, "\n")
			require.Equal(t, strings.ToValidUTF8(r.Error, "?"), r.Error)
		}
	})
}

func TestPostCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := sendertest.NewTransport(sendertest.Answer{Fault: sendertest.Hang})
		p := testPoster(t, HTTPOptions{WrapTransport: tr.Wrap})
		d, err := newDestination("https://example.com", testKeys(t))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		r := p.post(ctx, d, jsonType, testMessage())
		require.Equal(t, ClassCancelled, r.Class, "the caller's deadline is not the receiver's fault")
		require.Equal(t, store.AttemptFailed, r.Outcome)

		done, cancelled := context.WithCancel(t.Context())
		cancelled()
		r = p.post(done, d, jsonType, testMessage())
		require.Equal(t, ClassCancelled, r.Class)
		require.Equal(t, 1, tr.Count())
	})
}

func TestPostRetryAfter(t *testing.T) {
	for _, tc := range []struct {
		status int
		value  string
		want   time.Duration
	}{
		{429, "90", 90 * time.Second},
		{503, "90", 90 * time.Second},
		{500, "90", 0},
		{200, "90", 0},
		{429, "soon", 0},
		{503, testNow.Add(time.Hour).Format(http.TimeFormat), time.Hour},
	} {
		tr := sendertest.NewTransport(sendertest.Answer{Status: tc.status, Header: http.Header{"Retry-After": {tc.value}}})
		p := testPoster(t, HTTPOptions{WrapTransport: tr.Wrap})
		d, err := newDestination("https://example.com", testKeys(t))
		require.NoError(t, err)
		r := p.post(t.Context(), d, jsonType, testMessage())
		require.InDelta(t, tc.want, r.RetryAfter, float64(time.Minute), "%d %s", tc.status, tc.value)
	}
}

func TestPostUnsignable(t *testing.T) {
	tr := sendertest.NewTransport()
	p := testPoster(t, HTTPOptions{WrapTransport: tr.Wrap})
	d, err := newDestination("https://example.com", testKeys(t))
	require.NoError(t, err)
	m := testMessage()
	m.ID = "a.b"
	r := p.post(t.Context(), d, jsonType, m)
	require.Equal(t, ClassSigning, r.Class)
	require.Zero(t, tr.Count(), "nothing goes out unsigned")
}

func TestDestinationRefused(t *testing.T) {
	_, err := newDestination("https://example.com", testKeys(t, signing.Standard, signing.Standard))
	require.ErrorIs(t, err, ErrInvalidOptions)
	for _, name := range []string{"Idempotency-Key", "X-Idempotency-Key", "Content-Type", "Host"} {
		secret, err := signing.ParseSecret("opaque")
		require.NoError(t, err)
		key, err := signing.Timestamped(name).Bind(secret)
		if err != nil {
			continue // the scheme itself refuses it
		}
		_, err = newDestination("https://example.com", []signing.Key{key})
		require.ErrorIs(t, err, ErrInvalidOptions, name)
	}
	_, err = newDestination("/x", nil)
	require.ErrorIs(t, err, ErrInvalidURL)
}

func TestHTTPOptionsRefused(t *testing.T) {
	for name, o := range map[string]HTTPOptions{
		"timeout":    {Timeout: -1},
		"user agent": {UserAgent: "a\r\nb"},
		"body":       {MaxResponseBody: 1 << 20},
		"insecure":   {TLS: &tls.Config{InsecureSkipVerify: true}},
		"transport":  {WrapTransport: func(http.RoundTripper) http.RoundTripper { return nil }},
		"prefix":     {Egress: Egress{Allow: []netip.Prefix{{}}}},
		"port":       {Egress: Egress{Ports: []uint16{0}}},
		"only":       {Egress: Egress{Only: []string{"https://example.com"}}},
	} {
		_, err := newPoster(o, 1)
		require.ErrorIs(t, err, ErrInvalidOptions, name)
	}
}

// staticTransport answers without allocating, so that what is counted is ours.
type staticTransport struct{ resp *http.Response }

func (s staticTransport) RoundTrip(*http.Request) (*http.Response, error) { return s.resp, nil }

func staticPoster(tb testing.TB) (*poster, *destination) {
	resp := &http.Response{StatusCode: 200, Header: http.Header{}, Body: http.NoBody}
	p := testPoster(tb, HTTPOptions{WrapTransport: func(http.RoundTripper) http.RoundTripper { return staticTransport{resp} }})
	d, err := newDestination("https://example.com/webhooks", testKeys(tb))
	require.NoError(tb, err)
	return p, d
}

func TestPostAllocations(t *testing.T) {
	p, d := staticPoster(t)
	m := testMessage()
	m.Body = make([]byte, 1024)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	within := newDeadline(ctx)
	got := testing.AllocsPerRun(200, func() {
		p.postWithin(ctx, within, d, jsonType, m)
		within = within.next(ctx)
	})
	t.Logf("%v allocations", got)
	require.LessOrEqual(t, got, 13.0) // 9, but for the race detector
}

func BenchmarkPost(b *testing.B) {
	p, d := staticPoster(b)
	m := testMessage()
	m.Body = make([]byte, 1024)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	b.ReportAllocs()
	within := newDeadline(ctx)
	for b.Loop() {
		p.postWithin(ctx, within, d, jsonType, m)
		within = within.next(ctx)
	}
}
