package memory

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// CreateEndpoint implements [store.Endpoints].
func (s *Store) CreateEndpoint(ctx context.Context, in store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	if err := store.CheckEndpoint(&in, p); err != nil {
		return store.Endpoint{}, err
	}
	if in.State != store.Enabled && in.State != store.Disabled {
		return store.Endpoint{}, fmt.Errorf("%w: a new endpoint is enabled or disabled, not %s", store.ErrInvalid, in.State)
	}
	if err := s.lockScope(ctx, in.Scope); err != nil {
		return store.Endpoint{}, err
	}
	defer s.mu.Unlock()
	w := s.world(in.Scope)
	if ep := w.byID[in.ID]; ep.did(p.Op) {
		return ep.record(), nil
	}
	if w.byURL[in.URLKey] != nil {
		return store.Endpoint{}, store.ErrDuplicateURL
	}
	if w.byID[in.ID] != nil {
		return store.Endpoint{}, fmt.Errorf("%w: endpoint id %q is taken", store.ErrInvalid, in.ID)
	}
	now := s.now().time()
	ep := &endpoint{world: w, oldest: noneOldest}
	ep.Endpoint = store.Endpoint{
		Scope:     in.Scope,
		ID:        in.ID,
		Num:       int64(len(s.endpoints)) + 1,
		Config:    cloneConfig(in.Config),
		URLKey:    in.URLKey,
		Sealed:    store.CloneSealed(in.Sealed),
		CreatedAt: now,
	}
	s.endpoints = append(s.endpoints, ep)
	w.endpoints = append(w.endpoints, ep)
	w.byID[ep.ID] = ep
	w.byURL[ep.URLKey] = ep
	ep.changed(store.Config{}, p, now)
	return ep.record(), nil
}

// UpdateEndpoint implements [store.Endpoints].
func (s *Store) UpdateEndpoint(ctx context.Context, in store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	if err := store.CheckEndpoint(&in, p); err != nil {
		return store.Endpoint{}, err
	}
	if err := s.lockScope(ctx, in.Scope); err != nil {
		return store.Endpoint{}, err
	}
	defer s.mu.Unlock()
	ep, err := s.named(in.Scope, in.ID)
	if err != nil {
		return store.Endpoint{}, err
	}
	if ep.did(p.Op) {
		return ep.record(), nil
	}
	w := ep.world
	switch {
	case ep.State == store.Deleted:
		return store.Endpoint{}, store.ErrDeleted
	case ep.Version != in.Version:
		return store.Endpoint{}, store.ErrChanged
	}
	if other := w.byURL[in.URLKey]; in.State != store.Deleted && other != nil && other != ep {
		return store.Endpoint{}, store.ErrDuplicateURL
	}
	now := s.now().time()
	old := ep.Config
	delete(w.byURL, ep.URLKey)
	ep.Config, ep.URLKey, ep.Sealed = cloneConfig(in.Config), in.URLKey, store.KeepSealed(in.Sealed, ep.Sealed)
	switch {
	case ep.State == store.Deleted:
		ep.Sealed = store.Sealed{}
		s.deleted = append(s.deleted, ep)
	case ep.State == store.Enabled && old.State != store.Enabled:
		ep.EnabledAt = now
		ep.FailingSince, ep.Failures, ep.HoldUntil = time.Time{}, 0, time.Time{}
	}
	if ep.State != store.Deleted {
		w.byURL[ep.URLKey] = ep
	}
	ep.changed(old, p, now)
	return ep.record(), nil
}

// disable disables ep on the engine's account.
func (ep *endpoint) disable(reason string, now micros) {
	old := ep.Config
	ep.Config = cloneConfig(old)
	ep.State, ep.Reason = store.Disabled, reason
	ep.changed(old, store.ChangeParams{Action: store.WasDisabled}, now.time())
}

// did reports whether a change with that Op was made to the endpoint, which may be nil.
func (ep *endpoint) did(op string) bool {
	return ep != nil && op != "" && slices.ContainsFunc(ep.history, func(c store.Change) bool { return c.Op == op })
}

// changed raises the versions and writes the line of history.
func (ep *endpoint) changed(old store.Config, p store.ChangeParams, now time.Time) {
	ep.Version++
	ep.world.setVersion++
	ep.ChangedAt = now
	ep.history = append(ep.history, store.Change{
		EndpointID: ep.ID,
		Version:    ep.Version,
		SetVersion: ep.world.setVersion,
		At:         now,
		Action:     p.Action,
		Actor:      p.Actor,
		Op:         p.Op,
		Old:        old,
		New:        ep.Config,
	})
}

// Endpoint implements [store.Endpoints].
func (s *Store) Endpoint(ctx context.Context, scope store.Scope, id string) (store.Endpoint, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return store.Endpoint{}, err
	}
	defer s.mu.Unlock()
	ep, err := s.named(scope, id)
	if err != nil {
		return store.Endpoint{}, err
	}
	return ep.record(), nil
}

// ListEndpoints implements [store.Endpoints].
func (s *Store) ListEndpoints(ctx context.Context, scope store.Scope, q store.EndpointQuery) ([]store.Endpoint, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	w := s.worlds[scope]
	if w == nil {
		return nil, nil
	}
	states := q.States
	if len(states) == 0 {
		states = []store.EndpointState{store.Enabled, store.Disabled}
	}
	from, found := slices.BinarySearchFunc(w.endpoints, q.After, func(e *endpoint, num int64) int { return cmp.Compare(e.Num, num) })
	if found {
		from++
	}
	limit := pageSize(q.Limit)
	var page []store.Endpoint
	for _, ep := range w.endpoints[from:] {
		if len(page) == limit {
			break
		}
		if slices.Contains(states, ep.State) && ep.found(store.FoldASCII(q.Search)) {
			page = append(page, ep.record())
		}
	}
	return page, nil
}

// found reports whether a text in lower case is part of what a search looks at.
func (ep *endpoint) found(text string) bool {
	return text == "" || slices.ContainsFunc([]string{ep.ID, ep.URL, ep.Description}, func(s string) bool {
		return strings.Contains(store.FoldASCII(s), text)
	})
}

// EndpointSet implements [store.Endpoints].
func (s *Store) EndpointSet(ctx context.Context, scope store.Scope) (store.EndpointSet, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return store.EndpointSet{}, err
	}
	defer s.mu.Unlock()
	set := store.EndpointSet{Now: s.now().time()}
	w := s.worlds[scope]
	if w == nil {
		return set, nil
	}
	set.Version = w.setVersion
	for _, ep := range w.endpoints {
		if ep.State == store.Enabled {
			set.Endpoints = append(set.Endpoints, ep.record())
		}
	}
	return set, nil
}

// LoadEndpoints implements [store.Endpoints].
func (s *Store) LoadEndpoints(ctx context.Context, keys []store.EndpointKey) ([]store.Endpoint, error) {
	for _, k := range keys {
		if err := store.CheckScope(k.Scope); err != nil {
			return nil, err
		}
	}
	if err := s.lock(ctx); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	found := make([]store.Endpoint, 0, len(keys))
	for _, k := range keys {
		if ep := s.endpoint(k.Num); ep != nil && ep.Scope == k.Scope {
			found = append(found, ep.record())
		}
	}
	return found, nil
}

// EndpointHistory implements [store.Endpoints].
func (s *Store) EndpointHistory(ctx context.Context, scope store.Scope, id string) ([]store.Change, error) {
	if err := s.lockScope(ctx, scope); err != nil {
		return nil, err
	}
	defer s.mu.Unlock()
	ep, err := s.named(scope, id)
	if err != nil {
		return nil, err
	}
	lines := slices.Clone(ep.history)
	for i := range lines {
		lines[i].Old, lines[i].New = cloneConfig(lines[i].Old), cloneConfig(lines[i].New)
	}
	return lines, nil
}

// named returns the scope's endpoint of that id.
func (s *Store) named(scope store.Scope, id string) (*endpoint, error) {
	if w := s.worlds[scope]; w != nil && w.byID[id] != nil {
		return w.byID[id], nil
	}
	return nil, store.NotFound("endpoint", id, scope)
}

// record returns a copy of the endpoint for the caller.
func (ep *endpoint) record() store.Endpoint {
	r := ep.Endpoint
	r.Config = cloneConfig(r.Config)
	r.Sealed = store.CloneSealed(r.Sealed)
	return r
}

func cloneConfig(c store.Config) store.Config {
	c.EventTypes = slices.Clone(c.EventTypes)
	c.Schemes = slices.Clone(c.Schemes)
	c.Headers = slices.Clone(c.Headers)
	c.Metadata = maps.Clone(c.Metadata)
	return c
}
