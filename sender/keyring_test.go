package sender

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// changingRing is a Sealer whose keys come and go, like those of a key service.
type changingRing struct {
	mu sync.Mutex
	keyring.Sealer
}

func (r *changingRing) set(s keyring.Sealer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Sealer = s
}

func (r *changingRing) get() keyring.Sealer {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.Sealer
}

func (r *changingRing) Seal(dst, plain, associated []byte) (string, []byte, error) {
	return r.get().Seal(dst, plain, associated)
}

func (r *changingRing) Open(dst []byte, kid string, sealed, associated []byte) ([]byte, error) {
	return r.get().Open(dst, kid, sealed, associated)
}

func newRing(t *testing.T, id string) (*keyring.Ring, keyring.Key) {
	t.Helper()
	key, err := keyring.GenerateKey(id)
	require.NoError(t, err)
	ring, err := keyring.New(key)
	require.NoError(t, err)
	return ring, key
}

// A key is lost, or another key has its name: the endpoints sealed under it stop,
// the log says why, nothing is charged, the others go on. With the key back it all
// works again.
func TestLostKey(t *testing.T) {
	for name, lost := range map[string]string{"lost": "2027", "wrong": "2026"} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				right, key := newRing(t, "2026")
				other, otherKey := newRing(t, lost)
				ring := &changingRing{Sealer: right}
				admin := b.sender(b.mem, Options{Keyring: ring})
				_, secret, err := admin.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://" + host(1) + "/", EventTypes: []string{"*"}, NoTestEvent: true})
				require.NoError(t, err)
				ring.set(other)
				b.endpoint(&admin.Tenant, host(2))

				s := b.start(b.mem, Options{Keyring: ring})
				for range 20 {
					b.send(&s.Tenant, "")
				}
				b.pass(10 * time.Minute)
				require.Empty(t, b.net.arrivals(host(1)), "never unsigned, never wrongly signed")
				require.Len(t, b.net.arrivals(host(2)), 20)
				require.True(t, s.lanes.idle())
				list, err := s.Deliveries(t.Context(), store.DeliveryQuery{States: []store.State{store.Pending}})
				require.NoError(t, err)
				require.Len(t, list, 20)
				for _, d := range list {
					require.Zero(t, d.Failures)
					require.Zero(t, d.Attempts)
				}
				ep, err := endpointAt(t, b, host(1))
				require.NoError(t, err)
				require.Zero(t, ep.Failures)
				lines := b.log.lines()
				require.Contains(t, lines[0], "opening a secret of "+ep.ID)
				require.LessOrEqual(t, len(lines), 61)

				ring.set(right)
				b.pass(time.Minute)
				require.Len(t, b.net.arrivals(host(1)), 20)

				logged := b.log.String()
				require.NotContains(t, logged, strings.TrimPrefix(secret.Reveal(), "whsec_"))
				require.NotContains(t, logged, key.Reveal())
				require.NotContains(t, logged, otherKey.Reveal())
			})
		})
	}
}

// endpointAt returns the endpoint with a host, as it is stored.
func endpointAt(t *testing.T, b *bubble, name string) (store.Endpoint, error) {
	t.Helper()
	list, err := b.mem.ListEndpoints(t.Context(), store.Scope{Mode: store.Live}, store.EndpointQuery{})
	for _, ep := range list {
		if strings.Contains(ep.URL, name) {
			return ep, err
		}
	}
	return store.Endpoint{}, store.ErrNotFound
}

// A sealed secret copied onto another endpoint, tenant or mode does not open there.
func TestSealedSecretDoesNotMove(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		ring, _ := newRing(t, "2026")
		s := b.sender(b.mem, Options{Keyring: ring})
		from := b.endpoint(&s.Tenant, host(1))
		sealed, err := b.mem.Endpoint(t.Context(), from.Scope, from.ID)
		require.NoError(t, err)
		places := []*Tenant{&s.Tenant, s.For("acme", store.Live), s.For("", store.Test)}
		for i, tenant := range places {
			thief := b.endpoint(tenant, host(2+i))
			stored, err := b.mem.Endpoint(t.Context(), thief.Scope, thief.ID)
			require.NoError(t, err)
			stored.Secrets = sealed.Secrets
			_, err = b.mem.UpdateEndpoint(t.Context(), stored, store.ChangeParams{Action: store.Edited, Actor: "thief"})
			require.NoError(t, err)
		}
		require.NoError(t, s.Start(t.Context()))
		defer b.end(s)
		for _, tenant := range places {
			b.send(tenant, "")
		}
		b.pass(time.Minute)
		require.Len(t, b.net.arrivals(""), 1)
		require.Len(t, b.net.arrivals(host(1)), 1)
		require.Contains(t, b.log.String(), "opening a secret")
	})
}

// Nothing that can go wrong with an endpoint puts its secret, or a part of its URL
// that may be one, into a log line or an error.
func TestSecretsStayOutOfLogsAndErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		ring, key := newRing(t, "2026")
		var status atomic.Int64
		status.Store(500)
		b.net.answer = func(context.Context, string, string) (int, error) {
			if status.Load() == 0 {
				panic("transport")
			}
			return int(status.Load()), nil
		}
		s := b.start(b.mem, Options{Keyring: ring, Schedule: everySecond{}})
		const given = "a-secret-of-the-merchant-0123456789"
		parsed, err := signing.ParseSecret(given)
		require.NoError(t, err)
		_, _, err = s.CreateEndpoint(t.Context(), EndpointSpec{ // not what Standard takes
			URL: "https://bad.example/", EventTypes: []string{"*"}, Secret: parsed,
		})
		require.Error(t, err)
		require.NotContains(t, err.Error(), given)
		ep, secret, err := s.CreateEndpoint(t.Context(), EndpointSpec{
			URL: "https://h.example/hook?token=hidden-in-the-url", EventTypes: []string{"*"},
		})
		require.NoError(t, err)
		b.send(&s.Tenant, "a")
		for _, next := range []int64{0, 429, 503, 410} {
			b.pass(3 * time.Second)
			status.Store(next)
		}
		b.pass(2 * time.Second)
		history, err := s.EndpointHistory(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, store.WasDisabled, history[len(history)-1].Action)
		_, attempts := b.delivery(&s.Tenant, "a")
		require.Greater(t, len(attempts), 4)
		said := b.log.String()
		for _, a := range attempts {
			said += a.Error
		}
		for _, hidden := range []string{secret.Reveal(), strings.TrimPrefix(secret.Reveal(), "whsec_"), key.Reveal(), "hidden-in-the-url"} {
			require.NotContains(t, said, hidden)
		}
	})
}
