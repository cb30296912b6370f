package main

import (
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
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

// webhook gets only requests whose signature is genuine.
//
// Any 2xx answer means that the event was taken. After anything else it comes
// again later. Even so an event may come twice, so that what is done here must be
// right to do twice; event.ID is the same each time.
func (s *shop) webhook(w http.ResponseWriter, r *http.Request) {
	event, _ := verifier.FromContext(r.Context())
	var err error
	switch event.Type {
	case "payment.succeeded":
		err = s.fulfil(event)
	case "subscription.renewed":
		err = s.extend(event)
	case "subscription.cancelled":
		err = s.revoke(event)
	default:
		// New types must not make deliveries fail: webhook.test, and what is added later.
		slog.Info("event ignored", "id", event.ID, "type", event.Type)
	}
	if err != nil {
		slog.Error("event failed", "id", event.ID, "type", event.Type, "error", err)
		http.Error(w, "try again later", http.StatusInternalServerError)
	}
}

func (s *shop) fulfil(event verifier.Event) error {
	var payment struct {
		Amount   int
		Metadata struct {
			OrderID string `json:"order_id"`
		}
	}
	if err := json.Unmarshal(event.Data, &payment); err != nil {
		return err
	}
	order := payment.Metadata.OrderID
	if order == "" {
		return errors.New("payment without an order_id")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.paid == nil {
		s.paid = make(map[string]int)
	}
	s.paid[order] = payment.Amount // not +=, which would count a repetition
	slog.Info("order paid", "order", order, "amount", payment.Amount)
	return nil
}

type subscription struct {
	Customer         struct{ ID string }
	CurrentPeriodEnd time.Time `json:"current_period_end"`
}

func (s *shop) extend(event verifier.Event) error {
	var sub subscription
	if err := json.Unmarshal(event.Data, &sub); err != nil {
		return err
	}
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

func (s *shop) revoke(event verifier.Event) error {
	var sub subscription
	if err := json.Unmarshal(event.Data, &sub); err != nil {
		return err
	}
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
