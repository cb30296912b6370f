package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/sender"
)

const (
	senders = 16                    // concurrent calls of Send
	backlog = 1 << 16               // events read and not sent yet
	again   = 50 * time.Millisecond // before a Send is repeated that failed
)

// feed does what the lines of the input say.
type feed struct {
	hooks   *sender.Sender
	db      *setup.Opened
	patient bool
}

// run returns at the end of the input or when stop is closed, with nothing being
// sent any more.
func (f *feed) run(ctx context.Context, stop <-chan struct{}) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	events := make(chan string, backlog)
	orders := make(chan string)
	go read(ctx, events, orders) // may stay in a read until the process ends
	for range senders {
		running.Go(func() {
			for {
				select {
				case line, more := <-events:
					if !more {
						return
					}
					if err := f.send(ctx, line); err != nil {
						cancel(err)
						return
					}
				case <-stop:
					return
				case <-ctx.Done():
					return
				}
			}
		})
	}
	running.Go(func() {
		for {
			select {
			case order, more := <-orders:
				if !more {
					return
				}
				if err := f.obey(ctx, order); err != nil {
					cancel(fmt.Errorf("%s: %w", order, err))
					return
				}
			case <-stop:
				return
			case <-ctx.Done():
				return
			}
		}
	})
	running.Wait()
	return context.Cause(ctx)
}

// read deals the input out. Orders don't wait for events.
func read(ctx context.Context, events, orders chan<- string) {
	defer close(orders)
	defer close(events)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		to := events
		if strings.HasPrefix(lines.Text(), "!") {
			to = orders
		}
		select {
		case to <- lines.Text():
		case <-ctx.Done():
			return
		}
	}
}

func (f *feed) send(ctx context.Context, line string) error {
	id, typ, _ := strings.Cut(line, " ")
	for {
		_, err := f.hooks.Send(ctx, setup.Event(id, typ))
		switch {
		case err == nil:
			say(id)
			return nil
		case !f.patient || ctx.Err() != nil:
			return fmt.Errorf("event %s: %w", id, err)
		}
		kind := setup.Kind(err)
		if kind == "other" {
			kind += ": " + strings.ReplaceAll(err.Error(), "\n", " ")
		}
		say(setup.Refused + kind)
		time.Sleep(again)
	}
}

func (f *feed) obey(ctx context.Context, order string) error {
	if text, ok := strings.CutPrefix(order, setup.Hold); ok {
		d, err := time.ParseDuration(text)
		if err == nil {
			err = f.db.Hold(ctx, d, func() { say(setup.Held) })
		}
		if err == nil {
			say(setup.Freed)
		}
		return err
	}
	if text, ok := strings.CutPrefix(order, setup.Exec); ok {
		err := f.db.Exec(ctx, text)
		if err == nil {
			say(setup.Ran)
		}
		return err
	}
	return fmt.Errorf("unknown order")
}
