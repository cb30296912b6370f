package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// What somebody else holds, be it a machine that has died in the middle of a change,
// holds up the results that would change it and no other.
func TestSettleBesideHeldRows(t *testing.T) {
	failure := func(c store.Claimed) store.Settlement {
		s := success(c)
		s.Verdict, s.Delay, s.Attempt.Outcome, s.Attempt.Status = store.Retry, time.Hour, store.AttemptFailed, 500
		return s
	}
	gone := func(c store.Claimed) store.Settlement {
		s := failure(c)
		s.Verdict, s.DisableVersion, s.Attempt.Status = store.Exhaust, 1, 410
		return s
	}
	for _, tc := range []struct {
		name   string
		hold   string // run in a transaction that stays open
		report []func(store.Claimed) store.Settlement
		failed bool // the first endpoint fails before
		busy   []bool
	}{
		{
			"an endpoint whose success is news to nobody", "UPDATE %s.lane SET version = version WHERE endpoint = %d",
			[]func(store.Claimed) store.Settlement{success, success},
			false,
			[]bool{false, false},
		},
		{
			"an endpoint that fails", "UPDATE %s.lane SET version = version WHERE endpoint = %d",
			[]func(store.Claimed) store.Settlement{failure, failure},
			false,
			[]bool{true, false},
		},
		{
			"a failing endpoint that recovers", "UPDATE %s.lane SET version = version WHERE endpoint = %d",
			[]func(store.Claimed) store.Settlement{success, success},
			true,
			[]bool{true, false},
		},
		{
			"a delivery and its success", "UPDATE %s.delivery SET due_at = due_at WHERE endpoint = %d",
			[]func(store.Claimed) store.Settlement{success, success},
			false,
			[]bool{true, false},
		},
		{
			"a delivery and its failure", "UPDATE %s.delivery SET due_at = due_at WHERE endpoint = %d",
			[]func(store.Claimed) store.Settlement{failure, success},
			false,
			[]bool{true, false},
		},
		{
			"an endpoint set and a 410", "SELECT FROM %s.endpoint_set WHERE version > 0 OR version = %d FOR UPDATE",
			[]func(store.Claimed) store.Settlement{gone, failure},
			false,
			[]bool{true, false},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			st, pool, opts := open(t)
			eps := []store.Endpoint{endpoint(t, st, "ep_1"), endpoint(t, st, "ep_2")}
			claim := func(id string) []store.Claimed {
				_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{event(t, st, id, eps...)}})
				require.NoError(t, err)
				c, err := st.Claim(t.Context(), store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 2, DefaultRoom: 1})
				require.NoError(t, err)
				require.Len(t, c.Deliveries, 2)
				return c.Deliveries
			}
			if tc.failed {
				_, err := st.Settle(t.Context(), []store.Settlement{failure(claim("evt_0")[0])})
				require.NoError(t, err)
			}
			var batch []store.Settlement
			for i, c := range claim("evt_1") {
				batch = append(batch, tc.report[i](c))
			}
			tx := begin(t, pool, pgx.ReadCommitted)
			_, err := tx.Exec(t.Context(), fmt.Sprintf(tc.hold, opts.Schema, eps[0].Num))
			require.NoError(t, err)
			began := time.Now()
			out, err := st.Settle(t.Context(), batch)
			require.NoError(t, err)
			require.Less(t, time.Since(began), 5*time.Second)
			for i, busy := range tc.busy {
				require.Equal(t, busy, out[i].Busy, i)
				require.Equal(t, !busy, out[i].Accepted, i)
			}
			require.NoError(t, tx.Rollback(t.Context()))
			for i, busy := range tc.busy {
				if !busy {
					continue
				}
				d, err := st.Delivery(t.Context(), scope, batch[i].ID)
				require.NoError(t, err)
				require.True(t, d.InFlight, "nothing of it was written")
				again, err := st.Settle(t.Context(), batch[i:i+1])
				require.NoError(t, err)
				require.True(t, again[0].Accepted)
				require.False(t, again[0].Busy)
				require.Equal(t, batch[i].DisableVersion != 0, again[0].Disabled)
				require.Equal(t, tc.failed, again[0].Recovered)
			}
		})
	}
}

// A delivery that is not there any more is gone and not busy.
func TestSettleOfNothing(t *testing.T) {
	st, _, _ := open(t)
	s := success(store.Claimed{ID: store.DeliveryID{Event: 1, Endpoint: 1}, Token: 1, Attempt: 1})
	for _, verdict := range []store.Verdict{store.Deliver, store.Retry} {
		s.Verdict = verdict
		out, err := st.Settle(t.Context(), []store.Settlement{s})
		require.NoError(t, err)
		require.Equal(t, []store.Settled{{}}, out)
	}
}
