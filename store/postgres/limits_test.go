package postgres_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// Ids come from addresses that anybody can write. Numbers that the columns can't
// hold name nothing, and not what is left of them in 32 bits.
func TestNumbersBeyondTheColumns(t *testing.T) {
	st, _, _ := open(t)
	ep := endpoint(t, st, "ep_1")
	_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, "evt_", 2, ep)})
	require.NoError(t, err)
	c, err := st.Claim(t.Context(), store.ClaimParams{Lease: time.Minute, Limit: 2, DefaultRoom: 2})
	require.NoError(t, err)
	d := c.Deliveries[1]
	for _, round := range []int{math.MaxInt, 1 << 32, -1 << 32, math.MinInt} {
		id := d.ID
		id.Round = round
		require.ErrorIs(t, st.Cancel(t.Context(), scope, id, "why"), store.ErrNotFound)

		page, err := st.Deliveries(t.Context(), scope, store.DeliveryQuery{Before: id})
		require.NoError(t, err)
		require.Len(t, page, map[bool]int{true: 2, false: 1}[round > 0])

		for _, verdict := range []store.Verdict{store.Deliver, store.Exhaust} {
			s := success(d)
			s.ID, s.Verdict = id, verdict
			out, err := st.Settle(t.Context(), []store.Settlement{s})
			require.NoError(t, err)
			require.Equal(t, store.Settled{}, out[0])
		}
	}
	stale := store.Settlement{ID: d.ID, Token: d.Token + 1<<32, Verdict: store.Exhaust}
	out, err := st.Settle(t.Context(), []store.Settlement{stale})
	require.NoError(t, err)
	require.False(t, out[0].Accepted)
}
