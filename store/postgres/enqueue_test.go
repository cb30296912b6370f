package postgres_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// An empty body is stored as one, also in the first batch of a store: none at all is
// what an erased event has.
func TestEmptyBodyIsNotErased(t *testing.T) {
	st, pool, opts := open(t)
	out, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{{Event: store.Event{Scope: scope, ID: "evt_1", Type: "a.b"}}}})
	require.NoError(t, err)
	require.Equal(t, store.Stored, out[0].Status)
	var none bool
	require.NoError(t, pool.QueryRow(t.Context(), fmt.Sprintf("SELECT body IS NULL FROM %q.event", opts.Schema)).Scan(&none))
	require.False(t, none)
}

// Of a batch for many scopes, those events are stale whose set has changed, wherever
// they are in it, and the others are stored.
func TestBatchOfManyScopes(t *testing.T) {
	st, _, _ := open(t)
	var p store.EnqueueParams
	for i := range 12 {
		scope := store.Scope{Tenant: fmt.Sprintf("tenant_%d", i%4), Mode: store.Live}
		ev := store.NewEvent{Event: store.Event{Scope: scope, ID: fmt.Sprintf("evt_%d", i), Type: "a.b", Body: fmt.Appendf(nil, "%d", i)}}
		if i%4 == 2 {
			ev.SetVersion = int64(1 + i) // there is none
		}
		p.Events = append(p.Events, ev)
	}
	out, err := st.Enqueue(t.Context(), p)
	require.NoError(t, err)
	for i, res := range out {
		want := store.Stored
		if i%4 == 2 {
			want = store.Stale
		}
		require.Equal(t, want, res.Status, "event %d", i)
		if want == store.Stale {
			continue
		}
		ev, err := st.Event(t.Context(), p.Events[i].Scope, p.Events[i].ID)
		require.NoError(t, err)
		require.Equal(t, p.Events[i].Body, ev.Body)
	}
}
