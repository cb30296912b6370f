package postgres_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store/postgres"
)

// Two Senders on one database, one of which only stores: every event arrives, and
// with Notify without waiting for a poll.
func TestSendersShareADatabase(t *testing.T) {
	var mu sync.Mutex
	got := make(map[string]int)
	receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		got[r.Header.Get("Webhook-Id")]++
	}))
	defer receiver.Close()

	_, pool, opts := open(t)
	opts.Notify = true
	newSender := func() (*sender.Sender, *postgres.Store) {
		st, err := postgres.New(pool, opts)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, st.Close()) })
		s, err := sender.New(st, &sender.Options{
			PlaintextSecrets: true,
			PollInterval:     time.Hour,
			HTTP:             sender.HTTPOptions{Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}},
		})
		require.NoError(t, err)
		return s, st
	}
	works, st := newSender()
	stores, _ := newSender()
	require.NoError(t, works.Start(t.Context()))
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
		defer cancel()
		require.NoError(t, works.Stop(ctx))
	}()
	_, _, err := works.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: receiver.URL, EventTypes: []string{"*"}, NoTestEvent: true})
	require.NoError(t, err)
	sent := make(map[string]int)
	for i := range 200 {
		receipt, err := stores.Send(t.Context(), sender.Event{Type: "a.b", Data: fmt.Sprint(i)})
		require.NoError(t, err)
		sent[receipt.ID] = 1
	}
	tx, err := pool.Begin(t.Context())
	require.NoError(t, err)
	receipt, err := works.SendTx(t.Context(), st.Tx(tx), sender.Event{Type: "a.b", Data: "in a transaction"})
	require.NoError(t, err)
	sent[receipt.ID] = 1
	require.NoError(t, tx.Commit(t.Context()))
	works.Wake()
	require.Eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(got) == len(sent)
	}, 30*time.Second, 5*time.Millisecond)
	require.Equal(t, sent, got)
}
