package signing_test

import (
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

func TestBodyHMAC(t *testing.T) {
	newer, older := secret(t, "whsec_newer"), secret(t, "older")
	body := []byte("body")
	sum := mac([]byte("whsec_newer"), "body")
	for _, c := range []struct {
		scheme signing.Scheme
		name   string
		value  string
	}{
		{signing.BodyHMAC("x-acme-signature", "", signing.Hex), "body-hmac:X-Acme-Signature:hex:", hex.EncodeToString(sum)},
		{signing.BodyHMAC("X-Acme-Signature", "sha256=", signing.Hex), "body-hmac:X-Acme-Signature:hex:sha256=", "sha256=" + hex.EncodeToString(sum)},
		{signing.BodyHMAC("X-Acme-Signature", "HMAC ", signing.Base64), "body-hmac:X-Acme-Signature:base64:HMAC ", "HMAC " + base64.StdEncoding.EncodeToString(sum)},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, c.name, c.scheme.Name())
			key := bind(t, c.scheme, newer, older)
			require.Equal(t, []string{"X-Acme-Signature"}, signing.HeaderNames(key))
			h := http.Header{"x-acme-signature": {"left over"}, "X-Other": {"x"}}
			m := signing.Message{ID: "not.a-valid id", Type: "..", Timestamp: now, Body: body}
			key.SetHeaders(h, m)
			require.Equal(t, http.Header{"X-Acme-Signature": {c.value}, "X-Other": {"x"}}, h, "the newest signs alone")
			require.Equal(t, "dst"+c.value, string(key.AppendSignature([]byte("dst"), m)))

			// No time is signed, so that none is too old.
			got, err := key.Verify(h, body, now.Add(365*24*time.Hour), signing.Limits{})
			require.NoError(t, err)
			require.Equal(t, signing.Message{Body: body}, got)

			// Any of several is accepted.
			bind(t, c.scheme, older).SetHeaders(h, m)
			_, err = key.Verify(h, body, now, signing.Limits{})
			require.NoError(t, err)
			_, err = bind(t, c.scheme, newer).Verify(h, body, now, signing.Limits{})
			require.ErrorIs(t, err, signing.ErrNoMatch)
		})
	}
}

// What is damaged differs from what is merely another's, for whoever reads the log.
func TestBodyHMACDamaged(t *testing.T) {
	good := hex.EncodeToString(mac([]byte("x"), "body"))
	b64 := base64.StdEncoding.EncodeToString(mac([]byte("x"), "body"))
	for _, c := range []struct {
		encoding signing.Encoding
		value    string
		want     error
	}{
		{signing.Hex, good, nil},
		{signing.Hex, strings.ToUpper(good), nil},
		{signing.Hex, good + "00", signing.ErrNoMatch},
		{signing.Hex, good[2:], signing.ErrNoMatch},
		{signing.Hex, good[1:], signing.ErrMalformed},
		{signing.Hex, good[:62] + "xx", signing.ErrMalformed},
		{signing.Hex, b64, signing.ErrMalformed},
		{signing.Base64, b64, nil},
		{signing.Base64, good, signing.ErrNoMatch}, // happens to be base64 of 48 bytes
		{signing.Base64, b64[4:], signing.ErrNoMatch},
		{signing.Base64, strings.TrimSuffix(b64, "="), signing.ErrMalformed},
		{signing.Base64, b64[:43] + "\n", signing.ErrMalformed},
		{signing.Base64, b64[:42] + "==", signing.ErrMalformed},  // 31 bytes
		{signing.Base64, b64[:42] + "//=", signing.ErrMalformed}, // one too long
		{signing.Base64, "====", signing.ErrMalformed},
	} {
		key := bind(t, signing.BodyHMAC("X-Sig", "", c.encoding), secret(t, "x"))
		_, err := key.Verify(http.Header{"X-Sig": {c.value}}, []byte("body"), now, signing.Limits{})
		require.ErrorIs(t, err, c.want, c.value)
	}
}

func TestBodyHMACArguments(t *testing.T) {
	s := secret(t, "x")
	for _, name := range []string{"", "two words", "X-Sig:", "X\r\nY", "é"} {
		_, err := signing.BodyHMAC(name, "", signing.Hex).Bind(s)
		require.ErrorIs(t, err, signing.ErrBadHeaderName, name)
		require.ErrorIs(t, err, signing.ErrBadScheme, name)
	}
	for _, prefix := range []string{" x", "x\n", "é", "\x7f", strings.Repeat("x", 65)} {
		_, err := signing.BodyHMAC("X-Sig", prefix, signing.Hex).Bind(s)
		require.ErrorIs(t, err, signing.ErrBadScheme, prefix)
		require.ErrorContains(t, err, "prefix")
	}
	_, err := signing.BodyHMAC("X-Sig", "", signing.Encoding(2)).Bind(s)
	require.ErrorIs(t, err, signing.ErrBadScheme)
	require.ErrorContains(t, err, "encoding")
	require.Equal(t, []string{"hex", "base64", "unknown"}, []string{signing.Hex.String(), signing.Base64.String(), signing.Encoding(2).String()})
}

func TestGitHub(t *testing.T) {
	require.Equal(t, "github", signing.GitHub.Name())
	key := bind(t, signing.GitHub, secret(t, "mysecret"))
	require.Equal(t, []string{"X-Github-Delivery", "X-Github-Event", "X-Hub-Signature-256"}, signing.HeaderNames(key))
	m := signing.Message{ID: "72d3162e-cc78-11e3-81ab-4c9367dc0958", Type: "issue_comment", Timestamp: now, Body: []byte("{}")}
	h := http.Header{"x-github-event": {"left over"}}
	key.SetHeaders(h, m)
	require.Len(t, h, 3)
	require.Equal(t, "issue_comment", h.Get("X-GitHub-Event"))
	got, err := key.Verify(h, m.Body, now, signing.Limits{})
	require.NoError(t, err)
	require.Equal(t, signing.Message{ID: m.ID, Type: m.Type, Body: m.Body}, got, "neither id nor type is signed")

	// Both may be absent, but not be what an id or a type can't be, and not be there
	// twice.
	for name, values := range map[string][]string{
		"X-Github-Delivery": {"a.b", "a b", "é", strings.Repeat("x", 65)},
		"X-Github-Event":    {"a b", ".", "a.", ".a", "a..b", "é", strings.Repeat("x", 129)},
	} {
		absent := h.Clone()
		absent.Del(name)
		_, err := key.Verify(absent, m.Body, now, signing.Limits{})
		require.NoError(t, err)
		for _, value := range values {
			bad := h.Clone()
			bad.Set(name, value)
			_, err := key.Verify(bad, m.Body, now, signing.Limits{})
			require.ErrorIs(t, err, signing.ErrMalformed, value)
		}
		twice := h.Clone()
		twice.Add(name, twice.Get(name))
		_, err = key.Verify(twice, m.Body, now, signing.Limits{})
		require.ErrorIs(t, err, signing.ErrMalformed)
	}
	for name, bad := range map[string]signing.Message{"id": {ID: "a.b"}, "type": {Type: "a b"}} {
		require.Equal(t, "dst", string(key.AppendSignature([]byte("dst"), bad)), name)
		h := h.Clone()
		key.SetHeaders(h, bad)
		require.Empty(t, h, name)
	}
	h = http.Header{}
	key.SetHeaders(h, signing.Message{Body: []byte("{}")})
	require.Len(t, h, 1, "what there is nothing to say about is left out")
}
