package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// Waiting returns how many calls wait for the writer.
func (s *Store) Waiting() int { return s.writer.waiting() }

// TestJoinsRunningTransaction: a call that comes while another one runs shares its
// commit, and does not share its failure.
func TestJoinsRunningTransaction(t *testing.T) {
	broken := errors.New("broken")
	for name, fails := range map[string]error{"first succeeds": nil, "first fails": broken} {
		t.Run(name, func(t *testing.T) {
			st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
			require.NoError(t, err)
			defer st.Close()
			insert := func(c *conn, tenant string) error {
				_, err := c.exec("INSERT INTO hookpost_scope (tenant, mode) VALUES (?, 1)", tenant)
				return err
			}
			before := st.Commits()
			second := make(chan error, 1)
			first := st.write(t.Context(), func(c *conn) error {
				if err := insert(c, "first"); err != nil {
					return err
				}
				go func() {
					second <- st.write(context.Background(), func(c *conn) error { return insert(c, "second") })
				}()
				for st.writer.waiting() == 0 {
					runtime.Gosched()
				}
				return fails
			})
			require.ErrorIs(t, first, fails)
			require.NoError(t, <-second)
			require.Equal(t, before+1, st.Commits())
			var stored []string
			require.NoError(t, st.read(t.Context(), func(c *conn) error {
				return c.query(func(r row) error {
					stored = append(stored, r.text(0))
					return nil
				}, "SELECT tenant FROM hookpost_scope ORDER BY tenant")
			}))
			if fails == nil {
				require.Equal(t, []string{"first", "second"}, stored)
			} else {
				require.Equal(t, []string{"second"}, stored)
			}
		})
	}
}

// TestDoomedTransactionIsRepeated: a call that cannot go on, and takes the transaction with
// it, fails alone.
func TestDoomedTransactionIsRepeated(t *testing.T) {
	st, err := Open(t.Context(), "file:"+filepath.Join(t.TempDir(), "hooks.db")+"?_pragma=max_page_count(200)", nil)
	require.NoError(t, err)
	defer st.Close()
	insert := func(c *conn, id string, size int) error {
		e := enqueuer{x: c, now: st.now(), targets: &st.targets, EnqueueParams: store.EnqueueParams{Events: []store.NewEvent{{
			Event: store.Event{Scope: store.Scope{Tenant: "acme", Mode: store.Live}, ID: id, Body: make([]byte, size)},
		}}}}
		_, err := e.run()
		return err
	}
	large := make(chan error, 1)
	runs := 0
	small := st.write(t.Context(), func(c *conn) error {
		if runs++; runs == 1 {
			go func() {
				large <- st.write(context.Background(), func(c *conn) error { return insert(c, "evt_large", 1<<20) })
			}()
			for st.writer.waiting() == 0 {
				runtime.Gosched()
			}
		}
		return insert(c, "evt_small", 10)
	})
	require.NoError(t, small)
	require.ErrorIs(t, <-large, store.ErrFull)
	require.Equal(t, 2, runs)
	evs, err := st.Events(t.Context(), store.Scope{Tenant: "acme", Mode: store.Live}, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, evs, 1)
	require.Equal(t, "evt_small", evs[0].ID)
}
