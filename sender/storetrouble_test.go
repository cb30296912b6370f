package sender

import (
	"context"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

var storeMethods = []string{
	"Now", "Enqueue", "Claim", "Settle", "EndpointSet", "LoadEndpoints", "Promote", "TakeOver", "Expire", "FanOut",
	"CancelDeleted", "DisableFailing", "Prune",
}

// Each method of the store fails for a while: what Send acknowledged is delivered,
// and the log is not flooded.
func TestEachStoreMethodFailsForAWhile(t *testing.T) {
	for _, broken := range storeMethods {
		t.Run(broken, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				var away atomic.Bool
				st := &brokenStore{Store: b.mem, before: func(_ context.Context, method string) error {
					if method == broken && away.Load() {
						return errAway
					}
					return nil
				}}
				var answers atomic.Int64
				b.net.answer = func(context.Context, string, string) (int, error) {
					if answers.Add(1) <= 10 {
						return 500, nil
					}
					return 200, nil
				}
				s := b.start(st, Options{MaxInFlight: 16})
				b.endpoint(&s.Tenant, host(1))
				b.endpoint(&s.Tenant, host(2))
				acknowledged := 0
				send := func() {
					if _, err := s.Send(t.Context(), Event{Type: "a.b"}); err == nil {
						acknowledged++
					} else {
						require.ErrorIs(t, err, errAway)
					}
				}
				for range 20 {
					send()
				}
				b.pass(500 * time.Millisecond)
				away.Store(true)
				for range 90 {
					send()
					b.pass(10 * time.Second)
				}
				require.LessOrEqual(t, len(b.log.warnings()), 91)
				require.GreaterOrEqual(t, acknowledged, 20)
				away.Store(false)
				b.pass(10 * time.Minute)
				require.Equal(t, 2*acknowledged, b.count(&s.Tenant, store.Delivered))
				require.Zero(t, b.count(&s.Tenant, store.Pending))
				require.True(t, s.lanes.idle())
				for _, line := range b.log.warnings() {
					require.Contains(t, line, "the database is away")
				}
			})
		})
	}
}

// All methods fail at random, before and after they have done their work, and two
// Senders work on it: nothing that was acknowledged is lost, no slot either.
func TestStoreFailsAtRandom(t *testing.T) {
	for seed := range uint64(4) {
		inBubble(t, func(t *testing.T, b *bubble) {
			var mu sync.Mutex
			r := rand.New(rand.NewPCG(seed, 7))
			var calm atomic.Bool
			fails := func(one int) bool {
				mu.Lock()
				defer mu.Unlock()
				return !calm.Load() && r.IntN(one) == 0
			}
			st := &brokenStore{Store: b.mem}
			st.before = func(ctx context.Context, _ string) error {
				switch {
				case fails(5):
					return errAway
				case fails(200):
					<-ctx.Done()
					return ctx.Err()
				}
				return nil
			}
			st.after = func(_ context.Context, method string) error {
				if (method == "Enqueue" || method == "Settle") && fails(5) {
					return store.ErrUnknownCommit
				}
				if method == "Claim" && fails(20) {
					return errAway // what it leased comes back when the lease has expired
				}
				return nil
			}
			b.net.answer = func(ctx context.Context, _, _ string) (int, error) {
				if fails(8) {
					return 500, nil
				}
				return late(ctx, 20*time.Millisecond, 200)
			}
			calm.Store(true)
			one := b.start(st, Options{MaxInFlight: 16, Schedule: everySecond{}})
			two := b.start(st, Options{MaxInFlight: 16, Schedule: everySecond{}})
			for i := range 5 {
				b.endpoint(&one.Tenant, host(i))
			}
			calm.Store(false)
			acknowledged := make(map[string]bool)
			var wg sync.WaitGroup
			for _, s := range []*Sender{one, two} {
				for range 5 {
					wg.Go(func() {
						for range 20 {
							ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
							receipt, err := s.Send(ctx, Event{Type: "a.b"})
							cancel()
							if err == nil {
								mu.Lock()
								acknowledged[receipt.ID] = true
								mu.Unlock()
							}
							time.Sleep(100 * time.Millisecond)
						}
					})
				}
			}
			wg.Wait()
			b.pass(2 * time.Minute)
			calm.Store(true)
			b.pass(20 * time.Minute)
			require.NotEmpty(t, acknowledged)
			require.Zero(t, b.count(&one.Tenant, store.Pending), "seed %d", seed)
			times := b.net.times()
			for id := range acknowledged {
				for i := range 5 {
					require.Positive(t, times[host(i)+" "+id], "seed %d", seed)
				}
			}
			require.True(t, one.lanes.idle() && two.lanes.idle(), "seed %d", seed)
		})
	}
}

// A step of upkeep that hangs ends, and the others go on.
func TestUpkeepHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var hung atomic.Bool
		st := &brokenStore{Store: b.mem, before: func(ctx context.Context, method string) error {
			if method == "Expire" && hung.CompareAndSwap(false, true) {
				<-ctx.Done()
				return ctx.Err()
			}
			return nil
		}}
		var answers atomic.Int64
		b.net.answer = func(context.Context, string, string) (int, error) {
			if answers.Add(1) == 1 {
				return 500, nil
			}
			return 200, nil
		}
		s := b.start(st, Options{Schedule: everySecond{}})
		b.endpoint(&s.Tenant, host(1))
		b.pass(30 * time.Second)
		require.True(t, hung.Load())
		b.send(&s.Tenant, "a")
		b.pass(upkeepTimeout)
		d, _ := b.delivery(&s.Tenant, "a")
		require.Equal(t, store.Delivered, d.State)
	})
}

// A store that is away altogether: one line of each kind in ten seconds, with the
// number of those left out, and none hides another.
func TestTroubleIsLoggedOnceInTenSeconds(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var away atomic.Bool
		st := &brokenStore{Store: b.mem, before: func(context.Context, string) error {
			if away.Load() {
				return errAway
			}
			return nil
		}}
		s := b.start(st, Options{PollInterval: 10 * time.Millisecond})
		b.endpoint(&s.Tenant, host(1))
		away.Store(true)
		b.pass(10 * time.Minute)
		told := make(map[string][]string)
		for _, line := range b.log.lines() {
			_, msg, _ := strings.Cut(line, "hookpost: ")
			msg, _, _ = strings.Cut(msg, ";")
			told[msg] = append(told[msg], line)
		}
		for msg, lines := range told {
			require.LessOrEqual(t, len(lines), 61, msg)
		}
		require.InDelta(t, 60, len(told["deliveries can't be claimed"]), 2)
		require.InDelta(t, 60, len(told["upkeep of the store fails"]), 2)
		require.Contains(t, told["deliveries can't be claimed"][1], "lines_skipped=")
		away.Store(false)
		b.send(&s.Tenant, "a")
		b.pass(time.Minute)
		b.requireOnce(1, 1)
	})
}

// An endpoint is enabled again in the moment in which the Sender disables it for
// failing: what counts is how it stands then.
func TestEnabledWhileBeingDisabledForFailing(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(_ context.Context, name, _ string) (int, error) {
			if name == host(1) {
				return 500, nil
			}
			return 200, nil
		}
		st := &brokenStore{Store: b.mem}
		s := b.sender(st, Options{Schedule: everySecond{}, GiveUpAfter: 5 * time.Second, DisableAfter: time.Hour})
		bad := b.endpoint(&s.Tenant, host(1))
		b.endpoint(&s.Tenant, host(2))
		var enabled atomic.Bool
		st.after = func(ctx context.Context, method string) error {
			if method != "DisableFailing" || enabled.Load() {
				return nil
			}
			if ep, err := s.Endpoint(ctx, bad.ID); err != nil || ep.State == store.Enabled {
				return err
			}
			enabled.Store(true)
			_, err := s.EnableEndpoint(ctx, bad.ID)
			b.send(&s.Tenant, "meanwhile") // it is known here as it is now
			return err
		}
		b.run(s)
		for !enabled.Load() {
			b.send(&s.Tenant, "")
			b.pass(10 * time.Minute)
		}
		before := len(b.net.arrivals(host(1)))
		b.send(&s.Tenant, "later")
		b.pass(time.Minute)
		require.Greater(t, len(b.net.arrivals(host(1))), before)
	})
}
