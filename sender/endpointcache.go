package sender

import (
	"cmp"
	"container/list"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// maxCached bounds the endpoints and scopes kept in memory; beyond it the scopes are
// forgotten that were used least recently. One scope of more than half as many endpoints
// is kept besides, the last one used: it would take the place of all others.
const maxCached = 50_000

// endpointCache remembers the endpoint sets that events are matched on and the
// endpoints that attempts go to. Nothing here is trusted for long: the store
// compares the set's version when an event is stored, and a claim names the
// endpoint's version.
type endpointCache struct {
	cfg *config
	st  store.Store
	max int

	mu     sync.Mutex
	scopes map[store.Scope]*cachedScope
	byUse  *list.List   // of *cachedScope, the last used first
	size   int          // scopes and endpoints, but for those of large
	large  *cachedScope // nil: there is none
}

// cachedScope is what is known about a scope.
type cachedScope struct {
	scope store.Scope
	set   *endpointSet // nil: to be read
	read  *setRead     // that newcomers can wait for; nil: none
	live  map[int64]*liveEndpoint
	use   *list.Element
}

// setRead is one read of an endpoint set for all who wait for it.
type setRead struct {
	cancel  context.CancelFunc
	waiting int           // endpointCache.mu is held
	done    chan struct{} // closed when set or err is there
	set     *endpointSet
	err     error
}

// endpointSet is a scope's enabled endpoints, ready for matching.
type endpointSet struct {
	version int64
	members []setMember
}

type setMember struct {
	wants    selection
	endpoint *liveEndpoint
}

// liveEndpoint is one version of an endpoint, ready to be sent to. What is sealed
// is opened at the first attempt and then kept: neither a key service that is away
// nor the end of a secret's overlap stops an endpoint that was sent to before.
type liveEndpoint struct {
	store.Endpoint
	off  atomic.Bool // disabled or deleted since it was read
	lost atomic.Bool // its sealed values could not be opened: to be read again

	mu       sync.Mutex
	opened   *opened // its sealed values
	dest     *destination
	schedule retry.Schedule
	until    time.Time // when a secret expires and dest is to be made again; zero: never
}

func newEndpointCache(cfg *config, st store.Store) *endpointCache {
	return &endpointCache{cfg: cfg, st: st, max: maxCached, scopes: make(map[store.Scope]*cachedScope), byUse: list.New()}
}

// known returns what is known about a scope, nil if nothing is, and notes that it was
// used. c.mu is held.
func (c *endpointCache) known(scope store.Scope) *cachedScope {
	e := c.scopes[scope]
	if e != nil {
		c.byUse.MoveToFront(e.use)
	}
	return e
}

// of returns what is known about a scope, and makes room for it. c.mu is held.
func (c *endpointCache) of(scope store.Scope) *cachedScope {
	e := c.known(scope)
	if e == nil {
		e = &cachedScope{scope: scope, live: make(map[int64]*liveEndpoint)}
		e.use = c.byUse.PushFront(e)
		c.scopes[scope] = e
		c.size += e.size()
		c.bound(e)
	}
	return e
}

func (e *cachedScope) size() int { return 1 + len(e.live) }

// remember keeps endpoints of a scope, whose others stay. c.mu is held.
func (c *endpointCache) remember(e *cachedScope, live ...*liveEndpoint) {
	c.size -= c.counted(e)
	for _, le := range live {
		e.live[le.Num] = le
	}
	c.resized(e)
}

// counted is the part of c.size that is e's. c.mu is held.
func (c *endpointCache) counted(e *cachedScope) int {
	if e == c.large {
		return 0
	}
	return e.size()
}

// resized counts e again, and forgets others if there are too many. c.mu is held.
func (c *endpointCache) resized(e *cachedScope) {
	switch isLarge := 2*e.size() > c.max; {
	case isLarge && c.large != e:
		if c.large != nil {
			c.drop(c.large)
		}
		c.large = e
	case !isLarge && c.large == e:
		c.large = nil
	}
	c.size += c.counted(e)
	c.bound(e)
}

// bound forgets scopes until the others, keep among them, are few enough. c.mu is held.
func (c *endpointCache) bound(keep *cachedScope) {
	for el := c.byUse.Back(); el != nil && c.size > c.max; {
		e, before := el.Value.(*cachedScope), el.Prev()
		if e != keep && e != c.large {
			c.drop(e)
		}
		el = before
	}
}

// drop forgets a scope. Those who wait for its set still get it. c.mu is held.
func (c *endpointCache) drop(e *cachedScope) {
	c.size -= c.counted(e)
	if c.large == e {
		c.large = nil
	}
	delete(c.scopes, e.scope)
	c.byUse.Remove(e.use)
	e.read = nil
}

// set returns the scope's set, from memory if it is there. Else one read serves all who
// come before it has ended, and ends when nobody waits for it any more. A caller waits
// until the given time at most.
func (c *endpointCache) set(ctx context.Context, scope store.Scope, until time.Time) (*endpointSet, error) {
	c.mu.Lock()
	e := c.of(scope)
	if set := e.set; set != nil {
		c.mu.Unlock()
		return set, nil
	}
	r := e.read
	if r == nil {
		within, cancel := context.WithCancel(context.Background()) // boundedStore ends it after 30 s
		r = &setRead{cancel: cancel, done: make(chan struct{})}
		e.read = r
		go c.readSet(within, e, r)
	}
	r.waiting++
	c.mu.Unlock()
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	select {
	case <-r.done:
		return r.set, r.err
	case <-ctx.Done():
	case <-timer.C:
	}
	c.mu.Lock()
	if r.waiting--; r.waiting == 0 {
		r.cancel()
		if e.read == r {
			e.read = nil
		}
	}
	c.mu.Unlock()
	return nil, cmp.Or(ctx.Err(), errNoAnswer)
}

// readSet reads a scope's set for those who wait for it. It is remembered unless the
// endpoints were changed here meanwhile.
func (c *endpointCache) readSet(ctx context.Context, e *cachedScope, r *setRead) {
	defer close(r.done)
	defer r.cancel()
	read, err := c.st.EndpointSet(ctx, e.scope)
	if err == nil {
		r.set = c.compile(e.scope, read)
	}
	r.err = err
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.read != r {
		return
	}
	e.read = nil
	if err != nil {
		if e.set == nil && len(e.live) == 0 {
			c.drop(e)
		}
		return
	}
	e.set = r.set
	// Endpoints that are not in the set any more are not needed, nor are older versions.
	c.size -= c.counted(e)
	before := e.live
	e.live = make(map[int64]*liveEndpoint, len(r.set.members))
	for _, m := range r.set.members {
		le := m.endpoint
		if newer := before[le.Num]; newer != nil && newer.Version > le.Version {
			le = newer
		}
		e.live[le.Num] = le
	}
	c.resized(e)
}

// compile makes a set ready for matching, reusing what is known already.
func (c *endpointCache) compile(scope store.Scope, read store.EndpointSet) *endpointSet {
	set := &endpointSet{version: read.Version, members: make([]setMember, len(read.Endpoints))}
	for i := range read.Endpoints {
		set.members[i].wants = newSelection(read.Endpoints[i].EventTypes)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.known(scope)
	for i := range read.Endpoints {
		ep := &read.Endpoints[i]
		if e != nil {
			if le := e.live[ep.Num]; le != nil && le.Version == ep.Version {
				set.members[i].endpoint = le
				continue
			}
		}
		set.members[i].endpoint = &liveEndpoint{Endpoint: *ep}
	}
	return set
}

// forget drops a scope's set after a change here: it counts at once, not only when the
// store finds the old version stale. A read under way may not have seen it, and serves
// only those who wait for it already.
func (c *endpointCache) forget(scope store.Scope) {
	c.mu.Lock()
	if e := c.scopes[scope]; e != nil {
		e.set, e.read = nil, nil
	}
	c.mu.Unlock()
}

// forgetStale drops a scope's set if it is still the given version.
func (c *endpointCache) forgetStale(scope store.Scope, version int64) {
	c.mu.Lock()
	if e := c.scopes[scope]; e != nil && e.set != nil && e.set.version == version {
		e.set = nil
	}
	c.mu.Unlock()
}

// endpoints returns the endpoints that claims are for, loading those that are not
// in memory in the version that the claim names. One that is newer than the claim
// says is just as good: pending deliveries follow an edit. Missing ones are left
// out.
func (c *endpointCache) endpoints(ctx context.Context, claims []store.Claimed) (map[int64]*liveEndpoint, error) {
	found := make(map[int64]*liveEndpoint, 16)
	var missing []store.EndpointKey
	c.mu.Lock()
	for i := range claims {
		num := claims[i].ID.Endpoint
		if _, seen := found[num]; seen {
			continue
		}
		var le *liveEndpoint
		if e := c.known(claims[i].Scope); e != nil {
			le = e.live[num]
		}
		if le != nil && le.Version < claims[i].EndpointVersion {
			le = nil
		}
		found[num] = le
		if le == nil {
			missing = append(missing, store.EndpointKey{Scope: claims[i].Scope, Num: num})
		}
	}
	c.mu.Unlock()
	if len(missing) == 0 {
		return found, nil
	}
	loaded, err := c.st.LoadEndpoints(ctx, missing)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range loaded {
		le := &liveEndpoint{Endpoint: loaded[i]}
		le.off.Store(le.State != store.Enabled) // since the claim
		c.remember(c.of(le.Scope), le)
		found[le.Num] = le
	}
	return found, nil
}

// live returns the live form of an endpoint, nil if none is known. c.mu is held.
func (c *endpointCache) live(scope store.Scope, num int64) *liveEndpoint {
	if e := c.scopes[scope]; e != nil {
		return e.live[num]
	}
	return nil
}

// current returns the live form of an endpoint that was just read, unless what is
// known here is newer.
func (c *endpointCache) current(ep *store.Endpoint) *liveEndpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	if le := c.live(ep.Scope, ep.Num); le != nil && le.Version <= ep.Version {
		return le
	}
	return &liveEndpoint{Endpoint: *ep}
}

// changed takes note of a change made here.
func (c *endpointCache) changed(ep *store.Endpoint) {
	c.forget(ep.Scope)
	c.mu.Lock()
	defer c.mu.Unlock()
	if le := c.live(ep.Scope, ep.Num); le != nil && le.Version < ep.Version {
		le.off.Store(ep.State != store.Enabled)
		c.unlearn(le)
	}
}

// unlearn drops an endpoint: the next claim reads it by its key. c.mu is held.
func (c *endpointCache) unlearn(le *liveEndpoint) {
	e := c.scopes[le.Scope]
	if e != nil && e.live[le.Num] == le {
		c.size -= c.counted(e)
		delete(e.live, le.Num)
		c.size += c.counted(e)
	}
}

// lose drops an endpoint whose sealed values can't be opened. They may have been
// sealed anew since it was read, which changes no version.
func (c *endpointCache) lose(le *liveEndpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	le.lost.Store(true)
	c.unlearn(le)
}

// usable returns a set's endpoint as it can be sent to: one whose sealed values could not
// be opened as it was read since, nil if it was not.
func (c *endpointCache) usable(le *liveEndpoint) *liveEndpoint {
	if !le.lost.Load() {
		return le
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if again := c.live(le.Scope, le.Num); again != nil && again.Version >= le.Version {
		return again
	}
	return nil
}

// destination returns where, how and on what schedule to send, opening the secrets
// if need be. If the error is a panicError a scheme has panicked, and the schedule is
// returned beside it; all other errors may pass.
func (c *endpointCache) destination(le *liveEndpoint, now time.Time) (_ *destination, _ retry.Schedule, err error) {
	le.mu.Lock()
	defer le.mu.Unlock()
	if le.dest != nil && (le.until.IsZero() || now.Before(le.until)) {
		return le.dest, le.schedule, nil
	}
	schedule, ok := c.cfg.schedule(le.Schedule)
	if !ok {
		return nil, nil, fmt.Errorf("sender: %s wants the schedule %q, which Options.Schedules does not have", le.ID, le.Schedule)
	}
	if t := c.cfg.timeout(&le.Endpoint); t+minLeaseMargin > c.cfg.Lease {
		return nil, nil, fmt.Errorf("sender: %s has a timeout of %s, for which Options.Lease, %s, is too short", le.ID, t, c.cfg.Lease)
	}
	if le.opened == nil {
		if le.opened, err = openSealed(c.cfg.Keyring, &le.Endpoint, now); err != nil {
			c.lose(le)
			return nil, nil, err
		}
	}
	secrets, until := le.opened.current(now)
	keys, err := c.cfg.bind(le.Schemes, secrets)
	if err != nil {
		return nil, schedule, fmt.Errorf("sender: %s: %w", le.ID, err)
	}
	dest, err := newDestination(le.URL, keys)
	if err != nil {
		return nil, schedule, fmt.Errorf("sender: %s: %w", le.ID, err)
	}
	if err := dest.addHeaders(le.opened.headers); err != nil {
		return nil, schedule, fmt.Errorf("sender: %s: %w", le.ID, err)
	}
	dest.timeout, dest.hidden = le.Timeout, le.opened
	le.dest, le.schedule, le.until = dest, schedule, until
	return dest, schedule, nil
}

// bind makes the keys of the named schemes, of all if none is named.
func (c *config) bind(names []string, secrets []signing.Secret) ([]signing.Key, error) {
	for _, s := range secrets {
		if s.Kind() == signing.KindPublic {
			return nil, errPublicSecret
		}
	}
	schemes := c.Schemes
	if len(names) > 0 {
		schemes = make([]signing.Scheme, len(names))
		for i, name := range names {
			if schemes[i] = c.schemes[name]; schemes[i] == nil {
				return nil, fmt.Errorf("the scheme %q is not among Options.Schemes", name)
			}
		}
	}
	return bindKeys(schemes, secrets)
}
