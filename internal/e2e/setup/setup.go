// Package setup is what the workers and the tests that break them have to agree
// on.
package setup

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// Config is how a worker runs. It is passed as JSON.
type Config struct {
	Database
	// MaxInFlight is how many attempts one fault of a worker can repeat.
	MaxInFlight int
	Timeout     time.Duration // of an attempt
	Lease       time.Duration
	// Patient makes a worker repeat a Send that fails, with the same id, as an
	// application does whose database may be away. Else it ends the worker. A patient
	// worker waits for the database when it starts, too.
	Patient bool
	// BadHooks makes every hook of the application's panic.
	BadHooks bool
	// Drain is how long a worker that gets SIGTERM lets attempts finish.
	Drain time.Duration
}

// Options are those of a worker's Sender. told is called before a hook panics.
func (c *Config) Options(told func()) *sender.Options {
	o := &sender.Options{
		PlaintextSecrets: true, // a worker has to know nothing but the database
		Schedule:         retry.Steps(50 * time.Millisecond).Repeat(),
		MaxInFlight:      c.MaxInFlight,
		PollInterval:     50 * time.Millisecond,
		Lease:            c.Lease,
		Logger:           slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		HTTP: sender.HTTPOptions{
			Timeout: c.Timeout,
			Egress:  sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		},
	}
	if c.BadHooks {
		o.Hooks = sender.Hooks{
			EndpointDisabled: func(context.Context, store.Endpoint) { told(); panic("a hook of the application's") },
			DeliveryExhausted: func(context.Context, sender.Exhaustion) {
				told()
				panic("a hook of the application's")
			},
		}
	}
	return o
}

// Event returns the event with this id, the same in every worker.
func Event(id, typ string) sender.Event {
	return sender.Event{ID: id, Type: typ, Data: fmt.Appendf(nil, `{"of": %q, "amount": 5000}`, id)}
}
