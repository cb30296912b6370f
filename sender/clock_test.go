package sender

import (
	"context"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// A process whose clock is days off: signatures and created_at follow the store's
// clock, the schedule runs as it should, and nothing is given up early.
func TestProcessClockIsOff(t *testing.T) {
	for _, off := range []time.Duration{-72 * time.Hour, 72 * time.Hour, 90 * time.Minute} {
		t.Run(fmt.Sprint(off), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				storeNow := func() time.Time { return time.Now().Add(-off) }
				b.mem = memory.NewWithClock(storeNow)
				failures := 3
				b.net.answer = func(context.Context, string, string) (int, error) {
					if failures--; failures >= 0 {
						return 500, nil
					}
					return 200, nil
				}
				s := b.start(b.mem, Options{})
				b.endpoint(&s.Tenant, host(1))
				sent := storeNow()
				b.send(&s.Tenant, "a")
				ev, err := s.Event(t.Context(), "a")
				require.NoError(t, err)
				require.WithinDuration(t, sent, ev.CreatedAt, time.Second)
				require.Contains(t, string(ev.Body), `"created_at":"`+sent.UTC().Format("2006-01-02T15:04"))

				b.pass(5*time.Minute + 30*time.Minute + 2*time.Hour + time.Minute)
				arrived := b.net.arrivals("")
				require.Len(t, arrived, 4)
				for i, after := range []time.Duration{0, 5 * time.Minute, 35 * time.Minute, 155 * time.Minute} {
					at := arrived[i].at.Add(-off)
					require.WithinDuration(t, sent.Add(after), at, time.Second)
					stamp, err := strconv.ParseInt(arrived[i].header.Get("Webhook-Timestamp"), 10, 64)
					require.NoError(t, err)
					require.WithinDuration(t, at, time.Unix(stamp, 0), 2*time.Second)
				}
				d, attempts := b.delivery(&s.Tenant, "a")
				require.Equal(t, store.Delivered, d.State)
				require.WithinDuration(t, sent, attempts[0].StartedAt, time.Second)
			})
		})
	}
}

// The clock is set while the Sender runs: the next answer of the store corrects it.
func TestStoreClockIsLearntAnew(t *testing.T) {
	var c storeClock
	base := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	c.learn(base.Add(3*time.Millisecond), base, base.Add(10*time.Millisecond))
	require.Equal(t, base, c.at(base), "within what one answer can tell")
	c.learn(base.Add(time.Hour), base, base.Add(10*time.Millisecond))
	require.WithinDuration(t, base.Add(time.Hour), c.at(base), 5*time.Millisecond)
	before := c.at(base)
	c.learn(base.Add(time.Hour+2*time.Millisecond), base, base.Add(10*time.Millisecond))
	require.Equal(t, before, c.at(base), "no jitter")
	c.learn(base.Add(-time.Minute), base, base.Add(10*time.Millisecond))
	require.WithinDuration(t, base.Add(-time.Minute), c.at(base), 6*time.Millisecond)
	c.learn(time.Time{}, base, base)
	require.WithinDuration(t, base.Add(-time.Minute), c.at(base), 6*time.Millisecond, "a store that tells no time")
}

// The store's clock jumps, by days and in either direction: it is said, and nothing is
// given up, disabled or removed for an age that may not be its own, until somebody could
// look. What is ready goes out as ever.
func TestClockJumps(t *testing.T) {
	for _, by := range []time.Duration{100 * 24 * time.Hour, -2 * time.Minute, 4 * 24 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				var shift atomic.Int64
				b.mem = memory.NewWithClock(func() time.Time { return time.Now().Add(time.Duration(shift.Load())) })
				fail := true
				b.net.answer = func(_ context.Context, h, _ string) (int, error) {
					if h == host(1) && fail {
						return 500, nil
					}
					return 200, nil
				}
				s := b.start(b.mem, Options{KeepPayloads: 80 * time.Hour, KeepLog: 80 * time.Hour})
				b.endpoint(&s.Tenant, host(1))
				other := s.For("other", store.Live)
				b.endpoint(other, host(2))
				failing := b.send(&s.Tenant, "failing")
				old := b.send(other, "old")
				b.pass(10 * time.Minute)
				require.Equal(t, 1, b.count(&s.Tenant, store.Pending))

				shift.Store(int64(by))
				b.send(other, "new")
				b.pass(45 * time.Minute)
				require.Contains(t, b.log.String(), "the clock has jumped")
				d, _ := b.delivery(&s.Tenant, failing)
				require.Equal(t, store.Pending, d.State)
				ev, err := other.Event(t.Context(), old)
				require.NoError(t, err)
				require.True(t, ev.ErasedAt.IsZero())
				require.Equal(t, 2, b.count(other, store.Delivered))

				// Set right again, nothing is lost. A retry whose time was reckoned meanwhile
				// has that time; a person can have it made due.
				shift.Store(0)
				fail = false
				_, err = s.Recover(t.Context(), Recovery{})
				require.NoError(t, err)
				b.pass(time.Minute)
				d, _ = b.delivery(&s.Tenant, failing)
				require.Equal(t, store.Delivered, d.State)
				_, err = other.Event(t.Context(), old)
				require.NoError(t, err)
			})
		})
	}
}

// setBy returns a moment of a process whose wall clock was set by so many seconds
// meanwhile. What has gone by since another moment is the same, as it is for time.Now.
func setBy(t time.Time, seconds int64) time.Time {
	// Package time keeps the wall clock's seconds from bit 30 on.
	(*struct{ wall uint64 })(unsafe.Pointer(&t)).wall += uint64(seconds) << 30
	return t
}

// The clock of a machine is set on which both the process and its store are, as with
// SQLite: their difference stays the same.
func TestBothClocksJump(t *testing.T) {
	const day = 24 * 60 * 60
	for _, by := range []int64{100 * day, -100 * day, 120, -120} {
		began := time.Now()
		var jumps []time.Duration
		c := storeClock{onJump: func(by time.Duration) { jumps = append(jumps, by) }}
		answer := func(after time.Duration, set int64) time.Time {
			at := setBy(began.Add(after), set)
			c.learn(at.Round(0), at, at)
			return at
		}
		answer(0, 0)
		require.False(t, c.unsure(answer(time.Hour, 0)), "no answer for an hour")
		require.True(t, c.unsure(answer(time.Hour+time.Second, by)), "by %d s", by)
		require.Equal(t, []time.Duration{time.Duration(by) * time.Second}, jumps)
		require.True(t, c.unsure(answer(2*time.Hour, by)))
		require.False(t, c.unsure(answer(2*time.Hour+time.Minute, by)))
		require.True(t, c.unsure(answer(2*time.Hour+2*time.Minute, 0)), "set right again")
	}
}

// What ends or removes things for their age looks at the clock first: no claim may have
// come since it jumped.
func TestUpkeepSeesTheJumpFirst(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var shift atomic.Int64
		b.mem = memory.NewWithClock(func() time.Time { return time.Now().Add(time.Duration(shift.Load())) })
		s := b.start(b.mem, Options{KeepPayloads: 80 * time.Hour, KeepLog: 80 * time.Hour, PollInterval: time.Hour})
		b.endpoint(&s.Tenant, host(1))
		b.endpoint(&s.Tenant, host(2))
		b.net.answer = func(_ context.Context, h, _ string) (int, error) {
			if h == host(2) {
				return 500, nil
			}
			return 200, nil
		}
		id := b.send(&s.Tenant, "old")
		b.pass(2 * time.Minute)
		shift.Store(int64(100 * 24 * time.Hour))
		b.pass(2 * time.Minute)
		require.Contains(t, b.log.String(), "the clock has jumped")
		ev, err := s.Event(t.Context(), id)
		require.NoError(t, err)
		require.True(t, ev.ErasedAt.IsZero())
		require.Equal(t, 1, b.count(&s.Tenant, store.Pending))
		eps, err := s.Endpoints(t.Context(), store.EndpointQuery{})
		require.NoError(t, err)
		require.Equal(t, store.Enabled, eps[1].State)
	})
}

// A Sender that only stores events hears of the store's time as well, and is not held
// up when the store does not tell it.
func TestClockIsAskedAnew(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var shift atomic.Int64
		b.mem = memory.NewWithClock(func() time.Time { return time.Now().Add(time.Duration(shift.Load())) })
		mute := false
		s := b.sender(&brokenStore{Store: b.mem, before: func(ctx context.Context, method string) error {
			if method == "Now" && mute {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}, Options{})
		created := func(id string) time.Time {
			b.send(&s.Tenant, id)
			ev, err := s.Event(t.Context(), id)
			require.NoError(t, err)
			return ev.CreatedAt
		}
		created("a")
		shift.Store(int64(time.Hour))
		b.pass(2 * time.Minute)
		require.WithinDuration(t, time.Now().Add(time.Hour), created("b"), time.Second)
		mute = true
		b.pass(2 * time.Minute)
		began := time.Now()
		created("c")
		require.LessOrEqual(t, time.Since(began), time.Second)
		began = time.Now()
		created("d")
		require.Zero(t, time.Since(began))
	})
}
