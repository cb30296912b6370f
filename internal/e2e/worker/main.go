// Worker is a process that sends and delivers events, made to be broken by the
// tests of package e2e. What it reads and writes is described in package setup.
//
// At the end of its input it waits until nothing is pending, and ends. On SIGTERM
// it stops reading, lets attempts under way finish, and ends.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

func main() {
	text := flag.String("config", "", "setup.Config as `JSON`")
	limit := flag.Duration("limit", 2*time.Minute, "ends a worker whose test is gone")
	flag.Parse()
	var config setup.Config
	err := json.Unmarshal([]byte(*text), &config)
	if err == nil {
		ctx, cancel := context.WithTimeout(context.Background(), *limit)
		defer cancel()
		err = run(ctx, &config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "worker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, config *setup.Config) (err error) {
	asked, unhook := signal.NotifyContext(ctx, syscall.SIGTERM)
	defer unhook()
	say(setup.Ready)
	var db *setup.Opened
	err = persist(ctx, config, func() (err error) {
		db, err = config.Open(ctx)
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	hooks, err := sender.New(db.Store, config.Options(func() { say(setup.Hooked) }))
	if err != nil {
		return err
	}
	if err := persist(ctx, config, func() error { return hooks.Start(ctx) }); err != nil {
		return err
	}
	f := &feed{hooks: hooks, db: db, patient: config.Patient}
	if err := f.run(ctx, asked.Done()); err != nil {
		return err
	}
	for asked.Err() == nil {
		pending, err := hooks.Deliveries(ctx, store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 1})
		switch {
		case err != nil && !config.Patient:
			return err
		case err == nil && len(pending) == 0:
			return hooks.Stop(ctx)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	drain, cancel := context.WithTimeout(ctx, config.Drain)
	defer cancel()
	if err := hooks.Stop(drain); err != nil {
		return err
	}
	say(setup.Drained)
	return nil
}

// persist calls f until it succeeds if the worker is patient.
func persist(ctx context.Context, config *setup.Config, f func() error) error {
	for {
		err := f()
		if err == nil || !config.Patient || ctx.Err() != nil {
			return err
		}
		fmt.Fprintln(os.Stderr, "worker: again:", err)
		time.Sleep(again)
	}
}

// say writes a line, in one piece.
func say(line string) { fmt.Println(line) }
