package sender

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

func TestLeaseLength(t *testing.T) {
	now := time.Now()
	l := leaseLength{base: 15 * time.Second, timeout: 10 * time.Second}
	for _, step := range []struct {
		pass, took, timeout, want time.Duration
		enough                    bool
	}{
		{0, 10 * time.Millisecond, 0, 15*time.Second + 30*time.Millisecond, true},
		{time.Second, 5 * time.Second, 0, 30 * time.Second, true},
		{90 * time.Second, 0, 0, 30 * time.Second, true}, // for a window it is not forgotten
		{time.Minute, 0, 0, 15 * time.Second, true},
		{0, time.Second, 30 * time.Second, 38 * time.Second, true},
		{0, 5 * time.Minute, 0, longestLease, false},
		{time.Hour, 0, 0, 35 * time.Second, true},
	} {
		now = now.Add(step.pass)
		l.took(step.took, step.timeout, now)
		got, enough := l.next(now)
		require.Equal(t, step.want, got)
		require.Equal(t, step.enough, enough)
	}
	long := leaseLength{base: time.Hour}
	got, enough := long.next(now)
	require.Equal(t, time.Hour, got)
	require.True(t, enough)
}

// A store that takes seconds for each call, and an endpoint whose timeout leaves its
// lease a second: all is delivered, once.
func TestSlowStore(t *testing.T) {
	for name, tc := range map[string]struct{ delay, timeout time.Duration }{
		"5 s a call":             {5 * time.Second, 0},
		"1.1 s, margin of 1 s":   {1100 * time.Millisecond, 14 * time.Second},
		"20 s, more than leases": {20 * time.Second, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				slow := func(_ context.Context, method string) error {
					switch method {
					case "Claim", "LoadEndpoints", "Settle", "Enqueue":
						time.Sleep(tc.delay / 2)
					}
					return nil
				}
				direct := b.sender(b.mem, Options{})
				ep := b.endpoint(&direct.Tenant, host(1))
				_, err := direct.EditEndpoint(t.Context(), ep.ID, EndpointEdit{Timeout: &tc.timeout})
				require.NoError(t, err)
				for range 5 {
					b.send(&direct.Tenant, "")
				}
				s := b.start(&brokenStore{Store: b.mem, before: slow, after: slow}, Options{})
				for range 5 {
					b.send(&s.Tenant, "")
				}
				b.pass(10 * time.Minute)
				require.Equal(t, 10, b.count(&s.Tenant, store.Delivered))
				b.requireOnce(10, 1)
			})
		})
	}
}
