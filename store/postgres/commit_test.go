package postgres_test

import (
	"bytes"
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// committing cuts a connection around a COMMIT when a test says so: before it has
// left, or before its answer arrives.
type committing struct {
	net.Conn
	before, after *atomic.Bool
	sent          bool
}

func (c *committing) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("commit\x00")) {
		if c.before.CompareAndSwap(true, false) {
			_ = c.Close()
			return 0, errCut
		}
		c.sent = c.after.CompareAndSwap(true, false)
	}
	return c.Conn.Write(p)
}

func (c *committing) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.sent {
		_ = c.Close()
		return 0, errCut
	}
	return n, err
}

// Anything but the server's answer leaves a commit unknown, whatever the driver says of
// its own part, and a repetition under the same Op or round finds what was done.
func TestLostAnswerOfCommit(t *testing.T) {
	var before, after atomic.Bool
	for _, isolation := range []string{"read committed", "repeatable read"} {
		t.Run(isolation, func(t *testing.T) {
			st, _, _ := open(t, func(c *pgxpool.Config) {
				c.ConnConfig.RuntimeParams["default_transaction_isolation"] = isolation
				dial := c.ConnConfig.DialFunc
				c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
					conn, err := dial(ctx, network, addr)
					return &committing{Conn: conn, before: &before, after: &after}, err
				}
			})
			ctx := t.Context()
			ep := endpoint(t, st, "ep_1")
			_, err := st.Enqueue(ctx, store.EnqueueParams{Events: events(t, st, "evt_", 2, ep)})
			require.NoError(t, err)
			fresh := store.Endpoint{Scope: scope, ID: "ep_2", URLKey: "2", Config: store.Config{State: store.Enabled}}
			edit := ep
			edit.Description = "edited"
			calls := map[string]func(repeat bool) error{
				"CreateEndpoint": func(bool) error {
					_, err := st.CreateEndpoint(ctx, fresh, store.ChangeParams{Action: store.Created, Op: "create"})
					return err
				},
				"UpdateEndpoint": func(bool) error {
					_, err := st.UpdateEndpoint(ctx, edit, store.ChangeParams{Action: store.Edited, Op: "edit"})
					return err
				},
				"Replay": func(repeat bool) error {
					_, err := st.Replay(ctx, scope, "evt_0", ep.ID, store.ReplayParams{Round: 1, Repeat: repeat})
					return err
				},
				"Recover": func(bool) error { _, err := st.Recover(ctx, scope, store.RecoverParams{}); return err },
				"Erase": func(bool) error {
					_, err := st.Erase(ctx, scope, store.EraseParams{EventID: "evt_1"})
					return err
				},
				"Reseal": func(bool) error { _, err := st.Reseal(ctx, nil); return err },
				"FanOut": func(bool) error { _, err := st.FanOut(ctx, 1); return err },
				"Prune":  func(bool) error { _, err := st.Prune(ctx, store.Retention{Log: time.Hour}, 1); return err },
			}
			if isolation != "read committed" {
				ev := event(t, st, "evt_3", ep)
				calls["Enqueue"] = func(repeat bool) error {
					_, err := st.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{ev}, Repeat: repeat})
					return err
				}
			}
			for name, call := range calls {
				after.Store(true)
				require.ErrorIs(t, call(false), store.ErrUnknownCommit, name)
				require.False(t, after.Load(), name)
				require.NoError(t, call(true), name)
			}
			eps, err := st.ListEndpoints(ctx, scope, store.EndpointQuery{})
			require.NoError(t, err)
			require.Len(t, eps, 2)
			require.Equal(t, int64(2), eps[0].Version)
			ds, err := st.Deliveries(ctx, scope, store.DeliveryQuery{EventID: "evt_0"})
			require.NoError(t, err)
			require.Len(t, ds, 2)
		})
	}
}

// A COMMIT that the caller's context could still call off is called off, and then not
// unknown. One that is under way is waited for.
func TestContextOfCommit(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var wait atomic.Bool
	st, _, _ := open(t, func(c *pgxpool.Config) {
		dial := c.ConnConfig.DialFunc
		c.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := dial(ctx, network, addr)
			return cancelling{conn, &wait, cancel}, err
		}
	})
	ep := endpoint(t, st, "ep_1")
	ep.Description = "edited"
	wait.Store(true)
	_, err := st.UpdateEndpoint(ctx, ep, store.ChangeParams{Action: store.Edited})
	require.NoError(t, err, "the context ended while the commit was under way")
	require.Error(t, ctx.Err())
	_, err = st.UpdateEndpoint(ctx, ep, store.ChangeParams{Action: store.Edited})
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, store.ErrUnknownCommit)
}

// cancelling ends a context when a COMMIT is sent.
type cancelling struct {
	net.Conn
	armed  *atomic.Bool
	cancel context.CancelFunc
}

func (c cancelling) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("commit\x00")) && c.armed.CompareAndSwap(true, false) {
		c.cancel()
	}
	return c.Conn.Write(p)
}

// Connections that the server ended while they were idle are no reason to fail:
// what has changed nothing is done again on another one.
func TestStaleConnections(t *testing.T) {
	st, pool, _ := open(t, named(t.Name()), func(c *pgxpool.Config) {
		c.ConnConfig.RuntimeParams["idle_session_timeout"] = "300ms"
		c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	})
	others := server.Pool(t)
	ep := endpoint(t, st, "ep_1")
	fresh := event(t, st, "evt_1", ep)
	for i, call := range []func() error{
		func() error {
			_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{fresh}})
			return err
		},
		func() error { _, err := st.Endpoint(t.Context(), scope, ep.ID); return err },
		func() error {
			_, err := st.CreateEndpoint(t.Context(), store.Endpoint{
				Scope: scope, ID: "ep_2", URLKey: "2", Config: store.Config{State: store.Enabled},
			}, store.ChangeParams{Action: store.Created})
			return err
		},
	} {
		fill(t, pool, 4)
		require.Eventually(t, func() bool {
			n := 0
			err := others.QueryRow(t.Context(), "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", t.Name()).Scan(&n)
			return err == nil && n == 0
		}, 30*time.Second, 10*time.Millisecond)
		require.NoError(t, call(), i)
	}
}

// fill makes a pool hold so many connections.
func fill(t *testing.T, pool *pgxpool.Pool, n int) {
	t.Helper()
	for range n {
		conn, err := pool.Acquire(t.Context())
		require.NoError(t, err)
		defer conn.Release()
	}
}

// After a switchover the pool's connections lead to what is a standby now. A call gives
// up those that it meets, and is carried out by the new primary.
func TestConnectionsToAStandby(t *testing.T) {
	st, pool, _ := open(t, func(c *pgxpool.Config) { c.MaxConns = 5 })
	ep := endpoint(t, st, "ep_1")
	fresh := event(t, st, "evt_1", ep)
	for i, call := range []func() error{
		func() error {
			_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{fresh}})
			return err
		},
		func() error {
			ep.Description = "edited"
			_, err := st.UpdateEndpoint(t.Context(), ep, store.ChangeParams{Action: store.Edited})
			return err
		},
	} {
		var all []*pgxpool.Conn
		for range 5 {
			conn, err := pool.Acquire(t.Context())
			require.NoError(t, err)
			_, err = conn.Exec(t.Context(), "SET default_transaction_read_only = on")
			require.NoError(t, err)
			all = append(all, conn)
		}
		for _, conn := range all {
			conn.Release()
		}
		require.Eventually(t, func() bool { return call() == nil }, 10*time.Second, 100*time.Millisecond, i) // one call a second gives any up
	}
}
