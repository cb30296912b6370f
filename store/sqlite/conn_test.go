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
