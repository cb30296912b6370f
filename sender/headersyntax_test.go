package sender

import (
	"bufio"
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// What schemes must not set, endpoints must not either.
func TestReservedHeadersAreForbidden(t *testing.T) {
	for _, name := range []string{
		"Host", "Content-Length", "Content-Type", "User-Agent", "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authorization",
		"Transfer-Encoding", "Te", "Trailer", "Upgrade", "Expect", "Idempotency-Key", "X-Idempotency-Key",
	} {
		require.True(t, reservedHeader(name), name)
		require.NotEmpty(t, forbiddenHeader(name), name)
	}
}

// Whatever is accepted arrives as it was given, as one header beside the others.
func FuzzHeaders(f *testing.F) {
	f.Add("Authorization", "Bearer abc")
	f.Add("x-a", "a: b")
	f.Add("X-A\r\nX-B", "1")
	f.Add("X-A", "1\r\nX-B: 2")
	f.Add("Transfer-Encoding", "chunked")
	f.Add("", "")
	c := &config{Options: Options{Keyring: keyring.Plaintext, Schemes: []signing.Scheme{signing.Standard}}}
	key, err := signing.Standard.Bind(signing.NewSecret())
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, name, value string) {
		ep := store.Endpoint{ID: "ep_1"}
		if err := c.setHeaders(&ep, Headers{name: Value(value)}); err != nil {
			require.ErrorIs(t, err, ErrInvalidEndpoint)
			return
		}
		if c.checkHeaders(ep.Headers) != nil || value == "" {
			return
		}
		o, err := openSealed(c.Keyring, &ep, ep.CreatedAt)
		require.NoError(t, err)
		d, err := newDestination("https://shop.example/", []signing.Key{key})
		require.NoError(t, err)
		require.NoError(t, d.addHeaders(o.headers))
		req := d.request.Clone(t.Context())
		req.Body = http.NoBody
		var wire bytes.Buffer
		require.NoError(t, req.Write(&wire))
		read, err := http.ReadRequest(bufio.NewReader(&wire))
		require.NoError(t, err)
		require.Equal(t, []string{value}, read.Header[http.CanonicalHeaderKey(name)])
		want := 6
		if http.CanonicalHeaderKey(name) == "Accept" {
			want-- // it replaces ours
		}
		require.Len(t, read.Header, want, "with Accept, Accept-Encoding, Content-Type, Content-Length and User-Agent: %v", read.Header)
		require.Equal(t, "shop.example", read.Host)
	})
}
