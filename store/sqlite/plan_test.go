package sqlite

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// TestPagesNeedNoSort asks SQLite how it would read the log: a page must come in
// order from an index, whatever lies behind it.
func TestPagesNeedNoSort(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	scope := store.Scope{Tenant: "acme", Mode: store.Live}
	_, err = st.CreateEndpoint(t.Context(), store.Endpoint{Scope: scope, ID: "ep_1", Config: store.Config{State: store.Enabled}}, store.Created, "")
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
				text, args, err := deliveryQuery(c, sc, q)
				require.NoError(t, err)
				var plan []string
				err = c.query(func(r row) error {
					plan = append(plan, r.text(3))
					return nil
				}, "EXPLAIN QUERY PLAN "+text, args...)
				all := strings.Join(plan, "\n")
				require.NotContains(t, all, "TEMP B-TREE", text)
				require.NotContains(t, all, "SCAN", text)
				return err
			})
			require.NoError(t, err)
		})
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
