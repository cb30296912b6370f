package verifiertest_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// Every scheme of package signing, and what its receiver has.
func TestNewRequest(t *testing.T) {
	private := signing.NewPrivateKey()
	public, err := private.PublicKey()
	require.NoError(t, err)
	at := time.Unix(1_700_000_000, 0)
	for _, c := range []struct {
		name             string
		scheme           signing.Scheme
		svix             bool
		sender, receiver string
		timed            bool
		envelope         bool
	}{
		{"default", nil, false, secret, secret, true, true},
		{"Standard", signing.Standard, false, secret, secret, true, true},
		{"svix headers", signing.Standard, true, secret, secret, true, true},
		{"ed25519", signing.Standard, false, private.Reveal(), public, true, true},
		{"Timestamped", signing.Timestamped("Stripe-Signature"), false, secret, secret, true, true},
		{"BodyHMAC, hex", signing.BodyHMAC("X-Sig", "", signing.Hex), false, secret, secret, false, true},
		{"BodyHMAC, base64", signing.BodyHMAC("X-Sig", "hmac ", signing.Base64), false, secret, secret, false, true},
		{"GitHub", signing.GitHub, false, secret, secret, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			v, err := verifier.New(c.receiver, &verifier.Options{Scheme: c.scheme, Clock: func() time.Time { return at }})
			require.NoError(t, err)
			opts := verifiertest.Options{Scheme: c.scheme, SvixHeaders: c.svix, SignedAt: at, Target: "/hooks?x=1"}

			r := verifiertest.NewRequest(t, c.sender, verifier.Event{}, &opts)
			require.Equal(t, "/hooks?x=1", r.URL.String())
			require.Equal(t, c.svix, r.Header.Get("svix-id") != "")
			e, err := v.ConstructEventFromRequest(r)
			require.NoError(t, err)
			require.Equal(t, "evt_test", e.ID)
			require.Equal(t, "test.event", e.Type)
			require.Equal(t, c.timed, e.Signed.Time)
			if c.envelope {
				require.Equal(t, `{"id":"evt_test","type":"test.event","created_at":"2023-11-14T22:13:20Z","data":{}}`, string(e.Body))
			} else {
				require.Equal(t, `{}`, string(e.Body))
			}

			r = verifiertest.NewRequest(t, c.sender, verifier.Event{ID: "evt_1", Type: "push", CreatedAt: at.Add(-time.Hour), Data: []byte(`{"html":"<b>"}`)}, &opts)
			e, err = v.ConstructEventFromRequest(r)
			require.NoError(t, err)
			require.Equal(t, "evt_1", e.ID)
			require.Equal(t, "push", e.Type)
			if c.envelope {
				require.Equal(t, `{"html":"<b>"}`, string(e.Data))
				require.Equal(t, at.Add(-time.Hour).UTC(), e.CreatedAt)
			} else {
				require.Equal(t, `{"html":"<b>"}`, string(e.Body))
			}

			r = verifiertest.NewRequest(t, c.sender, verifier.Event{Body: []byte("raw")}, &opts)
			e, err = v.ConstructEventFromRequest(r)
			require.NoError(t, err)
			require.Equal(t, "raw", string(e.Body))

			want := map[verifiertest.Fault]error{
				verifiertest.WrongSecret: signing.ErrNoMatch,
				verifiertest.Tampered:    signing.ErrNoMatch,
				verifiertest.Unsigned:    signing.ErrMissingHeader,
				verifiertest.Repeated:    signing.ErrMalformed,
			}
			if c.timed {
				want[verifiertest.Stale] = signing.ErrTooOld
				want[verifiertest.Early] = signing.ErrTooNew
			}
			for _, fault := range verifiertest.Faults(c.scheme) {
				bad := opts
				bad.Fault = fault
				_, err := v.ConstructEventFromRequest(verifiertest.NewRequest(t, c.sender, verifier.Event{}, &bad))
				require.ErrorIs(t, err, want[fault], fault)
				delete(want, fault)
			}
			require.Empty(t, want)
		})
	}
}

// The loop over the faults is right for the handler with one header, too, which
// sees no more of a request than Header.Get shows.
func TestFaultsOfOneHeader(t *testing.T) {
	for _, header := range []string{"X-Xtopay-Signature", "stripe-signature"} {
		for _, secret := range []string{secret, "xtopay_client_secret_example"} {
			scheme := signing.Timestamped(header)
			handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				if _, err := verifier.ConstructEvent(body, r.Header.Get(header), secret); err != nil {
					require.NotContains(t, err.Error(), "X-Signature")
					http.Error(w, "Invalid signature", http.StatusBadRequest)
				}
			})
			opts := verifiertest.Options{Scheme: scheme}
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, verifiertest.NewRequest(t, secret, verifier.Event{}, &opts))
			require.Equal(t, http.StatusOK, w.Code)
			require.Contains(t, verifiertest.Faults(scheme), verifiertest.Repeated)
			for _, fault := range verifiertest.Faults(scheme) {
				opts.Fault = fault
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, verifiertest.NewRequest(t, secret, verifier.Event{}, &opts))
				require.Equal(t, http.StatusBadRequest, w.Code, fault)
			}
		}
	}
}

// Of what is repeated the last is genuine: who takes that accepts what a proxy before
// it may have read otherwise.
func TestRepeated(t *testing.T) {
	for _, scheme := range []signing.Scheme{
		signing.Standard, signing.Timestamped("X-Sig"), signing.BodyHMAC("X-Sig", "", signing.Hex), signing.BodyHMAC("X-Sig", "b64 ", signing.Base64), signing.GitHub,
	} {
		for _, svix := range []bool{false, scheme == signing.Standard} {
			v, err := verifier.New(secret, &verifier.Options{Scheme: scheme})
			require.NoError(t, err)
			r := verifiertest.NewRequest(t, secret, verifier.Event{}, &verifiertest.Options{Scheme: scheme, SvixHeaders: svix, Fault: verifiertest.Repeated})
			body, err := io.ReadAll(r.Body)
			require.NoError(t, err)
			_, err = v.ConstructEvent(body, r.Header)
			require.ErrorIs(t, err, signing.ErrMalformed)
			for _, c := range []struct {
				at   int
				want error
			}{{0, signing.ErrNoMatch}, {1, nil}} {
				h := http.Header{}
				for name, values := range r.Header {
					if name == "Content-Type" {
						continue
					}
					require.Len(t, values, 2, name)
					h[name] = values[c.at : c.at+1]
				}
				_, err = v.ConstructEvent(body, h)
				require.ErrorIs(t, err, c.want)
			}
		}
	}
}

func TestNewRequestContentType(t *testing.T) {
	for body, want := range map[string]string{
		"":               "application/json",
		"{}":             "application/json",
		"payload=%7B%7D": "application/x-www-form-urlencoded",
	} {
		event := verifier.Event{Type: "push"}
		if body != "" {
			event.Body = []byte(body)
		}
		r := verifiertest.NewRequest(t, secret, event, &verifiertest.Options{Scheme: signing.GitHub})
		require.Equal(t, want, r.Header.Get("Content-Type"), body)
		r = verifiertest.NewRequest(t, secret, event, nil)
		require.Equal(t, "application/json", r.Header.Get("Content-Type"), body)
	}
}

// What cannot be sent fails the test instead of panicking.
func TestNewRequestFails(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		event  verifier.Event
		opts   verifiertest.Options
		says   string
	}{
		"empty secret":  {"", verifier.Event{}, verifiertest.Options{}, "secret"},
		"opaque secret": {"opaque", verifier.Event{}, verifiertest.Options{}, "secret"},
		"not JSON":      {secret, verifier.Event{Data: []byte("{")}, verifiertest.Options{}, "JSON"},
		"bad id":        {secret, verifier.Event{ID: "a.b"}, verifiertest.Options{}, `the id "a.b" is not 1 to 64 characters`},
		"bad GitHub id": {secret, verifier.Event{ID: "a b"}, verifiertest.Options{Scheme: signing.GitHub}, `the id "a b" is not 1 to 64 characters`},
		"bad type":      {secret, verifier.Event{Type: "a b"}, verifiertest.Options{Scheme: signing.GitHub}, `type "a b"`},
		"stale GitHub":  {secret, verifier.Event{}, verifiertest.Options{Scheme: signing.GitHub, Fault: verifiertest.Stale}, "time"},
		"public key":    {publicKey(t), verifier.Event{}, verifiertest.Options{}, "secret"},
		"unknown fault": {secret, verifier.Event{}, verifiertest.Options{Fault: "typo"}, "typo"},
		"bad target":    {secret, verifier.Event{}, verifiertest.Options{Target: "/a b\n"}, "target"},
	} {
		t.Run(name, func(t *testing.T) {
			tb := &failing{TB: t}
			func() {
				defer func() {
					if r := recover(); r != nil && r != error(errFailed) {
						t.Errorf("panic: %v", r)
					}
				}()
				verifiertest.NewRequest(tb, c.secret, c.event, &c.opts)
			}()
			require.Contains(t, tb.message, c.says)
		})
	}
}

func publicKey(t *testing.T) string {
	t.Helper()
	public, err := signing.NewPrivateKey().PublicKey()
	require.NoError(t, err)
	return public
}

// failing is a testing.TB that records Fatalf.
type failing struct {
	testing.TB
	message string
}

type failed struct{}

func (failed) Error() string { return "failed" }

var errFailed failed

func (f *failing) Helper() {}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	panic(error(errFailed))
}

// testHandler is what an application would write as its own test.
func ExampleNewRequest() {
	handle := func(w http.ResponseWriter, r *http.Request) {
		event, _ := verifier.FromContext(r.Context())
		_, _ = io.WriteString(w, event.Type)
	}
	testHandler := func(t *testing.T) {
		v, err := verifier.New(secret, nil)
		if err != nil {
			t.Fatal(err)
		}
		h := v.Middleware(http.HandlerFunc(handle))

		w := httptest.NewRecorder()
		h.ServeHTTP(w, verifiertest.NewRequest(t, secret, verifier.Event{Type: "payment.succeeded"}, nil))
		if w.Code != http.StatusOK {
			t.Errorf("a genuine event: got %d", w.Code)
		}
		for _, fault := range verifiertest.Faults(nil) {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, verifiertest.NewRequest(t, secret, verifier.Event{}, &verifiertest.Options{Fault: fault}))
			if w.Code != http.StatusBadRequest {
				t.Errorf("%s: got %d", fault, w.Code)
			}
		}
	}
	_ = testHandler // go test runs it
}
