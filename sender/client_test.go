package sender

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

func testTarget(tb testing.TB) Target {
	tb.Helper()
	secret, err := signing.ParseSecret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	require.NoError(tb, err)
	return Target{URL: "https://example.com/webhooks", Secrets: []signing.Secret{secret}}
}

func testClient(tb testing.TB, tr *sendertest.Transport, o ClientOptions) *Client {
	tb.Helper()
	o.HTTP.WrapTransport = tr.Wrap
	c, err := NewClient(&o)
	require.NoError(tb, err)
	return c
}

// starts returns when each request was made, relative to the first.
func starts(requests []sendertest.Request) []time.Duration {
	out := make([]time.Duration, len(requests))
	for i, r := range requests {
		out[i] = r.At.Sub(requests[0].At)
	}
	return out
}

// TestDefaultSchedule is the documented table: 5 min, 30 min, 2 h, 5 h, 10 h after
// the attempt before, then every 10 h, given up after 72 h.
func TestDefaultSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := sendertest.NewTransport(sendertest.Status(500))
		c := testClient(t, tr, ClientOptions{})
		attempts, err := c.Deliver(t.Context(), testTarget(t), Event{Type: "a.b", Data: 1})
		require.ErrorIs(t, err, ErrExhausted)
		require.NotErrorIs(t, err, ErrGone)
		var failed *AttemptError
		require.ErrorAs(t, err, &failed)
		require.Equal(t, 500, failed.Attempt.Status)

		want := []time.Duration{0}
		for _, delay := range []time.Duration{
			5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
			10 * time.Hour, 10 * time.Hour, 10 * time.Hour, 10 * time.Hour, 10 * time.Hour,
		} {
			want = append(want, want[len(want)-1]+delay)
		}
		require.Equal(t, want, starts(tr.Requests()))
		require.Equal(t, 67*time.Hour+35*time.Minute, want[len(want)-1])
		require.Len(t, attempts, len(want))

		first := tr.Requests()[0]
		for i, r := range tr.Requests() {
			require.Equal(t, i+1, attempts[i].N)
			require.Equal(t, first.Body, r.Body)
			require.Equal(t, first.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Id"), "the id stays")
			if i > 0 {
				require.NotEqual(t, first.Header.Get("Webhook-Signature"), r.Header.Get("Webhook-Signature"), "signed afresh")
			}
			m, err := testKeys(t)[0].Verify(r.Header, r.Body, r.At, signing.Limits{})
			require.NoError(t, err)
			require.WithinDuration(t, r.At, m.Timestamp, time.Second)
		}
	})
}

// TestDelaysFollowTheEnd shows that a delay counts from the previous attempt's end.
func TestDelaysFollowTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := sendertest.NewTransport(sendertest.Answer{Fault: sendertest.Hang}, sendertest.Answer{Delay: 3 * time.Second, Status: 500}, sendertest.Status(204))
		attempts, err := testClient(t, tr, ClientOptions{}).Deliver(t.Context(), testTarget(t), Event{Type: "a.b"})
		require.NoError(t, err)
		require.Len(t, attempts, 3)
		require.Equal(t, []time.Duration{0, 5*time.Minute + 10*time.Second, 35*time.Minute + 13*time.Second}, starts(tr.Requests()))
		require.Equal(t, []string{ClassTimeout, ClassStatus, ""}, []string{attempts[0].Class, attempts[1].Class, attempts[2].Class})
		require.Equal(t, store.AttemptDelivered, attempts[2].Outcome)
	})
}

func TestDeliverRetryAfter(t *testing.T) {
	busy := func(value string) sendertest.Answer {
		return sendertest.Answer{Status: 503, Header: http.Header{"Retry-After": {value}}}
	}
	for name, tc := range map[string]struct {
		schedule retry.Schedule
		answer   sendertest.Answer
		want     time.Duration
	}{
		"longer":         {nil, busy("3600"), time.Hour},
		"never earlier":  {nil, busy("60"), 5 * time.Minute},
		"up to the end":  {nil, busy("9999999"), 72 * time.Hour},
		"not understood": {nil, busy("soon"), 5 * time.Minute},
		"not on 500":     {nil, sendertest.Answer{Status: 500, Header: http.Header{"Retry-After": {"3600"}}}, 5 * time.Minute},
		"own schedule":   {retry.Steps(time.Second), busy("10"), 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				tr := sendertest.NewTransport(tc.answer, sendertest.Status(200))
				_, err := testClient(t, tr, ClientOptions{Schedule: tc.schedule}).Deliver(t.Context(), testTarget(t), Event{Type: "a.b"})
				require.NoError(t, err)
				require.Equal(t, []time.Duration{0, tc.want}, starts(tr.Requests()))
			})
		})
	}
}

func TestDeliverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := sendertest.NewTransport(sendertest.Status(500), sendertest.Status(410))
		attempts, err := testClient(t, tr, ClientOptions{}).Deliver(t.Context(), testTarget(t), Event{Type: "a.b"})
		require.ErrorIs(t, err, ErrGone)
		require.Len(t, attempts, 2)

		tr = sendertest.NewTransport(sendertest.Status(500))
		attempts, err = testClient(t, tr, ClientOptions{Schedule: retry.None}).Deliver(t.Context(), testTarget(t), Event{Type: "a.b"})
		require.ErrorIs(t, err, ErrExhausted)
		require.Len(t, attempts, 1)

		attempts, err = testClient(t, tr, ClientOptions{GiveUpAfter: time.Hour}).Deliver(t.Context(), testTarget(t), Event{Type: "a.b"})
		require.ErrorIs(t, err, ErrExhausted)
		require.Len(t, attempts, 3, "after 5 and 35 minutes; 2 h 35 min is too late")

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		attempts, err = testClient(t, tr, ClientOptions{}).Deliver(ctx, testTarget(t), Event{Type: "a.b"})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Len(t, attempts, 1)

		hanging := sendertest.NewTransport(sendertest.Answer{Fault: sendertest.Hang})
		why := errors.New("shutting down")
		because, stop := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { stop(why) })
		attempts, err = testClient(t, hanging, ClientOptions{}).Deliver(because, testTarget(t), Event{Type: "a.b"})
		require.ErrorIs(t, err, why)
		require.Len(t, attempts, 1)
		require.Equal(t, ClassCancelled, attempts[0].Class)
	})
}

func TestClientAttempt(t *testing.T) {
	receiver := sendertest.NewReceiver(t, sendertest.Status(201), sendertest.Answer{Status: 429, Header: http.Header{"Retry-After": {"7"}}})
	c, err := NewClient(&ClientOptions{HTTP: HTTPOptions{Egress: Egress{Allow: sendertest.Loopback()}}})
	require.NoError(t, err)
	defer c.CloseIdleConnections()
	target := testTarget(t)
	target.URL = receiver.URL()

	attempt, err := c.Attempt(t.Context(), target, Event{ID: "evt_9", Type: "a.b", Data: []byte(`{"n":1}`)})
	require.NoError(t, err)
	require.Equal(t, 201, attempt.Status)
	require.Equal(t, 1, attempt.N)
	require.Equal(t, "evt_9", receiver.Wait(1)[0].Header.Get("Webhook-Id"))

	attempt, err = c.Attempt(t.Context(), target, Event{Type: "a.b"})
	var failed *AttemptError
	require.ErrorAs(t, err, &failed)
	require.Equal(t, attempt, failed.Attempt)
	require.Equal(t, 7*time.Second, failed.RetryAfter)
	require.EqualError(t, err, "sender: attempt failed (status): the receiver answered 429 Too Many Requests")

	c, err = NewClient(nil)
	require.NoError(t, err)
	attempt, err = c.Attempt(t.Context(), target, Event{Type: "a.b"})
	require.Error(t, err)
	require.Equal(t, ClassBlocked, attempt.Class, "loopback is denied by default")
	require.Equal(t, 2, receiver.Count())
}

func TestClientRefuses(t *testing.T) {
	tr := sendertest.NewTransport()
	c := testClient(t, tr, ClientOptions{RequireHTTPS: true, MaxEnvelope: 200})
	good := testTarget(t)
	opaque, err := signing.ParseSecret("not base64!")
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		target Target
		event  Event
		want   error
	}{
		"no url":        {Target{Secrets: good.Secrets}, Event{Type: "a"}, ErrInvalidURL},
		"http":          {Target{URL: "http://example.com", Secrets: good.Secrets}, Event{Type: "a"}, ErrInvalidURL},
		"no secret":     {Target{URL: good.URL}, Event{Type: "a"}, signing.ErrBadSecret},
		"opaque secret": {Target{URL: good.URL, Secrets: []signing.Secret{opaque}}, Event{Type: "a"}, signing.ErrBadSecret},
		"nil scheme":    {Target{URL: good.URL, Secrets: good.Secrets, Schemes: []signing.Scheme{nil}}, Event{Type: "a"}, ErrInvalidOptions},
		"no type":       {good, Event{}, ErrInvalidEvent},
		"reserved":      {good, Event{Type: "webhook.test"}, ErrInvalidEvent},
		"too large":     {good, Event{Type: "a", Data: make([]int, 200)}, ErrInvalidEvent},
	} {
		_, err := c.Attempt(t.Context(), tc.target, tc.event)
		require.ErrorIs(t, err, tc.want, name)
		attempts, err := c.Deliver(t.Context(), tc.target, tc.event)
		require.ErrorIs(t, err, tc.want, name)
		require.Empty(t, attempts)
	}
	require.Zero(t, tr.Count())

	for _, o := range []ClientOptions{{GiveUpAfter: -1}, {GiveUpAfter: 31 * 24 * time.Hour}, {HTTP: HTTPOptions{Timeout: -1}}} {
		_, err := NewClient(&o)
		require.ErrorIs(t, err, ErrInvalidOptions)
	}
}

func TestClientClock(t *testing.T) {
	tr := sendertest.NewTransport()
	c := testClient(t, tr, ClientOptions{Now: func() time.Time { return testNow }, Schemes: []signing.Scheme{signing.Timestamped("X-Xtopay-Signature")}})
	attempt, err := c.Attempt(t.Context(), testTarget(t), Event{ID: "evt_1", Type: "a"})
	require.NoError(t, err)
	require.Equal(t, testNow, attempt.StartedAt)
	got := tr.Requests()[0]
	require.Equal(t, `{"id":"evt_1","type":"a","created_at":"2026-05-24T10:02:14.000000Z","data":null}`, string(got.Body))
	require.Regexp(t, `^t=1779616934,v1=[0-9a-f]{64}$`, got.Header.Get("X-Xtopay-Signature"))
}

// A receiver that echoes what it knows tells nobody the secret, and no error shows what
// stands in the URL's query.
func TestClientRedacts(t *testing.T) {
	const text = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	secret, err := signing.ParseSecret(text)
	require.NoError(t, err)
	old, err := signing.ParseSecret("whsec_" + strings.Repeat("B", 32))
	require.NoError(t, err)
	echo := sendertest.Answer{Status: 500, Body: `{"secret":"` + text + `","old":"` + strings.Repeat("B", 32) + `"}`, Header: http.Header{"X-Echo": {text}}}
	target := Target{URL: "https://example.com/hooks?token=hunter2", Secrets: []signing.Secret{secret, old}}
	client := testClient(t, sendertest.NewTransport(echo), ClientOptions{Schedule: retry.None})
	one, failed := client.Attempt(t.Context(), target, Event{Type: "a.b"})
	all, exhausted := client.Deliver(t.Context(), target, Event{Type: "a.b"})
	require.Len(t, all, 1)
	for _, a := range []store.Attempt{one, all[0]} {
		require.Equal(t, `{"secret":"***","old":"***"}`, string(a.ResponseBody))
		require.Equal(t, "X-Echo: ***\r\n", string(a.ResponseHeader))
	}

	var attempt *AttemptError
	require.ErrorAs(t, failed, &attempt)
	errs := []error{failed, exhausted}
	for _, raw := range []string{
		"https://u:hunter2@example.com/", "https://example.com/#hunter2", "https://example.com:99999/?t=hunter2", "https://10.0.0.1/?t=hunter2",
		"ftp://example.com/?t=hunter2", "https://exa mple.com/?t=hunter2", "https://example.com/%zz?t=hunter2", "//example.com/?t=hunter2", "example.com/?hunter2",
		"https://[::1/?t=hunter2", "https:///?hunter2", "https://example.com/?t=hunter2\n", "https://" + strings.Repeat("a", 3000) + "/?hunter2",
	} {
		_, err := client.Attempt(t.Context(), Target{URL: raw, Secrets: target.Secrets}, Event{Type: "a.b"})
		require.Error(t, err, raw)
		errs = append(errs, err)
	}
	for _, v := range []any{failed, exhausted, *attempt, []any{*attempt}, struct{ E error }{failed}, map[string]any{"e": *attempt}, errors.Join(errs...), &BatchError{errs}, errs} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			text := fmt.Sprintf(verb, v)
			require.NotContains(t, text, "hunter2", verb)
			require.NotContains(t, text, fmt.Sprintf("%x", "hunter2"), verb)
		}
	}
}
