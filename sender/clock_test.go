package sender

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

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
