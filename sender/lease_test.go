package sender

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/store"
)

// mortal is a store's view of a process that can die: from then on nothing of it
// reaches the store.
type mortal struct {
	brokenStore
	dead atomic.Bool
}

func (b *bubble) mortal() *mortal {
	m := &mortal{}
	m.Store = b.mem
	m.before = func(context.Context, string) error {
		if m.dead.Load() {
			return errAway
		}
		return nil
	}
	return m
}

// A worker dies with attempts under way: another takes them over when their leases
// have expired, logs them as unknown, and the schedule does not advance.
func TestTakeoverFromADeadWorker(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var dying atomic.Bool
		dying.Store(true)
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) {
			if dying.Load() {
				return never(ctx)
			}
			return 200, nil
		}
		process := b.mortal()
		s := b.start(process, Options{MaxInFlight: 16})
		for i := range 8 {
			b.endpoint(&s.Tenant, host(i))
		}
		for range 5 {
			b.send(&s.Tenant, "")
		}
		b.pass(time.Second)
		inFlight := len(b.net.arrivals(""))
		require.LessOrEqual(t, inFlight, 16)
		require.Positive(t, inFlight)
		process.dead.Store(true)
		dying.Store(false)

		other := b.start(b.mem, Options{})
		b.pass(5 * time.Second)
		require.Equal(t, 40-inFlight, b.count(&other.Tenant, store.Delivered), "leases that stand are respected")
		b.pass(15 * time.Second)
		require.Equal(t, 40, b.count(&other.Tenant, store.Delivered))
		require.Len(t, b.net.arrivals(""), 40+inFlight, "repeated is what was under way")
		all, err := other.Deliveries(t.Context(), store.DeliveryQuery{Limit: 1000})
		require.NoError(t, err)
		unknown := 0
		for _, d := range all {
			_, attempts, err := other.Delivery(t.Context(), d.ID)
			require.NoError(t, err)
			require.Zero(t, d.Failures)
			for i, a := range attempts {
				require.Equal(t, i+1, a.N)
				if a.Outcome == store.AttemptUnknown {
					unknown++
				}
			}
		}
		require.Equal(t, inFlight, unknown)
	})
}

// A delivery that kills each worker that tries it: the fifth unknown attempt in a
// row counts as a failure, and nobody tries it again before the schedule says so.
func TestFiveUnknownInARowCountAsAFailure(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var last *mortal
		var killed int
		b.net.answer = func(ctx context.Context, _, id string) (int, error) {
			if id == "killer" && killed < store.MaxUnknown {
				killed++
				last.dead.Store(true)
				return never(ctx)
			}
			return 200, nil
		}
		last = b.mortal()
		s := b.start(last, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "killer")
		for range store.MaxUnknown {
			b.pass(time.Second)
			require.True(t, last.dead.Load())
			last = b.mortal()
			s = b.start(last, Options{})
			b.pass(25 * time.Second)
		}
		require.Equal(t, store.MaxUnknown, killed)
		d, attempts := b.delivery(&s.Tenant, "killer")
		require.Equal(t, store.Pending, d.State)
		require.Equal(t, 1, d.Failures)
		require.Len(t, attempts, store.MaxUnknown)
		require.Len(t, b.net.arrivals(""), store.MaxUnknown, "the failure was counted without asking the receiver")
		b.pass(5 * time.Minute)
		d, attempts = b.delivery(&s.Tenant, "killer")
		require.Equal(t, store.Delivered, d.State)
		require.Equal(t, store.MaxUnknown+1, attempts[store.MaxUnknown].N)
	})
}

// A test event gets one attempt: five unknown ones end it.
func TestFiveUnknownEndATestEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var process *mortal
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) {
			process.dead.Store(true)
			return never(ctx)
		}
		process = b.mortal()
		s := b.start(process, Options{})
		ep, _, err := s.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://h.example/", EventTypes: []string{"*"}})
		require.NoError(t, err)
		for range store.MaxUnknown {
			b.pass(time.Second)
			require.True(t, process.dead.Load())
			process = b.mortal()
			s = b.start(process, Options{})
			b.pass(25 * time.Second)
		}
		b.pass(time.Hour)
		list, err := s.Deliveries(t.Context(), store.DeliveryQuery{EndpointID: ep.ID})
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, store.Exhausted, list[0].State)
		require.Contains(t, list[0].Reason, "without a report")
		require.Len(t, b.net.arrivals(""), store.MaxUnknown)
		now, err := s.Endpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Zero(t, now.Failures)
	})
}

// A success that is reported when another worker has taken the delivery over is a
// success, and ends it.
func TestLateSuccessWins(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st, away := b.unsettling()
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) {
			if len(b.net.arrivals("")) > 1 {
				return late(ctx, 5*time.Second, 500)
			}
			return 200, nil
		}
		away.Store(true)
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Second)
		// Only the other one sends from here on.
		s.stop()
		other := b.start(b.mem, Options{})
		for range 60 {
			if b.pass(500 * time.Millisecond); len(b.net.arrivals("")) == 2 {
				break
			}
		}
		require.Len(t, b.net.arrivals(""), 2)
		away.Store(false)
		b.pass(3 * time.Second)
		d, attempts := b.delivery(&other.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		require.Equal(t, store.AttemptDelivered, attempts[0].Outcome)

		b.pass(time.Hour) // the other's failure arrives
		d, attempts = b.delivery(&other.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		require.Zero(t, d.Failures)
		require.Len(t, attempts, 2)
		require.Equal(t, store.AttemptFailed, attempts[1].Outcome)
		require.Len(t, b.net.arrivals(""), 2)
	})
}

// A lease that is given back unused takes no attempt number and counts nowhere.
func TestReleaseIsNotCharged(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		claims := 0
		st := &brokenStore{Store: b.mem, after: func(_ context.Context, method string) error {
			if method == "Claim" && claims < 2 {
				// 9 of the lease's 15 s are left, and a deadline of 10; the next lease has 18 s
				// more, and its claim takes all of these.
				claims++
				time.Sleep([]time.Duration{6 * time.Second, 24 * time.Second}[claims-1])
			}
			return nil
		}}
		s := b.sender(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		require.NoError(t, s.Start(t.Context()))
		defer b.end(s)
		b.pass(29 * time.Second)
		require.Equal(t, 2, claims)
		require.Empty(t, b.net.arrivals(""), "no attempt starts that its lease does not outlast")
		d, attempts := b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Pending, d.State)
		require.Zero(t, d.Failures)
		require.Empty(t, attempts)
		b.pass(10 * time.Second)
		d, attempts = b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		require.Len(t, attempts, 1)
		require.Equal(t, 1, attempts[0].N)
	})
}

// Slow receivers, leases just long enough and two Senders: nothing is sent twice.
func TestSlowReceiversAgainstLeases(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 9900*time.Millisecond, 200) }
		o := Options{MaxInFlight: 32, Lease: 11 * time.Second}
		s := b.start(b.mem, o)
		b.start(b.mem, o)
		for i := range 20 {
			b.endpoint(&s.Tenant, host(i))
		}
		for range 20 {
			b.send(&s.Tenant, "")
		}
		b.pass(20 * time.Minute)
		require.Equal(t, 400, b.count(&s.Tenant, store.Delivered))
		b.requireOnce(20, 20)
	})
}

// Workers that die and come back all the time lose nothing, and repeat no more
// than they had in flight.
func TestWorkersDieAllTheTime(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 300*time.Millisecond, 200) }
		const inFlight, events, hosts, deaths = 16, 200, 5, 6
		o := Options{MaxInFlight: inFlight, Schedule: retry.None}
		keeper := b.sender(b.mem, o)
		for i := range hosts {
			b.endpoint(&keeper.Tenant, host(i))
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			for range events {
				b.send(&keeper.Tenant, "")
				time.Sleep(50 * time.Millisecond)
			}
		})
		for range deaths {
			process := b.mortal()
			b.start(process, o)
			b.pass(2 * time.Second)
			process.dead.Store(true)
		}
		wg.Wait()
		b.start(b.mem, o)
		b.pass(5 * time.Minute)
		require.Equal(t, events*hosts, b.count(&keeper.Tenant, store.Delivered))
		require.Len(t, b.net.times(), events*hosts)
		require.LessOrEqual(t, len(b.net.arrivals("")), events*hosts+deaths*inFlight)
	})
}
