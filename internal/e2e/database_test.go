//go:build unix

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
)

func patient(c *setup.Config) { c.Patient = true }

// The server crashes while two workers send and deliver. Both go on by themselves.
func TestRestart(t *testing.T) {
	onPostgres(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, patient)
		tr.faults = size(1, 4)
		tr.run(t, 2, amount(2000, 10_000))
		for k := range tr.faults {
			tr.arrived(t, k+1, tr.faults+1)
			require.NoError(t, server.Restart(tr.ctx))
		}
		tr.finish(t)
		tr.calm(t)
		tr.verdict(t, tr.faults*2*tr.config.MaxInFlight)
	})
}

// All connections are cut while two workers send and deliver.
func TestConnectionsTerminated(t *testing.T) {
	onPostgres(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, patient)
		tr.faults = size(3, 10)
		tr.run(t, 2, amount(2000, 10_000))
		for k := range tr.faults {
			tr.arrived(t, k+1, tr.faults+1)
			tr.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'worker'")
		}
		tr.finish(t)
		tr.calm(t)
		tr.verdict(t, tr.faults*2*tr.config.MaxInFlight)
	})
}

// The application takes all connections of the pool that it shares with one of two
// workers, for longer than leases last and, in the full form, than any call of the
// store's may.
func TestPoolExhausted(t *testing.T) {
	onEachStore(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, func(c *setup.Config) { c.Patient, c.Connections = true, 4 })
		tr.faults = 1
		tr.run(t, 2, amount(2000, 10_000))
		tr.arrived(t, 1, 3)
		p := tr.procs[0]
		p.order(setup.Hold + size(tr.config.Lease+time.Second, 40*time.Second).String())
		p.hear(t, setup.Freed, 1)
		tr.finish(t)
		tr.calm(t)
		tr.verdict(t, tr.config.MaxInFlight)
	})
}

// There is no space to write to for a while, longer than leases last. Send says so
// at once, and all goes on when there is.
func TestDiskFull(t *testing.T) {
	onSQLite(t, func(t *testing.T, store string) {
		// The limit is one of a connection's, so there must be only one.
		tr := newTrial(t, store, func(c *setup.Config) { c.Patient, c.Connections = true, 1 })
		tr.refusing(t, "full",
			func() { tr.procs[0].order(setup.Exec + "PRAGMA max_page_count = 1") }, // means: not one page more
			func() { tr.procs[0].order(setup.Exec + "PRAGMA max_page_count = 1000000") })
	})
	onPostgres(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, patient)
		tr.exec(t, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql
			AS $$ BEGIN RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full'; END $$`)
		tables := []string{"event", "delivery", "attempt"}
		tr.refusing(t, "full", func() {
			for _, table := range tables {
				tr.exec(t, fmt.Sprintf("CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON hookpost.%s EXECUTE FUNCTION full_disk()", table))
			}
		}, func() {
			for _, table := range tables {
				tr.exec(t, fmt.Sprintf("DROP TRIGGER full_disk ON hookpost.%s", table))
			}
		})
	})
}

// The server takes no writes for a while, as after a failover to a standby.
func TestReadOnly(t *testing.T) {
	onPostgres(t, func(t *testing.T, store string) {
		tr := newTrial(t, store, patient)
		tr.refusing(t, "read-only",
			func() { tr.exec(t, "ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()") },
			func() { tr.exec(t, "ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()") })
	})
}

// refusing is a trial with one worker whose writes are refused for a while.
func (tr *trial) refusing(t *testing.T, kind string, refuse, accept func()) {
	t.Helper()
	tr.faults = size(1, 3)
	parts := tr.faults + 1
	events := amount(2000, 10_000) / parts
	tr.run(t, 1, events)
	p := tr.procs[0]
	for k := range tr.faults {
		tr.rcv.wait(tr.ctx, t, events*k+events/2) // while others are under way
		refuse()
		before := len(p.heard(setup.Refused + kind))
		for range events {
			p.give(tr.event())
		}
		p.hear(t, setup.Refused+kind, before+1)
		time.Sleep(tr.config.Lease + time.Second)
		accept()
	}
	tr.finish(t)
	// Changing tables locks them, for which a Send does not wait long.
	other := len(p.heard(setup.Refused)) - len(p.heard(setup.Refused+kind)) - len(p.heard(setup.Refused+"busy"))
	require.Zero(t, other, "Sends that gave other reasons")
	tr.calm(t)
	tr.verdict(t, tr.faults*tr.config.MaxInFlight)
}

// calm checks that no worker has filled the log with its trouble.
func (tr *trial) calm(t *testing.T) {
	t.Helper()
	for _, p := range tr.procs {
		p.quiet(t)
	}
}
