package postgres_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgproxy"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// A connection is lost within the answer to a call, before the commit. The call is made
// again by another connection, and its result is that of the second try alone.
func TestRepeatedTryBeginsFromNothing(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("one call after the other, for each message of their answers")
	}
	const two = 2 // deliveries
	claim := func(ctx context.Context, t *testing.T, st *postgres.Shifted) []store.Claimed {
		t.Helper()
		c, err := st.Claim(ctx, store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 100, DefaultRoom: 100})
		require.NoError(t, err)
		return c.Deliveries
	}
	settle := func(ctx context.Context, t *testing.T, st *postgres.Shifted, verdict store.Verdict, claims ...store.Claimed) []store.Settled {
		t.Helper()
		var batch []store.Settlement
		for _, c := range claims {
			s := success(c)
			s.Verdict = verdict
			if verdict != store.Deliver {
				s.Attempt.Outcome, s.Delay = store.AttemptFailed, time.Minute
			}
			batch = append(batch, s)
		}
		results, err := st.Settle(ctx, batch)
		require.NoError(t, err)
		return results
	}
	for _, c := range []struct {
		method string
		// prepare is given an endpoint with two deliveries that are ready, and returns a
		// call and its result.
		prepare func(t *testing.T, st *postgres.Shifted, ep store.Endpoint) (call func(ctx context.Context) any, want any)
	}{
		{"Claim", func(t *testing.T, st *postgres.Shifted, _ store.Endpoint) (func(context.Context) any, any) {
			return func(ctx context.Context) any { return len(claim(ctx, t, st)) }, two
		}},
		{"Settle", func(t *testing.T, st *postgres.Shifted, _ store.Endpoint) (func(context.Context) any, any) {
			claims := claim(t.Context(), t, st)
			settle(t.Context(), t, st, store.Exhaust, claims[0])
			return func(ctx context.Context) any {
				r := settle(ctx, t, st, store.Deliver, claims[1])
				return []bool{r[0].Accepted, r[0].Recovered}
			}, []bool{true, true}
		}},
		{"Promote", func(t *testing.T, st *postgres.Shifted, _ store.Endpoint) (func(context.Context) any, any) {
			settle(t.Context(), t, st, store.Retry, claim(t.Context(), t, st)...)
			st.Advance(t, time.Hour)
			return func(ctx context.Context) any {
				p, err := st.Promote(ctx, 100)
				require.NoError(t, err)
				return p.Moved
			}, two
		}},
		{"TakeOver", func(t *testing.T, st *postgres.Shifted, _ store.Endpoint) (func(context.Context) any, any) {
			claim(t.Context(), t, st)
			st.Advance(t, time.Hour)
			return func(ctx context.Context) any {
				n, err := st.TakeOver(ctx, 100)
				require.NoError(t, err)
				return n
			}, two
		}},
		{"Expire", func(t *testing.T, st *postgres.Shifted, ep store.Endpoint) (func(context.Context) any, any) {
			ep.State = store.Disabled
			_, err := st.UpdateEndpoint(t.Context(), ep, store.ChangeParams{Action: store.WasDisabled})
			require.NoError(t, err)
			st.Advance(t, time.Hour)
			return func(ctx context.Context) any {
				n, err := st.Expire(ctx, time.Minute, 100)
				require.NoError(t, err)
				return n
			}, two
		}},
		{"Prune", func(t *testing.T, st *postgres.Shifted, _ store.Endpoint) (func(context.Context) any, any) {
			settle(t.Context(), t, st, store.Deliver, claim(t.Context(), t, st)...)
			st.Advance(t, time.Hour)
			return func(ctx context.Context) any {
				n, err := st.Prune(ctx, store.Retention{Log: time.Minute}, 100)
				require.NoError(t, err)
				return n
			}, two
		}},
	} {
		t.Run(c.method, func(t *testing.T) {
			p, through := server.Proxy(t)
			pool := server.Pool(t, through, func(c *pgxpool.Config) {
				c.ConnConfig.RuntimeParams["default_transaction_isolation"] = "repeatable read" // else an answer may be that to a commit
			})
			st := postgres.NewShifted(t, pool, &postgres.Options{Schema: server.Schema(t, "retry_")})
			for k := 0; ; k++ {
				ep := endpoint(t, st.Store, fmt.Sprint("ep_", k))
				_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st.Store, fmt.Sprint("evt_", k, "_"), two, ep)})
				require.NoError(t, err)
				call, want := c.prepare(t, st, ep)
				committing := false
				cut := p.Inject(pgproxy.Fault{From: pgproxy.Server, Skip: k, Do: pgproxy.Cut, When: func(m pgproxy.Message) bool {
					committing = committing || m.Type == 'C' && m.Text == "COMMIT"
					return !committing
				}})
				require.Equal(t, want, call(t.Context()), "cut at message %d: %v", k, cut.Where())
				cut.Undo()
				if !cut.Happened() {
					return
				}
				settle(t.Context(), t, st, store.Deliver, claim(t.Context(), t, st)...)
			}
		})
	}
}
