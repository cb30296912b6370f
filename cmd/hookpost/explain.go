package main

import (
	"context"
	"fmt"

	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/sender"
)

var explainCommand = command{
	name:  "explain",
	args:  "EVENT|DELIVERY [ENDPOINT]",
	short: "say why an event arrived at an endpoint or not",
	prepare: func(c *call) func(context.Context) error {
		src := c.storeFlags()
		return func(ctx context.Context) error {
			return c.pair(ctx, src, func(t *sender.Tenant, event, endpoint string) error {
				x, err := t.Explain(ctx, event, endpoint)
				if err != nil {
					return src.missingPair(ctx, t, err, event, endpoint)
				}
				return c.printExplanation(&x)
			})
		}
	},
}

func (c *call) printExplanation(x *sender.Explanation) error {
	if c.json {
		v := struct {
			Why        string        `json:"why"` // delivered, reached, pending, exhausted, cancelled, erased, disabled, not selecting, absent
			Text       string        `json:"text"`
			EventID    string        `json:"event_id"`
			EventType  string        `json:"event_type"`
			StoredAt   stamp         `json:"stored_at"`
			EndpointID string        `json:"endpoint_id"`
			URL        string        `json:"url"`
			Delivery   *deliveryJSON `json:"delivery,omitempty"`
		}{
			string(x.Why), x.Text, x.Event.ID, x.Event.Type, utc(x.Event.StoredAt), x.Endpoint.ID, x.Endpoint.URL, nil,
		}
		if x.Delivery != nil {
			d := newDelivery(x.Delivery)
			v.Delivery = &d
		}
		return c.out.json(v)
	}
	fmt.Fprintln(c.out, inert.Line(x.Text))
	facts := [][2]string{{"event", x.Event.ID + ", " + x.Event.Type}, {"endpoint", x.Endpoint.ID + ", " + x.Endpoint.URL}}
	if x.Delivery != nil {
		facts = append(facts, [2]string{"delivery", x.Delivery.ID.String()})
	}
	c.out.facts(facts)
	return nil
}
