// Inbox receives webhooks and works on them later: an event is verified, stored in
// one statement and acknowledged, and a worker takes it up from there, with retries
// of its own. The sender sees a fast receiver however long the work takes, and an
// event that is sent twice is stored once.
//
//	WEBHOOK_SECRET=whsec_… go run ./examples/inbox -db inbox.db
package main

import (
	"context"
	"errors"
	"flag"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/hookpost/hookpost/verifier"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	db := flag.String("db", "inbox.db", "SQLite database `file`")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *db, os.Getenv("WEBHOOK_SECRET")); err != nil {
		slog.Error("inbox stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, db, secret string) error {
	if secret == "" {
		return errors.New("WEBHOOK_SECRET is not set; it was shown when the endpoint was created")
	}
	box, err := openInbox(ctx, db)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return errors.Join(err, box.close())
	}
	return errors.Join(serve(ctx, listener, secret, box, newWorker().Dispatch), box.close())
}

// serve receives and works until ctx ends.
func serve(ctx context.Context, listener net.Listener, secret string, box *inbox, handle verifier.HandlerFunc) error {
	v, err := verifier.New(secret, nil)
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	mux := http.NewServeMux()
	mux.Handle("POST /webhooks", v.Middleware(http.HandlerFunc(box.receive)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}

	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var running sync.WaitGroup
	running.Go(func() { box.work(ctx, handle) })
	running.Go(func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Shutdown(grace)
	})
	slog.Info("listening", "url", "http://"+listener.Addr().String()+"/webhooks")
	err = server.Serve(listener)
	cancel()
	running.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// newWorker returns the application's work on what is in the inbox. Types that are
// not here stay in the inbox as given up.
func newWorker() *verifier.Mux {
	mux := verifier.NewMux(nil)
	verifier.On(mux, "payment.succeeded", sendReceipt)
	return mux
}

type payment struct {
	ID string
}

// sendReceipt is slow, and fails at times.
func sendReceipt(ctx context.Context, event verifier.Event, p payment) error {
	select {
	case <-time.After(2 * time.Second): // a mail server takes its time
		slog.Info("receipt sent", "event", event.ID, "payment", p.ID)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
