package sender

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// hostNumber is the i of host(i).
func hostNumber(name string) int {
	n, _ := strconv.Atoi(strings.TrimSuffix(name[1:], ".example"))
	return n
}

// live sends events for a while and returns, sorted, how long each took to reach
// each healthy endpoint, in fake time.
func (b *bubble) live(s *Sender, d time.Duration, healthy func(int) bool) []time.Duration {
	b.t.Helper()
	sent := make(map[string]time.Time)
	for start := time.Now(); time.Since(start) < d; time.Sleep(50 * time.Millisecond) {
		at := time.Now()
		sent[b.send(&s.Tenant, "")] = at
	}
	b.pass(2 * time.Second)
	var took []time.Duration
	for _, a := range b.net.arrivals("") {
		if at, ok := sent[a.id]; ok && healthy(hostNumber(a.host)) {
			took = append(took, a.at.Sub(at))
		}
	}
	slices.Sort(took)
	return took
}

// A tenth of 100 endpoints hangs until the deadline, with thousands of deliveries
// pending, and events go on coming for all of them. The others don't notice: each
// event reaches them within milliseconds, as if the hanging ones were not there.
func TestHangingEndpointsSlowNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		dead := func(i int) bool { return i%10 == 0 }
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if dead(hostNumber(name)) {
				return never(ctx)
			}
			return late(ctx, 30*time.Millisecond, 200)
		}
		s := b.sender(b.mem, Options{})
		for i := range 100 {
			if dead(i) {
				b.endpoint(&s.Tenant, host(i))
			}
		}
		for range 300 { // 3,000 deliveries in front of everything else
			b.send(&s.Tenant, "")
		}
		for i := range 100 {
			if !dead(i) {
				b.endpoint(&s.Tenant, host(i))
			}
		}
		require.NoError(t, s.Start(t.Context()))
		defer b.end(s)
		took := b.live(s, 15*time.Second, func(i int) bool { return !dead(i) })
		require.GreaterOrEqual(t, len(took), 300*90)
		require.LessOrEqual(t, took[len(took)/2], time.Millisecond)
		require.LessOrEqual(t, took[len(took)*99/100], 50*time.Millisecond)
		require.LessOrEqual(t, took[len(took)-1], time.Second)
	})
}

// The same with more hanging endpoints than there are slots: what is slow shares
// half of the slots, however much of it there is.
func TestManyHangingEndpointsShareHalfTheSlots(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const slots, hanging = 64, 60
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if hostNumber(name) < hanging {
				return never(ctx)
			}
			return late(ctx, 10*time.Millisecond, 200)
		}
		s := b.sender(b.mem, Options{MaxInFlight: slots})
		for i := range hanging {
			b.endpoint(&s.Tenant, host(i))
		}
		for range 50 {
			b.send(&s.Tenant, "")
		}
		for i := hanging; i < hanging+5; i++ {
			b.endpoint(&s.Tenant, host(i))
		}
		require.NoError(t, s.Start(t.Context()))
		defer b.end(s)
		b.pass(time.Minute) // nobody is known at first; now all are
		took := b.live(s, 20*time.Second, func(i int) bool { return i >= hanging })
		require.GreaterOrEqual(t, len(took), 400*5)
		require.LessOrEqual(t, took[len(took)*99/100], 50*time.Millisecond)
	})
}

// The dead endpoint with the oldest and longest backlog does not starve the
// backlogs of the others.
func TestABacklogDoesNotStarveOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if name == host(0) {
				return never(ctx)
			}
			return late(ctx, 10*time.Millisecond, 200)
		}
		s := b.sender(b.mem, Options{MaxInFlight: 16})
		b.endpoint(&s.Tenant, host(0))
		for range 3000 {
			b.send(&s.Tenant, "")
		}
		b.endpoint(&s.Tenant, host(1))
		b.endpoint(&s.Tenant, host(2))
		for range 200 {
			b.send(&s.Tenant, "")
		}
		require.NoError(t, s.Start(t.Context()))
		defer b.end(s)
		b.pass(3 * time.Second)
		require.Len(t, b.net.arrivals(host(1)), 200)
		require.Len(t, b.net.arrivals(host(2)), 200)
	})
}

// Live traffic that could fill every slot leaves a quarter to what waits: the
// backlog is drained meanwhile.
func TestHandOffDoesNotStarveTheBacklog(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 100*time.Millisecond, 200) }
		s := b.sender(b.mem, Options{MaxInFlight: 16})
		old := s.For("old", store.Live)
		for i := range 4 {
			b.endpoint(old, host(i))
		}
		for range 100 {
			b.send(old, "")
		}
		for i := 10; i < 30; i++ {
			b.endpoint(&s.Tenant, host(i))
		}
		require.NoError(t, s.Start(t.Context()))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for ctx.Err() == nil {
					b.send(&s.Tenant, "")
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
		b.pass(30 * time.Second)
		require.Equal(t, 400, b.count(old, store.Delivered))
		cancel()
		wg.Wait()
		b.end(s)
	})
}

// An endpoint that was slow and answers again gets its whole backlog soon.
func TestRecoveredEndpointCatchesUp(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		start := time.Now()
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) {
			if time.Since(start) < time.Minute {
				return never(ctx)
			}
			return late(ctx, 10*time.Millisecond, 200)
		}
		s := b.start(b.mem, Options{MaxInFlight: 64})
		b.endpoint(&s.Tenant, host(1))
		for range 2000 {
			b.send(&s.Tenant, "")
		}
		b.pass(time.Minute + 15*time.Second)
		require.GreaterOrEqual(t, b.count(&s.Tenant, store.Delivered), 1900)
	})
}

// After a restart nothing is known of any endpoint. Hundreds of dead ones with a
// backlog, more than the slots could take at the room of an unknown one, don't fill
// them.
func TestUnknownDeadEndpointsDontFillTheSlots(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		const slots, hanging = 128, 60
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if hostNumber(name) < hanging {
				return never(ctx)
			}
			return late(ctx, 10*time.Millisecond, 200)
		}
		s := b.sender(b.mem, Options{MaxInFlight: slots})
		for i := range hanging {
			b.endpoint(&s.Tenant, host(i))
		}
		for range 10 {
			b.send(&s.Tenant, "")
		}
		for i := hanging; i < hanging+5; i++ {
			b.endpoint(&s.Tenant, host(i))
		}
		require.NoError(t, s.Start(t.Context()))
		defer b.end(s)
		took := b.live(s, 8*time.Second, func(i int) bool { return i >= hanging }) // before the first timeout
		require.GreaterOrEqual(t, len(took), 160*5)
		require.LessOrEqual(t, took[len(took)*99/100], 50*time.Millisecond)
	})
}

// A tenth of the endpoints was fine for long and hangs from one moment on, when
// thousands of their deliveries become due. The others don't notice.
func TestEndpointsThatWereFineAndHangSlowNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var dead atomic.Bool
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if dead.Load() && hostNumber(name)%10 == 0 {
				return never(ctx)
			}
			return late(ctx, 30*time.Millisecond, 200)
		}
		s := b.start(b.mem, Options{})
		var endpoints []store.Endpoint
		for i := range 100 {
			endpoints = append(endpoints, b.endpoint(&s.Tenant, host(i)))
		}
		var event string
		for range 400 { // one after the other
			event = b.send(&s.Tenant, "")
			time.Sleep(50 * time.Millisecond)
		}
		dead.Store(true)
		another := b.sender(b.mem, Options{}) // of another process, which stores only
		for i := 0; i < 100; i += 10 {
			for range 300 {
				_, err := another.Replay(t.Context(), event, endpoints[i].ID)
				require.NoError(t, err)
			}
		}
		took := b.live(s, 15*time.Second, func(i int) bool { return i%10 != 0 })
		require.GreaterOrEqual(t, len(took), 300*90)
		require.LessOrEqual(t, took[len(took)*99/100], 50*time.Millisecond)
		require.LessOrEqual(t, took[len(took)-1], time.Second)
	})
}
