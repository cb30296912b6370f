package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
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
