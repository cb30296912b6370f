package sender

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
)

// Addresses that lead nowhere cost a new connection a moment, not its time limit.
func TestAddressThatLeadsNowhere(t *testing.T) {
	receiver := sendertest.NewReceiver(t)
	for _, answers := range []string{
		"2606:4700::1 93.184.216.34", "93.184.216.35 93.184.216.34", "2606:4700::1 2606:4700::2 93.184.216.34", "93.184.216.34 2606:4700::1",
	} {
		t.Run(answers, func(t *testing.T) {
			w := newWire(strings.Fields(answers)...)
			w.to = strings.TrimPrefix(receiver.URL(), "http://")
			c := w.client(t, HTTPOptions{Timeout: 2 * time.Second})
			c.poster.policy.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
				if address == "93.184.216.34:80" {
					return w.dial(ctx, network, address)
				}
				<-ctx.Done()
				return nil, ctx.Err()
			}
			attempt, err := c.Attempt(t.Context(), ssrfTarget(t, "http://customer.example/"), Event{Type: "a.b"})
			require.NoError(t, err, attempt.Error)
		})
	}
}
