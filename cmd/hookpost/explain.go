package main

import (
	"context"
	"fmt"

	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

var explainCommand = command{
	name:  "explain",
	args:  "EVENT|DELIVERY [ENDPOINT]",
	short: "say why an event arrived or not, or what it waits for",
	prepare: func(c *call) func(context.Context) error {
		src := c.storeFlags()
		return func(ctx context.Context) error {
			return c.pair(ctx, src, func(t *sender.Tenant, id store.DeliveryID, event, endpoint string) error {
				if id != (store.DeliveryID{}) {
					x, err := t.ExplainDelivery(ctx, id)
					if err != nil {
						return err
					}
					return c.printExplanation(&x)
				}
				x, err := t.Explain(ctx, event, endpoint)
				if err != nil {
					return src.missingPair(ctx, t, err, event, endpoint)
				}
				return c.printExplanation(&x)
			})
		}
	},
}

// whyJSON is an explanation for programs.
type whyJSON struct {
	Why  string `json:"why"`            // delivered, reached, pending, exhausted, cancelled, erased, disabled, not selecting, absent
	Wait string `json:"wait,omitempty"` // what a pending delivery waits for, as sender.Wait
	Text string `json:"text"`
	// OverdueMillis is for how long a pending delivery has been due, if that is what it is.
	OverdueMillis int64        `json:"overdue_ms,omitempty"`
	LastFailure   *attemptJSON `json:"last_failure,omitempty"` // of a pending delivery
}

func newWhy(x *sender.Explanation) whyJSON {
	v := whyJSON{Why: string(x.Why), Wait: string(x.Wait), Text: x.Text, OverdueMillis: x.Overdue.Milliseconds()}
	if x.Last != nil {
		a := newAttempt(x.Last)
		v.LastFailure = &a
	}
	return v
}

func (c *call) printExplanation(x *sender.Explanation) error {
	if c.json {
		v := struct {
			whyJSON
			EventID    string        `json:"event_id"`
			EventType  string        `json:"event_type"`
			StoredAt   stamp         `json:"stored_at"`
			EndpointID string        `json:"endpoint_id"`
			URL        string        `json:"url"`
			Delivery   *deliveryJSON `json:"delivery,omitempty"`
		}{newWhy(x), x.Event.ID, x.Event.Type, utc(x.Event.StoredAt), x.Endpoint.ID, x.Endpoint.URL, nil}
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
