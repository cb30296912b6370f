package memory_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// One delivery through the whole engine: stored, claimed and settled in batches
// of 100.
func BenchmarkCycle(b *testing.B) {
	for _, backlog := range []int{0, 10_000, 1_000_000} {
		b.Run(fmt.Sprintf("pending=%d", backlog), func(b *testing.B) {
			if testing.Short() && backlog > 100_000 {
				b.Skip("takes long to fill")
			}
			const endpoints, size = 1000, 100
			ctx := context.Background()
			s := memory.New()
			for i := range endpoints {
				newEndpoint(b, s, fmt.Sprint("ep_", i))
			}
			sent := 0
			enqueue := func() {
				events := make([]store.NewEvent, size)
				for i := range events {
					sent++
					events[i] = newEvent(fmt.Sprint("evt_", sent), endpoints, int64(sent%endpoints)+1)
				}
				_, err := s.Enqueue(ctx, store.EnqueueParams{Events: events})
				require.NoError(b, err)
			}
			for sent < backlog {
				enqueue()
			}
			after := int64(0)
			reports := make([]store.Settlement, 0, size)
			attempts := make([]store.Attempt, size)
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += size {
				enqueue()
				c, err := s.Claim(ctx, store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: size, DefaultRoom: 4, After: after})
				require.NoError(b, err)
				after = c.After
				reports = reports[:0]
				for i, d := range c.Deliveries {
					attempts[i] = store.Attempt{N: d.Attempt, Status: 200, Outcome: store.AttemptDelivered}
					reports = append(reports, store.Settlement{ID: d.ID, Token: d.Token, Verdict: store.Deliver, Attempt: &attempts[i]})
				}
				_, err = s.Settle(ctx, reports)
				require.NoError(b, err)
			}
		})
	}
}
