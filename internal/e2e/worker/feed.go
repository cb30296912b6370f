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
	input := make(chan string)
	go func() { // may stay in a read until the process ends
		defer close(input)
		for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
			select {
			case input <- lines.Text():
			case <-ctx.Done():
				return
			}
		}
	}()
	events := make(chan string)
	var running sync.WaitGroup
	for range senders {
		running.Go(func() {
			for line := range events {
				if err := f.send(ctx, line); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	f.read(ctx, stop, input, events, func(order string) {
		running.Go(func() {
			if err := f.obey(ctx, order); err != nil {
				cancel(fmt.Errorf("%s: %w", order, err))
			}
		})
	})
	close(events)
	running.Wait()
	return context.Cause(ctx)
}

// read deals the input out.
func (f *feed) read(ctx context.Context, stop <-chan struct{}, input <-chan string, events chan<- string, order func(string)) {
	for {
		var line string
		var more bool
		select {
		case line, more = <-input:
		case <-stop:
		case <-ctx.Done():
		}
		if !more {
			return
		}
		if strings.HasPrefix(line, "!") {
			order(line)
			continue
		}
		select {
		case events <- line:
		case <-stop:
			return
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
