package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// shown is how much of a long log is printed without -v.
const shown = 20

// report prints the delivery log and checks that each event, of this run and of
// earlier ones on the same database, was delivered and verified as it was sent.
func report(ctx context.Context, acme *sender.Tenant, rcv *receiver, events []sender.Event, verbose bool, out io.Writer) error {
	log, err := deliveries(ctx, acme)
	if err != nil {
		return err
	}
	if err := printLog(ctx, acme, log, verbose, out); err != nil {
		return err
	}

	want, err := sentEvents(ctx, acme, events, log)
	if err != nil {
		return err
	}
	delivered := make(map[string]bool)
	for _, d := range log {
		if d.State == store.Delivered {
			delivered[d.EventID] = true
		}
	}
	var problems []error
	for _, e := range want {
		got, ok := rcv.event(e.ID)
		switch {
		case !delivered[e.ID]:
			problems = append(problems, fmt.Errorf("%s, %s, was not delivered", e.ID, e.Type))
		case !ok:
			problems = append(problems, fmt.Errorf("%s, %s, was not verified by the receiver", e.ID, e.Type))
		case !got.equal(e):
			problems = append(problems, fmt.Errorf("%s, %s, did not arrive as it was sent", e.ID, e.Type))
		}
	}
	if len(problems) > 0 {
		return fmt.Errorf("%d of %d events failed:\n%w", len(problems), len(want), errors.Join(problems...))
	}
	fmt.Fprintf(out, "%d of %[1]d events were delivered, and verified byte for byte as sent.\n", len(want))
	return nil
}

// deliveries reads the whole log, oldest first.
func deliveries(ctx context.Context, acme *sender.Tenant) ([]store.Delivery, error) {
	var log []store.Delivery
	query := store.DeliveryQuery{Limit: 1000}
	for {
		page, err := acme.Deliveries(ctx, query)
		if err != nil {
			return nil, err
		}
		if len(page) == 0 {
			slices.Reverse(log)
			return log, nil
		}
		log = append(log, page...)
		query.Before = page[len(page)-1].ID
	}
}

// sentEvents returns what should have arrived: the events of this run as they were
// handed to Send, those of earlier runs as they are stored.
func sentEvents(ctx context.Context, acme *sender.Tenant, events []sender.Event, log []store.Delivery) ([]received, error) {
	var all []received
	known := make(map[string]bool)
	add := func(id, typ string, data []byte) {
		hash := sha256.Sum256(data)
		all = append(all, received{ID: id, Type: typ, Hash: hash[:]})
		known[id] = true
	}
	for _, e := range events {
		add(e.ID, e.Type, e.Data.(json.RawMessage))
	}
	for _, d := range log {
		if known[d.EventID] || d.EventType == "webhook.test" {
			continue
		}
		e, err := acme.Event(ctx, d.EventID)
		if err != nil {
			return nil, err
		}
		var envelope struct{ Data json.RawMessage }
		if err := json.Unmarshal(e.Body, &envelope); err != nil {
			return nil, fmt.Errorf("event %s as stored: %w", e.ID, err)
		}
		add(e.ID, e.Type, envelope.Data)
	}
	return all, nil
}

// printLog prints a table of deliveries and sums it up.
func printLog(ctx context.Context, acme *sender.Tenant, log []store.Delivery, verbose bool, out io.Writer) error {
	rows := log
	if !verbose && len(rows) > shown {
		rows = rows[:shown]
	}
	fmt.Fprintln(out)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "EVENT\tTYPE\tATTEMPTS\tSTATE\tLATENCY\tFAILED BEFORE")
	for _, d := range rows {
		failures, err := failures(ctx, acme, d)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%s\t%s\t%s\n", d.EventID, d.EventType, d.Attempts, d.State, latency(d), failures)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if more := len(log) - len(rows); more > 0 {
		fmt.Fprintf(out, "… and %d more; -v prints all\n", more)
	}

	states := make(map[store.State]int)
	attempts, retried := 0, 0
	var took []time.Duration
	for _, d := range log {
		states[d.State]++
		attempts += d.Attempts
		if d.Attempts > 1 {
			retried++
		}
		if d.State == store.Delivered {
			took = append(took, d.FinishedAt.Sub(d.CreatedAt))
		}
	}
	fmt.Fprintf(out, "\n%d deliveries:", len(log))
	for _, state := range []store.State{store.Delivered, store.Pending, store.Exhausted, store.Cancelled} {
		if n := states[state]; n > 0 {
			fmt.Fprintf(out, " %d %s,", n, state)
		}
	}
	fmt.Fprintf(out, " %d attempts, %d retried", attempts, retried)
	if len(took) > 0 {
		slices.Sort(took)
		fmt.Fprintf(out, "; latency: half within %s, all within %s", round(took[len(took)/2]), round(took[len(took)-1]))
	}
	fmt.Fprintln(out)
	return nil
}

// failures says in a few words what became of the attempts before the last.
func failures(ctx context.Context, acme *sender.Tenant, d store.Delivery) (string, error) {
	if d.Attempts < 2 {
		return d.Reason, nil
	}
	_, attempts, err := acme.Delivery(ctx, d.ID)
	if err != nil {
		return "", err
	}
	var words []string
	for _, a := range attempts {
		switch a.Outcome {
		case store.AttemptFailed:
			words = append(words, cmp.Or(a.Class, "failed"))
			if a.Status != 0 {
				words[len(words)-1] = strconv.Itoa(a.Status)
			}
		case store.AttemptUnknown:
			words = append(words, "unknown")
		}
	}
	return strings.Join(words, ", "), nil
}

// latency is the time from the commit to the recorded delivery.
func latency(d store.Delivery) string {
	if d.State != store.Delivered {
		return "-"
	}
	return round(d.FinishedAt.Sub(d.CreatedAt)).String()
}

func round(d time.Duration) time.Duration {
	if d > time.Second {
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(100 * time.Microsecond)
}
