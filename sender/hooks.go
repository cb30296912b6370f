package sender

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Hooks are functions of the application's that hear what happens. They are
// called one after the other on a goroutine of their own; one that panics is
// logged and the next goes on. Calls may be lost: when the process ends, or when
// more than 1,000 wait because a hook is slow. What they tell stands in the store
// as well.
type Hooks struct {
	// EndpointDisabled is called when the Sender has disabled an endpoint by
	// itself: after a 410 Gone, or because it failed for Options.DisableAfter.
	EndpointDisabled func(ctx context.Context, ep store.Endpoint)
	// EndpointRecovered is called when an endpoint succeeds that was failing since
	// the given time, for a minute at least: an answer gone wrong now and then is not
	// worth a call.
	EndpointRecovered func(ctx context.Context, ep store.Endpoint, failingSince time.Time)
	// DeliveryExhausted is called when a delivery has been given up. It does not
	// hear of test events, nor of deliveries whose time ended while their endpoint
	// was disabled.
	DeliveryExhausted func(ctx context.Context, d Exhaustion)
}

// Exhaustion is a delivery that was given up.
type Exhaustion struct {
	store.Scope
	Delivery   store.DeliveryID
	EventID    string
	EventType  string
	EndpointID string
	Reason     string // in plain words
	LastStatus int    // of the last answer; 0: there was none
}

const (
	hookBacklog    = 1000
	recoveredAfter = time.Minute
)

type hookCall struct {
	hook string // its name in Hooks
	f    func(context.Context)
}

// hookRunner calls hooks in order, off the sending path.
type hookRunner struct {
	log   *slog.Logger
	calls chan hookCall
	open  atomic.Int64 // calls that have not returned yet
}

func newHookRunner(log *slog.Logger) *hookRunner {
	return &hookRunner{log: log, calls: make(chan hookCall, hookBacklog)}
}

// enqueue never blocks.
func (h *hookRunner) enqueue(hook string, f func(context.Context)) {
	h.open.Add(1)
	select {
	case h.calls <- hookCall{hook, f}:
	default:
		h.open.Add(-1)
		h.log.Warn("hookpost: a hook call was dropped because too many are waiting", "hook", hook)
	}
}

// run calls hooks until ctx ends, and then those that wait already.
func (h *hookRunner) run(ctx context.Context) {
	for {
		select {
		case call := <-h.calls:
			h.call(ctx, call)
		case <-ctx.Done():
			for {
				select {
				case call := <-h.calls:
					h.call(ctx, call)
				default:
					return
				}
			}
		}
	}
}

func (h *hookRunner) call(ctx context.Context, call hookCall) {
	defer h.open.Add(-1)
	defer func() {
		if p := recover(); p != nil {
			h.log.Error("hookpost: a hook panicked", "hook", call.hook, "panic", p)
		}
	}()
	call.f(context.WithoutCancel(ctx))
}
