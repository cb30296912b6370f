package postgres

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// planned makes a store with many deliveries in every state, of which the server
// has no statistics: that is when plans go wrong.
func planned(t *testing.T) (*Store, *pgxpool.Conn) {
	t.Helper()
	pool := TestServer.Pool(t)
	opts := &Options{Schema: TestServer.Schema(t, "plan_")}
	require.NoError(t, Migrate(t.Context(), pool, opts))
	st, err := New(pool, opts)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, st.Close()) })
	conn, err := pool.Acquire(t.Context())
	require.NoError(t, err)
	t.Cleanup(conn.Release)
	for _, text := range []string{
		`INSERT INTO hookpost.endpoint (num, tenant, mode, id, url_key, state, config, secrets, created_at, changed_at)
			OVERRIDING SYSTEM VALUE SELECT i, 'acme', 1, 'ep_' || i, 'u' || i, 1, '{"state":"enabled"}', '[]', now(), now() FROM generate_series(1, 1000) i`,
		`INSERT INTO hookpost.lane (endpoint, version, state) SELECT i, 1, 1 FROM generate_series(1, 1000) i`,
		`INSERT INTO hookpost.event (num, set_version, created_at, stored_at, mode, tenant, id, type, content_type, hash, body)
			SELECT i, 0, now(), now(), 1, 'acme', 'evt_' || i, 'a.b', '', '', '{}' FROM generate_series(1, 30000) i`,
		`INSERT INTO hookpost.delivery (event, endpoint, round, state, due_at, created_at, lease_until, token, attempts)
			SELECT i, 1 + i % 1000, 0, i % 6, now() - i * interval '1 ms', now(), now(), 1, 1 FROM generate_series(1, 30000) i`,
		`SELECT setval('hookpost.event_num', 30000)`,
	} {
		_, err := conn.Exec(t.Context(), st.text.of(text))
		require.NoError(t, err)
	}
	return st, conn
}

// explainAnalyze runs a statement and returns how.
func explainAnalyze(t *testing.T, st *Store, conn *pgxpool.Conn, settings, text string, args ...any) string {
	t.Helper()
	var lines []string
	b := &pgx.Batch{}
	b.Queue(settings)
	b.Queue("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) "+st.text.of(text), args...).Query(func(rows pgx.Rows) error {
		return each(rows, func(scan scanner) error {
			var line string
			err := scan(&line)
			lines = append(lines, line)
			return err
		})
	})
	tx, err := conn.Begin(t.Context())
	require.NoError(t, err)
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	require.NoError(t, tx.SendBatch(t.Context(), b).Close())
	return strings.Join(lines, "\n")
}

// TestHotStatementsUseIndexes asks the server how it runs the statements of the
// queue: no table is read from end to end, whatever the server believes to be in it.
func TestHotStatementsUseIndexes(t *testing.T) {
	for _, analyzed := range []bool{false, true} {
		t.Run(fmt.Sprintf("analyzed=%v", analyzed), func(t *testing.T) {
			st, conn := planned(t)
			if analyzed {
				_, err := conn.Exec(t.Context(), "ANALYZE")
				require.NoError(t, err)
			}
			settle := settler{all: []store.Settlement{
				{ID: store.DeliveryID{Event: 2, Endpoint: 3}, Token: 1, Verdict: store.Deliver, Attempt: &store.Attempt{N: 1}},
				{ID: store.DeliveryID{Event: 8, Endpoint: 9}, Token: 1, Verdict: store.Retry, Attempt: &store.Attempt{N: 1}},
			}}
			everything := (*time.Time)(nil)
			enqueue := newEnqueuer(store.EnqueueParams{Events: []store.NewEvent{{
				Event: store.Event{Scope: store.Scope{Tenant: "acme", Mode: store.Live}, ID: "evt_new", Refs: []string{"r"}},
				For:   []store.NewDelivery{{Endpoint: 1}, {Endpoint: 2}},
			}}}, true, &st.targets)
			enqueueStatement, enqueueArgs := enqueue.statement()
			for _, c := range []struct {
				name, settings, text string
				args                 []any
			}{
				{"claim", settingsIndex, claimText, []any{
					int64(500), int32(100), int64(1 << 20), int32(10), `{"501":3}`, int64(1e9),
					[]int64{510},
					[]time.Time{time.Now().Add(-time.Hour)},
					int32(500), int64(1), int64(1e6),
				}},
				{"enqueue", settingsEnqueue, enqueueStatement, enqueueArgs},
				{"settle plain", settingsSettle, settlePlain, settle.plainArgs([]int{0})},
				{
					"settle other", settingsSettle + ", set_config('hookpost_settle.ords', '{1}', true), set_config('hookpost_settle.lanes', '{9}', true)",
					settleOther, settle.otherArgs([]int{1}),
				},
				{"lock other", settingsSettle, lockOther, append(settle.otherArgs([]int{1})[:4:4], settle.changing([]int{1}))},
				{"promote", settingsWrite, promoteText, []any{100, everything}},
				{"next due", settingsWrite, nextDueText, []any{everything}},
				{"take over", settingsWrite, takeOverText, []any{100, everything}},
				{"number at a time", settingsIndex, numAt, []any{time.Now(), int64(0)}},
				{"known", settingsIndex, selectKnown, []any{[]int32{0}, []string{"acme"}, []int16{1}, []string{"evt_1"}, []string{""}, [][]byte{{}}}},
			} {
				t.Run(c.name, func(t *testing.T) {
					plan := explainAnalyze(t, st, conn, c.settings, c.text, c.args...)
					require.NotContains(t, plan, "Seq Scan", plan)
					require.NotContains(t, plan, "Bitmap", plan)
					if strings.HasPrefix(c.name, "settle") {
						require.NotContains(t, plan, "delivery_leased", "it would be read whole, in every settle")
					}
				})
			}
		})
	}
}

// TestReadsFollowTheirIndex, with statistics and without: of the newest deliveries of
// an endpoint only those of one event are sorted, by round.
func TestReadsFollowTheirIndex(t *testing.T) {
	st, conn := planned(t)
	for _, analyzed := range []bool{false, true} {
		if analyzed {
			_, err := conn.Exec(t.Context(), "ANALYZE")
			require.NoError(t, err)
		}
		plan := explainAnalyze(t, st, conn, settingsRead, "SELECT e.num"+fromEventByID, "acme", int16(1), "evt_7")
		requireOrdered(t, plan)
		require.Contains(t, plan, "event_id", plan)
		for text, ids := range map[string]any{activityText: []string{"ep_1", "ep_7"}, recentText: "ep_1"} {
			plan := explainAnalyze(t, st, conn, settingsRead, text, "acme", int16(1), ids, 5)
			requireOrdered(t, plan)
			require.Contains(t, plan, "delivery_log", plan)
		}
	}
}

// TestPagesNeedNoSort asks how the log is read: a page comes in order from an
// index, whatever lies behind it.
func TestPagesNeedNoSort(t *testing.T) {
	st, conn := planned(t)
	_, err := conn.Exec(t.Context(), "ANALYZE")
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
		"exhausted":                {States: []store.State{store.Exhausted}},
		"exhausted, next page":     {States: []store.State{store.Exhausted}, Before: store.DeliveryID{Event: 7, Endpoint: 1}},
		"type":                     {Type: "a.b"},
	} {
		t.Run(name, func(t *testing.T) {
			text, _, err := deliveryQuery(t.Context(), readQuerier{st.text, conn}, store.Scope{Tenant: "acme", Mode: store.Live}, q, 0)
			require.NoError(t, err)
			plan := explainAnalyze(t, st, conn, settingsRead, text.String(), text.args...)
			requireOrdered(t, plan)
			if strings.HasPrefix(name, "exhausted") {
				require.NotContains(t, plan, "event_log", "the scope's events would be read for each delivery")
			}
		})
	}
	for name, q := range map[string]store.EventQuery{
		"events":              {},
		"events, next page":   {Before: 7},
		"events by type":      {Type: "a.b", From: now, To: now},
		"events by reference": {Ref: "cus_1", Type: "a.b", Before: 7},
	} {
		t.Run(name, func(t *testing.T) {
			text, _, err := eventQuery(t.Context(), readQuerier{st.text, conn}, store.Scope{Tenant: "acme", Mode: store.Live}, q, 0)
			require.NoError(t, err)
			requireOrdered(t, explainAnalyze(t, st, conn, settingsRead, text.String(), text.args...))
		})
	}
	for _, way := range []trail{
		{" FROM hookpost.event e", "", " WHERE e.tenant = ? AND e.mode = ?", "e.num", []any{"acme", int16(1)}},
		{" FROM hookpost.ref r", "", " WHERE r.tenant = ? AND r.mode = ? AND r.ref = ?", "r.event", []any{"acme", int16(1), "cus_1"}},
		{" FROM hookpost.delivery d", "", " WHERE d.endpoint = ?", "d.event", []any{7}},
		{" FROM hookpost.delivery d", "", " WHERE d.state = 4", "d.event", nil},
	} {
		t.Run("end of a search"+way.where, func(t *testing.T) {
			text := way.floorQuery(span{end: 30_000}, 7)
			requireOrdered(t, explainAnalyze(t, st, conn, settingsRead, text.String(), text.args...))
		})
	}
}

// requireOrdered refuses a plan that reads a table from end to end, or sorts.
func requireOrdered(t *testing.T, plan string) {
	t.Helper()
	require.NotContains(t, plan, "Seq Scan", plan)
	require.NotContains(t, plan, "Bitmap", plan)
	for line := range strings.Lines(plan) {
		require.False(t, strings.HasPrefix(strings.TrimPrefix(strings.TrimSpace(line), "->  "), "Sort ("), plan)
	}
}

// TestBacklogsStopAtTheirBound asks how backlogs are counted: from the partial
// indexes, and no further than the bound.
func TestBacklogsStopAtTheirBound(t *testing.T) {
	st, conn := planned(t)
	_, err := conn.Exec(t.Context(), st.text.of("UPDATE hookpost.delivery SET endpoint = 1 WHERE endpoint <= 500"))
	require.NoError(t, err)
	for name, q := range map[string]struct {
		text string
		args []any
	}{
		"page":      {backlogPage, []any{"acme", int16(1), 7, int64(0), 20}},
		"one":       {backlogOne, []any{"acme", int16(1), 7, "ep_1"}},
		"in flight": {inFlightText, []any{7}},
	} {
		t.Run(name, func(t *testing.T) {
			plan := explainAnalyze(t, st, conn, settingsRead, q.text, q.args...)
			require.NotContains(t, plan, "Seq Scan", plan)
			require.NotContains(t, plan, "Bitmap", plan)
			for line := range strings.Lines(plan) {
				require.False(t, strings.HasPrefix(strings.TrimPrefix(strings.TrimSpace(line), "->  "), "Sort ("), plan)
				if !strings.Contains(line, "delivery_") {
					continue
				}
				require.Regexp(t, `rows=[0-7](\.\d+)? `, line, plan)
			}
		})
	}
}
