package postgres_test

import (
	"context"
	"database/sql"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// viewed is a transaction of one kind or another, seen by a store.
type viewed struct {
	store.Tx
	exec   func(query string) error
	commit func() error
}

// viewers begin transactions of all kinds.
func viewers(t *testing.T, st *postgres.Store, pool *pgxpool.Pool) map[string]func(level sql.IsolationLevel) viewed {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	onSQL := func(db *sql.DB) func(sql.IsolationLevel) viewed {
		t.Cleanup(func() { require.NoError(t, db.Close()) })
		return func(level sql.IsolationLevel) viewed {
			tx, err := db.BeginTx(ctx, &sql.TxOptions{Isolation: level})
			require.NoError(t, err)
			t.Cleanup(func() { _ = tx.Rollback() })
			return viewed{st.SQLTx(tx), func(query string) error { _, err := tx.ExecContext(ctx, query); return err }, tx.Commit}
		}
	}
	pq, err := sql.Open("postgres", server.DSN+" sslmode=disable")
	require.NoError(t, err)
	return map[string]func(sql.IsolationLevel) viewed{
		"pgx": func(level sql.IsolationLevel) viewed {
			tx := begin(t, pool, pgx.TxIsoLevel(strings.ToLower(level.String())))
			return viewed{
				st.Tx(tx), func(query string) error { _, err := tx.Exec(ctx, query); return err },
				func() error { return tx.Commit(ctx) },
			}
		},
		"pgx stdlib": onSQL(stdlib.OpenDBFromPool(pool)),
		"lib/pq":     onSQL(pq),
	}
}

// In a transaction whose view is fixed, an id that somebody has stored since is a
// duplicate or a conflict as well, and the transaction goes on.
func TestTxWithAFixedView(t *testing.T) {
	st, pool, opts := open(t)
	ep := endpoint(t, st, "ep_1")
	for name, view := range viewers(t, st, pool) {
		for _, level := range []sql.IsolationLevel{sql.LevelRepeatableRead, sql.LevelSerializable} {
			t.Run(name+" "+level.String(), func(t *testing.T) {
				tx := view(level)
				_, err := tx.EndpointSet(t.Context(), scope)
				require.NoError(t, err)

				prefix := "evt_" + name[len(name)-2:] + level.String()[:3]
				same, other := event(t, st, prefix+"same", ep), event(t, st, prefix+"other", ep)
				rs, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{same, other}})
				require.NoError(t, err)
				other.Type = "c.d"
				fresh := event(t, st, prefix+"fresh", ep)
				got, err := tx.Enqueue(t.Context(), []store.NewEvent{same, fresh, other})
				require.NoError(t, err)
				require.Equal(t, store.Enqueued{Status: store.Duplicate, Event: rs[0].Event}, got[0])
				require.Equal(t, store.Stored, got[1].Status)
				require.Equal(t, store.Enqueued{Status: store.Conflict, Event: rs[1].Event}, got[2])
				require.NoError(t, tx.exec("SELECT 1 FROM "+opts.Schema+".event"), "the transaction is as good as before")
				require.NoError(t, tx.commit())
				_, err = st.Event(t.Context(), scope, prefix+"fresh")
				require.NoError(t, err)
			})
		}
	}
}

func TestClosedTx(t *testing.T) {
	st, pool, _ := open(t)
	ep := endpoint(t, st, "ep_1")
	evs := []store.NewEvent{event(t, st, "evt_1", ep)}
	db := stdlib.OpenDBFromPool(pool)
	defer db.Close()

	tx := begin(t, pool, "")
	require.NoError(t, tx.Commit(t.Context()))
	_, err := st.Tx(tx).Enqueue(t.Context(), evs)
	require.ErrorIs(t, err, pgx.ErrTxClosed)
	require.ErrorContains(t, err, "already committed or rolled back")

	stx, err := db.BeginTx(t.Context(), nil)
	require.NoError(t, err)
	require.NoError(t, stx.Rollback())
	_, err = st.SQLTx(stx).Enqueue(t.Context(), evs)
	require.ErrorContains(t, err, "already committed or rolled back")

	_, err = st.Tx(nil).Enqueue(t.Context(), evs)
	require.ErrorIs(t, err, store.ErrInvalid)
	_, err = st.SQLTx(nil).EndpointSet(t.Context(), scope)
	require.ErrorIs(t, err, store.ErrInvalid)
	var none *sql.Tx // as BeginTx returns it with an error
	_, err = st.SQLTx(none).EndpointSet(t.Context(), scope)
	require.ErrorIs(t, err, store.ErrInvalid)
	require.ErrorContains(t, err, "is nil")

	failed := begin(t, pool, "")
	_, err = failed.Exec(t.Context(), "SELECT 1/0")
	require.Error(t, err)
	_, err = st.Tx(failed).Enqueue(t.Context(), evs)
	require.ErrorContains(t, err, "can only be rolled back")
}

// A wrong member fails the call and leaves the transaction usable.
func TestInvalidInTx(t *testing.T) {
	st, pool, _ := open(t)
	ep := endpoint(t, st, "ep_1")
	ev := event(t, st, "evt_1", ep)
	wrong := ev
	wrong.For = []store.NewDelivery{{Endpoint: ep.Num + 1000}}
	tx := begin(t, pool, "")
	_, err := st.Tx(tx).Enqueue(t.Context(), []store.NewEvent{wrong})
	require.ErrorIs(t, err, store.ErrInvalid)
	_, err = st.Tx(tx).Enqueue(t.Context(), []store.NewEvent{ev})
	require.NoError(t, err)
	require.NoError(t, tx.Commit(t.Context()))
}

// While a transaction with a fixed view is open, claims of a busy endpoint skip
// what was taken, and find within a second what was committed late.
func TestClaimsBesideALongTransaction(t *testing.T) {
	st, pool, _ := open(t)
	ep := endpoint(t, st, "ep_1")
	long := begin(t, pool, pgx.RepeatableRead)
	_, err := long.Exec(t.Context(), "SELECT 1")
	require.NoError(t, err)
	late := begin(t, pool, "")
	_, err = st.Tx(late).Enqueue(t.Context(), []store.NewEvent{event(t, st, "evt_late", ep)})
	require.NoError(t, err)

	claim := func() int {
		c, err := st.Claim(t.Context(), store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 500, DefaultRoom: 500})
		require.NoError(t, err)
		settle := make([]store.Settlement, len(c.Deliveries))
		for i, d := range c.Deliveries {
			settle[i] = success(d)
		}
		_, err = st.Settle(t.Context(), settle)
		require.NoError(t, err)
		return len(settle)
	}
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, "evt_", 3000, ep)})
	require.NoError(t, err)
	got := 0
	for got < 3000 {
		n := claim()
		require.NotZero(t, n)
		got += n
	}
	require.NoError(t, late.Commit(t.Context()))
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: events(t, st, "evt_new", 10, ep)})
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		got += claim()
		return got == 3011
	}, 30*time.Second, 50*time.Millisecond)
}

func TestOpenTxDelaysNobodyElse(t *testing.T) {
	st, pool, _ := open(t)
	ep := endpoint(t, st, "ep_1")
	tx := begin(t, pool, "")
	_, err := st.Tx(tx).Enqueue(t.Context(), []store.NewEvent{event(t, st, "evt_open", ep)})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	_, err = st.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_1", ep)}})
	require.NoError(t, err)
	edited := ep
	edited.Description = "edited"
	_, err = st.UpdateEndpoint(ctx, edited, store.ChangeParams{Action: store.Edited})
	require.NoError(t, err)
	_, err = st.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{event(t, st, "evt_open", ep)}})
	require.ErrorIs(t, err, store.ErrBusy)
}
