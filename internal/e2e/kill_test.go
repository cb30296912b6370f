//go:build unix

package e2e

import (
	"fmt"
	"testing"
)

// Workers are killed while they send and deliver, and started again until all is
// done: nothing that Send has acknowledged is lost, and no more is repeated than
// was in flight at the kills.
func TestKill(t *testing.T) {
	for _, workers := range []int{1, 2} {
		t.Run(fmt.Sprintf("workers=%d", workers), func(t *testing.T) {
			onEachStore(t, func(t *testing.T, store string) {
				tr := newTrial(t, store, nil)
				tr.faults = size(2, 5)
				tr.run(t, workers, amount(2000, 10_000))
				for k := range tr.faults {
					tr.arrived(t, k+1, tr.faults+1)
					victim := tr.procs[k%workers]
					victim.kill()
					victim.start(t)
				}
				tr.finish(t)
				tr.verdict(t, tr.faults*tr.config.MaxInFlight)
			})
		})
	}
}
