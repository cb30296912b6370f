package verifier_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// Whatever arrives under whatever headers is answered 200 or 400, and 200 only
// if crypto/hmac by itself finds a signature among them.
func FuzzMiddleware(f *testing.F) {
	var vectors []struct {
		Headers http.Header
		Body    []byte
	}
	file, err := os.ReadFile("../signing/testdata/signature_vectors.json")
	require.NoError(f, err)
	require.NoError(f, json.Unmarshal(file, &vectors))
	require.NotEmpty(f, vectors)
	lines := func(h http.Header) string {
		var b strings.Builder
		require.NoError(f, h.Write(&b))
		return b.String()
	}
	for _, v := range vectors {
		if text := lines(v.Headers); len(text)+len(v.Body) < 10_000 {
			f.Add(text, v.Body)
		}
	}

	type receiver struct {
		scheme  signing.Scheme
		handler http.Handler
	}
	var receivers []receiver
	var got []verifier.Event
	for _, scheme := range []signing.Scheme{
		signing.Standard, signing.Timestamped("Stripe-Signature"), signing.GitHub, signing.BodyHMAC("X-Signature", "", signing.Base64),
	} {
		v, err := verifier.New(testSecret, &verifier.Options{Scheme: scheme, Tolerance: -1})
		require.NoError(f, err)
		mux := verifier.NewMux(nil)
		mux.Handle("*", func(_ context.Context, e verifier.Event) error {
			got = append(got, e)
			return nil
		})
		receivers = append(receivers, receiver{scheme, v.Middleware(mux)})
		f.Add(lines(sign(f, scheme, "evt_a1b2c3d4", paymentBody)), []byte(paymentBody))
	}

	for _, form := range []string{"payload=%7B%22ref%22%3A1%7D", "payload=1&payload=2"} {
		f.Add(lines(sign(f, signing.GitHub, "evt_a1b2c3d4", form)), []byte(form))
	}

	decoded, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(testSecret, "whsec_"))
	require.NoError(f, err)
	mac := func(key []byte, parts ...string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(strings.Join(parts, ".")))
		return m.Sum(nil)
	}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		h := http.Header{}
		for line := range strings.Lines(header) {
			name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
			h.Add(name, strings.TrimSpace(value))
		}
		all := strings.ToLower(header)
		for _, r := range receivers {
			got = nil
			req := httptest.NewRequest("POST", "/", strings.NewReader(string(body)))
			req.Header = h
			w := httptest.NewRecorder()
			r.handler.ServeHTTP(w, req)
			if w.Code == http.StatusBadRequest {
				require.Empty(t, got)
				continue
			}
			require.Equal(t, http.StatusOK, w.Code)
			require.Len(t, got, 1)
			e := got[0]
			require.Equal(t, string(body), string(e.Body))
			var want string
			switch r.scheme.Name() {
			case "standard":
				stamp := h.Get("webhook-timestamp")
				if stamp == "" || h.Get("webhook-id") == "" || h.Get("webhook-signature") == "" {
					stamp = h.Get("svix-timestamp")
				}
				want = base64.StdEncoding.EncodeToString(mac(decoded, e.ID, stamp, string(body)))
			case "github":
				want = hex.EncodeToString(mac([]byte(testSecret), string(body)))
			case "timestamped:Stripe-Signature":
				_, stamp, _ := strings.Cut(","+h.Get("Stripe-Signature"), ",t=")
				stamp, _, _ = strings.Cut(stamp, ",")
				want = hex.EncodeToString(mac([]byte(testSecret), stamp, string(body)))
			default:
				want = base64.StdEncoding.EncodeToString(mac([]byte(testSecret), string(body)))
			}
			require.Contains(t, all, strings.ToLower(want), r.scheme.Name())
		}
	})
}
