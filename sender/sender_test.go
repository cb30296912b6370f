package sender_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

func TestSmoke(t *testing.T) {
	var n atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { n.Add(1) }))
	defer srv.Close()
	s, err := sender.New(memory.New(), &sender.Options{HTTP: sender.HTTPOptions{Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}})
	require.NoError(t, err)
	require.NoError(t, s.Start(t.Context()))
	_, secret, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: srv.URL, EventTypes: []string{"payment.*"}})
	require.NoError(t, err)
	require.NotEmpty(t, secret.Reveal())
	for range 1000 {
		r, err := s.Send(t.Context(), sender.Event{Type: "payment.succeeded", Data: map[string]any{"a": 1}})
		require.NoError(t, err)
		require.Equal(t, 1, r.Deliveries)
	}
	require.Eventually(t, func() bool { return n.Load() == 1001 }, 5*time.Second, time.Millisecond)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	require.NoError(t, s.Stop(ctx))
	d, err := s.Deliveries(t.Context(), store.DeliveryQuery{States: []store.State{store.Delivered}, Limit: 1000})
	require.NoError(t, err)
	require.Len(t, d, 1000)
}
