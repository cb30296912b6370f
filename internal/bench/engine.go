package main

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/store/sqlite"
)

// engine is a way to run the sender.
type engine struct {
	name string
	// open returns an empty store, and what removes it once it is closed.
	open func(ctx context.Context, dir string) (store.Store, func(), error)
	db   *database // that the store is in; nil: it needs no server
	// network is false where nothing is sent: what is left is the sender's own cost.
	network bool
	durable bool
}

// The engines' names.
const (
	offlineName  = "memory, no network"
	memoryName   = "memory"
	sqliteName   = "SQLite FULL"
	postgresName = "PostgreSQL"
)

func engines(db *database) []engine {
	return []engine{
		{name: offlineName, open: openMemory},
		{name: memoryName, open: openMemory, network: true},
		{name: sqliteName, open: openSQLite, network: true, durable: true},
		{name: postgresName, open: db.open, db: db, network: true, durable: true},
	}
}

func openMemory(context.Context, string) (store.Store, func(), error) {
	return memory.New(), func() {}, nil
}

func openSQLite(ctx context.Context, parent string) (store.Store, func(), error) {
	dir, err := os.MkdirTemp(parent, "hookpost-bench-")
	if err != nil {
		return nil, nil, err
	}
	remove := func() { _ = os.RemoveAll(dir) }
	st, err := sqlite.Open(ctx, filepath.Join(dir, "bench.db"), nil)
	if err != nil {
		remove()
		return nil, nil, err
	}
	return st, remove, nil
}

// rig is a sender on a fresh store with its endpoints.
type rig struct {
	*sender.Sender
	rec    *recorder
	remove func()
}

func (e engine) rig(ctx context.Context, run *run, follow bool) (*rig, error) {
	if err := run.receiver.reset(ctx); err != nil {
		return nil, err
	}
	st, remove, err := e.open(ctx, run.dir)
	if err != nil {
		return nil, err
	}
	r := &rig{rec: newRecorder(st, follow), remove: remove}
	opts := senderOptions(run.inFlight)
	if !e.network {
		opts.HTTP.WrapTransport = func(http.RoundTripper) http.RoundTripper { return nowhere{} }
	}
	if r.Sender, err = sender.New(r.rec, opts); err == nil {
		err = r.createEndpoints(ctx, run)
	}
	if err != nil {
		r.close()
		return nil, err
	}
	return r, nil
}

func senderOptions(inFlight int) *sender.Options {
	opts := &sender.Options{PlaintextSecrets: true, MaxInFlight: inFlight}
	opts.HTTP.Egress.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	return opts
}

func (r *rig) createEndpoints(ctx context.Context, run *run) error {
	secret, err := signing.ParseSecret(secretText)
	if err != nil {
		return err
	}
	for i := range run.endpoints {
		_, _, err := r.CreateEndpoint(ctx, sender.EndpointSpec{
			URL: run.url(i), EventTypes: []string{eventType(i)}, Secret: secret, NoTestEvent: true,
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// fill stores the events of a drain.
func (r *rig) fill(ctx context.Context, run *run) error {
	data := payload(run.payload)
	for stored := 0; stored < run.n; {
		batch := make([]sender.Event, min(run.n-stored, 1000))
		for i := range batch {
			batch[i] = sender.Event{Type: eventType((stored + i) % run.endpoints), Data: data}
		}
		if _, err := r.SendBatch(ctx, batch); err != nil {
			return err
		}
		stored += len(batch)
	}
	return nil
}

func (r *rig) close() {
	_ = r.rec.Close()
	r.remove()
}

// check makes sure that what was measured also happened: n events in the log as
// delivered, and each seen by the receiver once.
func (r *rig) check(ctx context.Context, run *run, e engine, res *result) error {
	q := store.DeliveryQuery{States: []store.State{store.Delivered}, Limit: 1000}
	logged := 0
	for {
		page, err := r.Deliveries(ctx, q)
		if err != nil {
			return err
		}
		if logged += len(page); len(page) < q.Limit {
			break
		}
		q.Before = page[len(page)-1].ID
	}
	if logged != run.n {
		return fmt.Errorf("the log has %d of %d events as delivered", logged, run.n)
	}
	if !e.network {
		return nil
	}
	return run.received(ctx, res)
}

// eventType returns the type of the events for the ith endpoint.
func eventType(i int) string { return fmt.Sprintf("payment.succeeded.%d", i) }

// nowhere answers 200 to everything without sending it.
type nowhere struct{}

var ok = &http.Response{
	Status: "200 OK", StatusCode: http.StatusOK, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Body: http.NoBody,
}

func (nowhere) RoundTrip(req *http.Request) (*http.Response, error) {
	return ok, req.Body.Close()
}
