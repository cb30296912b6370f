package txlibs

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/verifier"
)

// crowded are databases in which a statement that is right fails now and then, because
// of others.
var crowded = []struct {
	name string
	open func(t *testing.T) inbox
}{
	{"pgx's stdlib, serializable", func(t *testing.T) inbox { return isolated(t, "pgx", "serializable") }},
	{"lib/pq, serializable", func(t *testing.T) inbox { return isolated(t, "postgres", "serializable") }},
	{"pgx's stdlib, repeatable read", func(t *testing.T) inbox { return isolated(t, "pgx", "repeatable read") }},
	{"pgx's stdlib, lock_timeout", func(t *testing.T) inbox {
		return postgresInbox(t, openDSN(t, "pgx", dsn+" options='-c lock_timeout=1'"))
	}},
	{"SQLite without busy_timeout", func(t *testing.T) inbox { return sqliteInbox(t, "_pragma=synchronous(OFF)") }},
	{"SQLite without busy_timeout, WAL", func(t *testing.T) inbox { return sqliteInbox(t, "_pragma=synchronous(OFF)&_pragma=journal_mode(WAL)") }},
}

func isolated(t *testing.T, driver, level string) inbox {
	t.Helper()
	level = "options='-c default_transaction_isolation=" + strings.ReplaceAll(level, " ", `\\ `) + "'"
	return postgresInbox(t, openDSN(t, driver, dsn+" "+level))
}

// Different events at the same time are none of each other's business.
func TestDedupeManyEvents(t *testing.T) {
	for _, c := range crowded {
		t.Run(c.name, func(t *testing.T) {
			b := c.open(t)
			runs := newTally()
			deliver := guard(t, b.dedupe, func(_ context.Context, e verifier.Event) error { runs.add(e.ID); return nil })
			eventsAtOnce(t, deliver)
			runs.eachOnce(t)
			eventsAtOnce(t, deliver)
			runs.eachOnce(t)
		})
	}
}

// Deliveries of one event at the same time: one is handled, and the others are told to
// come back or that it is done.
func TestDedupeManyDeliveries(t *testing.T) {
	for _, c := range crowded {
		t.Run(c.name, func(t *testing.T) {
			b := c.open(t)
			for round := range 10 {
				var runs atomic.Int32
				deliver := guard(t, b.dedupe, func(context.Context, verifier.Event) error { runs.Add(1); return nil })
				var wg sync.WaitGroup
				for range atOnce {
					wg.Go(func() {
						if status := deliver(fmt.Sprintf("evt_%d", round)); status != 200 && status != 409 {
							t.Errorf("answered %d", status)
						}
					})
				}
				wg.Wait()
				require.EqualValues(t, 1, runs.Load())
			}
		})
	}
}

// Connections that the server ends, at whatever moment, make no event be handled twice
// and none be refused.
func TestDedupeLostConnections(t *testing.T) {
	for _, driver := range []string{"pgx", "postgres"} {
		t.Run(driver, func(t *testing.T) {
			other := openDB(t, "pgx")
			b := postgresInbox(t, other)
			db, err := sql.Open(driver, dsn+" application_name=dedupe_lost_"+driver)
			require.NoError(t, err)
			defer func() { _ = db.Close() }() // of connections that are dead, too
			b.db = db
			b.dedupe = b.newDedupe(t, nil)
			var handled atomic.Int32
			runs := newTally()
			deliver := guard(t, b.dedupe, func(ctx context.Context, e verifier.Event) error {
				runs.add(e.ID)
				if handled.Add(1)%40 != 0 {
					return nil
				}
				_, err := other.ExecContext(ctx, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1",
					"dedupe_lost_"+driver)
				return err
			})
			eventsAtOnce(t, deliver)
			runs.eachOnce(t)
		})
	}
}

const (
	atOnce     = 8
	eventsEach = 50
)

// eventsAtOnce delivers 400 events, 8 at a time.
func eventsAtOnce(t *testing.T, deliver func(id string) int) {
	t.Helper()
	var wg sync.WaitGroup
	for g := range atOnce {
		wg.Go(func() {
			for i := range eventsEach {
				id := fmt.Sprintf("evt_%d_%d", g, i)
				if status := deliver(id); status != 200 {
					t.Errorf("%s answered %d", id, status)
				}
			}
		})
	}
	wg.Wait()
}

// tally counts the runs of handlers by event.
type tally struct {
	mu   sync.Mutex
	runs map[string]int
}

func newTally() *tally { return &tally{runs: map[string]int{}} }

func (r *tally) add(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs[id]++
}

func (r *tally) eachOnce(t *testing.T) {
	t.Helper()
	require.Len(t, r.runs, atOnce*eventsEach)
	for id, n := range r.runs {
		require.Equal(t, 1, n, id)
	}
}
