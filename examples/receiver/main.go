// Receiver takes webhooks in the shape of an ordinary application: one route of its
// mux, behind the verifier's middleware, and a handler for each type of event.
//
//	WEBHOOK_SECRET=whsec_… go run ./examples/receiver
//
// Events are delivered at least once. The middleware remembers in memory which ones
// were handled, as the shop does its orders; with a database, both belong there
// (dedupe.SQL). The work is done before the answer, which suits work that is quick:
// senders wait some seconds only. For anything longer see examples/inbox.
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
	"syscall"
	"time"

	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "`address` to listen on")
	flag.Parse()
	if flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, os.Getenv("WEBHOOK_SECRET")); err != nil {
		slog.Error("receiver stopped", "error", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, addr, secret string) error {
	if secret == "" {
		return errors.New("WEBHOOK_SECRET is not set; it was shown when the endpoint was created")
	}
	handler, err := newHandler(secret, new(shop))
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	return serve(ctx, listener, handler)
}

// newHandler returns the application's routes.
func newHandler(secret string, s *shop) (http.Handler, error) {
	v, err := verifier.New(secret, &verifier.Options{
		Dedupe: dedupe.NewMemory(nil),
		// The answer is 400 whatever was wrong; the reason is for our log only.
		OnError: func(_ http.ResponseWriter, r *http.Request, err error) {
			slog.Warn("webhook refused", "from", r.RemoteAddr, "error", err)
		},
	})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.Handle("POST /webhooks", v.Middleware(s.events()))
	return mux, nil
}

// serve answers requests until ctx ends, and finishes those under way.
func serve(ctx context.Context, listener net.Listener, handler http.Handler) error {
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		IdleTimeout:       time.Minute,
	}
	stopped := make(chan error, 1)
	go func() {
		<-ctx.Done()
		grace, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		stopped <- server.Shutdown(grace)
	}()
	slog.Info("listening", "url", "http://"+listener.Addr().String()+"/webhooks")
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return <-stopped
}
