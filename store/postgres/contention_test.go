package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// What was in a statement's way it sees, whatever isolation the database or the role
// gives transactions by default.
func TestDefaultIsolation(t *testing.T) {
	for _, level := range []string{"repeatable read", "serializable"} {
		t.Run(level, func(t *testing.T) {
			st, pool, opts := open(t, named(t.Name()), func(c *pgxpool.Config) {
				c.ConnConfig.RuntimeParams["default_transaction_isolation"] = level
			})
			ep := endpoint(t, st, "ep_1")
			_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, "evt_", 2, ep)})
			require.NoError(t, err)
			c, err := st.Claim(t.Context(), store.ClaimParams{Lease: time.Minute, Limit: 2, DefaultRoom: 2})
			require.NoError(t, err)
			retry := success(c.Deliveries[1])
			retry.Verdict, retry.Attempt.Outcome = store.Retry, store.AttemptFailed

			tx := begin(t, pool, pgx.ReadCommitted)
			_, err = tx.Exec(t.Context(), "UPDATE "+opts.Schema+".delivery SET reason = 'seen'")
			require.NoError(t, err)
			reports := []store.Settlement{success(c.Deliveries[0]), retry}
			out, err := st.Settle(t.Context(), reports)
			require.NoError(t, err)
			require.Equal(t, []store.Settled{{Busy: true}, {Busy: true}}, out)
			require.NoError(t, tx.Commit(t.Context()))
			_, err = st.Settle(t.Context(), reports)
			require.NoError(t, err)
			ds, err := st.Deliveries(t.Context(), scope, store.DeliveryQuery{})
			require.NoError(t, err)
			require.Equal(t, 1, ds[0].Failures)
			require.Equal(t, store.Delivered, ds[1].State)
		})
	}
}

// Batches of all kinds of results for the same endpoints, from two processes at
// once and beside edits of the endpoints, wait for each other and never for ever.
func TestSettlesDoNotDeadlock(t *testing.T) {
	st, pool, opts := open(t)
	second, err := postgres.New(pool, opts)
	require.NoError(t, err)
	defer second.Close()
	stores := []*postgres.Store{st, second}
	var eps []store.Endpoint
	for i := range 20 {
		eps = append(eps, endpoint(t, st, fmt.Sprint("ep_", i)))
	}
	template := event(t, st, "evt", eps...)
	evs := make([]store.NewEvent, 150)
	for i := range evs {
		evs[i] = template
		evs[i].ID = fmt.Sprint("evt_", i)
	}
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: evs})
	require.NoError(t, err)

	var mu sync.Mutex
	settled := make(map[store.DeliveryID]int)
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			var after int64
			for range 1000 {
				c, err := stores[i%2].Claim(t.Context(), store.ClaimParams{
					Owner: int64(i), Lease: time.Hour, Limit: 60, DefaultRoom: 5, After: after,
				})
				if err != nil {
					t.Errorf("Claim: %v", err)
					return
				}
				if after = c.After; len(c.Deliveries) == 0 {
					return
				}
				var batch []store.Settlement
				for _, d := range c.Deliveries {
					s := success(d)
					switch random.IntN(4) {
					case 0:
						s.Verdict, s.Delay, s.Attempt.Outcome, s.Attempt.Status = store.Retry, time.Hour, store.AttemptFailed, 500
					case 1:
						s.Verdict, s.Hold, s.Attempt.Outcome, s.Reason = store.Exhaust, time.Microsecond, store.AttemptFailed, "why"
					}
					batch = append(batch, s)
				}
				random.Shuffle(len(batch), func(a, b int) { batch[a], batch[b] = batch[b], batch[a] })
				for len(batch) > 0 {
					out, err := stores[i%2].Settle(t.Context(), batch)
					if err != nil {
						t.Errorf("Settle: %v", err)
						return
					}
					var busy []store.Settlement
					mu.Lock()
					for k, r := range out {
						switch {
						case r.Busy:
							busy = append(busy, batch[k])
						case !r.Accepted:
							t.Errorf("settlement of %v was not accepted", batch[k].ID)
							fallthrough
						default:
							settled[batch[k].ID]++
						}
					}
					mu.Unlock()
					batch = busy
				}
			}
		})
	}
	wg.Go(func() {
		for i := range 40 {
			ep, err := second.Endpoint(t.Context(), scope, eps[i%len(eps)].ID)
			if err != nil {
				t.Errorf("Endpoint: %v", err)
				return
			}
			ep.Description = fmt.Sprint(i)
			if _, err := second.UpdateEndpoint(t.Context(), ep, store.ChangeParams{Action: store.Edited}); err != nil {
				t.Errorf("UpdateEndpoint: %v", err)
			}
		}
	})
	wg.Wait()
	require.Equal(t, len(evs)*len(eps), len(settled))
	for id, n := range settled {
		require.Equal(t, 1, n, id)
	}
}
