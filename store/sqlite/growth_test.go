package sqlite_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

// TestFileStopsGrowing lives through months of constant load: each day as many events,
// failures with their answers and references, and everything pruned that is too old.
// The file must not grow any more once it holds what is kept.
func TestFileStopsGrowing(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("two months, one call after the other")
	}
	const (
		day     = 24 * time.Hour
		perDay  = 150
		warmUp  = 25 // days
		lasting = 60
	)
	clock := newClock()
	path := filepath.Join(t.TempDir(), "hooks.db")
	st, err := sqlite.Open(t.Context(), "file:"+path+noSync, &sqlite.Options{Clock: clock.Now})
	require.NoError(t, err)
	defer st.Close()
	db, err := sql.Open("sqlite", path)
	require.NoError(t, err)
	defer db.Close()
	scope := store.Scope{Tenant: "acme", Mode: store.Live}
	ep, err := st.CreateEndpoint(t.Context(), store.Endpoint{
		Scope: scope, ID: "ep_1", Config: store.Config{State: store.Enabled},
	}, store.ChangeParams{Action: store.Created})
	require.NoError(t, err)

	pages := func() (n int) {
		require.NoError(t, db.QueryRow("PRAGMA page_count").Scan(&n))
		return n
	}
	body := make([]byte, 2000)
	most, sent := 0, 0
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
		clock.Advance(day)
		for n := 50; n == 50; {
			n, err = st.Prune(t.Context(), store.Retention{Payloads: 5 * day, Responses: 3 * day, Log: 15 * day}, 50)
			require.NoError(t, err)
		}
		if n := pages(); d < warmUp {
			most = max(most, n)
		} else {
			require.LessOrEqual(t, n, most+most/50, "after %d days the file has %d pages, after %d it had %d", d, n, warmUp, most)
		}
	}
	left, err := st.Events(t.Context(), scope, store.EventQuery{Limit: 1000, Before: int64(sent - 14*perDay)})
	require.NoError(t, err)
	require.LessOrEqual(t, len(left), perDay, "what is older than the retention is gone")
}
