package interop

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/hex"
	"hash"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/google/go-github/v89/github"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// verifyGitHub is what go-github's documentation shows. The library signs nothing.
func verifyGitHub(secret string, h http.Header, body []byte) error {
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header = h.Clone()
	r.Header.Set("Content-Type", "application/json")
	_, err := github.ValidatePayload(r, []byte(secret))
	return err
}

func TestSignedHereVerifiesWithGoGitHub(t *testing.T) {
	bodies := map[string][]byte{
		"JSON":      message(0).Body,
		"empty":     {},
		"not UTF-8": {0xff, 0x00, 0xfe},
		"large":     bytes.Repeat([]byte("0123456789abcdef"), 32<<10),
	}
	for name, body := range bodies {
		t.Run(name, func(t *testing.T) {
			secret := newSecret()
			h := signHere(t, signing.GitHub, signing.Message{Body: body}, secret)
			require.NoError(t, github.ValidateSignature(h.Get(github.SHA256SignatureHeader), body, []byte(secret)))
			require.NoError(t, verifyGitHub(secret, h, body))

			require.Error(t, verifyGitHub(newSecret(), h, body))
			require.ErrorIs(t, verifyHere(signing.GitHub, h, body, newSecret()), signing.ErrNoMatch)
			tampered := append(bytes.Clone(body), ' ')
			require.Error(t, verifyGitHub(secret, h, tampered))
			require.ErrorIs(t, verifyHere(signing.GitHub, h, tampered, secret), signing.ErrNoMatch)
		})
	}
}

// GitHub's default content type. Where go-github looks at the header, hookpost looks
// at the body.
func TestGitHubForms(t *testing.T) {
	payload := message(0).Body
	body := []byte("payload=" + url.QueryEscape(string(payload)))
	secret := newSecret()
	h := signHere(t, signing.GitHub, signing.Message{Body: body}, secret)
	r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
	r.Header = h
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	there, err := github.ValidatePayload(r, []byte(secret))
	require.NoError(t, err)
	require.Equal(t, string(payload), string(there))

	parsed, err := signing.ParseSecret(secret)
	require.NoError(t, err)
	key, err := signing.GitHub.Bind(parsed)
	require.NoError(t, err)
	m, err := key.Verify(h, body, time.Now(), signing.Limits{})
	require.NoError(t, err)
	require.Equal(t, string(payload), string(m.Payload))
	require.Equal(t, string(body), string(m.Body))
}

func TestGoGitHubReadsIDAndTypeSentFromHere(t *testing.T) {
	m := message(0)
	m.Type = "push"
	r := httptest.NewRequest(http.MethodPost, "/", nil)
	r.Header = signHere(t, signing.GitHub, m, newSecret())
	require.Equal(t, m.ID, github.DeliveryID(r))
	require.Equal(t, "push", github.WebHookType(r))
}

// The secret, body and signature are those of the example in GitHub's documentation:
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries.
func TestSignedByGitHubVerifiesOnBothSides(t *testing.T) {
	const secret = "It's a Secret to Everybody"
	body := []byte("Hello, World!")
	h := http.Header{}
	h.Set(github.SHA256SignatureHeader, "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	h.Set(github.EventTypeHeader, "push")
	h.Set(github.DeliveryIDHeader, "72d3162e-cc78-11e3-81ab-4c9367dc0958")

	require.NoError(t, verifyGitHub(secret, h, body))
	require.NoError(t, verifyHere(signing.GitHub, h, body, secret))
	require.NoError(t, verifyHere(signing.GitHub, h, body, newSecret(), secret), "as the previous secret")

	v, err := verifier.New(secret, &verifier.Options{Scheme: signing.GitHub})
	require.NoError(t, err)
	event, err := v.ConstructEvent(body, h)
	require.NoError(t, err)
	require.Equal(t, "72d3162e-cc78-11e3-81ab-4c9367dc0958", event.ID)
	require.Equal(t, "push", event.Type)
	require.Zero(t, event.Signed)
}

// Requests that go-github accepts and hookpost doesn't.
func TestDifferencesToGoGitHub(t *testing.T) {
	body := message(0).Body
	sign := func(newHash func() hash.Hash, secret string) string {
		mac := hmac.New(newHash, []byte(secret))
		mac.Write(body)
		return hex.EncodeToString(mac.Sum(nil))
	}
	const secret = "a secret"
	tests := map[string]struct {
		headers http.Header
		here    error
	}{
		"SHA-1 where SHA-256 is expected": {
			http.Header{"X-Hub-Signature-256": {"sha1=" + sign(sha1.New, secret)}}, signing.ErrMalformed,
		},
		"SHA-512 where SHA-256 is expected": {
			http.Header{"X-Hub-Signature-256": {"sha512=" + sign(sha512.New, secret)}}, signing.ErrMalformed,
		},
		"only the SHA-1 header of old": {
			http.Header{"X-Hub-Signature": {"sha1=" + sign(sha1.New, secret)}}, signing.ErrMissingHeader,
		},
		"a second line, of which others read the last": {
			http.Header{"X-Hub-Signature-256": {
				signHere(t, signing.GitHub, signing.Message{Body: body}, secret).Get("X-Hub-Signature-256"), "sha256=00",
			}}, signing.ErrMalformed,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, verifyGitHub(secret, tt.headers, body))
			require.ErrorIs(t, verifyHere(signing.GitHub, tt.headers, body, secret), tt.here)
		})
	}
}

// Without a secret go-github accepts what nobody signed.
func TestGoGitHubAcceptsUnsignedWithoutASecret(t *testing.T) {
	body := message(0).Body
	require.NoError(t, verifyGitHub("", http.Header{}, body))
	require.ErrorIs(t, verifyHere(signing.GitHub, http.Header{}, body, ""), signing.ErrBadSecret)
}
