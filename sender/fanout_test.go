package sender

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// An event for more endpoints than are stored together with it reaches all of them,
// those of the moment it was sent, once each.
func TestFanOutBeyondTheBound(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const n = store.MaxFanOut + 234
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 5*time.Millisecond, 200) }
		s := b.start(b.mem, Options{MaxInFlight: 256})
		for i := range n {
			b.endpoint(&s.Tenant, host(i))
		}
		r, err := s.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		require.Equal(t, n, r.Deliveries)
		b.endpoint(&s.Tenant, host(n)) // too late
		b.pass(20 * time.Second)
		require.Equal(t, n, b.count(&s.Tenant, store.Delivered))
		b.requireOnce(1, n)
		require.True(t, s.lanes.idle())
	})
}

// The bound itself is still stored in one commit, and handed over as far as there
// are slots.
func TestFanOutAtTheBound(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.start(b.mem, Options{MaxInFlight: 100})
		for i := range store.MaxFanOut {
			b.endpoint(&s.Tenant, host(i))
		}
		b.pass(time.Second)
		r, err := s.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		require.Equal(t, store.MaxFanOut, r.Deliveries)
		b.pass(100 * time.Millisecond)
		b.requireOnce(1, store.MaxFanOut)
	})
}
