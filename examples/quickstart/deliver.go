package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// register makes the endpoint on the first run. Later ones find it in the database
// and tell it the receiver's new port.
func register(ctx context.Context, acme *sender.Tenant, url string, secrets *secrets) error {
	eps, err := acme.Endpoints(ctx, store.EndpointQuery{})
	if err != nil {
		return err
	}
	for _, ep := range eps {
		if ep.ID == secrets.Endpoint {
			_, err := acme.EditEndpoint(ctx, ep.ID, sender.EndpointEdit{URL: &url})
			return err
		}
		// A run that was killed before it wrote the secret down: nobody knows it now.
		if err := acme.DeleteEndpoint(ctx, ep.ID); err != nil {
			return err
		}
	}
	ep, secret, err := acme.CreateEndpoint(ctx, sender.EndpointSpec{URL: url, EventTypes: []string{"*"}})
	if err != nil {
		return err
	}
	return secrets.remember(ep.ID, secret)
}

// deliver sends the events and waits until they are delivered.
func deliver(ctx context.Context, acme *sender.Tenant, rcv *receiver, events []sender.Event, rate float64, out io.Writer) error {
	watch := startProgress(out, rcv, len(events))
	defer watch.stop()
	if err := sendAll(ctx, acme, events, rate, watch); err != nil {
		return err
	}
	return untilDone(ctx, acme)
}

// sendAll sends the events at the given rate. Sending an event again, as after an
// interruption, is safe because its id stays the same: it is not stored twice.
func sendAll(ctx context.Context, acme *sender.Tenant, events []sender.Event, rate float64, watch *progress) error {
	var interval time.Duration
	if rate > 0 {
		interval = time.Duration(float64(time.Second) / rate)
	}
	next := time.Now()
	for i, e := range events {
		select {
		case <-time.After(time.Until(next)):
		case <-ctx.Done():
			return ctx.Err()
		}
		receipt, err := acme.Send(ctx, e)
		if err != nil {
			return fmt.Errorf("event %d, %s: %w", i+1, e.Type, err)
		}
		watch.sent(receipt.Duplicate)
		if !receipt.Duplicate {
			next = next.Add(interval)
		}
	}
	return nil
}

// untilDone waits until no delivery is pending.
func untilDone(ctx context.Context, acme *sender.Tenant) error {
	for {
		pending, err := acme.Deliveries(ctx, store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1})
		if err != nil || len(pending) == 0 {
			return err
		}
		select {
		case <-time.After(poll):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
