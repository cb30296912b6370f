//go:build unix

package e2e

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// gonePath is where the receiver answers everything with 410.
const gonePath = "/gone/"

// failsFirst says which events the receiver answers with 500 at first.
func failsFirst(id string) bool { return strings.HasSuffix(id, "7") }

// receiver counts the requests that it verified.
type receiver struct {
	url    string
	secret signing.Secret
	work   time.Duration // before each answer, so that something is in flight when a fault comes

	mu      sync.Mutex
	got     map[string]tally
	bad     int
	changed chan struct{}
}

// tally counts the requests for an event.
type tally struct {
	total     int
	succeeded int // answered with 200
}

// newReceiver makes one whose clock is ahead of the process's by skew.
func newReceiver(t *testing.T, skew time.Duration) *receiver {
	r := &receiver{secret: signing.NewSecret(), work: 2 * time.Millisecond, got: make(map[string]tally), changed: make(chan struct{}, 1)}
	v, err := verifier.New(r.secret.Reveal(), &verifier.Options{
		Clock: func() time.Time { return time.Now().Add(skew) },
		OnError: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.WriteHeader(http.StatusBadRequest)
			if !refused(err) {
				return // a request that a kill cut off
			}
			r.mu.Lock()
			r.bad++
			r.mu.Unlock()
		},
	})
	require.NoError(t, err)
	server := httptest.NewServer(v.Middleware(http.HandlerFunc(r.receive)))
	t.Cleanup(server.Close)
	r.url = server.URL
	return r
}

// refused reports whether a request arrived whole and was not genuine.
func refused(err error) bool {
	for _, cause := range []error{
		signing.ErrMissingHeader, signing.ErrMalformed, signing.ErrTooOld, signing.ErrTooNew, signing.ErrNoMatch, verifier.ErrBodyTooLarge,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

func (r *receiver) receive(w http.ResponseWriter, req *http.Request) {
	event, _ := verifier.FromContext(req.Context())
	time.Sleep(r.work)
	status := http.StatusOK
	r.mu.Lock()
	n := r.got[event.ID]
	n.total++
	switch {
	case strings.HasPrefix(req.URL.Path, gonePath):
		status = http.StatusGone
	case n.total == 1 && failsFirst(event.ID):
		status = http.StatusInternalServerError
	default:
		n.succeeded++
	}
	r.got[event.ID] = n
	r.mu.Unlock()
	w.WriteHeader(status)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// wait returns once requests for n events have come.
func (r *receiver) wait(ctx context.Context, t *testing.T, n int) {
	t.Helper()
	for {
		have := r.events()
		if have >= n {
			return
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			require.FailNow(t, "took too long", "%d of %d events have arrived", have, n)
		}
	}
}

// events is how many of them have arrived.
func (r *receiver) events() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.got)
}

// missing returns the ids, in place, of which no request has come.
func (r *receiver) missing(ids []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.DeleteFunc(ids, func(id string) bool { return r.got[id].total > 0 })
}

func (r *receiver) requests() map[string]tally {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.got)
}

func (r *receiver) refused() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.bad
}
