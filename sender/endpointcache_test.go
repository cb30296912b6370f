package sender

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// setStore is a store whose endpoint sets take a second to read, are as large as the
// test says, and are counted.
type setStore struct {
	store.Store
	takes time.Duration

	mu      sync.Mutex
	sizes   map[string]int // endpoints by tenant
	version map[string]int64
	reads   map[string]int
	err     error
	ended   atomic.Int32 // reads whose context has ended
}

func newSetStore(st store.Store) *setStore {
	return &setStore{Store: st, sizes: make(map[string]int), version: make(map[string]int64), reads: make(map[string]int)}
}

func (st *setStore) EndpointSet(ctx context.Context, scope store.Scope) (store.EndpointSet, error) {
	st.mu.Lock()
	st.reads[scope.Tenant]++
	set := store.EndpointSet{Version: st.version[scope.Tenant], Endpoints: make([]store.Endpoint, st.sizes[scope.Tenant])}
	err := st.err
	st.mu.Unlock()
	for i := range set.Endpoints {
		set.Endpoints[i] = store.Endpoint{Scope: scope, Num: int64(i + 1), Version: 1, Config: store.Config{State: store.Enabled, EventTypes: []string{"other"}}}
	}
	select {
	case <-time.After(st.takes):
		return set, err
	case <-ctx.Done():
		st.ended.Add(1)
		return store.EndpointSet{}, ctx.Err()
	}
}

// Enqueue calls stale what was matched on another version.
func (st *setStore) Enqueue(_ context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	list := make([]store.Enqueued, len(p.Events))
	for i, e := range p.Events {
		list[i].Status = store.Stored
		if e.SetVersion != st.version[e.Tenant] {
			list[i].Status = store.Stale
		}
	}
	return list, nil
}

func (st *setStore) change(tenant string, size int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.sizes[tenant] = size
	st.version[tenant]++
}

// count returns how often a tenant's set was read since the last count.
func (st *setStore) count(tenant string) int {
	st.mu.Lock()
	defer st.mu.Unlock()
	n := st.reads[tenant]
	st.reads[tenant] = 0
	return n
}

func scopeOf(tenant string) store.Scope { return store.Scope{Tenant: tenant, Mode: store.Live} }

// One endpoint of 10,000 is edited elsewhere while 200 callers send: the set is read
// once, not by each of them, and other tenants' sets stay.
func TestOneReadServesAllWhoWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := newSetStore(b.mem)
		st.takes = time.Second
		st.change("big", 10_000)
		st.change("small", 3)
		s := b.sender(st, Options{})
		send := func(tenant string, callers int) {
			var wg sync.WaitGroup
			for range callers {
				wg.Go(func() { b.send(s.For(tenant, store.Live), "") })
			}
			wg.Wait()
		}
		send("small", 1)
		var before, after runtime.MemStats
		for change := range 3 {
			runtime.GC()
			runtime.ReadMemStats(&before)
			send("big", 200)
			runtime.ReadMemStats(&after)
			require.Equal(t, 1, st.count("big"), "change %d", change)
			require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(40<<20), "200 sets have 1 GB")
			st.change("big", 10_000)
		}
		send("small", 10)
		require.Equal(t, 1, st.count("small"))
	})
}

// The 30 s of a Send count on while its endpoints are read again.
func TestTimeCountsWhileEndpointsAreRead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := newSetStore(b.mem)
		st.takes = 25 * time.Second
		s := b.sender(st, Options{})
		st.change("a", 1)
		go func() {
			time.Sleep(20 * time.Second)
			st.change("a", 2) // after the read, before the commit
		}()
		start := time.Now()
		_, err := s.For("a", store.Live).Send(t.Context(), Event{Type: "a.b"})
		require.ErrorIs(t, err, store.ErrBusy)
		require.NotErrorIs(t, err, ErrOutcomeUnknown)
		require.Equal(t, commitTimeout, time.Since(start))
		require.Equal(t, 2, st.count("a"))
		synctest.Wait()
	})
}

// Who waits for a read leaves with its own context; the last one takes the read along.
func TestLeavingAReadOfASet(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := newSetStore(b.mem)
		st.takes = time.Minute // longer than the bound
		s := b.sender(st, Options{})
		get := func(d time.Duration) (took time.Duration, err error) {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			start := time.Now()
			_, err = s.cache.set(ctx, scopeOf("a"), time.Now().Add(time.Hour))
			return time.Since(start), err
		}
		var wg sync.WaitGroup
		for i := 1; i <= 3; i++ {
			wg.Go(func() {
				took, err := get(time.Duration(i) * time.Second)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Equal(t, time.Duration(i)*time.Second, took)
			})
		}
		b.pass(2500 * time.Millisecond)
		require.Zero(t, st.ended.Load(), "one waits still")
		wg.Wait()
		synctest.Wait()
		require.EqualValues(t, 1, st.ended.Load())
		require.Equal(t, 1, st.count("a"))

		wg.Go(func() {
			_, err := get(time.Hour)
			require.ErrorIs(t, err, store.ErrBusy)
		})
		b.pass(20 * time.Second)
		took, err := get(time.Hour)
		require.ErrorIs(t, err, store.ErrBusy, "the read's bound is everybody's")
		require.Equal(t, 10*time.Second, took)
		wg.Wait()

		st.takes, st.err = time.Second, errAway
		_, err = get(time.Hour)
		require.ErrorIs(t, err, errAway)
		require.Equal(t, 2, st.count("a"))
		st.err = nil
		_, err = get(time.Hour)
		require.NoError(t, err, "an error is not kept")
		require.Equal(t, 1, st.count("a"))
	})
}

// A read that began before a change made here serves those who waited before, and
// nobody after.
func TestChangeDuringARead(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := newSetStore(b.mem)
		st.takes = time.Second
		st.change("a", 1)
		s := b.sender(st, Options{})
		versions := make([]int64, 3)
		var wg sync.WaitGroup
		for i := range versions {
			wg.Go(func() {
				set, err := s.cache.set(t.Context(), scopeOf("a"), time.Now().Add(time.Hour))
				require.NoError(t, err)
				versions[i] = set.version
			})
			b.pass(300 * time.Millisecond)
			if i == 1 {
				st.change("a", 2)
				s.cache.changed(&store.Endpoint{Scope: scopeOf("a"), Num: 1, Version: 2})
			}
		}
		wg.Wait()
		require.Equal(t, []int64{1, 1, 2}, versions)
		set, err := s.cache.set(t.Context(), scopeOf("a"), time.Now().Add(time.Hour))
		require.NoError(t, err)
		require.EqualValues(t, 2, set.version, "the older read, which ended first, is not kept")
		require.Equal(t, 2, st.count("a"))
	})
}

// Scopes are forgotten one by one, the one not used for longest first, and a huge one
// takes nobody's place.
func TestCacheForgetsByScope(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := newSetStore(b.mem)
		s := b.sender(st, Options{})
		s.cache.max = 100
		use := func(tenant string) (read bool) {
			set, err := s.cache.set(t.Context(), scopeOf(tenant), time.Now().Add(time.Hour))
			require.NoError(t, err)
			require.Len(t, set.members, st.sizes[tenant])
			return st.count(tenant) > 0
		}
		kept := func() []string {
			s.cache.mu.Lock()
			defer s.cache.mu.Unlock()
			size, large := 0, 0
			var names []string
			for scope, e := range s.cache.scopes {
				names = append(names, scope.Tenant)
				if e == s.cache.large {
					large = e.size()
				} else {
					size += e.size()
				}
			}
			require.Equal(t, size, s.cache.size, "with a large one of %d besides", large)
			require.LessOrEqual(t, size, s.cache.max)
			require.Equal(t, len(s.cache.scopes), s.cache.byUse.Len())
			return slices.Sorted(slices.Values(names))
		}
		for _, tenant := range []string{"a", "b", "c", "d"} { // 30 with themselves
			st.change(tenant, 29)
			require.True(t, use(tenant))
			if tenant != "d" {
				require.False(t, use("a"))
			}
		}
		require.Equal(t, []string{"a", "c", "d"}, kept())
		require.True(t, use("b"))
		require.Equal(t, []string{"a", "b", "d"}, kept(), "c was used before a")

		st.change("huge", 1000)
		require.True(t, use("huge"))
		require.False(t, use("huge"))
		require.Equal(t, []string{"a", "b", "d", "huge"}, kept())
		st.change("vast", 2000)
		require.True(t, use("vast"))
		require.False(t, use("vast"))
		require.Equal(t, []string{"a", "b", "d", "vast"}, kept(), "one large one at a time")
		st.change("vast", 20)
		s.cache.forget(scopeOf("vast"))
		require.True(t, use("vast"))
		require.Equal(t, []string{"b", "d", "vast"}, kept(), "it has shrunk, and counts again")
		for i := range 1000 { // scopes without endpoints count too
			use(fmt.Sprint("t", i))
			kept()
		}
		require.Len(t, kept(), 100)
	})
}

// An endpoint that can't be opened is read again by its key, and the set is not.
func TestResealedEndpointsAreReadByKey(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		oldKey, freshKey := newKey(t, "2026"), newKey(t, "2027")
		ring := &changingRing{Sealer: keysOf(t, oldKey)}
		calls := make(map[string]int)
		var mu sync.Mutex
		st := &brokenStore{Store: b.mem, before: func(_ context.Context, method string) error {
			mu.Lock()
			calls[method]++
			mu.Unlock()
			return nil
		}}
		s := b.start(st, Options{Keyring: ring})
		for i := range 5 {
			b.endpoint(&s.Tenant, host(i))
		}
		_, err := s.cache.set(t.Context(), s.Scope(), time.Now().Add(time.Hour))
		require.NoError(t, err)
		other := b.start(b.mem, Options{Keyring: keysOf(t, freshKey, oldKey)})
		b.pass(time.Second)
		b.end(other)
		ring.set(keysOf(t, freshKey))
		before := maps.Clone(calls)
		for range 3 {
			b.send(&s.Tenant, "")
			b.pass(time.Minute)
		}
		b.requireOnce(3, 5)
		require.Equal(t, before["EndpointSet"], calls["EndpointSet"], "reads of the set")
		require.LessOrEqual(t, calls["LoadEndpoints"]-before["LoadEndpoints"], 5)
	})
}
