package sender

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// Several Senders on one store, all sending: no event reaches anybody twice.
func TestManySendersSendNothingTwice(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, name, id string) (int, error) {
			return late(ctx, time.Duration(len(b.net.arrivals(name))%7)*30*time.Millisecond, 200)
		}
		var senders []*Sender
		for range 4 {
			senders = append(senders, b.start(b.mem, Options{MaxInFlight: 24}))
		}
		for i := range 10 {
			b.endpoint(&senders[i%4].Tenant, host(i))
		}
		var wg sync.WaitGroup
		for _, s := range senders {
			for range 3 {
				wg.Go(func() {
					for range 20 {
						b.send(&s.Tenant, "")
						time.Sleep(7 * time.Millisecond)
					}
				})
			}
		}
		wg.Wait()
		b.pass(time.Minute)
		require.Equal(t, 240*10, b.count(&senders[0].Tenant, store.Delivered))
		b.requireOnce(240, 10)
		for _, s := range senders {
			require.True(t, s.lanes.idle())
		}
	})
}

// N Senders are given the same event: one event, one fan-out, all succeed.
func TestManySendersOfOneEvent(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		var senders []*Sender
		for range 4 {
			senders = append(senders, b.start(b.mem, Options{}))
		}
		b.endpoint(&senders[0].Tenant, host(1))
		var mu sync.Mutex
		originals := 0
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				r, err := senders[i%4].Send(t.Context(), Event{ID: "same", Type: "a.b", Data: []byte(`1`)})
				require.NoError(t, err)
				mu.Lock()
				defer mu.Unlock()
				if !r.Duplicate {
					originals++
				}
			})
		}
		wg.Wait()
		_, err := senders[2].Send(t.Context(), Event{ID: "same", Type: "a.b", Data: []byte(`2`)})
		require.ErrorIs(t, err, store.ErrConflict)
		b.pass(time.Minute)
		require.Equal(t, 1, originals)
		b.requireOnce(1, 1)
	})
}

// What one process changes counts in the others within a second: disable, edit,
// enable, delete.
func TestChangesReachOtherSenders(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		b.net.answer = func(ctx context.Context, name, _ string) (int, error) {
			if name == host(1) {
				return late(ctx, 200*time.Millisecond, 500)
			}
			return 200, nil
		}
		here := b.start(b.mem, Options{Schedule: everySecond{}})
		there := b.start(b.mem, Options{Schedule: everySecond{}})
		ep := b.endpoint(&here.Tenant, host(1))
		for range 20 {
			b.send(&here.Tenant, "")
			b.send(&there.Tenant, "")
		}
		b.pass(3 * time.Second)
		require.Greater(t, len(b.net.arrivals("")), 40)

		_, err := here.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		b.pass(time.Second)
		stopped := len(b.net.arrivals(""))
		r, err := there.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		require.Zero(t, r.Deliveries, "no new deliveries, and that at once")
		b.pass(time.Minute)
		require.Len(t, b.net.arrivals(""), stopped)

		url := "https://" + host(2) + "/"
		_, err = there.EditEndpoint(t.Context(), ep.ID, EndpointEdit{URL: &url})
		require.NoError(t, err)
		_, err = there.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		b.pass(5 * time.Second)
		require.Len(t, b.net.arrivals(host(1)), stopped)
		require.Len(t, b.net.arrivals(host(2)), 40, "pending deliveries follow the edit")
		require.Equal(t, 40, b.count(&here.Tenant, store.Delivered))

		require.NoError(t, there.DeleteEndpoint(t.Context(), ep.ID))
		r, err = here.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		require.Zero(t, r.Deliveries)
		require.NotContains(t, b.log.String(), "can't be sent to")
	})
}

// An endpoint that asked for a pause of an hour is enabled again by a person in
// another process: it does not wait for the hour.
func TestEnableElsewhereEndsAHold(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.start(b.mem, Options{HTTP: HTTPOptions{WrapTransport: retryAfterOnce(b.net)}})
		console := b.sender(b.mem, Options{})
		ep := b.endpoint(&s.Tenant, host(1))
		b.send(&s.Tenant, "a")
		b.pass(time.Second)
		b.send(&s.Tenant, "b")
		b.pass(time.Minute)
		require.Len(t, b.net.arrivals(""), 1, "the whole endpoint is held back")
		_, err := console.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		_, err = console.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		b.pass(2 * time.Second)
		require.Len(t, b.net.arrivals(""), 2)
	})
}

// An endpoint that another process disables or deletes between the claim of a
// delivery and the reading of the endpoint is not sent to.
func TestEndpointEndsWhileItIsClaimed(t *testing.T) {
	for _, end := range []func(*Sender, context.Context, string) error{
		func(s *Sender, ctx context.Context, id string) error {
			_, err := s.DisableEndpoint(ctx, id, "")
			return err
		},
		func(s *Sender, ctx context.Context, id string) error { return s.DeleteEndpoint(ctx, id) },
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			console := b.sender(b.mem, Options{})
			ep := b.endpoint(&console.Tenant, host(1))
			b.send(&console.Tenant, "a")
			loaded := 0
			b.start(&brokenStore{Store: b.mem, before: func(ctx context.Context, method string) error {
				if method != "LoadEndpoints" {
					return nil
				}
				loaded++
				return end(console, ctx, ep.ID)
			}}, Options{})
			b.pass(time.Minute)
			require.Equal(t, 1, loaded)
			require.Empty(t, b.net.arrivals(""))
			require.Empty(t, b.log.lines())
			d, attempts := b.delivery(&console.Tenant, "a")
			require.NotEqual(t, store.Delivered, d.State)
			if d.State == store.Pending { // a deletion may mark it before it is given back
				require.Zero(t, d.Attempts)
				require.Empty(t, attempts)
			}
		})
	}
}

// retryAfterOnce answers the first request with 429 and a pause of an hour.
func retryAfterOnce(n *fakeNet) func(http.RoundTripper) http.RoundTripper {
	return func(http.RoundTripper) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) {
			resp, err := n.RoundTrip(r)
			if len(n.arrivals("")) == 1 {
				resp.StatusCode = http.StatusTooManyRequests
				resp.Header.Set("Retry-After", "3600")
			}
			return resp, err
		})
	}
}
