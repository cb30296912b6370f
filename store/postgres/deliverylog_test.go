package postgres

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// Statements are kept, and visitors choose the states.
func TestStatesMakeFewStatements(t *testing.T) {
	text := func(states ...store.State) string {
		t.Helper()
		q := store.DeliveryQuery{States: states}
		s, _, err := deliveryQuery(t.Context(), nil, store.Scope{Mode: store.Live}, q, 0)
		require.NoError(t, err)
		require.Equal(t, states, q.States, "they are the caller's")
		return s.String()
	}
	want := text(store.Pending, store.Exhausted)
	require.Equal(t, want, text(store.Exhausted, store.Pending))
	require.Equal(t, want, text(store.Pending, store.Exhausted, store.Pending, store.Exhausted))
	require.Equal(t, text(store.Exhausted), text(store.Exhausted, store.Exhausted))
	require.NotEqual(t, want, text(store.Exhausted))
}
