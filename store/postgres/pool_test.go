package postgres_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// Inside a transaction that holds the pool's only connection no call can succeed, and the
// error says what to do instead.
func TestNoConnectionBecomesFree(t *testing.T) {
	st, pool, _ := open(t, func(c *pgxpool.Config) { c.MaxConns = 1 })
	hooks, err := sender.New(st, &sender.Options{PlaintextSecrets: true})
	require.NoError(t, err)
	_, err = st.Now(t.Context())
	require.NoError(t, err)
	first := event(t, st, "evt_1")
	tx := begin(t, pool, pgx.ReadCommitted)
	for name, call := range map[string]func(ctx context.Context) error{
		"EndpointSet": func(ctx context.Context) error { _, err := st.EndpointSet(ctx, scope); return err },
		"Events":      func(ctx context.Context) error { _, err := st.Events(ctx, scope, store.EventQuery{}); return err },
		"Enqueue": func(ctx context.Context) error {
			_, err := st.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{first}})
			return err
		},
		"Erase": func(ctx context.Context) error {
			_, err := st.Erase(ctx, scope, store.EraseParams{All: true, Limit: 1})
			return err
		},
		"Send": func(ctx context.Context) error { _, err := hooks.Send(ctx, sender.Event{Type: "a.b"}); return err },
		"CreateEndpoint": func(ctx context.Context) error {
			_, _, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com", EventTypes: []string{"*"}})
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		err := call(ctx)
		cancel()
		require.ErrorIs(t, err, store.ErrBusy, name)
		require.ErrorIs(t, err, context.DeadlineExceeded, name)
		require.ErrorContains(t, err, "no connection became free", name)
		require.ErrorContains(t, err, "inside a transaction use SendTx", name)
	}
	_, err = hooks.SendTx(t.Context(), st.Tx(tx), sender.Event{Type: "a.b"})
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
	_, err = hooks.Send(t.Context(), sender.Event{Type: "a.b"})
	require.NoError(t, err)
}
