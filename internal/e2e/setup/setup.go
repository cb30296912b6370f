// Package setup is what the workers and the tests that kill them have to agree on.
package setup

import (
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
)

// MaxInFlight is how many attempts one kill can repeat.
const MaxInFlight = 64

// Options are those of a worker's Sender. The lease is short, so that what a
// killed worker held is soon taken over.
func Options() *sender.Options {
	return &sender.Options{
		PlaintextSecrets: true, // a worker has to know nothing but the file
		Schedule:         retry.Steps(50 * time.Millisecond).Repeat(),
		MaxInFlight:      MaxInFlight,
		PollInterval:     50 * time.Millisecond,
		Lease:            4 * time.Second,
		Logger:           slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		HTTP: sender.HTTPOptions{
			Timeout: 2 * time.Second,
			Egress:  sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		},
	}
}

// Event returns the event with this id, the same in every worker.
func Event(id, typ string) sender.Event {
	return sender.Event{ID: id, Type: typ, Data: fmt.Appendf(nil, `{"of": %q, "amount": 5000}`, id)}
}
