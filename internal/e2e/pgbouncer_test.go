//go:build unix

package e2e

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgserver"
)

// Two workers send and deliver through PgBouncer in transaction mode, which is ended
// while they do, with all its connections, and started again.
func TestPgBouncer(t *testing.T) {
	onPostgres(t, func(t *testing.T, store string) {
		b := pgserver.BouncerForTest(t, pgserver.Upstream{Host: host(t, server), Port: 5432, User: "postgres"}, 0)
		tr := newTrial(t, store, patient)
		tr.config.DSN = b.DSN(tr.database) + " default_query_exec_mode=exec"
		tr.faults = size(1, 4)
		tr.run(t, 2, amount(2000, 10_000))
		for k := range tr.faults {
			tr.arrived(t, k+1, tr.faults+1)
			require.NoError(t, b.Restart(tr.ctx))
		}
		tr.finish(t)
		tr.calm(t)
		tr.verdict(t, tr.faults*2*tr.config.MaxInFlight)
	})
}
