// Quickstart does the main job of hookpost in one process, with nothing to
// install: it opens a SQLite database, starts a real receiver on loopback and
// sends it events. At first the receiver misbehaves on purpose, so that retries
// can be watched. In the end the delivery log is printed, and every event is
// compared with what the receiver verified.
//
//	go run ./examples/quickstart
//	go run ./examples/quickstart -in events.jsonl -db hooks.db
//
// Without -db the database is a temporary file. With it, a run that was
// interrupted, by ctrl-C or a crash, is finished by starting it again.
//
// The exit status is 0 if every event was delivered and verified byte for byte
// as it was sent.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
	"github.com/hookpost/hookpost/store/sqlite"
)

// The defaults suit receivers on the internet: attempts may take 10 s, and retries
// come after 5 min, 30 min, 2 h, ... for 72 h. To be watched, all of it has to be
// shorter.
const (
	timeout = 500 * time.Millisecond
	lease   = 2 * time.Second // after a crash, its deliveries wait this long
	poll    = 100 * time.Millisecond
)

var delays = []time.Duration{200 * time.Millisecond, 500 * time.Millisecond, time.Second, 2 * time.Second}

type config struct {
	db      string  // database file; empty: a temporary one
	in      string  // file of events; empty: the built-in ones
	n       int     // how many events to send; 0: each once
	rate    float64 // events per second; 0: no limit
	verbose bool    // print all of the log
}

func main() {
	var cfg config
	flag.StringVar(&cfg.db, "db", "", "SQLite database `file`, kept afterwards (default: a temporary one)")
	flag.StringVar(&cfg.in, "in", "", "`file` of events to send, one {\"type\":…,\"payload\":…} a line (default: built-in ones)")
	flag.IntVar(&cfg.n, "n", 0, "how many events to send, repeating them if there are fewer (default: each once)")
	flag.Float64Var(&cfg.rate, "rate", 50, "events to send per second; 0: as fast as it goes")
	flag.BoolVar(&cfg.verbose, "v", false, "print the whole delivery log, however long")
	flag.Parse()
	if flag.NArg() > 0 || cfg.n < 0 || cfg.rate < 0 {
		flag.Usage()
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second ctrl-C ends the program at once
	if err := run(ctx, cfg, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, cfg config, out io.Writer) error {
	err := quickstart(ctx, cfg, out)
	switch {
	case err == nil || ctx.Err() == nil:
		return err
	case cfg.db == "":
		return errors.New("interrupted; with -db FILE it could be continued")
	default:
		return fmt.Errorf("interrupted; start it again with -db %s to go on", cfg.db)
	}
}

func quickstart(ctx context.Context, cfg config, out io.Writer) (err error) {
	events, err := load(cfg.in, cfg.n)
	if err != nil {
		return err
	}

	path := cfg.db
	if path == "" {
		dir, err := os.MkdirTemp("", "hookpost-quickstart-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		path = filepath.Join(dir, "hooks.db")
	}
	fmt.Fprintf(out, "database   %s\n", path)

	// The application's side: a sender on a store.
	secrets, err := openSecrets(path)
	if err != nil {
		return err
	}
	keys, err := keyring.New(secrets.Key)
	if err != nil {
		return err
	}
	st, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	hooks, err := sender.New(st, &sender.Options{
		Keyring:      keys, // seals the endpoints' secrets in the database
		Schedule:     retry.Steps(delays...).Repeat(),
		PollInterval: poll,
		Lease:        lease,
		Logger:       slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		HTTP: sender.HTTPOptions{
			Timeout: timeout,
			// Customers choose the URLs, so that by default nothing but public addresses
			// is called. Our receiver is on this machine.
			Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		},
	})
	if err != nil {
		return err
	}
	acme := hooks.For("acme", store.Test) // one customer, and nothing to do with live payments

	// The customer's side: a receiver, and an endpoint that says where it is.
	rcv, err := listen(path + ".received")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rcv.close()) }()
	if err := register(ctx, acme, rcv.url(), secrets); err != nil {
		return err
	}
	fmt.Fprintf(out, "receiver   %s", rcv.url())
	if n := len(rcv.faults); n > 0 {
		fmt.Fprintf(out, ", spoils its first %d requests", n)
	}
	fmt.Fprintln(out)
	if err := rcv.serve(secrets.Signing); err != nil {
		return err
	}
	fmt.Fprintf(out, "attempts   time out after %s; retries after %s, then every %s\n", timeout, list(delays), delays[len(delays)-1])
	fmt.Fprintf(out, "events     %d\n\n", len(events))

	if err := hooks.Start(ctx); err != nil {
		return err
	}
	err = deliver(ctx, acme, rcv, events, cfg.rate, out)
	// Stop finishes the attempts under way. What is pending stays in the database.
	drain, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(err, hooks.Stop(drain)); err != nil {
		return err
	}
	return report(ctx, acme, rcv, events, cfg.verbose, out)
}
