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

func TestNewRequest(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	for _, scheme := range []signing.Scheme{nil, signing.Standard, signing.Timestamped("X-Sig")} {
		v, err := verifier.New(secret, &verifier.Options{Scheme: scheme, Clock: func() time.Time { return at }})
		require.NoError(t, err)
		opts := verifiertest.Options{Scheme: scheme, SignedAt: at, Target: "/hooks?x=1"}

		r := verifiertest.NewRequest(t, secret, verifier.Event{}, &opts)
		require.Equal(t, "/hooks?x=1", r.URL.String())
		e, err := v.ConstructEventFromRequest(r)
		require.NoError(t, err)
		require.Equal(t, `{"id":"evt_test","type":"test.event","created_at":"2023-11-14T22:13:20Z","data":{}}`, string(e.Body))

		r = verifiertest.NewRequest(t, secret, verifier.Event{ID: "evt_1", Type: "push", CreatedAt: at.Add(-time.Hour), Data: []byte(`{"html":"<b>"}`)}, &opts)
		e, err = v.ConstructEventFromRequest(r)
		require.NoError(t, err)
		require.Equal(t, "evt_1", e.ID)
		require.Equal(t, "push", e.Type)
		require.Equal(t, `{"html":"<b>"}`, string(e.Data))
		require.Equal(t, at.Add(-time.Hour).UTC(), e.CreatedAt)

		r = verifiertest.NewRequest(t, secret, verifier.Event{Body: []byte("raw")}, &opts)
		e, err = v.ConstructEventFromRequest(r)
		require.NoError(t, err)
		require.Equal(t, "raw", string(e.Body))

		want := map[verifiertest.Fault]error{
			verifiertest.Stale:       signing.ErrTooOld,
			verifiertest.Early:       signing.ErrTooNew,
			verifiertest.WrongSecret: signing.ErrNoMatch,
			verifiertest.Tampered:    signing.ErrNoMatch,
			verifiertest.Unsigned:    signing.ErrMissingHeader,
		}
		for _, fault := range verifiertest.Faults() {
			bad := opts
			bad.Fault = fault
			_, err := v.ConstructEventFromRequest(verifiertest.NewRequest(t, secret, verifier.Event{}, &bad))
			require.ErrorIs(t, err, want[fault], fault)
			delete(want, fault)
		}
		require.Empty(t, want)
	}
}

// What cannot be sent fails the test instead of panicking.
func TestNewRequestFails(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		event  verifier.Event
		opts   verifiertest.Options
	}{
		"empty secret":  {"", verifier.Event{}, verifiertest.Options{}},
		"opaque secret": {"opaque", verifier.Event{}, verifiertest.Options{}},
		"not JSON":      {secret, verifier.Event{Data: []byte("{")}, verifiertest.Options{}},
		"bad id":        {secret, verifier.Event{ID: "a.b"}, verifiertest.Options{}},
		"unknown fault": {secret, verifier.Event{}, verifiertest.Options{Fault: "typo"}},
		"bad target":    {secret, verifier.Event{}, verifiertest.Options{Target: "/a b\n"}},
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
			require.NotEmpty(t, tb.message)
		})
	}
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
		for _, fault := range verifiertest.Faults() {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, verifiertest.NewRequest(t, secret, verifier.Event{}, &verifiertest.Options{Fault: fault}))
			if w.Code != http.StatusBadRequest {
				t.Errorf("%s: got %d", fault, w.Code)
			}
		}
	}
	_ = testHandler // go test runs it
}
