package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/verifier"
)

// receiver is a customer's server. It remembers the orders it has heard of in
// events that it could verify.
type receiver struct {
	server *http.Server
	served chan error

	mu    sync.Mutex
	heard map[string]bool
	news  chan struct{} // has an element when heard has grown
}

// listen starts a receiver and makes an endpoint for it.
func listen(ctx context.Context, hooks *sender.Sender) (*receiver, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	_, secret, err := hooks.CreateEndpoint(ctx, sender.EndpointSpec{
		URL:         "http://" + listener.Addr().String() + "/webhooks",
		EventTypes:  []string{"order.placed"},
		NoTestEvent: true,
	})
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	v, err := verifier.New(secret.Reveal(), nil)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	r := &receiver{heard: make(map[string]bool), news: make(chan struct{}, 1), served: make(chan error, 1)}
	mux := http.NewServeMux()
	mux.Handle("POST /webhooks", v.Middleware(http.HandlerFunc(r.receive)))
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	go func() { r.served <- r.server.Serve(listener) }()
	return r, nil
}

// receive may get an event twice, which changes nothing here.
func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	event, _ := verifier.FromContext(req.Context())
	var o order
	if err := json.Unmarshal(event.Data, &o); err != nil {
		http.Error(w, "not an order", http.StatusBadRequest)
		return
	}
	r.mu.Lock()
	r.heard[o.ID] = true
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// wait waits until the receiver has heard of so many orders.
func (r *receiver) wait(ctx context.Context, n int) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for len(r.orders()) < n {
		select {
		case <-r.news:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d events, of which %d have arrived: %w", n, len(r.orders()), ctx.Err())
		}
	}
	return nil
}

// orders returns what the receiver has heard of, sorted.
func (r *receiver) orders() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.heard))
}

func (r *receiver) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.server.Shutdown(ctx); err != nil {
		_ = r.server.Close()
	}
	if err := <-r.served; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
