package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// named gives connections a name that waiting finds them by.
func named(name string) func(*pgxpool.Config) {
	return func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["application_name"] = name }
}

// waiting returns when a connection of that name waits for a lock.
func waiting(t *testing.T, name string) {
	t.Helper()
	pool := server.Pool(t)
	require.Eventually(t, func() bool {
		n := 0
		err := pool.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", name).Scan(&n)
		return err == nil && n > 0
	}, 30*time.Second, time.Millisecond)
}

// What is erased while a step of recovering waits for it is passed over.
func TestRecoverBesideErase(t *testing.T) {
	st, pool, _ := open(t, named(t.Name()))
	ep := endpoint(t, st, "ep_1")
	_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, "evt_", 2, ep)})
	require.NoError(t, err)
	c, err := st.Claim(t.Context(), store.ClaimParams{Lease: time.Minute, Limit: 2, DefaultRoom: 2})
	require.NoError(t, err)
	for _, d := range c.Deliveries {
		_, err = st.Settle(t.Context(), []store.Settlement{{ID: d.ID, Token: d.Token, Verdict: store.Exhaust}})
		require.NoError(t, err)
	}
	tx := begin(t, pool, "")
	_, err = st.Tx(tx).Erase(t.Context(), scope, store.EraseParams{EventID: "evt_1"})
	require.NoError(t, err)

	var out store.Recovered
	done := make(chan error, 1)
	go func() {
		out, err = st.Recover(context.WithoutCancel(t.Context()), scope, store.RecoverParams{})
		done <- err
	}()
	waiting(t, t.Name())
	require.NoError(t, tx.Commit(t.Context()))
	require.NoError(t, <-done)
	require.Equal(t, 1, out.Replayed)
	ds, err := st.Deliveries(t.Context(), scope, store.DeliveryQuery{States: []store.State{store.Pending}})
	require.NoError(t, err)
	require.Len(t, ds, 1)
	require.Equal(t, "evt_0", ds[0].EventID)
}
