// Dashboard is a page to click on: a shop sends events to receivers in the same
// process, some of which misbehave, and the dashboard shows what becomes of them.
//
//	go run ./examples/dashboard
//	go run ./examples/dashboard -addr 127.0.0.1:9000
//
// The database is a temporary SQLite file, gone when the program ends.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/sqlite"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8088", "`address` of the page")
	rate := flag.Float64("rate", 2, "events per second, 0.001 to 1000000")
	flag.Parse()
	if _, ok := interval(*rate); flag.NArg() > 0 || !ok {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *rate, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr string, rate float64, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "hookpost-dashboard-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	st, err := sqlite.Open(ctx, filepath.Join(dir, "hooks.db"), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	hooks, err := sender.New(st, &sender.Options{
		PlaintextSecrets: true, // an application sets Keyring
		EventTypes:       eventTypes,
		// Short delays, to be watched. The default goes on for 72 hours.
		Schedule: retry.Steps(2*time.Second, 5*time.Second, 15*time.Second, 30*time.Second),
		HTTP: sender.HTTPOptions{
			Timeout: 2 * time.Second,
			// The receivers are on this machine; by default only public addresses are called.
			Egress: sender.Egress{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		},
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	receivers := startReceivers()
	defer receivers.close()
	for _, mode := range []store.Mode{store.Live, store.Test} {
		if err := receivers.register(ctx, hooks.For(shop, mode), mode); err != nil {
			return err
		}
	}
	if err := hooks.Start(ctx); err != nil {
		return err
	}
	defer func() {
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err = errors.Join(err, hooks.Stop(drain))
	}()

	pages, err := dashboard.New(hooks, signedIn, nil)
	if err != nil {
		return err
	}
	defer pages.Close()
	mux := http.NewServeMux()
	mux.Handle("/webhooks/", http.StripPrefix("/webhooks", pages))
	mux.Handle("GET /{$}", http.RedirectHandler("/webhooks/", http.StatusSeeOther))
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler:           ownHost(addr, mux),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
	}
	stopped := make(chan error, 1)
	go func() { stopped <- server.Serve(listener) }()
	fmt.Fprintf(out, "dashboard  http://%s/webhooks/\nctrl-C ends it\n", listener.Addr())

	err = trade(ctx, hooks, rate)
	return errors.Join(err, server.Close(), notClosed(<-stopped))
}

func notClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// signedIn says who makes a request. An application asks its own sessions here;
// this page is for whoever sits at the machine.
func signedIn(*http.Request) (dashboard.Access, error) {
	return dashboard.Access{Actor: "ann@shop.example", Accounts: []dashboard.Account{
		{Tenant: shop, Mode: store.Live, Name: "Corner Shop", Rights: dashboard.AllRights},
		{Tenant: shop, Mode: store.Test, Name: "Corner Shop", Rights: dashboard.AllRights},
	}}, nil
}
