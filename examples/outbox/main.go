// Outbox shows an order and its event in one transaction. A shop places orders,
// some of which fail after their event was sent and are rolled back. In the end
// the orders in the database are compared with the events that a receiver has
// verified: they have to be the same, nothing less and nothing more.
//
//	go run ./examples/outbox
//	go run ./examples/outbox -dsn postgres://user:password@localhost/db
//
// Without -dsn the database is a temporary SQLite file. In PostgreSQL everything is
// in a schema of this run's, which is dropped at the end.
//
// The exit status is 0 if exactly the events of the committed orders arrived.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

func main() {
	dsn := flag.String("dsn", "", "PostgreSQL connection `string` (default: a temporary SQLite file)")
	n := flag.Int("n", 100, "how many orders to place")
	flag.Parse()
	if flag.NArg() > 0 || *n < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dsn, *n, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "outbox:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dsn string, n int, out io.Writer) (err error) {
	open := openSQLite
	if dsn != "" {
		open = func(ctx context.Context) (*database, error) { return openPostgres(ctx, dsn) }
	}
	db, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	fmt.Fprintf(out, "database   %s\n", db.name)

	hooks, err := sender.New(db.store, &sender.Options{
		PlaintextSecrets: true,      // the database is gone in a moment; an application sets Keyring
		PollInterval:     time.Hour, // Wake is enough here, as long as nobody crashes
		HTTP: sender.HTTPOptions{
			// By default nothing but public addresses is called; the receiver is on this machine.
			Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		},
	})
	if err != nil {
		return err
	}
	rcv, err := listen(ctx, hooks)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rcv.close()) }()
	if err := hooks.Start(ctx); err != nil {
		return err
	}

	s := &shop{db: db, hooks: hooks}
	placed, err := s.placeAll(ctx, n)
	if err == nil {
		err = rcv.wait(ctx, len(placed))
	}
	// Stop finishes the attempts under way, and with them what should not have come.
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if err := errors.Join(err, hooks.Stop(drain)); err != nil {
		return err
	}
	fmt.Fprintf(out, "orders     %d committed, %d rolled back\n", len(placed), n-len(placed))
	return compare(ctx, s, hooks, placed, rcv.orders(), out)
}

// compare looks at all three sides: the shop's table, the log, and the receiver.
func compare(ctx context.Context, s *shop, hooks *sender.Sender, placed, arrived []string, out io.Writer) error {
	rows, err := s.committed(ctx)
	if err != nil {
		return err
	}
	events := 0
	for q := (store.EventQuery{}); ; {
		page, err := hooks.Events(ctx, q)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		events += len(page)
		q.Before = page[len(page)-1].Num
	}
	fmt.Fprintf(out, "events     %d stored, %d verified by the receiver\n", events, len(arrived))
	slices.Sort(placed)
	switch {
	case !slices.Equal(rows, placed):
		return fmt.Errorf("%d orders were acknowledged, %d are in the table", len(placed), len(rows))
	case events != len(rows):
		return fmt.Errorf("%d orders were committed, with %d events", len(rows), events)
	case !slices.Equal(arrived, rows):
		return fmt.Errorf("%d orders were committed, and events of %d arrived, or of others", len(rows), len(arrived))
	}
	fmt.Fprintf(out, "\nExactly the %d committed orders arrived, and none of those rolled back.\n", len(rows))
	return nil
}
