package sender

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// maxCached bounds the endpoints kept in memory; beyond it whole scopes are
// forgotten and read again when needed.
const maxCached = 50_000

// endpointCache remembers the endpoint sets that events are matched on and the
// endpoints that attempts go to. Nothing here is trusted for long: the store
// compares the set's version when an event is stored, and a claim names the
// endpoint's version.
type endpointCache struct {
	cfg *config
	st  store.Store

	mu   sync.Mutex
	sets map[store.Scope]*endpointSet
	live map[int64]*liveEndpoint
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
	off atomic.Bool // disabled or deleted since it was read

	mu       sync.Mutex
	opened   *opened // its sealed values
	dest     *destination
	schedule retry.Schedule
	until    time.Time // when a secret expires and dest is to be made again; zero: never
}

func newEndpointCache(cfg *config, st store.Store) *endpointCache {
	return &endpointCache{
		cfg: cfg, st: st,
		sets: make(map[store.Scope]*endpointSet), live: make(map[int64]*liveEndpoint),
	}
}

// set returns the scope's set, from memory if it is there.
func (c *endpointCache) set(ctx context.Context, scope store.Scope) (*endpointSet, error) {
	c.mu.Lock()
	set := c.sets[scope]
	c.mu.Unlock()
	if set != nil {
		return set, nil
	}
	read, err := c.st.EndpointSet(ctx, scope)
	if err != nil {
		return nil, err
	}
	set = c.compile(read)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.bound(len(set.members))
	c.sets[scope] = set
	for _, m := range set.members {
		c.live[m.endpoint.Num] = m.endpoint
	}
	return set, nil
}

// bound makes room for n more endpoints. Scopes without any count as well. c.mu is
// held.
func (c *endpointCache) bound(n int) {
	if len(c.live)+len(c.sets)+n > maxCached {
		clear(c.sets)
		clear(c.live)
	}
}

// compile makes a set ready for matching, reusing what is known already.
func (c *endpointCache) compile(read store.EndpointSet) *endpointSet {
	set := &endpointSet{version: read.Version, members: make([]setMember, len(read.Endpoints))}
	for i := range read.Endpoints {
		ep := &read.Endpoints[i]
		set.members[i] = setMember{wants: newSelection(ep.EventTypes), endpoint: c.known(ep)}
	}
	return set
}

// known returns the live form of this version of the endpoint.
func (c *endpointCache) known(ep *store.Endpoint) *liveEndpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	if le := c.live[ep.Num]; le != nil && le.Version == ep.Version {
		return le
	}
	return &liveEndpoint{Endpoint: *ep}
}

// forget drops a scope's set after a change.
func (c *endpointCache) forget(scope store.Scope) {
	c.mu.Lock()
	delete(c.sets, scope)
	c.mu.Unlock()
}

// forgetStale drops a scope's set if it is still the given version.
func (c *endpointCache) forgetStale(scope store.Scope, version int64) {
	c.mu.Lock()
	if set := c.sets[scope]; set != nil && set.version == version {
		delete(c.sets, scope)
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
		le := c.live[num]
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
	c.bound(len(loaded))
	for i := range loaded {
		le := &liveEndpoint{Endpoint: loaded[i]}
		le.off.Store(le.State != store.Enabled) // since the claim
		c.live[le.Num] = le
		found[le.Num] = le
	}
	return found, nil
}

// current returns the live form of an endpoint that was just read, unless what is
// known here is newer.
func (c *endpointCache) current(ep *store.Endpoint) *liveEndpoint {
	c.mu.Lock()
	defer c.mu.Unlock()
	if le := c.live[ep.Num]; le != nil && le.Version <= ep.Version {
		return le
	}
	return &liveEndpoint{Endpoint: *ep}
}

// changed takes note of a change made here: it counts at once, not only when the
// store finds the old version stale.
func (c *endpointCache) changed(ep *store.Endpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sets, ep.Scope)
	if le := c.live[ep.Num]; le != nil && le.Version < ep.Version {
		le.off.Store(ep.State != store.Enabled)
		delete(c.live, ep.Num)
	}
}

// lost drops an endpoint whose sealed values can't be opened. They may have been
// sealed anew since it was read, which changes no version.
func (c *endpointCache) lost(le *liveEndpoint) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.sets, le.Scope)
	if c.live[le.Num] == le {
		delete(c.live, le.Num)
	}
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
			c.lost(le)
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
