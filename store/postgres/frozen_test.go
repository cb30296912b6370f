package postgres_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgproxy"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// A machine freezes in the middle of a call, without a word to anybody. Other tenants'
// events go on as ever, and what it has locked is to be had again before long.
func TestFrozenMachine(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the server's patience to end, 10 s")
	}
	within := func(text string, typ byte) func(pgproxy.Message) bool {
		return func(m pgproxy.Message) bool {
			return m.From == pgproxy.Client && m.Type == typ && strings.Contains(m.Text, text)
		}
	}
	type world struct {
		st, direct store.Store
		ep, other  store.Endpoint
		claimed    []store.Claimed // one of each endpoint
	}
	failure := func(c store.Claimed) store.Settlement {
		s := success(c)
		s.Verdict, s.Delay, s.Attempt.Outcome, s.Attempt.Status = store.Retry, time.Hour, store.AttemptFailed, 500
		return s
	}
	for name, tc := range map[string]struct {
		fault pgproxy.Fault
		call  func(ctx context.Context, w world) error
	}{
		"an edit, after the endpoint's state was written": {
			pgproxy.Fault{When: within("INSERT INTO", 'E')},
			func(ctx context.Context, w world) error {
				w.ep.Description = "edited"
				_, err := w.st.UpdateEndpoint(ctx, w.ep, store.ChangeParams{Action: store.Edited, Op: "op"})
				return err
			},
		},
		"an edit, before its COMMIT": {
			pgproxy.Fault{When: pgproxy.Begins("commit")},
			func(ctx context.Context, w world) error {
				w.ep.Description = "edited"
				_, err := w.st.UpdateEndpoint(ctx, w.ep, store.ChangeParams{Action: store.Edited, Op: "op"})
				return err
			},
		},
		"a report, before the statement that applies it": {
			pgproxy.Fault{When: within("verdict", 'E')},
			func(ctx context.Context, w world) error {
				_, err := w.st.Settle(ctx, []store.Settlement{failure(w.claimed[0])})
				return err
			},
		},
		"a report, before Sync": {
			pgproxy.Fault{When: within("", 'S')},
			func(ctx context.Context, w world) error {
				_, err := w.st.Settle(ctx, []store.Settlement{failure(w.claimed[0])})
				return err
			},
		},
		"an erasure, before the last statement": {
			pgproxy.Fault{When: within("erased_at = coalesce", 'E')},
			func(ctx context.Context, w world) error {
				_, err := w.st.Erase(ctx, scope, store.EraseParams{EventID: "evt_1"})
				return err
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			proxy, through := server.Proxy(t)
			direct, _, opts := open(t)
			st, err := postgres.New(server.Pool(t, through), opts)
			require.NoError(t, err)
			t.Cleanup(func() { proxy.CutAll(); require.NoError(t, st.Close()) })
			w := world{st: st, direct: direct, ep: endpoint(t, direct, "ep_1"), other: endpoint(t, direct, "ep_2")}
			enqueue := func(st store.Store, id string, eps ...store.Endpoint) []store.Claimed {
				t.Helper()
				_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{event(t, direct, id, eps...)}})
				require.NoError(t, err)
				c, err := st.Claim(t.Context(), store.ClaimParams{Owner: 1, Lease: time.Hour, Limit: 10, DefaultRoom: 10})
				require.NoError(t, err)
				require.Len(t, c.Deliveries, len(eps))
				return c.Deliveries
			}
			w.claimed = append(enqueue(direct, "evt_1", w.ep), enqueue(direct, "evt_other", w.other)...)
			_, err = st.Settle(t.Context(), []store.Settlement{failure(enqueue(st, "evt_0", w.ep)[0])}) // prepares the statements
			require.NoError(t, err)

			tc.fault.From, tc.fault.Do, tc.fault.All = pgproxy.Client, pgproxy.Freeze, true
			fault := proxy.Inject(tc.fault)
			frozen, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			ended := make(chan error, 1)
			go func() { ended <- tc.call(frozen, w) }()
			t.Cleanup(func() {
				cancel()
				t.Log("the frozen call ended:", <-ended)
			})
			select {
			case <-fault.Hit():
			case <-time.After(30 * time.Second):
				require.Fail(t, "the call did not come to the place")
			}

			began := time.Now()
			mine := enqueue(direct, "evt_2", w.other)
			out, err := direct.Settle(t.Context(), []store.Settlement{success(mine[0]), failure(w.claimed[1])})
			require.NoError(t, err)
			require.True(t, out[0].Accepted && out[1].Accepted)
			require.Less(t, time.Since(began), 10*time.Second) // it takes some hundredths of one

			// What the frozen machine had is recorded, by whoever has its result.
			for {
				_, err := direct.TakeOver(t.Context(), 100)
				require.NoError(t, err)
				out, err := direct.Settle(t.Context(), []store.Settlement{failure(w.claimed[0])})
				require.NoError(t, err)
				if !out[0].Busy {
					require.True(t, out[0].Accepted)
					break
				}
				require.Less(t, time.Since(began), 2*time.Minute) // 10 to 15 s
				time.Sleep(200 * time.Millisecond)
			}
			ep, err := direct.Endpoint(t.Context(), scope, w.ep.ID)
			require.NoError(t, err)
			ep.Description = "by another machine"
			_, err = direct.UpdateEndpoint(t.Context(), ep, store.ChangeParams{Action: store.Edited})
			require.NoError(t, err)
		})
	}
}
