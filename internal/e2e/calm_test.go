//go:build unix

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
)

// unhurried is for trials in which nothing may be repeated, however slow the
// machine is.
func unhurried(c *setup.Config) { c.Timeout, c.Lease = time.Minute, 2*time.Minute }

// Without a fault, workers that share a database repeat nothing at all.
func TestNoFault(t *testing.T) {
	onEachStore(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, unhurried)
		tr.run(t, 2, amount(2000, 10_000))
		tr.finish(t)
		tr.verdict(t, 0)
	})
}

// Hooks of the application's that panic, each time, stop nobody.
func TestHookPanics(t *testing.T) {
	const gone = 5
	onEachStore(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, func(c *setup.Config) {
			unhurried(c)
			c.BadHooks = true
		})
		for i := range gone {
			tr.endpoint(t, fmt.Sprintf("%s%d", gonePath, i), fmt.Sprintf("gone.type%d", i))
		}
		tr.run(t, 2, amount(1000, 5000))
		for i := range gone {
			tr.arrived(t, i, gone+1)
			id := fmt.Sprintf("evt_gone%d", i)
			tr.ids, tr.gone[id] = append(tr.ids, id), true
			tr.procs[i%2].give(fmt.Sprintf("%s gone.type%d", id, i))
			tr.faults += 2 // the endpoint is disabled, the delivery exhausted
		}
		tr.finish(t)
		called := len(tr.procs[0].heard(setup.Hooked)) + len(tr.procs[1].heard(setup.Hooked))
		require.Equal(t, tr.faults, called)
		tr.verdict(t, 0)
	})
}
