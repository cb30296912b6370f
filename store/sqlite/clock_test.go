package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

// TestClockPutBack: after the clock was wrong for a while and is right again, leases
// and delays are as long as they should be, and events are still in order of time.
func TestClockPutBack(t *testing.T) {
	clock := newClock()
	st := openFile(t, filepath.Join(t.TempDir(), "hooks.db"), &sqlite.Options{Clock: clock.Now})
	ep, err := st.CreateEndpoint(t.Context(), store.Endpoint{
		Scope: scope, ID: "ep_1", URLKey: "https://example.com/", Config: store.Config{State: store.Enabled},
	}, store.ChangeParams{Action: store.Created})
	require.NoError(t, err)
	enqueue := func(id string, lease bool, delay time.Duration) {
		ev := event(id, []byte("{}"))
		ev.SetVersion, ev.Delay = 1, delay
		ev.For = []store.NewDelivery{{Endpoint: ep.Num, Lease: lease}}
		_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{ev}, Owner: 1, Lease: time.Minute})
		require.NoError(t, err)
	}
	right := clock.Now()
	clock.Advance(48 * time.Hour)
	enqueue("evt_wrong", false, 0)
	clock.Advance(-48 * time.Hour)
	enqueue("evt_leased", true, 0)
	enqueue("evt_later", false, time.Hour)

	clock.Advance(time.Minute)
	n, err := st.TakeOver(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 1, n, "the lease was for a minute")
	clock.Advance(time.Hour)
	p, err := st.Promote(t.Context(), 10)
	require.NoError(t, err)
	require.Equal(t, 1, p.Moved, "it was to be sent in an hour")

	newest, err := st.Events(t.Context(), scope, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, newest, 3)
	for _, ev := range newest {
		require.Equal(t, right.Add(48*time.Hour), ev.StoredAt, "times never fall with the numbers")
	}
}
