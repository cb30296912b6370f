package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// explainPlan returns how SQLite would run a statement.
func explainPlan(t *testing.T, c *conn, text string, args ...any) string {
	t.Helper()
	var plan []string
	require.NoError(t, c.query(func(r row) error {
		plan = append(plan, r.text(3))
		return nil
	}, "EXPLAIN QUERY PLAN "+text, args...))
	return strings.Join(plan, "\n")
}

// TestPagesNeedNoSort asks SQLite how it would read the log: a page must come in
// order from an index, whatever lies behind it.
func TestPagesNeedNoSort(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	scope := store.Scope{Tenant: "acme", Mode: store.Live}
	_, err = st.CreateEndpoint(t.Context(), store.Endpoint{Scope: scope, ID: "ep_1", Config: store.Config{State: store.Enabled}}, store.ChangeParams{Action: store.Created})
	require.NoError(t, err)
	now := time.Now()
	for name, q := range map[string]store.DeliveryQuery{
		"all":                      {},
		"all, next page":           {Before: store.DeliveryID{Event: 7, Endpoint: 1}},
		"event":                    {EventID: "evt_1"},
		"event and endpoint":       {EventID: "evt_1", EndpointID: "ep_1"},
		"endpoint":                 {EndpointID: "ep_1"},
		"endpoint, next page":      {EndpointID: "ep_1", Before: store.DeliveryID{Event: 7, Endpoint: 1}},
		"endpoint, state and time": {EndpointID: "ep_1", States: []store.State{store.Pending, store.Cancelled}, From: now, To: now},
		"reference":                {Ref: "cus_1"},
		"reference, next page":     {Ref: "cus_1", Before: store.DeliveryID{Event: 7, Endpoint: 1}},
		"reference and endpoint":   {Ref: "cus_1", EndpointID: "ep_1"},
		"exhausted":                {States: []store.State{store.Exhausted}},
		"exhausted, next page":     {States: []store.State{store.Exhausted}, Before: store.DeliveryID{Event: 7, Endpoint: 1}},
		"type":                     {Type: "a.b"},
	} {
		t.Run(name, func(t *testing.T) {
			err := st.read(t.Context(), func(c *conn) error {
				sc, err := scopeOf(c, scope)
				require.NoError(t, err)
				text, args, _, err := deliveryQuery(c, sc, q, 0)
				require.NoError(t, err)
				plan := explainPlan(t, c, text, append(args, 50)...)
				require.NotContains(t, plan, "TEMP B-TREE", text)
				require.NotContains(t, plan, "SCAN", text)
				return nil
			})
			require.NoError(t, err)
		})
	}
	for name, q := range map[string]store.EventQuery{
		"events":               {},
		"events, next page":    {Before: 7},
		"events by type, time": {Type: "a.b", From: now, To: now},
		"events by reference":  {Ref: "cus_1", Type: "a.b", Before: 7},
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, st.read(t.Context(), func(c *conn) error {
				sc, err := scopeOf(c, scope)
				require.NoError(t, err)
				text, args, _, err := eventQuery(c, sc, q, 0)
				require.NoError(t, err)
				plan := explainPlan(t, c, text, append(args, 50)...)
				require.NotContains(t, plan, "TEMP B-TREE", text)
				require.NotContains(t, plan, "SCAN", text)
				return nil
			}))
		})
	}
}

// TestActivityReadsTheEndOfAnIndex: of the newest deliveries of an endpoint only
// those of one event are sorted, by round, and what is scanned is the bounded result
// of that.
func TestActivityReadsTheEndOfAnIndex(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	for _, text := range []string{activityText, recentText} {
		require.NoError(t, st.read(t.Context(), func(c *conn) error {
			for line := range strings.Lines(explainPlan(t, c, text, 1, 100)) {
				line = strings.TrimSpace(line)
				require.False(t, strings.Contains(line, "SCAN") && line != "SCAN d", line)
				require.False(t, strings.Contains(line, "TEMP B-TREE") && line != "USE TEMP B-TREE FOR LAST TERM OF ORDER BY", line)
			}
			return nil
		}))
	}
}

// TestLeasesFollowTheKey: the rows that a claim has chosen are found by their whole
// primary key, whatever else an endpoint has.
func TestLeasesFollowTheKey(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	for _, n := range batchSizes {
		require.NoError(t, st.read(t.Context(), func(c *conn) error {
			plan := explainPlan(t, c, leaseReady.rows(n), make([]any, 6+n)...)
			require.Equal(t, "SEARCH hookpost_delivery USING PRIMARY KEY (event=? AND endpoint=? AND round=?)", plan)
			return nil
		}))
	}
}

// TestSearchesAreBounded: what finds the end of a search follows the index that the
// page comes from.
func TestSearchesAreBounded(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	for _, way := range []trail{
		{" FROM hookpost_event e INDEXED BY hookpost_event_scope", "", " WHERE e.scope = ?", "e.num", []any{1}},
		{" FROM hookpost_ref r", "", " WHERE r.scope = ? AND r.ref = ?", "r.event", []any{1, "cus_1"}},
		{" FROM hookpost_delivery d INDEXED BY hookpost_delivery_log", "", " WHERE d.endpoint = ?", "d.event", []any{1}},
		{" FROM hookpost_delivery d INDEXED BY hookpost_delivery_exhausted", "", " WHERE d.state = 4", "d.event", nil},
	} {
		require.NoError(t, st.read(t.Context(), func(c *conn) error {
			text, args := way.floorQuery(0, 10, 7)
			plan := explainPlan(t, c, text, args...)
			require.NotContains(t, plan, "TEMP B-TREE", text)
			require.NotContains(t, plan, "SCAN", text)
			require.Regexp(t, "COVERING INDEX|PRIMARY KEY", plan, text)
			return nil
		}))
	}
}

// TestBacklogsReadNoTable asks SQLite how it would count: whatever lies behind the
// endpoints, only the partial indexes are read.
func TestBacklogsReadNoTable(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	for name, q := range map[string]struct {
		text string
		args []any
	}{
		"page":      {backlogPage, []any{1, 0, 0, 1000, 100}},
		"one":       {backlogOne, []any{1, 0, 0, 1000, "ep_1"}},
		"in flight": {inFlightText, []any{store.MaxInFlightCount}},
	} {
		t.Run(name, func(t *testing.T) {
			err := st.read(t.Context(), func(c *conn) error {
				return c.query(func(r row) error {
					step := r.text(3)
					require.NotContains(t, step, "TEMP B-TREE")
					if strings.Contains(step, " d ") || name == "in flight" {
						require.Contains(t, step, "COVERING INDEX", "deliveries themselves are not read")
					}
					return nil
				}, "EXPLAIN QUERY PLAN "+q.text, q.args...)
			})
			require.NoError(t, err)
		})
	}
}
