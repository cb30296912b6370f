package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// receiver is the other side: an HTTP server that verifies what it is sent and
// writes it down before it says 200. See examples/receiver and examples/inbox for
// receivers that do something with an event.
type receiver struct {
	listener net.Listener
	server   *http.Server
	done     chan error

	mu       sync.Mutex
	journal  *os.File
	events   map[string]received
	requests int
	faults   []http.HandlerFunc // for the next requests
	tries    map[string]int     // by event id
}

// received is what is known about a verified event. The receiver writes it to its
// journal, one a line, so that a later run still knows.
type received struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Hash []byte `json:"sha256"` // of the data
}

// listen opens a port of this machine and the receiver's journal.
func listen(journal string) (*receiver, error) {
	r := &receiver{events: make(map[string]received), tries: make(map[string]int), done: make(chan error, 1)}
	var err error
	if r.journal, err = os.OpenFile(journal, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600); err != nil {
		return nil, err
	}
	if err := r.readJournal(); err != nil {
		return nil, errors.Join(err, r.journal.Close())
	}
	if len(r.events) == 0 {
		r.faults = slices.Repeat([]http.HandlerFunc{fail, hang, hangUp}, 4)
	}
	if r.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return nil, errors.Join(err, r.journal.Close())
	}
	return r, nil
}

func (r *receiver) url() string { return fmt.Sprintf("http://%s/webhooks", r.listener.Addr()) }

// serve answers requests that are signed with the secret.
func (r *receiver) serve(secret signing.Secret) error {
	v, err := verifier.New(secret.Reveal(), nil)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("POST /webhooks", v.Middleware(http.HandlerFunc(r.receive)))
	r.server = &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: time.Minute}
	go func() { r.done <- r.server.Serve(r.listener) }()
	return nil
}

// receive gets verified events only.
func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	event, _ := verifier.FromContext(req.Context())
	if event.Type == "webhook.test" {
		return // sent when the endpoint was created, to see whether it can be reached
	}
	if fault := r.nextFault(event.ID); fault != nil {
		fault(w, req)
		return
	}
	if err := r.record(event); err != nil {
		http.Error(w, "try again later", http.StatusInternalServerError)
	}
}

// record remembers an event. The same one may come more than once: its answer may
// have been lost, or the sender may have crashed before it noted the delivery.
func (r *receiver) record(event verifier.Event) error {
	hash := sha256.Sum256(event.Data)
	e := received{ID: event.ID, Type: event.Type, Hash: hash[:]}
	r.mu.Lock()
	defer r.mu.Unlock()
	if old, ok := r.events[e.ID]; ok {
		if !old.equal(e) {
			return fmt.Errorf("event %s came again with other content", e.ID)
		}
		return nil
	}
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	// The newline comes first, to end what a crash may have left unfinished.
	if _, err := r.journal.Write(append([]byte{'\n'}, line...)); err != nil {
		return err
	}
	r.events[e.ID] = e
	return nil
}

func (e received) equal(other received) bool {
	return e.ID == other.ID && e.Type == other.Type && string(e.Hash) == string(other.Hash)
}

func (r *receiver) readJournal() error {
	lines := bufio.NewScanner(r.journal)
	for lines.Scan() {
		var e received
		if json.Unmarshal(lines.Bytes(), &e) == nil { // else cut off by a crash, and not answered
			r.events[e.ID] = e
		}
	}
	return lines.Err()
}

// nextFault returns how to spoil this request, or nil. An event fails twice at most.
func (r *receiver) nextFault(id string) http.HandlerFunc {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	r.tries[id]++
	if len(r.faults) == 0 || r.tries[id] > 2 {
		return nil
	}
	fault := r.faults[0]
	r.faults = r.faults[1:]
	return fault
}

// What receivers on the internet do now and then.

func fail(w http.ResponseWriter, _ *http.Request) {
	http.Error(w, "the database is down", http.StatusInternalServerError)
}

func hang(_ http.ResponseWriter, req *http.Request) {
	<-req.Context().Done() // until the sender hangs up
}

func hangUp(http.ResponseWriter, *http.Request) {
	panic(http.ErrAbortHandler) // closes the connection
}

// counts returns how many requests have come and how many events were verified.
func (r *receiver) counts() (requests, verified int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.requests, len(r.events)
}

// event returns what was verified under an event's id.
func (r *receiver) event(id string) (received, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	e, ok := r.events[id]
	return e, ok
}

func (r *receiver) close() error {
	if r.server == nil {
		return errors.Join(r.listener.Close(), r.journal.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	err := r.server.Shutdown(ctx)
	if err != nil {
		err = r.server.Close()
	}
	if served := <-r.done; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, r.journal.Close())
}
