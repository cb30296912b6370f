package verifier_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

type order struct {
	Amount int `json:"amount"`
}

func TestMuxSelects(t *testing.T) {
	patterns := []string{"payment.succeeded", "payment.*", "payment.refund.*", "payment", "push", "*"}
	route := func(except string) func(eventType string) string {
		mux := verifier.NewMux(nil)
		var got string
		for _, p := range patterns {
			if p != except {
				mux.Handle(p, func(context.Context, verifier.Event) error { got = p; return nil })
			}
		}
		return func(eventType string) string {
			got = "none"
			err := mux.Dispatch(t.Context(), verifier.Event{Type: eventType})
			switch {
			case got != "none":
				require.NoError(t, err)
			case eventType == "":
				require.ErrorIs(t, err, verifier.ErrUnreadable)
			default:
				require.ErrorIs(t, err, verifier.ErrNoHandler)
				require.NotErrorIs(t, err, verifier.ErrUnreadable)
			}
			return got
		}
	}
	all, known := route(""), route("*")
	for eventType, want := range map[string]string{
		"payment.succeeded":      "payment.succeeded",
		"payment.failed":         "payment.*",
		"payment.refund.created": "payment.refund.*",
		"payment.refund":         "payment.*",
		"payment.":               "payment.*",
		"payment":                "payment",
		"push":                   "push",
		"Payment.succeeded":      "*",
		"payments.x":             "*",
		"push.x":                 "*",
		".":                      "*",
		"*":                      "*",
		"webhook.test":           "*",
		"":                       "*",
	} {
		require.Equal(t, want, all(eventType), eventType)
		if want == "*" {
			want = "none"
		}
		require.Equal(t, want, known(eventType), eventType)
	}
}

// A type is as long as its sender likes; each full stop in it could be one more
// lookup of all that is before it.
func TestMuxLongTypes(t *testing.T) {
	mux := verifier.NewMux(nil)
	handled := ""
	for i := range 20 {
		pattern := fmt.Sprintf("payment%d.*", i)
		mux.Handle(pattern, func(context.Context, verifier.Event) error { handled = pattern; return nil })
	}
	long := strings.Repeat(".", 512<<10)
	for eventType, want := range map[string]string{
		long:                      "",
		"payment1.":               "payment1.*",
		"payment1" + long:         "payment1.*",
		"payment12.refund" + long: "payment12.*",
		"payment123" + long:       "",
	} {
		handled = ""
		begun := time.Now()
		_ = mux.Dispatch(t.Context(), verifier.Event{Type: eventType})
		require.Less(t, time.Since(begun), time.Second, "a millisecond is enough")
		require.Equal(t, want, handled)
	}
}

func TestMuxRegistration(t *testing.T) {
	handle := func(context.Context, verifier.Event) error { return nil }
	for _, pattern := range []string{"", ".*", "payment*", "*.succeeded", "**", "a.*.*", "a.*.b"} {
		require.Panics(t, func() { verifier.NewMux(nil).Handle(pattern, handle) }, pattern)
	}
	mux := verifier.NewMux(nil)
	for _, pattern := range []string{"*", "a.*", "a", "checkout/session:created"} {
		mux.Handle(pattern, handle)
		require.PanicsWithValue(t, "verifier: pattern \""+pattern+"\" is registered twice", func() { mux.Handle(pattern, handle) })
	}
	require.Panics(t, func() { mux.Handle("b", nil) })
	require.Panics(t, func() { verifier.On[order](mux, "b", nil) })
}

func TestMuxServes(t *testing.T) {
	v, err := verifier.New(testSecret, nil)
	require.NoError(t, err)
	var failed error
	mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(_ context.Context, e verifier.Event, err error) {
		require.NotEmpty(t, e.Type)
		failed = err
	}})
	var got []order
	failure := errors.New("out of stock")
	verifier.On(mux, "order.placed", func(_ context.Context, e verifier.Event, o order) error {
		require.Equal(t, "evt_test", e.ID)
		got = append(got, o)
		return nil
	})
	verifier.On(mux, "order.failing", func(context.Context, verifier.Event, order) error { return failure })
	verifier.On(mux, "order.panicking", func(context.Context, verifier.Event, order) error { panic(failure) })
	verifier.On(mux, "order.raw", func(_ context.Context, _ verifier.Event, raw json.RawMessage) error {
		require.JSONEq(t, `"text"`, string(raw))
		return nil
	})
	verifier.On(mux, "order.busy", func(context.Context, verifier.Event, order) error { return verifier.ErrInProgress })
	verifier.On(mux, "order.known", func(context.Context, verifier.Event, order) error { return verifier.ErrDuplicate })
	handler := v.Middleware(mux)
	for _, c := range []struct {
		eventType, data string
		status          int
		want            error
	}{
		{"order.placed", `{"amount":5,"new":true}`, 200, nil},
		{"order.placed", `{"amount":"5"}`, 500, verifier.ErrDecode},
		{"order.placed", `[]`, 500, verifier.ErrDecode},
		{"order.placed", `null`, 200, nil},
		{"order.failing", `{}`, 500, failure},
		{"order.raw", `"text"`, 200, nil},
		{"order.busy", `{}`, 409, verifier.ErrInProgress},
		{"order.known", `{}`, 200, nil},
		{"order.new", `"anything"`, 200, nil},
		{"webhook.test", `{}`, 200, nil},
	} {
		failed = nil
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{Type: c.eventType, Data: []byte(c.data)}, nil))
		require.Equal(t, c.status, w.Code, "%s %s", c.eventType, c.data)
		require.ErrorIs(t, failed, c.want)
		require.NotContains(t, w.Body.String(), "stock", "the cause is not for the sender")
	}
	require.Equal(t, []order{{5}, {}}, got)

	typeError := (*json.UnmarshalTypeError)(nil)
	err = mux.Dispatch(t.Context(), verifier.Event{Type: "order.placed", Data: []byte(`{"amount":"5"}`)})
	require.ErrorAs(t, err, &typeError)

	require.PanicsWithValue(t, failure, func() {
		handler.ServeHTTP(httptest.NewRecorder(), verifiertest.NewRequest(t, testSecret, verifier.Event{Type: "order.panicking"}, nil))
	})
}

// Without an envelope the type is the header's and the data the whole body.
func TestMuxGitHub(t *testing.T) {
	v, err := verifier.New(testSecret, &verifier.Options{Scheme: signing.GitHub})
	require.NoError(t, err)
	mux := verifier.NewMux(nil)
	var got string
	verifier.On(mux, "push", func(_ context.Context, e verifier.Event, push struct{ Ref string }) error {
		require.Equal(t, signing.Coverage{}, e.Signed)
		require.Equal(t, "72d3162e", e.ID)
		require.Nil(t, e.Data)
		got = push.Ref
		return nil
	})
	push := verifier.Event{ID: "72d3162e", Type: "push", Body: []byte(`{"ref":"refs/heads/main","created":false}`)}
	w := httptest.NewRecorder()
	v.Middleware(mux).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, push, &verifiertest.Options{Scheme: signing.GitHub}))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "refs/heads/main", got)
}

// GitHub's default content type: the JSON in a field of a form.
func TestMuxGitHubForm(t *testing.T) {
	const pushed = `{"ref":"refs/heads/main","created":false}`
	for name, c := range map[string]struct {
		body   string
		data   string // "": none
		status int
		heard  error
	}{
		"as GitHub sends it": {"payload=" + url.QueryEscape(pushed), pushed, 200, nil},
		"byte order mark":    {"payload=" + url.QueryEscape("\ufeff"+pushed), pushed, 200, nil},
		"null":               {"payload=null", "null", 200, nil},
		"a list":             {"payload=%5B%5D", "[]", 500, verifier.ErrDecode},
		"not JSON":           {"payload=push", "", 500, verifier.ErrDecode},
		"nothing":            {"payload=", "", 500, verifier.ErrDecode},
		"JSON cut off":       {"payload=" + url.QueryEscape(pushed[:20]), "", 500, verifier.ErrDecode},
		"two fields":         {"payload=1&payload=2", "", 400, signing.ErrMalformed},
		"bad escape":         {"payload=%7", "", 400, signing.ErrMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			var heard error
			v, err := verifier.New(testSecret, &verifier.Options{Scheme: signing.GitHub, OnError: func(_ http.ResponseWriter, _ *http.Request, err error) { heard = err }})
			require.NoError(t, err)
			mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(_ context.Context, _ verifier.Event, err error) { heard = err }})
			verifier.On(mux, "push", func(context.Context, verifier.Event, struct{ Ref string }) error { return nil })
			serve := func(next http.Handler) int {
				r := verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "72d3162e", Type: "push", Body: []byte(c.body)}, &verifiertest.Options{Scheme: signing.GitHub})
				w := httptest.NewRecorder()
				v.Middleware(next).ServeHTTP(w, r)
				return w.Code
			}
			require.Equal(t, c.status, serve(mux))
			require.ErrorIs(t, heard, c.heard)
			serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				e, _ := verifier.FromContext(r.Context())
				require.Equal(t, "push", e.Type)
				require.Equal(t, signing.Coverage{}, e.Signed)
				require.Equal(t, c.body, string(e.Body))
				require.Equal(t, c.data == "", e.Data == nil)
				require.Equal(t, c.data, string(e.Data))
				read, err := io.ReadAll(r.Body)
				require.NoError(t, err)
				require.Equal(t, c.body, string(read))
				_, err = json.Marshal(e)
				require.NoError(t, err)
			}))
		})
	}
}

// An envelope in a form is one, as it is without.
func TestEnvelopeInForm(t *testing.T) {
	v := newVerifier(t, &verifier.Options{Scheme: signing.GitHub})
	body := "payload=" + url.QueryEscape(paymentBody)
	e, err := v.ConstructEvent([]byte(body), sign(t, signing.GitHub, "72d3162e", body))
	require.NoError(t, err)
	require.Equal(t, "evt_a1b2c3d4", e.ID)
	require.Equal(t, "payment.succeeded", e.Type)
	require.Equal(t, signing.Coverage{ID: true, Type: true}, e.Signed)
	require.JSONEq(t, `{"id":"pay_xyz789","amount":5000}`, string(e.Data))
	require.Equal(t, body, string(e.Body))
}

// An envelope is signed, and counts more than an unsigned header.
func TestEnvelopeBeforeUnsignedHeader(t *testing.T) {
	h := sign(t, signing.GitHub, "72d3162e", paymentBody)
	h.Set("X-GitHub-Event", "refund")
	v := newVerifier(t, &verifier.Options{Scheme: signing.GitHub})
	e, err := v.ConstructEvent([]byte(paymentBody), h)
	require.NoError(t, err)
	require.Equal(t, "evt_a1b2c3d4", e.ID)
	require.Equal(t, "payment.succeeded", e.Type)
	require.Equal(t, signing.Coverage{ID: true, Type: true}, e.Signed)
}

func TestMuxWithoutMiddleware(t *testing.T) {
	var cause error
	mux := verifier.NewMux(&verifier.MuxOptions{OnError: func(_ context.Context, _ verifier.Event, err error) { cause = err }})
	mux.Handle("*", func(context.Context, verifier.Event) error { t.Error("unverified"); return nil })
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{}, nil))
	require.Equal(t, http.StatusInternalServerError, w.Code)
	require.ErrorContains(t, cause, "Verifier.Middleware")
}

func TestMuxLogs(t *testing.T) {
	var log bytes.Buffer
	before := slog.Default()
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	t.Cleanup(func() { slog.SetDefault(before) })
	v, err := verifier.New(testSecret, nil)
	require.NoError(t, err)
	mux := verifier.NewMux(nil)
	mux.Handle("*", func(context.Context, verifier.Event) error { return errors.New("out of stock") })
	v.Middleware(mux).ServeHTTP(httptest.NewRecorder(), verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_7", Type: "push"}, nil))
	require.Contains(t, log.String(), `msg="webhook not handled" id=evt_7 type=push error="out of stock"`)

	// What the sender made long does not fill the log.
	log.Reset()
	verifier.On(mux, "order", func(context.Context, verifier.Event, order) error { return nil })
	long := strings.Repeat("1", 1<<19)
	for _, body := range []string{
		`{"type":"\u0001` + long + `","data":{}}`,
		`{"type":"a","id":"é` + long + `","data":{}}`,
		`{"type":"order","data":{"amount":` + long + `}}`,
	} {
		v, err := verifier.New(testSecret, &verifier.Options{Scheme: signing.BodyHMAC("X-Signature", "", signing.Hex)})
		require.NoError(t, err)
		key := must(signing.BodyHMAC("X-Signature", "", signing.Hex).Bind(signing.MustParseSecret(testSecret)))
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body))
		key.SetHeaders(r.Header, signing.Message{Body: []byte(body)})
		w := httptest.NewRecorder()
		v.Middleware(mux).ServeHTTP(w, r)
		require.Equal(t, http.StatusInternalServerError, w.Code)
	}
	require.Equal(t, 3, strings.Count(log.String(), "webhook not handled"))
	require.Less(t, log.Len(), 3*4096)
}

// A ServeMux of the standard library with methods, wildcards and several
// middlewares around.
func TestServeMuxPatterns(t *testing.T) {
	v, err := verifier.New(testSecret, nil)
	require.NoError(t, err)
	outer := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Outer", "yes")
			next.ServeHTTP(w, r)
		})
	}
	routes := http.NewServeMux()
	routes.Handle("POST /hooks/{source}", outer(v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, _ := verifier.FromContext(r.Context())
		w.Header().Set("X-Got", r.PathValue("source")+" "+e.ID)
	}))))
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1"}, &verifiertest.Options{Target: "/hooks/stripe"}))
	require.Equal(t, http.StatusOK, w.Code)
	require.Equal(t, "stripe evt_1", w.Header().Get("X-Got"))
	require.Equal(t, "yes", w.Header().Get("X-Outer"))
	w = httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest("GET", "/hooks/stripe", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}
