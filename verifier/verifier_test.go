package verifier_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

const testSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

var now = time.Unix(1_700_000_000, 0)

func clock() time.Time { return now }

const paymentBody = `{"id":"evt_a1b2c3d4","type":"payment.succeeded","created_at":"2026-05-24T10:02:14Z","data": {"id":"pay_xyz789", "amount":5000}}`

func sign(t testing.TB, scheme signing.Scheme, id, body string) http.Header {
	t.Helper()
	s, err := signing.ParseSecret(testSecret)
	require.NoError(t, err)
	key, err := scheme.Bind(s)
	require.NoError(t, err)
	h := http.Header{}
	key.SetHeaders(h, signing.Message{ID: id, Timestamp: now, Body: []byte(body)})
	return h
}

func newVerifier(t testing.TB, opts *verifier.Options) *verifier.Verifier {
	t.Helper()
	if opts == nil {
		opts = &verifier.Options{}
	}
	opts.Clock = clock
	v, err := verifier.New(testSecret, opts)
	require.NoError(t, err)
	return v
}

func TestNew(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		opts   *verifier.Options
		want   error
	}{
		"default":                 {testSecret, nil, nil},
		"empty":                   {"", nil, signing.ErrBadSecret},
		"line end":                {testSecret + "\n", nil, signing.ErrBadSecret},
		"not for the scheme":      {"opaque", nil, signing.ErrBadSecret},
		"for the scheme":          {"opaque", &verifier.Options{Scheme: signing.Timestamped("X-Sig")}, nil},
		"bad header":              {"opaque", &verifier.Options{Scheme: signing.Timestamped("X Sig")}, signing.ErrBadHeaderName},
		"empty previous":          {testSecret, &verifier.Options{Previous: []signing.Secret{{}}}, signing.ErrBadSecret},
		"previous not for it":     {testSecret, &verifier.Options{Previous: []signing.Secret{signing.MustParseSecret("opaque")}}, signing.ErrBadSecret},
		"too many":                {testSecret, &verifier.Options{Previous: slicesOf(signing.MustParseSecret(testSecret), 10)}, signing.ErrBadSecret},
		"as many as there can be": {testSecret, &verifier.Options{Previous: slicesOf(signing.MustParseSecret(testSecret), 9)}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := verifier.New(c.secret, c.opts)
			require.ErrorIs(t, err, c.want)
			require.Equal(t, err == nil, v != nil)
			if err != nil && c.secret != "" {
				require.NotContains(t, err.Error(), strings.TrimSpace(c.secret))
			}
			require.NotContains(t, fmt.Sprintf("%v %+v %#v", v, v, v), testSecret[6:])
		})
	}
}

func slicesOf(s signing.Secret, n int) []signing.Secret {
	return slices.Repeat([]signing.Secret{s}, n)
}

// New says which of the previous secrets is wrong.
func TestNewNamesThePreviousSecret(t *testing.T) {
	good := signing.MustParseSecret(testSecret)
	_, err := verifier.New(testSecret, &verifier.Options{Previous: []signing.Secret{good, {}}})
	require.EqualError(t, err, "verifier: Previous[1]: signing: bad secret: it is empty")
	_, err = verifier.New(testSecret, &verifier.Options{Previous: []signing.Secret{good, signing.NewSecret(), signing.NewPrivateKey()}})
	require.NoError(t, err)
}

func TestConstructEvent(t *testing.T) {
	v := newVerifier(t, nil)
	e, err := v.ConstructEvent([]byte(paymentBody), sign(t, signing.Standard, "evt_a1b2c3d4", paymentBody))
	require.NoError(t, err)
	require.Equal(t, verifier.Event{
		ID:        "evt_a1b2c3d4",
		Type:      "payment.succeeded",
		CreatedAt: time.Date(2026, 5, 24, 10, 2, 14, 0, time.UTC),
		Timestamp: now.UTC(),
		Data:      []byte(`{"id":"pay_xyz789", "amount":5000}`),
		Body:      []byte(paymentBody),
		Signed:    signing.Coverage{ID: true, Type: true, Time: true},
	}, e)

	// The signed id of the header counts, the body's may be another one.
	e, err = v.ConstructEvent([]byte(paymentBody), sign(t, signing.Standard, "msg_other", paymentBody))
	require.NoError(t, err)
	require.Equal(t, "msg_other", e.ID)

	_, err = v.ConstructEvent([]byte(paymentBody+" "), sign(t, signing.Standard, "evt_a1b2c3d4", paymentBody))
	require.ErrorIs(t, err, signing.ErrNoMatch)

	old := sign(t, signing.Standard, "evt_a1b2c3d4", paymentBody)
	rotated, err := verifier.New(signing.NewSecret().Reveal(), &verifier.Options{Previous: []signing.Secret{signing.MustParseSecret(testSecret)}, Clock: clock})
	require.NoError(t, err)
	_, err = rotated.ConstructEvent([]byte(paymentBody), old)
	require.NoError(t, err)
}

// A verifier takes one scheme, whatever else a request offers.
func TestOneScheme(t *testing.T) {
	other := sign(t, signing.Timestamped("X-Sig"), "", paymentBody)
	_, err := newVerifier(t, nil).ConstructEvent([]byte(paymentBody), other)
	require.ErrorIs(t, err, signing.ErrMissingHeader)
}

func TestLimits(t *testing.T) {
	h := sign(t, signing.Standard, "evt_1", "{}")
	h.Set("webhook-signature", "v2,x v2,x "+h.Get("webhook-signature"))
	for name, c := range map[string]struct {
		opts verifier.Options
		want error
	}{
		"default":        {verifier.Options{}, nil},
		"two signatures": {verifier.Options{MaxSignatures: 2}, signing.ErrMalformed},
		"short header":   {verifier.Options{MaxHeader: 20}, signing.ErrMalformed},
	} {
		_, err := newVerifier(t, &c.opts).ConstructEvent([]byte("{}"), h)
		require.ErrorIs(t, err, c.want, name)
	}
	late := func() time.Time { return now.Add(time.Hour) }
	for tolerance, want := range map[time.Duration]error{0: signing.ErrTooOld, time.Minute: signing.ErrTooOld, time.Hour: nil, -1: nil} {
		v, err := verifier.New(testSecret, &verifier.Options{Clock: late, Tolerance: tolerance})
		require.NoError(t, err)
		_, err = v.ConstructEvent([]byte("{}"), h)
		require.ErrorIs(t, err, want, tolerance)
	}
}

func TestConstructEventOneHeader(t *testing.T) {
	const secret = "xtopay_client_secret_example"
	r := verifiertest.NewRequest(t, secret, verifier.Event{ID: "evt_1", Type: "payment.succeeded"},
		&verifiertest.Options{Scheme: signing.Timestamped("x-xtopay-signature")})
	body, err := io.ReadAll(r.Body)
	require.NoError(t, err)
	signature := r.Header.Get("x-xtopay-signature")

	e, err := verifier.ConstructEvent(body, signature, secret)
	require.NoError(t, err)
	require.Equal(t, "evt_1", e.ID)
	require.Equal(t, "payment.succeeded", e.Type)
	require.Equal(t, signing.Coverage{ID: true, Type: true, Time: true}, e.Signed)

	for name, c := range map[string]struct {
		body              []byte
		signature, secret string
		want              error
	}{
		"body":         {append(bytes.Clone(body), ' '), signature, secret, signing.ErrNoMatch},
		"secret":       {body, signature, secret + "x", signing.ErrNoMatch},
		"empty secret": {body, signature, "", signing.ErrBadSecret},
		"no signature": {body, "", secret, signing.ErrMissingHeader},
		"spaces":       {body, " ", secret, signing.ErrMalformed},
		"nonsense":     {body, "nonsense", secret, signing.ErrMalformed},
		"old":          {body, "t=1," + strings.SplitN(signature, ",", 2)[1], secret, signing.ErrTooOld},
	} {
		e, err := verifier.ConstructEvent(c.body, c.signature, c.secret)
		require.ErrorIs(t, err, c.want, name)
		require.NotContains(t, err.Error(), "X-Signature", "a header that nobody has heard of")
		require.Zero(t, e)
	}
}

func TestMiddleware(t *testing.T) {
	v, err := verifier.New(testSecret, &verifier.Options{MaxBody: 1000})
	require.NoError(t, err)
	var got verifier.Event
	handler := v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, ok := verifier.FromContext(r.Context())
		require.True(t, ok)
		got = e
		body, err := io.ReadAll(r.Body)
		require.NoError(t, err)
		require.Equal(t, string(e.Body), string(body))
		require.EqualValues(t, len(body), r.ContentLength)
		w.WriteHeader(http.StatusNoContent)
	}))
	serve := func(r *http.Request) *httptest.ResponseRecorder {
		got = verifier.Event{}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w
	}

	w := serve(verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1", Type: "push"}, nil))
	require.Equal(t, http.StatusNoContent, w.Code)
	require.Equal(t, "push", got.Type)

	empty := verifiertest.NewRequest(t, testSecret, verifier.Event{Body: []byte{}}, nil)
	require.Equal(t, http.StatusNoContent, serve(empty).Code)
	empty = verifiertest.NewRequest(t, testSecret, verifier.Event{Body: []byte{}}, nil)
	empty.Body = nil // as in a request made by hand
	require.Equal(t, http.StatusNoContent, serve(empty).Code)

	for _, fault := range verifiertest.Faults(nil) {
		w := serve(verifiertest.NewRequest(t, testSecret, verifier.Event{}, &verifiertest.Options{Fault: fault}))
		require.Equal(t, http.StatusBadRequest, w.Code, fault)
		require.Equal(t, "Invalid signature\n", w.Body.String())
		require.Zero(t, got)
	}

	big := func() *http.Request {
		return verifiertest.NewRequest(t, testSecret, verifier.Event{Body: make([]byte, 1001)}, nil)
	}
	require.Equal(t, http.StatusRequestEntityTooLarge, serve(big()).Code)
	chunked := big()
	chunked.ContentLength = -1
	require.Equal(t, http.StatusRequestEntityTooLarge, serve(chunked).Code)
	liar := big()
	liar.ContentLength = 10
	require.Equal(t, http.StatusRequestEntityTooLarge, serve(liar).Code)
	full := verifiertest.NewRequest(t, testSecret, verifier.Event{Body: make([]byte, 1000)}, nil)
	full.ContentLength = -1
	require.Equal(t, http.StatusNoContent, serve(full).Code)

	broken := big()
	broken.ContentLength = -1
	broken.Body = io.NopCloser(iotest.ErrReader(errors.New("connection lost")))
	require.Equal(t, http.StatusBadRequest, serve(broken).Code)

	_, ok := verifier.FromContext(t.Context())
	require.False(t, ok)
}

// No limit means that: more than the default is read.
func TestMiddlewareNoLimit(t *testing.T) {
	v, err := verifier.New(testSecret, &verifier.Options{MaxBody: -1})
	require.NoError(t, err)
	w := httptest.NewRecorder()
	v.Middleware(http.NotFoundHandler()).ServeHTTP(w, verifiertest.NewRequest(t, testSecret, verifier.Event{Body: make([]byte, 2<<20)}, nil))
	require.Equal(t, http.StatusNotFound, w.Code)
}

func TestOnError(t *testing.T) {
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		code   int
		body   string
	}{
		"hears only":     {func(http.ResponseWriter) {}, 400, "Invalid signature\n"},
		"sets a header":  {func(w http.ResponseWriter) { w.Header().Set("X-A", "b") }, 400, "Invalid signature\n"},
		"answers":        {func(w http.ResponseWriter) { w.WriteHeader(401) }, 401, ""},
		"writes at once": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "no") }, 200, "no"},
	} {
		t.Run(name, func(t *testing.T) {
			var cause error
			v, err := verifier.New(testSecret, &verifier.Options{OnError: func(w http.ResponseWriter, _ *http.Request, err error) {
				cause = err
				c.answer(w)
			}})
			require.NoError(t, err)
			w := httptest.NewRecorder()
			v.Middleware(http.NotFoundHandler()).ServeHTTP(w,
				verifiertest.NewRequest(t, testSecret, verifier.Event{}, &verifiertest.Options{Fault: verifiertest.Stale}))
			require.ErrorIs(t, cause, signing.ErrTooOld)
			require.Equal(t, c.code, w.Code)
			require.Equal(t, c.body, w.Body.String())
		})
	}
}

func TestConstructEventFromRequest(t *testing.T) {
	v, err := verifier.New(testSecret, nil)
	require.NoError(t, err)
	for range 2 {
		r := verifiertest.NewRequest(t, testSecret, verifier.Event{ID: "evt_1"}, nil)
		for range 2 { // the body is there again
			e, err := v.ConstructEventFromRequest(r)
			require.NoError(t, err)
			require.Equal(t, "evt_1", e.ID)
		}
	}
	r := verifiertest.NewRequest(t, testSecret, verifier.Event{Body: make([]byte, verifier.DefaultMaxBody+1)}, nil)
	_, err = v.ConstructEventFromRequest(r)
	require.ErrorIs(t, err, verifier.ErrBodyTooLarge)
}

// Over a real connection, with headers as a server sees them.
func TestMiddlewareServed(t *testing.T) {
	v, err := verifier.New(testSecret, nil)
	require.NoError(t, err)
	srv := httptest.NewServer(v.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e, _ := verifier.FromContext(r.Context())
		_, _ = io.WriteString(w, e.ID)
	})))
	defer srv.Close()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			id := fmt.Sprintf("evt_%d", i)
			r := verifiertest.NewRequest(t, testSecret, verifier.Event{ID: id}, &verifiertest.Options{Target: srv.URL})
			r.RequestURI = ""
			res, err := srv.Client().Do(r)
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = res.Body.Close() }()
			body, err := io.ReadAll(res.Body)
			if err != nil || string(body) != id || res.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %q %v", id, res.StatusCode, body, err)
			}
		})
	}
	wg.Wait()
}
