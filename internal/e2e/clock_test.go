//go:build unix

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
)

// The workers' clocks are three days ahead of the database's, and behind it. All
// that is stored, due, leased and signed follows the database: its time is also the
// receiver's.
func TestClock(t *testing.T) {
	for _, skew := range []time.Duration{72 * time.Hour, -72 * time.Hour} {
		t.Run(fmt.Sprintf("database=%+.0fh", skew.Hours()), func(t *testing.T) {
			onEachStore(t, func(t *testing.T, store string) {
				tr := newTrial(t, store, func(c *setup.Config) { c.Skew = skew })
				begin := time.Now().Add(skew)
				tr.run(t, 2, amount(500, 5000))
				tr.faults = 1
				tr.arrived(t, 1, 2) // so that leases expire, too
				tr.procs[0].kill()
				tr.procs[0].start(t)
				tr.finish(t)
				tr.verdict(t, tr.config.MaxInFlight)

				end := time.Now().Add(skew)
				const slack = 10 * time.Second // the process's idea of the database's time may be off a little
				for id, e := range tr.readLog(t) {
					require.WithinRange(t, e.delivery.CreatedAt, begin.Add(-slack), end.Add(slack), id)
					for _, a := range e.attempts {
						require.WithinRange(t, a.StartedAt, begin.Add(-slack), end.Add(slack), id)
					}
				}
			})
		})
	}
}
