package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/hookpost/hookpost/sender"
)

const (
	builtIn = 60       // events without -in
	maxLine = 16 << 20 // bytes
)

// load returns n events, or with n = 0 each once.
func load(path string, n int) ([]sender.Event, error) {
	if path == "" {
		if n == 0 {
			n = builtIn
		}
		return payments(n), nil
	}
	lines, err := readLines(path)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		n = len(lines)
	}
	events := make([]sender.Event, n)
	for i := range events {
		line := lines[i%len(lines)]
		events[i] = newEvent(i, line.Type, line.Payload)
	}
	return events, nil
}

// newEvent gives the event an id that follows from its content and place. If an
// application knows what it sends by such an id, it may send again whenever it is
// in doubt: a duplicate is recognised. Without an ID the sender makes a random one.
func newEvent(i int, typ string, data []byte) sender.Event {
	hash := sha256.Sum256(fmt.Appendf(nil, "%d %s %s", i, typ, data))
	return sender.Event{
		ID:   fmt.Sprintf("evt_%x", hash[:16]),
		Type: typ,
		Data: json.RawMessage(data), // goes out byte for byte; other values are marshalled
	}
}

type line struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

func readLines(path string) ([]line, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var lines []line
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, maxLine)
	for no := 1; scan.Scan(); no++ {
		if len(scan.Bytes()) == 0 {
			continue
		}
		var l line
		if err := json.Unmarshal(scan.Bytes(), &l); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", path, no, err)
		}
		if l.Type == "" || l.Payload == nil {
			return nil, fmt.Errorf(`%s:%d: a line needs "type" and "payload"`, path, no)
		}
		lines = append(lines, l)
	}
	if err := scan.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s holds no events", path)
	}
	return lines, nil
}

// payments returns what a small shop's payment provider would send.
func payments(n int) []sender.Event {
	customers := []customer{
		{"cus_ama01", "ama@example.com"},
		{"cus_kofi02", "kofi@example.com"},
		{"cus_zoe03", "zoé@example.com"},
	}
	first := time.Date(2026, 5, 24, 10, 2, 14, 0, time.UTC)
	events := make([]sender.Event, n)
	for i := range events {
		c, amount := customers[i%len(customers)], 1500+250*(i%17)
		id := func(prefix string) string { return fmt.Sprintf("%s_%06d", prefix, i+1) }
		var typ string
		var data any
		switch i % 6 {
		case 0, 1:
			typ, data = "payment.succeeded", payment{id("pay"), amount, "GHS", "succeeded", c, map[string]string{"order_id": id("ord")}}
		case 2:
			typ, data = "payment.failed", payment{id("pay"), amount, "GHS", "failed", c, map[string]string{"order_id": id("ord")}}
		case 3:
			typ, data = "subscription.renewed", subscription{id("sub"), "active", first.AddDate(0, 1, i%28).Format(time.RFC3339), c}
		case 4:
			typ, data = "refund.processed", payment{id("ref"), amount, "GHS", "processed", c, map[string]string{"reason": "<too small> & late"}}
		case 5:
			typ, data = "subscription.cancelled", subscription{id("sub"), "cancelled", first.AddDate(0, 0, i%28).Format(time.RFC3339), c}
		}
		text, err := json.Marshal(data)
		if err != nil {
			panic(err) // structs of strings and numbers
		}
		events[i] = newEvent(i, typ, text)
		events[i].CreatedAt = first.Add(time.Duration(i) * time.Minute)
	}
	return events
}

type payment struct {
	ID       string            `json:"id"`
	Amount   int               `json:"amount"` // in the smallest unit
	Currency string            `json:"currency"`
	Status   string            `json:"status"`
	Customer customer          `json:"customer"`
	Metadata map[string]string `json:"metadata"`
}

type subscription struct {
	ID               string   `json:"id"`
	Status           string   `json:"status"`
	CurrentPeriodEnd string   `json:"current_period_end"`
	Customer         customer `json:"customer"`
}

type customer struct {
	ID    string `json:"id"`
	Email string `json:"email"`
}
