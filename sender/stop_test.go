package sender

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

func TestStopWaitsForAttemptsAndTheirResults(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 3*time.Second, 200) }
		st := &brokenStore{Store: b.mem, settle: func([]store.Settlement) error { time.Sleep(time.Second); return nil }}
		s := b.start(st, Options{})
		for i := range 10 {
			b.endpoint(&s.Tenant, host(i))
		}
		b.send(&s.Tenant, "")
		b.pass(time.Second)
		start := time.Now()
		require.NoError(t, b.stop(s, time.Minute))
		require.Less(t, time.Since(start), 6*time.Second)
		require.Equal(t, 10, b.count(&s.Tenant, store.Delivered))
		b.requireOnce(1, 10)
	})
}

// Stop takes nothing new: what waits in the store stays there, uncharged, and the
// next Sender sends it, once.
func TestStopLeavesTheBacklogToTheNextSender(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 500*time.Millisecond, 200) }
		s := b.start(b.mem, Options{MaxInFlight: 8})
		for i := range 4 {
			b.endpoint(&s.Tenant, host(i))
		}
		for range 50 {
			b.send(&s.Tenant, "")
		}
		b.pass(2 * time.Second)
		require.NoError(t, b.stop(s, time.Minute))
		sent := len(b.net.arrivals(""))
		require.Less(t, sent, 200)
		require.Equal(t, sent, b.count(&s.Tenant, store.Delivered))

		b.send(&s.Tenant, "later") // still stores
		b.pass(time.Minute)
		require.Len(t, b.net.arrivals(""), sent)

		next := b.start(b.mem, Options{})
		b.pass(30 * time.Second)
		b.requireOnce(51, 4)
		require.Equal(t, 204, b.count(&next.Tenant, store.Delivered))
	})
}

// When Stop's time is over attempts are cut off. Nobody knows whether they arrived,
// so they are repeated by the next Sender when their leases have expired.
func TestStopCutsOff(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return never(ctx) }
		s := b.start(b.mem, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Second)
		start := time.Now()
		require.ErrorIs(t, b.stop(s, 2*time.Second), context.DeadlineExceeded)
		require.Less(t, time.Since(start), 2*time.Second+50*time.Millisecond)
		require.NoError(t, b.stop(s, time.Second), "stopping twice does nothing")

		b.net.answer = nil
		b.start(b.mem, Options{})
		b.pass(time.Minute)
		d, attempts := b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		require.Len(t, attempts, 2)
		require.Equal(t, store.AttemptUnknown, attempts[0].Outcome)
		require.Len(t, b.net.arrivals(""), 2)
	})
}

// What was known when Stop's time was over is recorded even so.
func TestStopRecordsWhatIsKnown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var slow atomic.Bool
		st := &brokenStore{Store: b.mem, settle: func([]store.Settlement) error {
			if slow.Load() {
				time.Sleep(400 * time.Millisecond)
			}
			return nil
		}}
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if name == host(0) {
				return never(ctx)
			}
			return late(ctx, 1900*time.Millisecond, 200)
		}
		s := b.start(st, Options{})
		for i := range 5 {
			b.endpoint(&s.Tenant, host(i))
		}
		slow.Store(true)
		b.send(&s.Tenant, "")
		require.ErrorIs(t, b.stop(s, 2*time.Second), context.DeadlineExceeded)
		require.Equal(t, 4, b.count(&s.Tenant, store.Delivered))
	})
}

// A store that hangs does not keep Stop.
func TestStopWhileTheStoreHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var hangs atomic.Bool
		st := &brokenStore{Store: b.mem, before: func(ctx context.Context, _ string) error {
			if hangs.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "")
		b.pass(time.Second)
		hangs.Store(true)
		b.pass(5 * time.Second) // claims and upkeep hang by now
		start := time.Now()
		_ = b.stop(s, 2*time.Second)
		require.LessOrEqual(t, time.Since(start), 2*time.Second+settleFlush+50*time.Millisecond)
	})
}

// A transport of the application's that does not heed its context does not keep Stop
// either, and Stop says what is wrong.
func TestStopWithATransportThatIsDeaf(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(_ context.Context, name, _ string) (int, error) {
			if name == host(0) {
				time.Sleep(time.Hour)
			}
			return 200, nil
		}
		s := b.start(b.mem, Options{})
		b.endpoint(&s.Tenant, host(0))
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "")
		b.pass(time.Second)
		start := time.Now()
		err := b.stop(s, 2*time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "WrapTransport")
		require.LessOrEqual(t, time.Since(start), 2*time.Second+cutOff+settleFlush+50*time.Millisecond)
		require.Equal(t, 1, b.count(&s.Tenant, store.Delivered))
		b.pass(2 * time.Hour) // what it answers in the end reaches nobody
		require.Equal(t, 1, b.count(&s.Tenant, store.Delivered))
	})
}

// Sends in progress while the Sender stops: each that was acknowledged is sent, by
// this Sender or the next, and only once.
func TestStopDuringSends(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) { return late(ctx, 20*time.Millisecond, 200) }
		st := &brokenStore{Store: b.mem, enqueue: func(store.EnqueueParams) error { time.Sleep(3 * time.Millisecond); return nil }}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.endpoint(&s.Tenant, host(2))
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range 50 {
					_, err := s.Send(t.Context(), Event{Type: "a.b"})
					require.NoError(t, err)
				}
			})
		}
		time.Sleep(60 * time.Millisecond)
		require.NoError(t, b.stop(s, time.Minute))
		wg.Wait()
		b.start(b.mem, Options{})
		b.pass(time.Minute)
		b.requireOnce(400, 2)
	})
}

func TestStartAndStopOutOfOrder(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.sender(b.mem, Options{})
		require.NoError(t, b.stop(s, 0), "never started")
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Minute)
		require.Empty(t, b.net.arrivals(""))

		ended, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, s.Start(ended), context.Canceled)
		ctx, cancel := context.WithCancel(t.Context())
		require.NoError(t, s.Start(ctx), "a failed start and a stop before leave nothing behind")
		cancel() // bounds the start and nothing else
		require.ErrorIs(t, s.Start(t.Context()), ErrStarted)
		b.pass(time.Second)
		require.Len(t, b.net.arrivals(""), 1)
		require.NoError(t, b.stop(s, time.Minute))
		require.ErrorIs(t, s.Start(t.Context()), ErrStopped)
	})
}

func TestStartOnAStoreThatDoesNotAnswer(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var away atomic.Bool
		away.Store(true)
		st := &brokenStore{Store: b.mem, before: func(ctx context.Context, _ string) error {
			if away.Load() {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		s := b.sender(st, Options{})
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		require.ErrorIs(t, s.Start(ctx), context.DeadlineExceeded)
		away.Store(false)
		require.NoError(t, s.Start(t.Context()))
		require.NoError(t, b.stop(s, time.Minute))
	})
}

// A hook that hangs does not keep Stop past its time, and Stop says so.
func TestStopWithAHookThatHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		let := make(chan struct{})
		b.net.answer = func(context.Context, string, string) (int, error) { return 410, nil }
		s := b.start(b.mem, Options{Hooks: Hooks{DeliveryExhausted: func(context.Context, Exhaustion) { <-let }}})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Second)
		err := b.stop(s, time.Second)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "hook")
		close(let)
	})
}

// An idle Sender asks its store once a poll, and nothing more.
func TestIdleSenderIsQuiet(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var claims, all atomic.Int64
		st := &brokenStore{Store: b.mem, before: func(_ context.Context, method string) error {
			all.Add(1)
			if method == "Claim" {
				claims.Add(1)
			}
			return nil
		}}
		s := b.start(st, Options{})
		b.pass(time.Minute)
		require.InDelta(t, 63, claims.Load(), 5)
		require.Less(t, all.Load(), int64(250))

		// Nor does one whose only endpoint is on hold and has a backlog.
		b.net.answer = func(context.Context, string, string) (int, error) { return 0, errors.New("no") }
		b.endpoint(&s.Tenant, host(1))
		for range 100 {
			b.send(&s.Tenant, "")
		}
		s.lanes.block(1, time.Hour, time.Now())
		for range 100 {
			b.send(&s.Tenant, "")
		}
		before := claims.Load()
		b.pass(time.Minute)
		require.InDelta(t, 63, claims.Load()-before, 10)
		synctest.Wait()
	})
}

// endsAt is a context that ends when it is asked for the nth time.
type endsAt struct {
	context.Context
	n int
}

func (c *endsAt) Err() error {
	if c.n--; c.n <= 0 {
		return context.Canceled
	}
	return nil
}

// Stop comes between two steps of the claims, and finds all slots free: nothing is
// claimed any more, which nobody would attempt.
func TestStopJustBeforeAClaim(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.sender(b.mem, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		require.True(t, s.workers.close(time.Second))
		s.claimAll(&endsAt{t.Context(), 2}, t.Context(), 0)
		d, _ := b.delivery(&s.Tenant, "a")
		require.False(t, d.InFlight)
		require.Zero(t, d.Attempts)
		require.True(t, s.lanes.idle())
	})
}

// A Stop without any time that has nothing to wait for has nothing to complain of.
func TestStopAtOnceOfAnIdleSender(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		for range 50 {
			s := b.start(b.mem, Options{})
			b.pass(time.Second)
			require.NoError(t, s.Stop(ended))
		}
	})
}
