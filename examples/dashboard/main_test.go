package main

import (
	"bufio"
	"context"
	"io"
	"math"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The page is there, with traffic, until the program is told to end.
func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, "127.0.0.1:0", 50, in)
		in.CloseWithError(io.EOF)
		ended <- err
	}()
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	address := regexp.MustCompile(`http://\S+`).FindString(line)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	page := func(path string) string {
		resp, err := client.Get(address + path)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode, string(body))
		return string(body)
	}
	require.Contains(t, page(""), "Add endpoint")
	require.Eventually(t, func() bool {
		log := page("live~corner-shop/deliveries?state=delivered")
		return strings.Contains(log, "checkout.session") && strings.Contains(page("live~corner-shop/endpoints"), "410 Gone")
	}, 30*time.Second, 50*time.Millisecond)
	require.Contains(t, page("test~corner-shop/endpoints"), "A laptop")
	rebound, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	require.NoError(t, err)
	rebound.Host = "rebound.example"
	resp, err := client.Do(rebound)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusForbidden, resp.StatusCode)
	cancel()
	require.NoError(t, <-ended)
}

// A rate that no clock can keep is refused.
func TestInterval(t *testing.T) {
	for _, rate := range []float64{0, -1, 1e-12, 1e12, math.NaN(), math.Inf(1)} {
		_, ok := interval(rate)
		require.False(t, ok, "%g", rate)
	}
	every, ok := interval(2)
	require.True(t, ok)
	require.Equal(t, time.Second/2, every)
}
