package sender

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

// keysOf makes a ring of keys, newest first.
func keysOf(t *testing.T, keys ...keyring.Key) *keyring.Ring {
	t.Helper()
	ring, err := keyring.New(keys...)
	require.NoError(t, err)
	return ring
}

func newKey(t *testing.T, id string) keyring.Key {
	t.Helper()
	key, err := keyring.GenerateKey(id)
	require.NoError(t, err)
	return key
}

// fill registers endpoints of several tenants, each with a header.
func (b *bubble) fill(s *Sender, n int) (eps []store.Endpoint) {
	b.t.Helper()
	for i := range n {
		mode := store.Live
		if i%2 == 1 {
			mode = store.Test
		}
		ep, _, err := s.For(fmt.Sprint("tenant", i%3), mode).CreateEndpoint(b.t.Context(), EndpointSpec{
			URL: "https://" + host(i) + "/", EventTypes: []string{"*"}, NoTestEvent: true, Headers: Headers{"Authorization": Value("Bearer of " + host(i))},
		})
		require.NoError(b.t, err)
		eps = append(eps, ep)
	}
	return eps
}

// sendAll sends an event to each of them and requires that it arrives complete.
func (b *bubble) sendAll(s *Sender, eps []store.Endpoint) {
	b.t.Helper()
	for i, ep := range eps {
		before := len(b.net.arrivals(host(i)))
		_, err := s.For(ep.Tenant, ep.Mode).Send(b.t.Context(), Event{Type: "a.b"})
		require.NoError(b.t, err)
		b.pass(2 * time.Second)
		got := b.net.arrivals(host(i))
		require.Greater(b.t, len(got), before, ep.ID)
		require.Equal(b.t, "Bearer of "+host(i), got[len(got)-1].header.Get("Authorization"))
	}
}

// askedStore counts what is asked for endpoints.
type askedStore struct {
	store.Store
	calls, endpoints atomic.Int64
}

func (s *askedStore) SealedEndpoints(ctx context.Context, after int64, limit int) ([]store.Endpoint, error) {
	page, err := s.Store.SealedEndpoints(ctx, after, limit)
	s.calls.Add(1)
	s.endpoints.Add(int64(len(page)))
	return page, err
}

// A keyring that opens nothing is an error line soon after Start and with every round of
// resealing, though Start does not wait for it and nothing is read whole. One that opens
// something says nothing of the kind.
func TestKeyringThatOpensNothing(t *testing.T) {
	const line = "level=ERROR msg=\"hookpost: the keyring opens no endpoint that was looked at; nothing can be sent to them\""
	a, b2, sameName := newKey(t, "a"), newKey(t, "b"), newKey(t, "a")
	for name, tc := range map[string]struct {
		stored []keyring.Sealer // each for some endpoints
		ring   keyring.Sealer
		want   string // of the line; empty: there is none
	}{
		"nothing stored":     {nil, keysOf(t, a), ""},
		"right":              {[]keyring.Sealer{keysOf(t, a)}, keysOf(t, a), ""},
		"older key":          {[]keyring.Sealer{keysOf(t, a)}, keysOf(t, b2, a), ""},
		"lost key":           {[]keyring.Sealer{keysOf(t, a)}, keysOf(t, b2), `sealed_under=[a] error="keyring: unknown key: `},
		"other key, same id": {[]keyring.Sealer{keysOf(t, a)}, keysOf(t, sameName), `sealed_under=[a] error="keyring: cannot open sealed value: `},
		"two lost keys":      {[]keyring.Sealer{keysOf(t, a), keysOf(t, b2)}, keysOf(t, newKey(t, "c")), "sealed_under=\"[a b]\""},
		"plaintext":          {[]keyring.Sealer{keyring.Plaintext}, keysOf(t, a), "sealed_under=[plaintext]"},
		"sealed, now plain":  {[]keyring.Sealer{keysOf(t, a)}, keyring.Plaintext, "sealed_under=[a]"},
		"new ones open":      {[]keyring.Sealer{keysOf(t, a), keysOf(t, b2)}, keysOf(t, b2), ""},
		"old ones open":      {[]keyring.Sealer{keysOf(t, a), keysOf(t, b2)}, keysOf(t, a), ""},
		"service away":       {[]keyring.Sealer{keysOf(t, a)}, awayRing{}, ""},
		"service panics":     {[]keyring.Sealer{keysOf(t, a)}, panicRing{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				const each = 200
				ring := &changingRing{}
				admin := b.sender(b.mem, Options{Keyring: ring})
				for i, sealer := range tc.stored {
					ring.set(sealer)
					for j := range each {
						b.endpoint(&admin.Tenant, host(i*each+j))
					}
				}
				st := &askedStore{Store: b.mem}
				s := b.sender(st, Options{Keyring: tc.ring})
				s.checkKeyring(t.Context())
				require.LessOrEqual(t, st.calls.Load(), int64(10))
				require.LessOrEqual(t, st.endpoints.Load(), int64(40))
				if tc.want == "" {
					require.NotContains(t, b.log.String(), line)
					require.LessOrEqual(t, len(tc.stored)*int(st.calls.Load()), 20)
					return
				}
				require.Contains(t, b.log.String(), line)
				require.Contains(t, b.log.String(), tc.want)
				require.NotContains(t, b.log.String(), a.Reveal())

				before := strings.Count(b.log.String(), line)
				b.run(s)
				b.pass(time.Millisecond)
				require.Equal(t, before+1, strings.Count(b.log.String(), line), "after Start")
				b.pass(3 * time.Hour)
				require.GreaterOrEqual(t, strings.Count(b.log.String(), line), before+3, "with resealing")
			})
		})
	}
}

type awayRing struct{ keyring.Sealer }

func (awayRing) Seal(_, _, _ []byte) (string, []byte, error) { return "", nil, errAway }

func (awayRing) Open([]byte, string, []byte, []byte) ([]byte, error) { return nil, errAway }

type panicRing struct{ awayRing }

func (panicRing) Open([]byte, string, []byte, []byte) ([]byte, error) { panic("a key") }

// The change to a new key from first to last: while it goes on and after it, with
// the old key dropped, everything is sent.
func TestReseal(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
		const n = 2*resealStep + 10
		first := b.start(b.mem, Options{Keyring: keysOf(t, oldKey)})
		eps := b.fill(first, n)
		require.NoError(t, first.For(eps[5].Tenant, eps[5].Mode).DeleteEndpoint(t.Context(), eps[5].ID))
		_, err := first.For(eps[7].Tenant, eps[7].Mode).DisableEndpoint(t.Context(), eps[7].ID, "")
		require.NoError(t, err)
		under, err := first.SealedUnder(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{"2026": 2 * (n - 1)}, under)
		before, err := b.mem.SealedEndpoints(t.Context(), 0, n)
		require.NoError(t, err)
		b.end(first)

		both := b.start(b.mem, Options{Keyring: keysOf(t, freshKey, oldKey)})
		b.pass(time.Second)
		under, err = both.SealedUnder(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{"2027": 2 * (n - 1)}, under)
		after, err := b.mem.SealedEndpoints(t.Context(), 0, n)
		require.NoError(t, err)
		for i := range after {
			require.NotEqual(t, before[i].Sealed, after[i].Sealed)
			after[i].Sealed = before[i].Sealed
		}
		require.Equal(t, before, after, "nothing else has changed")
		b.end(both)

		last := b.start(b.mem, Options{Keyring: keysOf(t, freshKey)})
		b.sendAll(last, eps[:3])
		require.Empty(t, b.log.warnings())
	})
}

// What a process with the old keyring seals after the change is found by the next
// pass.
func TestResealLateComers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
		s := b.start(b.mem, Options{Keyring: keysOf(t, freshKey, oldKey)})
		b.pass(time.Minute)
		b.fill(b.sender(b.mem, Options{Keyring: keysOf(t, oldKey)}), 3)
		b.pass(resealEvery)
		under, err := s.SealedUnder(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{"2027": 6}, under)
	})
}

// Two processes at once, and edits beside them, lose nothing.
func TestResealInParallel(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
		eps := b.fill(b.sender(b.mem, Options{Keyring: keysOf(t, oldKey)}), resealStep+20)
		both := Options{Keyring: keysOf(t, freshKey, oldKey)}
		a, c := b.start(b.mem, both), b.start(b.mem, both)
		for i := range eps {
			text := fmt.Sprint(i)
			_, err := a.For(eps[i].Tenant, eps[i].Mode).EditEndpoint(t.Context(), eps[i].ID, EndpointEdit{Description: &text})
			require.NoError(t, err)
		}
		b.pass(time.Second)
		under, err := c.SealedUnder(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{"2027": 2 * len(eps)}, under)
		b.end(a)
		b.end(c)
		b.sendAll(b.start(b.mem, Options{Keyring: keysOf(t, freshKey)}), eps[:2])
	})
}

// A value that can't be opened stays as it is; the others are sealed anew.
func TestResealWithALostKey(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		lostKey, oldKey, freshKey := newKey(t, "2025"), newKey(t, "2026"), newKey(t, "2027")
		ring := &changingRing{Sealer: keysOf(t, lostKey)}
		admin := b.sender(b.mem, Options{Keyring: ring})
		lost := b.fill(admin, 1)[0]
		ring.set(keysOf(t, oldKey))
		_, _, err := admin.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://shop.example", EventTypes: []string{"*"}, NoTestEvent: true})
		require.NoError(t, err)
		before, err := b.mem.Endpoint(t.Context(), lost.Scope, lost.ID)
		require.NoError(t, err)

		s := b.start(b.mem, Options{Keyring: keysOf(t, freshKey, oldKey)})
		b.pass(time.Minute)
		under, err := s.SealedUnder(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{"2025": 2, "2027": 1}, under)
		after, err := b.mem.Endpoint(t.Context(), lost.Scope, lost.ID)
		require.NoError(t, err)
		require.Equal(t, before, after)
		require.Contains(t, b.log.String(), `sealed under key \"2025\"`)
		require.Contains(t, b.log.String(), lost.ID)
	})
}

// From plaintext to a keyring it is the same.
func TestResealPlaintext(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		eps := b.fill(b.sender(b.mem, Options{PlaintextSecrets: true}), 2)
		ring := keysOf(t, newKey(t, "2027"))
		both := b.start(b.mem, Options{Keyring: keyring.Migrate(ring, keyring.Plaintext)})
		b.pass(time.Second)
		b.end(both)
		s := b.start(b.mem, Options{Keyring: ring})
		under, err := s.SealedUnder(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{"2027": 4}, under)
		b.sendAll(s, eps)
	})
}

// pickyRing can't cope with what belongs to one endpoint, and does not say so as it
// should.
type pickyRing struct {
	keyring.Sealer
	endpoint string
}

func (r *pickyRing) Open(dst []byte, kid string, sealed, associated []byte) ([]byte, error) {
	if bytes.Contains(associated, []byte(r.endpoint)) {
		return nil, errService
	}
	return r.Sealer.Open(dst, kid, sealed, associated)
}

// One value that the keyring can't cope with does not keep the others from being
// sealed anew.
func TestResealPastABadValue(t *testing.T) {
	for _, bad := range []int{0, 1, 4} {
		inBubble(t, func(t *testing.T, b *bubble) {
			oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
			eps := b.fill(b.sender(b.mem, Options{Keyring: keysOf(t, oldKey)}), 5)
			s := b.start(b.mem, Options{Keyring: &pickyRing{keysOf(t, freshKey, oldKey), eps[bad].ID}})
			b.pass(time.Second)
			under, err := s.SealedUnder(t.Context())
			require.NoError(t, err)
			require.Equal(t, map[string]int{"2026": 2, "2027": 8}, under)
		})
	}
}

// serviceRing is a keyring that asks a service, which may be away.
type serviceRing struct {
	keyring.Sealer
	away, panics atomic.Bool
	opens        atomic.Int64
}

var errService = errors.New("kms: unavailable")

func (r *serviceRing) call() error {
	if r.panics.Load() {
		panic("the key is 0xdeadbeef")
	}
	if r.away.Load() {
		return errService
	}
	return nil
}

func (r *serviceRing) Seal(dst, plain, associated []byte) (string, []byte, error) {
	if err := r.call(); err != nil {
		return "", nil, err
	}
	return r.Sealer.Seal(dst, plain, associated)
}

func (r *serviceRing) Open(dst []byte, kid string, sealed, associated []byte) ([]byte, error) {
	r.opens.Add(1)
	if err := r.call(); err != nil {
		return nil, err
	}
	return r.Sealer.Open(dst, kid, sealed, associated)
}

// While a key service is away, or its client panics, endpoints that were sent to
// before go on, through the end of an overlap as well; the others wait, and nothing
// is charged. Sealing anew goes on where it was.
func TestKeyServiceAway(t *testing.T) {
	for _, how := range []string{"away", "panics"} {
		t.Run(how, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
				ring := &serviceRing{Sealer: keysOf(t, oldKey)}
				s := b.start(b.mem, Options{Keyring: ring})
				known := b.endpoint(&s.Tenant, host(1))
				_, _, err := s.RotateSecret(t.Context(), known.ID, &Rotation{Overlap: time.Hour})
				require.NoError(t, err)
				b.send(&s.Tenant, "first")
				b.pass(time.Second)
				require.Len(t, b.net.arrivals(host(1)), 1)
				unknown := b.endpoint(&s.Tenant, host(2))

				ring.away.Store(how == "away")
				ring.panics.Store(how == "panics")
				b.send(&s.Tenant, "second")
				b.pass(2 * time.Hour)
				b.send(&s.Tenant, "third")
				b.pass(time.Minute)
				require.Len(t, b.net.arrivals(host(1)), 3)
				require.Empty(t, b.net.arrivals(host(2)))
				list, err := s.Deliveries(t.Context(), store.DeliveryQuery{EndpointID: unknown.ID})
				require.NoError(t, err)
				require.Len(t, list, 2)
				for _, d := range list {
					require.Equal(t, store.Pending, d.State)
					require.Zero(t, d.Attempts)
				}
				opens := ring.opens.Load()
				b.pass(10 * time.Minute)
				require.LessOrEqual(t, ring.opens.Load()-opens, int64(40), "it is not asked all the time")
				require.NotContains(t, b.log.String(), "deadbeef")

				ring.away.Store(false)
				ring.panics.Store(false)
				b.pass(time.Minute)
				require.Len(t, b.net.arrivals(host(2)), 2)
				b.end(s)

				// The same for sealing anew.
				ring = &serviceRing{Sealer: keysOf(t, freshKey, oldKey)}
				ring.away.Store(how == "away")
				ring.panics.Store(how == "panics")
				s = b.start(b.mem, Options{Keyring: ring})
				b.pass(time.Minute)
				under, err := s.SealedUnder(t.Context())
				require.NoError(t, err)
				require.Equal(t, map[string]int{"2026": 2}, under)
				ring.away.Store(false)
				ring.panics.Store(false)
				b.pass(2 * resealPause)
				under, err = s.SealedUnder(t.Context())
				require.NoError(t, err)
				require.Equal(t, map[string]int{"2027": 2}, under)
			})
		})
	}
}

// An endpoint that a process knew before it was sealed anew, but never sent to, is
// read again when its old ciphertext can't be opened any more.
func TestResealedElsewhere(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
		ring := &changingRing{Sealer: keysOf(t, oldKey)}
		s := b.start(b.mem, Options{Keyring: ring})
		eps := b.fill(s, 1)
		tenant := s.For(eps[0].Tenant, eps[0].Mode)
		_, err := tenant.DisableEndpoint(t.Context(), eps[0].ID, "")
		require.NoError(t, err)
		_, err = tenant.EnableEndpoint(t.Context(), eps[0].ID)
		require.NoError(t, err)
		_, err = s.cache.set(t.Context(), eps[0].Scope, time.Now().Add(time.Hour)) // as matching another event would
		require.NoError(t, err)

		other := b.start(b.mem, Options{Keyring: keysOf(t, freshKey, oldKey)})
		b.pass(time.Second)
		b.end(other)
		ring.set(keysOf(t, freshKey))
		_, err = tenant.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		b.pass(time.Minute)
		require.Len(t, b.net.arrivals(host(0)), 1)
	})
}

// A store that fails is tried again from where the pass had come to.
func TestResealStoreTrouble(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
		b.fill(b.sender(b.mem, Options{Keyring: keysOf(t, oldKey)}), 3)
		st := &failingReseal{Store: b.mem}
		st.fail.Store(true)
		s := b.start(st, Options{Keyring: keysOf(t, freshKey, oldKey)})
		b.pass(time.Second)
		require.Contains(t, b.log.String(), errAway.Error())
		st.fail.Store(false)
		b.pass(resealPause)
		under, err := s.SealedUnder(t.Context())
		require.NoError(t, err)
		require.Equal(t, map[string]int{"2027": 6}, under)
	})
}

type failingReseal struct {
	store.Store
	fail atomic.Bool
}

func (s *failingReseal) Reseal(ctx context.Context, list []store.Resealed) (int, error) {
	if s.fail.Load() {
		return 0, errAway
	}
	return s.Store.Reseal(ctx, list)
}
