package sendertest_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
)

func post(t *testing.T, rt http.RoundTripper, url, body string) (*http.Response, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("X-Test", "1")
	return rt.RoundTrip(req)
}

func TestReceiver(t *testing.T) {
	r := sendertest.NewReceiver(t,
		sendertest.Answer{Status: 503, Body: "busy", Header: http.Header{"Retry-After": {"1"}}},
		sendertest.Answer{Fault: sendertest.Close},
		sendertest.Answer{Fault: sendertest.Reset},
		sendertest.Answer{Delay: time.Millisecond},
	)
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := post(t, tr, r.URL()+"/a?b", "one")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, "busy", string(body))
	require.Equal(t, "1", resp.Header.Get("Retry-After"))
	require.Equal(t, 503, resp.StatusCode)
	for range 2 {
		_, err = post(t, tr, r.URL(), "two")
		require.Error(t, err)
	}
	for range 2 {
		resp, err = post(t, tr, r.URL(), "three")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, 200, resp.StatusCode, "the last answer is repeated")
	}
	got := r.Wait(5)
	require.Equal(t, 5, r.Count())
	require.Equal(t, "one", string(got[0].Body))
	require.Equal(t, "/a?b", got[0].URL)
	require.Equal(t, "POST", got[0].Method)
	require.Equal(t, "1", got[0].Header.Get("X-Test"))
	require.False(t, got[0].At.IsZero())

	r.Script(sendertest.Status(204))
	resp, err = post(t, tr, r.URL(), "four")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, 204, resp.StatusCode)
}

func TestReceiverWaits(t *testing.T) {
	r := sendertest.NewReceiver(t)
	done := make(chan []sendertest.Request)
	go func() { done <- r.Wait(2) }()
	for range 2 {
		resp, err := post(t, http.DefaultTransport, r.URL(), "")
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
	}
	require.Len(t, <-done, 2)
}

func TestReceiverHangsUntilTheEnd(t *testing.T) {
	var failed chan error
	t.Run("test", func(t *testing.T) {
		r := sendertest.NewReceiver(t, sendertest.Answer{Fault: sendertest.Hang})
		failed = make(chan error, 1)
		req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, r.URL(), nil)
		require.NoError(t, err)
		go func() {
			resp, err := (&http.Transport{}).RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			failed <- err
		}()
		r.Wait(1)
	})
	require.Error(t, <-failed)
}

func TestTLSReceiver(t *testing.T) {
	r := sendertest.NewTLSReceiver(t)
	resp, err := post(t, &http.Transport{TLSClientConfig: &tls.Config{RootCAs: r.RootCAs(), MinVersion: tls.VersionTLS12}}, r.URL(), "x")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	_, err = post(t, &http.Transport{}, r.URL(), "x")
	require.Error(t, err)
	require.Equal(t, 1, r.Count())
}

func TestTransport(t *testing.T) {
	tr := sendertest.NewTransport(
		sendertest.Answer{Delay: time.Hour, Body: "late"},
		sendertest.Answer{Fault: sendertest.Close},
		sendertest.Answer{Fault: sendertest.Reset},
		sendertest.Answer{Fault: sendertest.Hang},
	)
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		resp, err := post(t, tr.Wrap(nil), "https://example.com/x", "one")
		require.NoError(t, err)
		require.Equal(t, time.Hour, time.Since(start))
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "late", string(body))
		_, err = post(t, tr, "https://example.com", "two")
		require.ErrorIs(t, err, io.EOF)
		_, err = post(t, tr, "https://example.com", "three")
		require.Error(t, err)

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://example.com", nil)
		require.NoError(t, err)
		_, err = tr.RoundTrip(req)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = tr.RoundTrip(req)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
	require.Equal(t, 4, tr.Count(), "a request that is over before it starts doesn't arrive")
	require.Equal(t, "https://example.com/x", tr.Requests()[0].URL)
	require.Equal(t, "one", string(tr.Requests()[0].Body))
}
