package postgres_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/postgres"
)

// TestTablesStopGrowing lives through months of constant load: each day as many
// events, failures with their answers and references, and everything pruned that is
// too old. With VACUUM, which the server does by itself otherwise, tables and indexes
// must not grow any more once they hold what is kept.
func TestTablesStopGrowing(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("two months, one call after the other")
	}
	const (
		day     = 24 * time.Hour
		perDay  = 150
		warmUp  = 30 // days
		lasting = 60
	)
	pool := server.Pool(t)
	opts := &postgres.Options{Schema: server.Schema(t, "growth_")}
	st := postgres.NewShifted(t, pool, opts)
	scope := store.Scope{Tenant: "acme", Mode: store.Live}
	ep, err := st.CreateEndpoint(t.Context(), store.Endpoint{
		Scope: scope, ID: "ep_1", Config: store.Config{State: store.Enabled},
	}, store.ChangeParams{Action: store.Created})
	require.NoError(t, err)
	tables := []string{"event", "delivery", "attempt", "ref"}
	size := func() (bytes int64) {
		for _, name := range tables {
			var n int64
			table := fmt.Sprintf("%q.%s", opts.Schema, name)
			_, err := pool.Exec(t.Context(), "VACUUM "+table)
			require.NoError(t, err)
			require.NoError(t, pool.QueryRow(t.Context(), "SELECT pg_total_relation_size($1)", table).Scan(&n))
			bytes += n
		}
		return bytes
	}
	body := make([]byte, 2000)
	var most int64
	sent := 0
	for d := range lasting {
		p := store.EnqueueParams{Owner: 1, Lease: time.Minute, Events: make([]store.NewEvent, perDay)}
		for i := range p.Events {
			sent++
			p.Events[i] = store.NewEvent{
				Event: store.Event{
					Scope: scope, ID: fmt.Sprintf("evt_%010d", sent), Type: "a.b", Body: body, Refs: []string{fmt.Sprint("cus_", sent%40)}, SetVersion: 1,
				},
				For: []store.NewDelivery{{Endpoint: ep.Num, Lease: true}},
			}
		}
		results, err := st.Enqueue(t.Context(), p)
		require.NoError(t, err)
		reports := make([]store.Settlement, perDay)
		for i, r := range results {
			reports[i] = store.Settlement{
				ID: store.DeliveryID{Event: r.Event, Endpoint: ep.Num}, Token: 1, Verdict: store.Deliver,
				Attempt: &store.Attempt{N: 1, Status: 200, Outcome: store.AttemptDelivered},
			}
			if i%5 == 0 {
				reports[i].Verdict, reports[i].Reason = store.Exhaust, "no"
				reports[i].Attempt = &store.Attempt{N: 1, Status: 500, Outcome: store.AttemptFailed, ResponseBody: body[:500]}
			}
		}
		_, err = st.Settle(t.Context(), reports)
		require.NoError(t, err)
		st.Advance(t, day)
		for n := 50; n == 50; {
			n, err = st.Prune(t.Context(), store.Retention{Payloads: 5 * day, Responses: 3 * day, Log: 15 * day}, 50)
			require.NoError(t, err)
		}
		if n := size(); d < warmUp {
			most = max(most, n)
		} else {
			require.LessOrEqual(t, n, most+most/5, "after %d days there are %d bytes, after %d there were %d", d, n, warmUp, most)
		}
	}
	left, err := st.Events(t.Context(), scope, store.EventQuery{Limit: 1000, Before: int64(sent - 14*perDay)})
	require.NoError(t, err)
	require.LessOrEqual(t, len(left), perDay, "what is older than the retention is gone")
}
