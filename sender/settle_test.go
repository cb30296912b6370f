package sender

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/store"
)

// A store that records nothing for an hour: slots are held, so that no more is
// sent than fits in them, nothing is lost and nothing is sent twice by this Sender.
func TestSettleFailsForAWhile(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var away atomic.Bool
		var calls atomic.Int64
		st := &brokenStore{Store: b.mem}
		st.before = func(_ context.Context, method string) error {
			if method == "Settle" && away.Load() {
				calls.Add(1)
				return errAway
			}
			return nil
		}
		// The leases outlast the outage: what would be sent again would be our fault.
		s := b.start(st, Options{MaxInFlight: 20, Lease: 2 * time.Hour})
		for i := range 10 {
			b.endpoint(&s.Tenant, host(i))
		}
		away.Store(true)
		for range 10 {
			b.send(&s.Tenant, "")
		}
		b.pass(time.Minute)
		require.Len(t, b.net.arrivals(""), 20, "each slot once")
		require.Zero(t, b.count(&s.Tenant, store.Delivered))
		b.pass(59 * time.Minute)
		require.Len(t, b.net.arrivals(""), 20)
		require.Less(t, calls.Load(), int64(5*3600), "a few tries a second")
		require.LessOrEqual(t, len(b.log.lines()), 3600/10+1)

		away.Store(false)
		b.pass(5 * time.Second)
		require.Equal(t, 100, b.count(&s.Tenant, store.Delivered))
		b.requireOnce(10, 10)
		require.True(t, s.lanes.idle())
	})
}

// One result that can't be recorded holds its slot and nobody else's.
func TestSettlePoisonMember(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var poison atomic.Int64
		st := &brokenStore{Store: b.mem}
		st.settle = func(list []store.Settlement) error {
			for _, x := range list {
				if x.ID.Event == poison.Load() {
					return errAway
				}
			}
			return nil
		}
		s := b.start(st, Options{Lease: time.Hour})
		b.endpoint(&s.Tenant, host(1))
		poison.Store(3)
		for range 100 {
			b.send(&s.Tenant, "")
		}
		b.pass(3 * time.Second)
		require.Equal(t, 99, b.count(&s.Tenant, store.Delivered))
		for range 300 { // with the poison alone in its batch, others come and go
			b.send(&s.Tenant, "")
			b.pass(10 * time.Millisecond)
		}
		require.Equal(t, 399, b.count(&s.Tenant, store.Delivered))
		require.Equal(t, s.cfg.MaxInFlight-1, s.lanes.free)
		poison.Store(0)
		b.pass(2 * time.Second)
		require.Equal(t, 400, b.count(&s.Tenant, store.Delivered))
		b.requireOnce(400, 1)
		require.True(t, s.lanes.idle())
	})
}

// A result that the store calls invalid will never be recorded: its slot is freed,
// and the delivery goes the way of all that are not reported.
func TestSettleInvalid(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		st.settle = func(list []store.Settlement) error {
			for _, x := range list {
				if x.Attempt != nil && x.ID.Event == 1 {
					return fmt.Errorf("%w: no such thing", store.ErrInvalid)
				}
			}
			return nil
		}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "bad")
		b.send(&s.Tenant, "good")
		b.pass(time.Second)
		require.True(t, s.lanes.idle())
		require.Equal(t, 1, b.count(&s.Tenant, store.Delivered))
		require.Contains(t, b.log.String(), "the store refuses a result")
		b.pass(4 * time.Minute)
		d, attempts := b.delivery(&s.Tenant, "bad")
		require.Equal(t, store.Pending, d.State)
		require.Equal(t, 1, d.Failures, "five unknown in a row count as a failure")
		require.Len(t, attempts, store.MaxUnknown)
	})
}

// A store that hangs in Settle: the call ends, and its results are recorded then.
func TestSettleHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var hung atomic.Bool
		st := &brokenStore{Store: b.mem}
		st.before = func(ctx context.Context, method string) error {
			if method == "Settle" && hung.CompareAndSwap(false, true) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}
		s := b.start(st, Options{Lease: time.Hour})
		b.endpoint(&s.Tenant, host(1))
		for range 3 {
			b.send(&s.Tenant, "")
		}
		b.pass(settleTimeout - time.Second)
		require.Zero(t, b.count(&s.Tenant, store.Delivered))
		b.pass(2 * time.Second)
		require.Equal(t, 3, b.count(&s.Tenant, store.Delivered))
		b.requireOnce(3, 1)
	})
}

// The answer to a settle is lost: its repetition changes nothing.
func TestSettleAnswerLost(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem}
		n := 0
		st.after = func(_ context.Context, method string) error {
			if method == "Settle" {
				if n++; n%2 == 1 {
					return store.ErrUnknownCommit
				}
			}
			return nil
		}
		b.net.answer = func(context.Context, string, string) (int, error) {
			if len(b.net.arrivals("")) == 1 {
				return 500, nil
			}
			return 200, nil
		}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(6 * time.Minute)
		d, attempts := b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		require.Equal(t, 1, d.Failures)
		require.Len(t, attempts, 2)
		require.True(t, s.lanes.idle())
	})
}

// Results that arrive while a commit is under way share the next.
func TestSettlesShareCommits(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var sizes []int
		st := &brokenStore{Store: b.mem}
		st.settle = func(list []store.Settlement) error {
			sizes = append(sizes, len(list))
			time.Sleep(time.Second)
			return nil
		}
		s := b.start(st, Options{MaxInFlight: 1000})
		for i := range 400 {
			b.endpoint(&s.Tenant, host(i))
		}
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if name == host(0) {
				return 200, nil
			}
			return late(ctx, 100*time.Millisecond, 200)
		}
		b.send(&s.Tenant, "a")
		b.pass(10 * time.Second)
		require.Equal(t, []int{1, settleBatch, 400 - 1 - settleBatch}, sizes)
	})
}

// Results that could not be recorded for a while say when the attempts began, and the
// schedule counts from when they ended: how long the store was away changes nothing.
func TestSettleLateKeepsTheTimes(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st, away := b.unsettling()
		var answers atomic.Int64
		b.net.answer = func(ctx context.Context, _, _ string) (int, error) {
			if answers.Add(1) == 1 {
				return late(ctx, 2*time.Second, 500)
			}
			return 200, nil
		}
		s := b.start(st, Options{Lease: 2 * time.Hour, Schedule: retry.Steps(time.Hour)})
		b.endpoint(&s.Tenant, host(1))
		away.Store(true)
		began := time.Now()
		b.send(&s.Tenant, "a")
		b.pass(50 * time.Minute)
		away.Store(false)
		b.pass(5 * time.Second)
		_, attempts := b.delivery(&s.Tenant, "a")
		require.Len(t, attempts, 1)
		require.WithinDuration(t, began, attempts[0].StartedAt, time.Millisecond)
		require.Equal(t, 2*time.Second, attempts[0].Took)
		d, _ := b.delivery(&s.Tenant, "a")
		require.WithinDuration(t, began.Add(time.Hour+2*time.Second), d.DueAt, time.Millisecond)
		b.pass(time.Hour)
		d, _ = b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
	})
}

// Results can't be recorded for longer than leases last: the deliveries are taken over,
// and not sent again by the Sender that knows what became of them.
func TestSettleFailsForLongerThanALease(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st, away := b.unsettling()
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		away.Store(true)
		b.send(&s.Tenant, "a")
		b.pass(45 * time.Second)
		d, _ := b.delivery(&s.Tenant, "a")
		require.Greater(t, d.Attempts, 1, "it was taken over")
		away.Store(false)
		b.pass(time.Minute)
		d, _ = b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		b.requireOnce(1, 1)
		require.True(t, s.lanes.idle())
	})
}

// A result that can never be recorded does not keep its delivery from being tried again.
func TestSettleFailsForGood(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &brokenStore{Store: b.mem, settle: func(list []store.Settlement) error {
			for i := range list {
				if a := list[i].Attempt; a != nil && a.N == 1 {
					return errAway
				}
			}
			return nil
		}}
		s := b.start(st, Options{})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(10 * time.Minute)
		d, _ := b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
		require.Len(t, b.net.arrivals(""), 2)
		require.Equal(t, s.cfg.MaxInFlight-1, s.lanes.free)
	})
}
