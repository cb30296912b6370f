package sender

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// What somebody holds in the store, for however long, holds up the results that need it
// and nothing else: others are recorded at once, and the endpoint concerned, which may be
// in trouble, does not come to hold all slots.
func TestResultsOfABusyEndpoint(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var held atomic.Int64 // an endpoint's number
		st := &brokenStore{Store: b.mem, busy: func(s store.Settlement) bool { return s.ID.Endpoint == held.Load() }}
		s := b.start(st, Options{MaxInFlight: 8})
		frozen, others := s.For("frozen", store.Live), s.For("others", store.Live)
		held.Store(b.endpoint(frozen, host(1)).Num)
		b.endpoint(others, host(2))
		for i := range 50 {
			b.send(frozen, fmt.Sprint("evt_frozen_", i))
			b.pass(10 * time.Millisecond)
			b.send(others, fmt.Sprint("evt_others_", i))
			b.pass(time.Second)
			require.Equal(t, i+1, b.count(others, store.Delivered), "recorded within a second")
		}
		require.LessOrEqual(t, len(b.net.arrivals(host(1))), initialRoom+1, "attempts whose results can't be recorded")
		require.Equal(t, 50, b.count(frozen, store.Pending))

		held.Store(0)
		b.pass(10 * time.Second)
		require.Equal(t, 50, b.count(frozen, store.Delivered))
		b.requireOnce(50, 2)
	})
}

// A result that disables its endpoint is recorded beside the others: locking what that
// takes may last.
func TestDisablingHoldsUpNoOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		release := make(chan struct{})
		st := &brokenStore{Store: b.mem}
		st.settle = func(list []store.Settlement) error {
			if list[0].DisableVersion != 0 {
				<-release
			}
			return nil
		}
		s := b.start(st, Options{})
		b.net.answer = func(_ context.Context, h, _ string) (int, error) {
			if h == host(1) {
				return 410, nil
			}
			return 200, nil
		}
		gone, others := s.For("gone", store.Live), s.For("others", store.Live)
		ep := b.endpoint(gone, host(1))
		b.endpoint(others, host(2))
		b.send(gone, "evt_gone")
		b.pass(time.Second)
		for i := range 20 {
			b.send(others, fmt.Sprint("evt_others_", i))
		}
		b.pass(time.Second)
		require.Equal(t, 20, b.count(others, store.Delivered))
		require.Equal(t, 1, b.count(gone, store.Pending))
		close(release)
		b.pass(time.Second)
		require.Equal(t, 1, b.count(gone, store.Exhausted))
		stored, err := gone.Endpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, store.Disabled, stored.State)
	})
}
