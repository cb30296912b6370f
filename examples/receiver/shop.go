package main

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"sync"
	"time"

	"github.com/hookpost/hookpost/verifier"
)

// shop is the application. It keeps its orders in memory; yours has a database.
type shop struct {
	mu     sync.Mutex
	paid   map[string]int       // amount by order
	access map[string]time.Time // until when, by customer
}

// events routes what arrives to the shop. Types that are not here are
// acknowledged: webhook.test, and what is added later.
//
// A handler's error is answered 500, and the event comes again later.
func (s *shop) events() *verifier.Mux {
	mux := verifier.NewMux(nil)
	verifier.On(mux, "payment.succeeded", s.fulfil)
	verifier.On(mux, "subscription.renewed", s.extend)
	verifier.On(mux, "subscription.cancelled", s.revoke)
	return mux
}

type payment struct {
	Amount   int
	Metadata struct {
		OrderID string `json:"order_id"`
	}
}

func (s *shop) fulfil(_ context.Context, event verifier.Event, p payment) error {
	order := p.Metadata.OrderID
	if order == "" {
		return errors.New("payment without an order_id")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paid == nil {
		s.paid = make(map[string]int)
	}
	s.paid[order] += p.Amount // which would be wrong if repetitions came through
	slog.Info("order paid", "event", event.ID, "order", order, "amount", p.Amount)
	return nil
}

type subscription struct {
	Customer         struct{ ID string }
	CurrentPeriodEnd time.Time `json:"current_period_end"`
}

func (s *shop) extend(_ context.Context, _ verifier.Event, sub subscription) error {
	// Order is not promised. A renewal that comes late must not shorten anything.
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.access == nil {
		s.access = make(map[string]time.Time)
	}
	if sub.CurrentPeriodEnd.After(s.access[sub.Customer.ID]) {
		s.access[sub.Customer.ID] = sub.CurrentPeriodEnd
	}
	return nil
}

func (s *shop) revoke(_ context.Context, _ verifier.Event, sub subscription) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.access, sub.Customer.ID)
	return nil
}

// orders returns the orders that are paid.
func (s *shop) orders() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.paid)
}

// accessUntil returns when a customer's access ends; the zero time means none.
func (s *shop) accessUntil(customer string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.access[customer]
}
