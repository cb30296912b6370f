package verifier_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

// An event that no handler has seen is acknowledged, and handled when it is
// sent again to a program that has a handler: however much is between the
// Middleware and the Mux.
func TestNoHandlerIsNotRemembered(t *testing.T) {
	type wrap = func(http.Handler) http.Handler
	for name, wrap := range map[string]wrap{
		"nothing between": func(next http.Handler) http.Handler { return next },
		"timeout":         func(next http.Handler) http.Handler { return http.TimeoutHandler(next, time.Minute, "late") },
		"another context": func(next http.Handler) http.Handler {
			type key struct{}
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), key{}, 1)))
			})
		},
		"another writer": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(struct{ http.ResponseWriter }{w}, r)
			})
		},
		"answers itself": func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				next.ServeHTTP(w, r)
				_, _ = io.WriteString(w, "thanks")
			})
		},
		"a ServeMux": func(next http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", next)
			return mux
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &fakeDedupe{}
			v, err := verifier.New(testSecret, &verifier.Options{Dedupe: d, OnError: func(_ http.ResponseWriter, _ *http.Request, err error) {
				t.Errorf("heard %v", err)
			}})
			require.NoError(t, err)
			mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(_ context.Context, _ verifier.Event, err error) {
				t.Errorf("heard %v", err)
			}})
			mux.Handle("payment.succeeded", func(context.Context, verifier.Event) error { return nil })
			serve := func(eventType string) {
				d.calls = nil
				w := httptest.NewRecorder()
				r := verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: eventType}, nil)
				v.Middleware(wrap(mux)).ServeHTTP(w, r)
				require.Equal(t, http.StatusOK, w.Code)
			}
			serve("payment.failed")
			require.Equal(t, []string{"claim evt_1", "release"}, d.calls)
			mux.Handle("payment.failed", func(context.Context, verifier.Event) error { return nil })
			serve("payment.failed")
			require.Equal(t, []string{"claim evt_1", "done"}, d.calls)
		})
	}
}

// Of several Muxes behind one Middleware, one that has a handler is enough.
func TestNoHandlerInOneOfTwo(t *testing.T) {
	for _, order := range [][]string{{"handles", "doesn't"}, {"doesn't", "handles"}, {"doesn't", "doesn't"}} {
		d := &fakeDedupe{}
		v, err := verifier.New(testSecret, &verifier.Options{Dedupe: d})
		require.NoError(t, err)
		handler := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, what := range order {
				mux := verifier.NewMux(nil)
				if what == "handles" {
					mux.Handle("push", func(context.Context, verifier.Event) error { return nil })
				}
				mux.ServeHTTP(w, r)
			}
		}))
		handler.ServeHTTP(httptest.NewRecorder(), verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: "push"}, nil))
		want := "claim evt_1,done"
		if order[1] == order[0] {
			want = "claim evt_1,release"
		}
		require.Equal(t, want, strings.Join(d.calls, ","), order)
	}
}

// A handler may be another Mux's Dispatch.
func TestNoHandlerInside(t *testing.T) {
	for _, wrapped := range []bool{false, true} {
		d := &fakeDedupe{}
		v, err := verifier.New(testSecret, &verifier.Options{Dedupe: d})
		require.NoError(t, err)
		inner, outer := verifier.NewMux(nil), verifier.NewMux(nil)
		outer.Handle("*", func(ctx context.Context, e verifier.Event) error {
			err := inner.Dispatch(ctx, e)
			if wrapped && err != nil {
				return fmt.Errorf("shop: %w", err)
			}
			return err
		})
		w := httptest.NewRecorder()
		v.Middleware(outer).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: "push"}, nil))
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, []string{"claim evt_1", "release"}, d.calls)
	}
}

// A Mux may be behind two middlewares, of which each remembers for itself.
func TestNoHandlerBehindTwo(t *testing.T) {
	for _, handled := range []bool{false, true} {
		d := &fakeDedupe{}
		first, err := verifier.New(testSecret, &verifier.Options{Dedupe: d})
		require.NoError(t, err)
		second, err := verifier.New(testSecret, nil)
		require.NoError(t, err)
		mux := verifier.NewMux(nil)
		last := "release"
		if handled {
			mux.Handle("push", func(context.Context, verifier.Event) error { return nil })
			last = "done"
		}
		w := httptest.NewRecorder()
		first.Middleware(second.Middleware(mux)).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: "push"}, nil))
		require.Equal(t, http.StatusOK, w.Code)
		require.Equal(t, []string{"claim evt_1", last}, d.calls)
	}
}

// What is handled in several places has failed if one of them has, whatever the others
// say.
func TestNoHandlerBesideFailure(t *testing.T) {
	broken := errors.New("database is gone")
	for _, c := range []struct {
		err    error
		status int
		marked bool
	}{
		{errors.Join(verifier.ErrNoHandler, broken), 500, false},
		{errors.Join(broken, verifier.ErrNoHandler), 500, false},
		{errors.Join(verifier.ErrDuplicate, broken), 500, false},
		{fmt.Errorf("shop: %w", errors.Join(verifier.ErrDuplicate, broken)), 500, false},
		{fmt.Errorf("%w: %w", verifier.ErrNoHandler, broken), 500, false},
		{errors.Join(verifier.ErrNoHandler, verifier.ErrInProgress), 409, false},
		{errors.Join(verifier.ErrDuplicate, verifier.ErrNoHandler), 200, false},
		{errors.Join(verifier.ErrNoHandler, fmt.Errorf("shop: %w", verifier.ErrNoHandler)), 200, false},
		{errors.Join(fmt.Errorf("shop: %w", verifier.ErrDuplicate), nil), 200, true},
	} {
		d := &fakeDedupe{}
		v, err := verifier.New(testSecret, &verifier.Options{Dedupe: d})
		require.NoError(t, err)
		var heard error
		mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(_ context.Context, _ verifier.Event, err error) { heard = err }})
		mux.Handle("*", func(context.Context, verifier.Event) error { return c.err })
		w := httptest.NewRecorder()
		v.Middleware(mux).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: "push"}, nil))
		require.Equal(t, c.status, w.Code, c.err)
		require.Equal(t, c.status != 200, heard != nil, c.err)
		require.Equal(t, c.marked, d.calls[1] == "done", c.err)
	}
}

func TestNoHandlerNotReleased(t *testing.T) {
	broken := errors.New("database is gone")
	for _, answers := range []bool{false, true} {
		d := &fakeDedupe{release: broken}
		var heard error
		v, err := verifier.New(testSecret, &verifier.Options{Dedupe: d, OnError: func(w http.ResponseWriter, _ *http.Request, err error) {
			heard = err
			if answers {
				w.WriteHeader(http.StatusTeapot)
			}
		}})
		require.NoError(t, err)
		w := httptest.NewRecorder()
		v.Middleware(verifier.NewMux(nil)).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: "push"}, nil))
		require.ErrorIs(t, heard, broken)
		if answers {
			require.Equal(t, http.StatusTeapot, w.Code)
		} else {
			require.Equal(t, http.StatusOK, w.Code, "no repetition would change that nobody handles it")
		}
	}
}

// Without a Mux's word, the status counts: an event that the application has
// acknowledged is handled.
func TestOtherHandlersAreJudgedByStatus(t *testing.T) {
	d := &fakeDedupe{}
	v, err := verifier.New(testSecret, &verifier.Options{Dedupe: d})
	require.NoError(t, err)
	mux := verifier.NewMux(nil)
	handler := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, _ := verifier.FromContext(r.Context())
		require.ErrorIs(t, mux.Dispatch(r.Context(), e), verifier.ErrNoHandler)
		w.WriteHeader(http.StatusAccepted)
	}))
	handler.ServeHTTP(httptest.NewRecorder(), verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: "push"}, nil))
	require.Equal(t, []string{"claim evt_1", "done"}, d.calls)
}

// In a queue: Once forgets an event without a handler, and says so.
func TestOnceNoHandler(t *testing.T) {
	seen, mux := dedupe.NewMemory(nil), verifier.NewMux(nil)
	event := verifier.Event{ID: "evt_1", Type: "push", Signed: signing.Coverage{ID: true}}
	once := func() error {
		return verifier.Once(t.Context(), seen, event, func(ctx context.Context) error { return mux.Dispatch(ctx, event) })
	}
	require.ErrorIs(t, once(), verifier.ErrNoHandler)
	mux.Handle("push", func(context.Context, verifier.Event) error { return nil })
	require.NoError(t, once())
	require.ErrorIs(t, once(), verifier.ErrDuplicate)
}
