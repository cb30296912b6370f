package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// program is the inbox with work that the test chooses.
type program struct {
	t      *testing.T
	box    *inbox
	target sender.Target
	client *sender.Client
	stop   func()
}

func start(t *testing.T, db string, secret signing.Secret, handle verifier.HandlerFunc) *program {
	t.Helper()
	box, err := openInbox(t.Context(), db)
	require.NoError(t, err)
	box.retries = []time.Duration{time.Millisecond, time.Millisecond}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- serve(ctx, listener, secret.Reveal(), box, handle) }()

	client, err := sender.NewClient(&sender.ClientOptions{
		HTTP: sender.HTTPOptions{Egress: sender.Egress{Allow: sendertest.Loopback()}},
	})
	require.NoError(t, err)
	p := &program{t: t, box: box, client: client}
	p.target = sender.Target{URL: "http://" + listener.Addr().String() + "/webhooks", Secrets: []signing.Secret{secret}}
	p.stop = sync.OnceFunc(func() {
		client.CloseIdleConnections()
		cancel()
		require.NoError(t, <-served)
		require.NoError(t, box.close())
	})
	t.Cleanup(p.stop)
	return p
}

func (p *program) send(id string) {
	p.t.Helper()
	_, err := p.client.Attempt(p.t.Context(), p.target, sender.Event{ID: id, Type: "payment.succeeded", Data: []byte(`{"id": "` + id + `"}`)})
	require.NoError(p.t, err)
}

func TestInbox(t *testing.T) {
	var mu sync.Mutex
	calls := make(map[string]int)
	handle := func(ctx context.Context, event verifier.Event) error {
		mu.Lock()
		defer mu.Unlock()
		calls[event.ID]++
		switch {
		case event.ID == "evt_flaky" && calls[event.ID] == 1:
			return errors.New("mail server is busy")
		case event.ID == "evt_hopeless":
			return errors.New("no such address")
		case event.Type != "payment.succeeded":
			return newWorker().Dispatch(ctx, event)
		}
		return nil
	}
	count := func(id string) int {
		mu.Lock()
		defer mu.Unlock()
		return calls[id]
	}
	p := start(t, filepath.Join(t.TempDir(), "inbox.db"), signing.NewSecret(), handle)
	p.send("evt_good")
	p.send("evt_flaky")
	p.send("evt_hopeless")
	p.settled()
	require.Equal(t, 1, count("evt_good"))
	require.Equal(t, 2, count("evt_flaky"))
	require.Equal(t, 3, count("evt_hopeless"), "one attempt and two retries")

	p.send("evt_good") // a repetition
	p.settled()
	require.Equal(t, 1, count("evt_good"))

	var data, failure string
	require.NoError(t, p.box.db.QueryRow(`SELECT data FROM inbox WHERE id = 'evt_good'`).Scan(&data))
	require.Equal(t, `{"id": "evt_good"}`, data)
	require.NoError(t, p.box.db.QueryRow(`SELECT error FROM inbox WHERE error IS NOT NULL`).Scan(&failure))
	require.Equal(t, "no such address", failure)

	for id, body := range map[string]string{"evt_raw": "<paid/>", "evt_empty": ""} {
		_, err := p.client.Attempt(t.Context(), p.target, sender.Event{ID: id, Type: "payment.succeeded", Body: []byte(body), ContentType: "application/xml"})
		require.NoError(t, err)
		require.NoError(t, p.box.db.QueryRow(`SELECT data FROM inbox WHERE id = ?`, id).Scan(&data))
		require.Equal(t, body, data)
	}

	// What no handler would ever get is set aside without a retry, and kept.
	for id, c := range map[string]struct{ typ, body, failure string }{
		"evt_unknown":    {"invoice.sent", `{"type":"invoice.sent","data":{"id":"inv_1"}}`, "no handler"},
		"evt_unreadable": {"invoice.sent", `[{"type":"invoice.sent"}]`, "can't be read"},
	} {
		_, err := p.client.Attempt(t.Context(), p.target, sender.Event{ID: id, Type: c.typ, Body: []byte(c.body)})
		require.NoError(t, err)
		p.settled()
		var attempts int
		require.NoError(t, p.box.db.QueryRow(`SELECT attempts, error, data FROM inbox WHERE id = ?`, id).Scan(&attempts, &failure, &data))
		require.Equal(t, 1, attempts)
		require.Contains(t, failure, c.failure)
		require.Contains(t, c.body, data)
	}

	p.target.Secrets = []signing.Secret{signing.NewSecret()}
	attempt, err := p.client.Attempt(t.Context(), p.target, sender.Event{Type: "payment.succeeded"})
	require.Error(t, err)
	require.Equal(t, 400, attempt.Status)
}

// An event that was acknowledged is worked on after a restart.
func TestRestart(t *testing.T) {
	db, secret := filepath.Join(t.TempDir(), "inbox.db"), signing.NewSecret()
	began := make(chan struct{}, 1)
	p := start(t, db, secret, func(ctx context.Context, _ verifier.Event) error {
		began <- struct{}{}
		<-ctx.Done() // never ready
		return ctx.Err()
	})
	p.send("evt_1")
	<-began
	p.send("evt_2") // answered while the worker is busy
	p.stop()

	done := make(chan string, 2)
	p = start(t, db, secret, func(_ context.Context, event verifier.Event) error {
		done <- event.ID
		return nil
	})
	require.Equal(t, "evt_1", <-done)
	require.Equal(t, "evt_2", <-done)
	p.settled()
}

func TestNeedsSecret(t *testing.T) {
	require.ErrorContains(t, run(t.Context(), "127.0.0.1:0", "unused.db", ""), "WEBHOOK_SECRET")
}

// settled waits until nothing in the inbox is waiting.
func (p *program) settled() {
	p.t.Helper()
	require.Eventually(p.t, func() bool {
		var waiting int
		err := p.box.db.QueryRow(`SELECT count(*) FROM inbox WHERE due_at IS NOT NULL`).Scan(&waiting)
		return err == nil && waiting == 0
	}, 30*time.Second, 5*time.Millisecond)
}
