//go:build unix

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/internal/pgproxy"
	"github.com/hookpost/hookpost/sender"
)

const endpoints = 3 // each selects a type of its own

// trial is a database, a receiver with some endpoints, and the workers that are
// put to the test.
type trial struct {
	ctx    context.Context
	store  string // "sqlite" or "postgres"
	config setup.Config
	db     *setup.Opened // for looking; it sends nothing
	hooks  *sender.Sender
	rcv    *receiver
	procs  []*process

	database string // PostgreSQL's name of it
	ids      []string
	gone     map[string]bool // ids that the receiver answers with 410
	loose    map[string]bool // ids whose endpoint may have been deleted before they arrived
	absent   []string        // ids that must not exist
	faults   int
	proxied  bool // each worker reaches PostgreSQL through a proxy of its own
}

// newTrial makes one with an empty database, the one that change has named if it is
// PostgreSQL's. change, unless nil, changes how workers run.
func newTrial(t *testing.T, store string, change func(*setup.Config)) *trial {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	// The lease is short, so that what a broken worker held is soon taken over.
	tr := &trial{ctx: ctx, store: store, gone: make(map[string]bool), loose: make(map[string]bool), config: setup.Config{
		Database:    setup.Database{Name: "worker"},
		MaxInFlight: 64, Timeout: 2 * time.Second, Lease: 4 * time.Second, Drain: time.Minute,
	}}
	if change != nil {
		change(&tr.config)
	}
	switch {
	case store == "sqlite":
		tr.config.File = filepath.Join(t.TempDir(), "hooks.db")
	case tr.config.DSN == "":
		tr.createDatabase(t)
	}
	look := tr.config.Database
	look.Connections = 0
	look.Name = "test"
	var err error
	tr.db, err = look.Open(ctx)
	require.NoError(t, err)
	t.Cleanup(func() { _ = tr.db.Close() })
	tr.hooks, err = sender.New(tr.db.Store, tr.config.Options(nil))
	require.NoError(t, err)
	tr.rcv = newReceiver(t, tr.config.Skew)
	for i := range endpoints {
		tr.endpoint(t, fmt.Sprintf("/%d", i), eventType(i))
	}
	return tr
}

func (tr *trial) endpoint(t *testing.T, path, typ string) {
	t.Helper()
	_, _, err := tr.hooks.CreateEndpoint(tr.ctx, sender.EndpointSpec{
		URL: tr.rcv.url + path, EventTypes: []string{typ}, Secret: tr.rcv.secret, NoTestEvent: true,
	})
	require.NoError(t, err)
}

func eventType(n int) string { return fmt.Sprintf("fault.type%d", n%endpoints) }

// event makes up the next event and returns it as a line for a worker.
func (tr *trial) event() string {
	n := len(tr.ids)
	id := fmt.Sprintf("evt_%05d", n)
	tr.ids = append(tr.ids, id)
	return id + " " + eventType(n)
}

// run starts workers, each of which sends its share of the events.
func (tr *trial) run(t *testing.T, workers, events int) {
	t.Helper()
	shares := make([][]string, workers)
	for n := range events {
		shares[n%workers] = append(shares[n%workers], tr.event())
	}
	for _, lines := range shares {
		p := &process{ctx: tr.ctx, config: tr.config, rcv: tr.rcv, lines: lines, acked: make(map[string]bool)}
		if tr.proxied {
			p.proxy = tr.proxy(t)
			p.config.DSN = p.proxy.DSN(tr.database)
		}
		tr.procs = append(tr.procs, p)
		p.start(t)
		t.Cleanup(p.kill)
	}
}

// proxy stands before the server.
func (tr *trial) proxy(t *testing.T) *pgproxy.Proxy {
	t.Helper()
	return pgproxy.ForTest(t, "unix", filepath.Join(host(t, server), ".s.PGSQL.5432"))
}

// arrived waits until k of n parts of the events have arrived.
func (tr *trial) arrived(t *testing.T, k, n int) {
	t.Helper()
	tr.rcv.wait(tr.ctx, t, len(tr.ids)*k/n)
}

// finish lets all workers end by themselves.
func (tr *trial) finish(t *testing.T) {
	t.Helper()
	for _, p := range tr.procs {
		p.finish(t)
	}
}
