package sender

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/store"
)

// What becomes ready here does not wait for the next poll: a retry without a delay, and
// what was sent while its endpoint was on hold.
func TestNothingWaitsForAPoll(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		hold := true
		b.net.answer = func(_ context.Context, _, id string) (int, error) {
			if id == "fails" && len(b.net.arrivals("")) == 1 {
				return 500, nil
			}
			if hold {
				return http.StatusTooManyRequests, nil
			}
			return 200, nil
		}
		b.net.header = func(status int) http.Header {
			if status == http.StatusTooManyRequests {
				return http.Header{"Retry-After": {"90"}}
			}
			return nil
		}
		s := b.start(b.mem, Options{PollInterval: time.Hour, Schedule: retry.Steps(0, time.Minute).Repeat()})
		b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "fails")
		b.pass(time.Second)
		require.Len(t, b.net.arrivals(""), 2, "the retry is due at once, and held from then on")

		for i := range 3 {
			b.send(&s.Tenant, fmt.Sprint("evt_", i))
		}
		hold = false
		b.pass(80 * time.Second)
		require.Len(t, b.net.arrivals(""), 2)
		b.pass(11 * time.Second)
		require.GreaterOrEqual(t, b.count(&s.Tenant, store.Delivered), 3)
	})
}
