package memory

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// Events that are still pending lie between those that are removed.
func TestPruneLeavesNoGaps(t *testing.T) {
	ctx := context.Background()
	now := time.Unix(1e9, 0)
	s := NewWithClock(func() time.Time { return now })
	scope := store.Scope{Mode: store.Live}
	ep, err := s.CreateEndpoint(ctx, store.Endpoint{
		Scope: scope, ID: "ep_1", URLKey: "k", Config: store.Config{State: store.Enabled},
	}, store.ChangeParams{Action: store.Created})
	require.NoError(t, err)
	const n = 30
	for i := range n {
		e := store.NewEvent{Event: store.Event{Scope: scope, ID: fmt.Sprint("evt_", i), Type: "a", Body: []byte("{}"), SetVersion: 1}}
		if i%7 == 3 {
			e.For = []store.NewDelivery{{Endpoint: ep.Num}}
		}
		_, err := s.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{e}})
		require.NoError(t, err)
		now = now.Add(time.Hour)
	}
	prune := func(r store.Retention, limit int) int {
		done, err := s.Prune(ctx, r, limit)
		require.NoError(t, err)
		return done
	}
	payloads := store.Retention{Payloads: 5 * time.Hour}
	require.Equal(t, 10, prune(payloads, 10))
	require.Equal(t, 12, prune(payloads, 100)) // 26 are old enough, of which 4 are pending
	require.Equal(t, 0, prune(payloads, 100))

	all := store.Retention{Log: 10 * time.Hour}
	require.Equal(t, 7, prune(all, 7))
	require.Equal(t, 11, prune(all, 100)) // 21 are old enough, of which 3 are pending
	require.Equal(t, 0, prune(all, 100))
	w := s.worlds[scope]
	for i, ev := range w.log {
		require.Same(t, ev, s.events[ev.Num])
		require.Same(t, ev, w.events[ev.ID])
		require.True(t, i == 0 || w.log[i-1].Num < ev.Num)
	}
	require.Len(t, s.events, len(w.log))
	require.Len(t, w.events, len(w.log))

	// What was pending loses its payload once it no longer is.
	require.NoError(t, s.Cancel(ctx, scope, store.DeliveryID{Event: 4, Endpoint: ep.Num}, "enough"))
	require.Equal(t, 1, prune(payloads, 100))
	_, err = s.Replay(ctx, scope, "evt_3", "ep_1", store.ReplayParams{})
	require.ErrorIs(t, err, store.ErrErased)
	require.Equal(t, 1, prune(all, 100))
	_, err = s.Event(ctx, scope, "evt_3")
	require.ErrorIs(t, err, store.ErrNotFound)
}
