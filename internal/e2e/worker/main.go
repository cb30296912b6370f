// Worker is a process that sends and delivers events from a SQLite file, made to be
// killed by the tests of package e2e.
//
// It reads lines "id type" and sends each as an event. Once Send has returned it
// prints the id: from then on the event is acknowledged. At the end of its input it
// waits until nothing is pending, and ends.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

// limit ends a worker whose test is gone.
const limit = 2 * time.Minute

func main() {
	db := flag.String("db", "", "SQLite `file`")
	senders := flag.Int("senders", 8, "concurrent calls of Send")
	flag.Parse()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if err := run(ctx, *db, *senders); err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, db string, senders int) error {
	st, err := sqlite.Open(ctx, db, nil)
	if err != nil {
		return err
	}
	defer st.Close()
	hooks, err := sender.New(st, setup.Options())
	if err != nil {
		return err
	}
	if err := hooks.Start(ctx); err != nil {
		return err
	}
	if err := sendAll(ctx, hooks, senders); err != nil {
		return err
	}
	for {
		pending, err := hooks.Deliveries(ctx, store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1})
		if err != nil {
			return err
		}
		if len(pending) == 0 {
			return hooks.Stop(ctx)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func sendAll(ctx context.Context, hooks *sender.Sender, senders int) error {
	lines := make(chan string)
	errs := make(chan error, senders)
	var running sync.WaitGroup
	for range senders {
		running.Go(func() {
			for line := range lines {
				id, typ, _ := strings.Cut(line, " ")
				if _, err := hooks.Send(ctx, setup.Event(id, typ)); err != nil {
					errs <- fmt.Errorf("event %s: %w", id, err)
					return
				}
				fmt.Println(id) // one write
			}
		})
	}
	input := bufio.NewScanner(os.Stdin)
	var err error
	for err == nil && input.Scan() {
		select {
		case lines <- input.Text():
		case err = <-errs:
		}
	}
	close(lines)
	running.Wait()
	close(errs)
	for e := range errs {
		err = e
	}
	return err
}
