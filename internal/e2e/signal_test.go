//go:build unix

package e2e

import (
	"context"
	"database/sql"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
)

// A worker that gets SIGTERM while it sends and delivers ends within the drain's
// deadline and leaves nothing that would have to be repeated. The next one finishes.
func TestTerminate(t *testing.T) {
	onEachStore(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, unhurried)
		tr.rcv.work = 20 * time.Millisecond // so that there's something to drain
		tr.faults = size(3, 10)
		tr.run(t, 1, amount(1000, 10_000))
		p := tr.procs[0]
		for k := range tr.faults {
			tr.arrived(t, k+1, tr.faults+1)
			p.hear(t, setup.Ready, k+1)
			p.signal(t, syscall.SIGTERM)
			p.wait(t)
			require.Len(t, p.heard(setup.Drained), k+1)
			p.start(t)
		}
		tr.finish(t)
		require.Zero(t, tr.verdict(t, 0).cutOff)
	})
}

// A worker that is stopped for longer than its leases last finds, when it goes on,
// that another has taken over. What it had in flight may arrive twice, and its late
// reports spoil nothing.
func TestStandstill(t *testing.T) {
	onEachStore(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, func(c *setup.Config) { c.Patient = true })
		tr.faults = size(1, 4)
		tr.run(t, 2, amount(2000, 10_000))
		for k := range tr.faults {
			tr.arrived(t, k+1, tr.faults+2)
			victim := tr.procs[k%2]
			tr.freeze(t, victim)
			time.Sleep(tr.config.Lease + time.Second)
			victim.signal(t, syscall.SIGCONT)
		}
		tr.finish(t)
		tr.verdict(t, tr.faults*tr.config.MaxInFlight)
	})
}

// freeze stops a process. On SQLite it sees to it that this does not happen in the
// middle of a transaction, which would only make everybody wait.
func (tr *trial) freeze(t *testing.T, p *process) {
	t.Helper()
	for {
		p.signal(t, syscall.SIGSTOP)
		if tr.store != "sqlite" || tr.writable(t) {
			return
		}
		p.signal(t, syscall.SIGCONT)
		require.NoError(t, tr.ctx.Err())
		time.Sleep(time.Millisecond)
	}
}

// writable reports whether the SQLite file can be locked for writing at once, or almost.
func (tr *trial) writable(t *testing.T) bool {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+tr.config.File+"?_pragma=busy_timeout(200)&_txlock=immediate")
	require.NoError(t, err)
	defer db.Close()
	tx, err := db.BeginTx(context.WithoutCancel(tr.ctx), nil)
	if err != nil {
		return false
	}
	require.NoError(t, tx.Rollback())
	return true
}
