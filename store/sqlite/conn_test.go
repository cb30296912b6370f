package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// TestBodiesAreNotKept: what a call was given is not held by the store after it, even
// if statements with fewer values followed.
func TestBodiesAreNotKept(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{{
		Event: store.Event{Scope: store.Scope{Mode: store.Live}, ID: "evt_1", Body: []byte("a large body")},
	}}})
	require.NoError(t, err)
	s, err := st.writer.pool.get(t.Context())
	require.NoError(t, err)
	defer st.writer.pool.put(s)
	require.NotZero(t, cap(s.args))
	for _, arg := range s.args[:cap(s.args)] {
		require.Nil(t, arg.Value)
	}
}

// Statements are kept, and visitors choose the states that they search.
func TestStatesMakeFewStatements(t *testing.T) {
	st, err := Open(t.Context(), filepath.Join(t.TempDir(), "hooks.db"), nil)
	require.NoError(t, err)
	defer st.Close()
	scope := store.Scope{Mode: store.Live}
	_, err = st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{{Event: store.Event{Scope: scope, ID: "evt_1"}}}})
	require.NoError(t, err)
	s, err := st.readers.get(t.Context())
	require.NoError(t, err)
	defer st.readers.put(s)
	texts := make(map[string]bool)
	for _, states := range [][]store.State{
		{store.Pending, store.Exhausted},
		{store.Exhausted, store.Pending},
		{store.Pending, store.Exhausted, store.Pending, store.Exhausted},
	} {
		require.NoError(t, s.use(t.Context(), func(c *conn) error {
			sc, err := scopeOf(c, scope)
			require.NoError(t, err)
			text, _, _, err := deliveryQuery(c, sc, store.DeliveryQuery{States: states}, 100)
			texts[text] = true
			return err
		}))
	}
	require.Len(t, texts, 1)
	require.NotContains(t, texts, "")
}
