package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// shop is the tenant.
const shop = "corner-shop"

type object = map[string]any

// eventTypes are what the shop sends. Checkout sessions are in both sections of the
// picker.
var eventTypes = []sender.EventType{
	{Name: "checkout.session.completed", Resource: "Checkout sessions", Recommended: true, Description: "A customer has paid.", Example: object{"id": "cs_1", "amount": 5000, "currency": "GHS"}},
	{Name: "refund.created", Resource: "Refunds", Recommended: true, Description: "Money is on its way back.", Example: object{"id": "re_1", "amount": 5000}},
	{Name: "refund.failed", Resource: "Refunds", Recommended: true, Description: "A refund did not go through.", Example: object{"id": "re_1", "reason": "account closed"}},
	{Name: "customer.created", Resource: "Customers", Recommended: true, Description: "A customer was registered.", Example: object{"id": "cus_1", "email": "ama@example.com"}},
	{Name: "customer.updated", Resource: "Customers", Recommended: true, Description: "A customer's details changed.", Example: object{"id": "cus_1", "email": "ama@example.com"}},
	{Name: "customer.deleted", Resource: "Customers", Recommended: true, Description: "A customer was removed.", Example: object{"id": "cus_1"}},
	{Name: "checkout.session.opened", Resource: "Checkout sessions", Description: "A customer began to pay.", Example: object{"id": "cs_1"}},
	{Name: "checkout.session.expired", Resource: "Checkout sessions", Description: "A customer did not pay in time.", Example: object{"id": "cs_1"}},
	{Name: "charge.succeeded", Resource: "Charges", Description: "A charge went through.", Example: object{"id": "ch_1", "amount": 5000}},
	{Name: "charge.failed", Resource: "Charges", Description: "A charge was declined.", Example: object{"id": "ch_1", "code": "card_declined"}},
	{Name: "payout.paid", Resource: "Payouts", Description: "Money has arrived at the shop's bank.", Example: object{"id": "po_1", "amount": 120000}},
}

// trade sends events until ctx ends: mostly live ones, some of the test mode.
func trade(ctx context.Context, hooks *sender.Sender, rate float64) error {
	every, ok := interval(rate)
	if !ok {
		return fmt.Errorf("%g events per second can't be kept", rate)
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := 1; ; n++ {
		mode := store.Live
		if n%5 == 0 {
			mode = store.Test
		}
		customer := fmt.Sprintf("cus_%d", rand.IntN(50))
		t := eventTypes[rand.IntN(len(eventTypes))]
		_, err := hooks.For(shop, mode).Send(ctx, sender.Event{
			Type: t.Name,
			Data: object{"example": t.Example, "customer": customer, "note": "<script>alert('shown as text')</script>"},
			Refs: []string{customer},
		})
		if err != nil && ctx.Err() == nil {
			return err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ignore(ctx.Err(), context.Canceled)
		}
	}
}

// interval is the time between two events.
func interval(rate float64) (every time.Duration, ok bool) {
	if rate >= 0.001 && rate <= 1e6 {
		return time.Duration(float64(time.Second) / rate), true
	}
	return 0, false
}

func ignore(err, target error) error {
	if errors.Is(err, target) {
		return nil
	}
	return err
}
