package verifier_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

// fakeDedupe records what it is told, and fails where the test wants it to.
type fakeDedupe struct {
	claim, done, release error
	calls                []string
}

func (d *fakeDedupe) Claim(_ context.Context, key string) (verifier.Claim, error) {
	d.calls = append(d.calls, "claim "+key)
	if d.claim != nil {
		return nil, d.claim
	}
	return fakeClaim{d}, nil
}

type fakeClaim struct{ d *fakeDedupe }

func (c fakeClaim) Done(ctx context.Context) error {
	c.d.calls = append(c.d.calls, "done")
	return errors.Join(ctx.Err(), c.d.done)
}

func (c fakeClaim) Release(ctx context.Context) error {
	c.d.calls = append(c.d.calls, "release")
	return errors.Join(ctx.Err(), c.d.release)
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestDedupeKey(t *testing.T) {
	key := func(id string, signed bool, body string) string {
		return verifier.DedupeKey(verifier.Event{ID: id, Body: []byte(body), Signed: signing.Coverage{ID: signed}})
	}
	require.Empty(t, key("", true, "a"))
	require.Empty(t, key("", false, "a"))
	require.Equal(t, "evt_1", key("evt_1", true, "a"))
	require.Equal(t, "evt_1", key("evt_1", true, "b"))

	seen := map[string]bool{}
	for _, k := range []string{
		key("evt_1", false, "a"), key("evt_1", false, "b"), key("evt_2", false, "a"), key("evt_1a", false, ""),
		key("evt.1", true, "a"), key("\x00", true, "a"), key(strings.Repeat("x", 1<<20), true, "a"),
	} {
		require.Regexp(t, "^sha256:[0-9a-f]{64}$", k)
		require.False(t, seen[k])
		seen[k] = true
	}
	require.Equal(t, key("evt.1", true, "a"), key("evt.1", true, "b"))

	// Ids that Standard verifies and hookpost would not sign.
	for _, id := range []string{"evt:42", "acct_1/evt_2", "evt 1", "sha256:" + strings.Repeat("0", 64), strings.Repeat("x", 80), strings.Repeat("~", 256)} {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {"1700000000"}}
		mac := hmac.New(sha256.New, must(base64.StdEncoding.DecodeString(testSecret[6:])))
		mac.Write([]byte(id + ".1700000000.{}"))
		h.Set("Webhook-Signature", "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
		e, err := newVerifier(t, nil).ConstructEvent([]byte("{}"), h)
		require.NoError(t, err)
		require.Equal(t, id, e.ID)
		k := verifier.DedupeKey(e)
		require.Regexp(t, "^sha256:[0-9a-f]{64}$", k)
		require.NotEqual(t, id, k)
		require.False(t, seen[k])
		seen[k] = true
	}
	require.Equal(t, key("evt_1", false, "a"), key("evt_1", false, "a"))
}

// Whoever captured a request of GitHub's can send it again as an event of a type
// that is acknowledged unhandled. The genuine one is handled nevertheless.
func TestOnceUnderAnotherUnsignedType(t *testing.T) {
	v, err := verifier.New(testSecret, &verifier.Options{Scheme: signing.GitHub, Dedupe: dedupe.NewMemory(nil)})
	require.NoError(t, err)
	mux := verifier.NewMux(nil)
	handled := 0
	mux.Handle("push", func(context.Context, verifier.Event) error { handled++; return nil })
	serve := func(eventType string) {
		r := verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "72d3162e", Type: "push"}, &verifiertest.Options{Scheme: signing.GitHub})
		r.Header.Set("X-GitHub-Event", eventType)
		w := httptest.NewRecorder()
		v.Middleware(mux).ServeHTTP(w, r)
		require.Equal(t, http.StatusOK, w.Code)
	}
	serve("ping")
	require.Zero(t, handled)
	serve("push")
	serve("push")
	require.Equal(t, 1, handled)
}

func TestOnce(t *testing.T) {
	failure, broken := errors.New("out of stock"), errors.New("database is gone")
	event := verifier.Event{ID: "evt_1", Signed: signing.Coverage{ID: true}}
	for _, c := range []struct {
		name   string
		dedupe fakeDedupe
		event  verifier.Event
		handle error
		want   error
		calls  string
	}{
		{"handled", fakeDedupe{}, event, nil, nil, "claim evt_1,handle,done"},
		{"failed", fakeDedupe{}, event, failure, failure, "claim evt_1,handle,release"},
		{"known", fakeDedupe{claim: verifier.ErrDuplicate}, event, nil, verifier.ErrDuplicate, "claim evt_1"},
		{"running", fakeDedupe{claim: verifier.ErrInProgress}, event, nil, verifier.ErrInProgress, "claim evt_1"},
		{"no claim", fakeDedupe{claim: broken}, event, nil, broken, "claim evt_1"},
		{"not marked", fakeDedupe{done: broken}, event, nil, broken, "claim evt_1,handle,done"},
		{"not released", fakeDedupe{release: broken}, event, failure, failure, "claim evt_1,handle,release"},
		{"nor heard of", fakeDedupe{release: broken}, event, failure, broken, "claim evt_1,handle,release"},
		{"no id", fakeDedupe{}, verifier.Event{}, failure, failure, "handle"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := c.dedupe
			ctx, hangUp := context.WithCancel(t.Context())
			err := verifier.Once(ctx, &d, c.event, func(ctx context.Context) error {
				claim, ok := verifier.ClaimFromContext(ctx)
				require.Equal(t, c.event.ID != "", ok)
				require.Equal(t, ok, claim == fakeClaim{&d})
				d.calls = append(d.calls, "handle")
				hangUp()
				return c.handle
			})
			require.ErrorIs(t, err, c.want)
			require.NotErrorIs(t, err, context.Canceled, "what is settled does not depend on the sender")
			require.Equal(t, c.calls, strings.Join(d.calls, ","))
		})
	}
	d := fakeDedupe{}
	require.PanicsWithValue(t, failure, func() {
		_ = verifier.Once(t.Context(), &d, event, func(context.Context) error { panic(failure) })
	})
	require.Equal(t, []string{"claim evt_1", "release"}, d.calls)
}

func TestMiddlewareOnce(t *testing.T) {
	broken := errors.New("database is gone")
	answer := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	for _, c := range []struct {
		name   string
		dedupe fakeDedupe
		next   http.HandlerFunc
		status int
		body   string
		heard  error
		calls  string
	}{
		{"silent", fakeDedupe{}, func(http.ResponseWriter, *http.Request) {}, 200, "", nil, "claim evt_1,done"},
		{"204", fakeDedupe{}, answer(204), 204, "", nil, "claim evt_1,done"},
		{"200 by writing", fakeDedupe{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") }, 200, "ok", nil, "claim evt_1,done"},
		{"early hints", fakeDedupe{}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(503) }, 503, "", nil, "claim evt_1,release"},
		{"200, then 500", fakeDedupe{}, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok"); w.WriteHeader(500) }, 200, "ok", nil, "claim evt_1,done"},
		{"302", fakeDedupe{}, answer(302), 302, "", nil, "claim evt_1,release"},
		{"404", fakeDedupe{}, answer(404), 404, "", nil, "claim evt_1,release"},
		{"500, not released", fakeDedupe{release: broken}, answer(500), 500, "", broken, "claim evt_1,release"},
		{"known", fakeDedupe{claim: verifier.ErrDuplicate}, answer(500), 200, "", nil, "claim evt_1"},
		{"running", fakeDedupe{claim: fmt.Errorf("redis: %w", verifier.ErrInProgress)}, answer(200), 409, "Event is being handled\n", verifier.ErrInProgress, "claim evt_1"},
		{"no claim", fakeDedupe{claim: broken}, answer(200), 500, "Event was not handled\n", broken, "claim evt_1"},
		{"silent, not marked", fakeDedupe{done: broken}, func(http.ResponseWriter, *http.Request) {}, 500, "Event was not handled\n", broken, "claim evt_1,done"},
		{"answered, not marked", fakeDedupe{done: broken}, answer(204), 204, "", broken, "claim evt_1,done"},
	} {
		for _, answers := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, OnError answers: %t", c.name, answers), func(t *testing.T) {
				d := c.dedupe
				var heard error
				v, err := verifier.New(testSecret, &verifier.Options{Dedupe: &d, OnError: func(w http.ResponseWriter, _ *http.Request, err error) {
					heard = err
					if answers {
						http.Error(w, "mine", http.StatusTeapot)
					}
				}})
				require.NoError(t, err)
				w := httptest.NewRecorder()
				v.Middleware(c.next).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1"}, nil))
				require.ErrorIs(t, heard, c.heard)
				if answers && strings.HasPrefix(c.body, "Event ") {
					require.Equal(t, http.StatusTeapot, w.Code)
					require.Equal(t, "mine\n", w.Body.String())
				} else {
					if w.Code != 103 { // a Recorder takes the first for the last
						require.Equal(t, c.status, w.Code)
					}
					require.Equal(t, c.body, w.Body.String())
				}
				require.Equal(t, c.calls, strings.Join(d.calls, ","))
			})
		}
	}

	d := fakeDedupe{}
	v, err := verifier.New(testSecret, &verifier.Options{Dedupe: &d})
	require.NoError(t, err)
	panics := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	require.PanicsWithValue(t, http.ErrAbortHandler, func() {
		v.Middleware(panics).ServeHTTP(httptest.NewRecorder(), verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1"}, nil))
	})
	require.Equal(t, []string{"claim evt_1", "release"}, d.calls)

	// What is refused claims nothing.
	d = fakeDedupe{}
	for _, fault := range verifiertest.Faults(nil) {
		v.Middleware(panics).ServeHTTP(httptest.NewRecorder(), verifiertest.NewRequest(t, testSecret, verifier.Event{}, &verifiertest.Options{Fault: fault}))
	}
	require.Empty(t, d.calls)
}
