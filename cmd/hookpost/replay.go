package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

var replayCommand = command{
	name:  "replay",
	args:  "EVENT|DELIVERY [ENDPOINT]",
	short: "deliver an event to an endpoint once more",
	long: `
It takes any event, and any enabled endpoint of the same tenant and mode, whether or
not it selects the type. The event keeps its id. The application that runs on the
store makes the request.`,
	prepare: func(c *call) func(context.Context) error {
		src := c.storeFlags()
		return func(ctx context.Context) error {
			return c.pair(ctx, src, func(t *sender.Tenant, _ store.DeliveryID, event, endpoint string) error {
				id, err := t.Replay(ctx, event, endpoint)
				switch {
				case errors.Is(err, store.ErrDisabled):
					return refused("the endpoint is disabled; hookpost endpoints enable %s", endpoint)
				case errors.Is(err, store.ErrDeleted):
					return refused("the endpoint is deleted")
				case errors.Is(err, store.ErrErased):
					return refused("the event's payload was erased; there is nothing left to send")
				case err != nil:
					return src.missingPair(ctx, t, err, event, endpoint)
				case c.json:
					return c.out.json(map[string]string{"delivery_id": id.String(), "event_id": event, "endpoint_id": endpoint})
				}
				fmt.Fprintf(c.out, "%s is queued; the application sends it. What became of it: hookpost deliveries show %s\n", id, id)
				return nil
			})
		}
	},
}

// pair opens the store and finds the event and the endpoint that the arguments name,
// directly or by a delivery, whose id is zero otherwise.
func (c *call) pair(ctx context.Context, src *storeSource, f func(t *sender.Tenant, id store.DeliveryID, event, endpoint string) error) error {
	var id store.DeliveryID
	event, endpoint := c.args[0], c.arg(1)
	if strings.HasPrefix(event, "dlv_") {
		if endpoint != "" {
			return badInput("a delivery names its endpoint already; leave out %.80q", endpoint)
		}
		var err error
		if id, err = deliveryArg(event); err != nil {
			return err
		}
	} else if endpoint == "" {
		return badInput("the endpoint is missing; give an event and an endpoint, or a delivery such as dlv_12_3_0")
	}
	return src.use(ctx, c, nil, func(t *sender.Tenant) error {
		if endpoint != "" {
			return f(t, id, event, endpoint)
		}
		d, _, err := t.Delivery(ctx, id)
		if err != nil {
			return src.missing(err, "delivery", id.String())
		}
		return f(t, id, d.EventID, d.EndpointID)
	})
}

// missingPair says which of the two does not exist.
func (s *storeSource) missingPair(ctx context.Context, t *sender.Tenant, err error, event, endpoint string) error {
	if _, eventErr := t.Event(ctx, event); errors.Is(eventErr, store.ErrNotFound) {
		return s.missing(err, "event", event)
	}
	return s.missing(err, "endpoint", endpoint)
}
