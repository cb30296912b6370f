package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hookpost/hookpost/store"
)

const selectEndpoint = `SELECT e.num, s.tenant, s.mode, e.id, e.config, e.url_key, e.secrets, e.created_at, e.changed_at,
	l.state, l.version, l.enabled_at, l.failing_since, l.last_failure, l.failures, l.last_success, l.hold_until
	FROM hookpost_endpoint e JOIN hookpost_lane l ON l.endpoint = e.num JOIN hookpost_scope s ON s.num = e.scope `

func scanEndpoint(r row) (store.Endpoint, error) {
	ep := store.Endpoint{
		Num:       r.int(0),
		Scope:     store.Scope{Tenant: r.text(1), Mode: store.Mode(r.int(2))},
		ID:        r.text(3),
		URLKey:    r.text(5),
		Version:   r.int(10),
		CreatedAt: r.time(7),
		ChangedAt: r.time(8),
		EnabledAt: r.time(11),
		Health: store.Health{
			FailingSince: r.time(12),
			LastFailure:  r.time(13),
			Failures:     int(r.int(14)),
			LastSuccess:  r.time(15),
			HoldUntil:    r.time(16),
		},
	}
	if err := json.Unmarshal(r.blob(4), &ep.Config); err != nil {
		return ep, fmt.Errorf("sqlite: configuration of endpoint %s: %w", ep.ID, err)
	}
	if err := json.Unmarshal(r.blob(6), &ep.Sealed); err != nil {
		return ep, fmt.Errorf("sqlite: secrets of endpoint %s are not readable", ep.ID)
	}
	ep.State = store.EndpointState(r.int(9))
	return ep, nil
}

// endpointsWhere returns the endpoints that a condition on e, l and s selects.
func endpointsWhere(x execer, where string, args ...any) (eps []store.Endpoint, err error) {
	err = x.query(func(r row) error {
		ep, err := scanEndpoint(r)
		eps = append(eps, ep)
		return err
	}, selectEndpoint+where, args...)
	return eps, err
}

// endpointByID returns ErrNotFound if there is none.
func endpointByID(x execer, scope store.Scope, id string) (store.Endpoint, error) {
	if err := store.CheckScope(scope); err != nil {
		return store.Endpoint{}, err
	}
	eps, err := endpointsWhere(x, "WHERE s.tenant = ? AND s.mode = ? AND e.id = ?", scope.Tenant, int(scope.Mode), id)
	if err == nil && len(eps) == 0 {
		err = store.NotFound("endpoint", id, scope)
	}
	if err != nil {
		return store.Endpoint{}, err
	}
	return eps[0], nil
}

func endpointSet(x execer, s scopeRow, now int64) (set store.EndpointSet, err error) {
	set = store.EndpointSet{Now: fromMicros(now), Version: s.version}
	if s.num == 0 {
		return set, nil
	}
	set.Endpoints, err = endpointsWhere(x, "WHERE e.scope = ? AND e.state = 1 ORDER BY e.num", s.num)
	return set, err
}

// CreateEndpoint implements [store.Endpoints].
func (s *Store) CreateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (out store.Endpoint, err error) {
	if err := store.CheckEndpoint(&ep, p); err != nil {
		return out, err
	}
	err = s.write(ctx, func(c *conn) error {
		now := s.now()
		scope, err := scopeOf(c, ep.Scope)
		if err != nil {
			return err
		}
		if there, err := endpointByID(c, ep.Scope, ep.ID); err == nil {
			if done, err := did(c, there.Num, p.Op); err != nil || done {
				out = there
				return err
			}
		}
		if err := scope.create(c); err != nil {
			return err
		}
		if err := urlFree(c, scope.num, ep, 0); err != nil {
			return err
		}
		config, secrets, err := encodeEndpoint(ep)
		if err != nil {
			return err
		}
		var num int64
		_, err = first(c, func(r row) { num = r.int(0) }, `INSERT INTO hookpost_endpoint
			(scope, id, url_key, state, config, secrets, created_at, changed_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING num`,
			scope.num, ep.ID, ep.URLKey, int(ep.State), config, secrets, now, now)
		if code(err) == codeConstraint {
			return fmt.Errorf("%w: endpoint id %q is taken", store.ErrInvalid, ep.ID)
		}
		if err != nil {
			return err
		}
		_, err = c.exec("INSERT INTO hookpost_lane (endpoint, scope, state, version) VALUES (?, ?, ?, 1)", num, scope.num, int(ep.State))
		if err != nil {
			return err
		}
		if err := record(c, &scope, num, 1, now, p, store.Config{}, ep.Config); err != nil {
			return err
		}
		out, err = endpointByID(c, ep.Scope, ep.ID)
		return err
	})
	if err != nil {
		return store.Endpoint{}, err
	}
	return out, nil
}

// UpdateEndpoint implements [store.Endpoints].
func (s *Store) UpdateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (out store.Endpoint, err error) {
	if err := store.CheckEndpoint(&ep, p); err != nil {
		return out, err
	}
	err = s.write(ctx, func(c *conn) error {
		out, err = changeEndpoint(c, ep, s.now(), p)
		return err
	})
	if err != nil {
		return store.Endpoint{}, err
	}
	return out, nil
}

// changeEndpoint is UpdateEndpoint inside a transaction.
func changeEndpoint(x execer, ep store.Endpoint, now int64, p store.ChangeParams) (store.Endpoint, error) {
	old, err := endpointByID(x, ep.Scope, ep.ID)
	if err != nil {
		return old, err
	}
	done, err := did(x, old.Num, p.Op)
	switch {
	case err != nil || done:
		return old, err
	case old.State == store.Deleted:
		return old, fmt.Errorf("%w: %s", store.ErrDeleted, ep.ID)
	case old.Version != ep.Version:
		return old, fmt.Errorf("%w: %s has version %d, not %d", store.ErrChanged, ep.ID, old.Version, ep.Version)
	}
	scope, err := scopeOf(x, ep.Scope)
	if err != nil {
		return old, err
	}
	ep.Sealed = store.KeepSealed(ep.Sealed, old.Sealed)
	if ep.State == store.Deleted {
		ep.Sealed = store.Sealed{}
		if _, err := x.exec("INSERT INTO hookpost_deleted (endpoint) VALUES (?)", old.Num); err != nil {
			return old, err
		}
	} else if err := urlFree(x, scope.num, ep, old.Num); err != nil {
		return old, err
	}
	config, secrets, err := encodeEndpoint(ep)
	if err != nil {
		return old, err
	}
	_, err = x.exec("UPDATE hookpost_endpoint SET url_key = ?, state = ?, config = ?, secrets = ?, changed_at = ? WHERE num = ?",
		ep.URLKey, int(ep.State), config, secrets, now, old.Num)
	if err != nil {
		return old, err
	}
	_, err = x.exec("UPDATE hookpost_lane SET state = ?, version = ? WHERE endpoint = ?", int(ep.State), old.Version+1, old.Num)
	if err != nil {
		return old, err
	}
	if ep.State == store.Enabled && old.State == store.Disabled {
		_, err = x.exec(`UPDATE hookpost_lane SET enabled_at = ?, failing_since = NULL, failures = 0, hold_until = NULL
			WHERE endpoint = ?`, now, old.Num)
		if err != nil {
			return old, err
		}
	}
	if err := record(x, &scope, old.Num, old.Version+1, now, p, old.Config, ep.Config); err != nil {
		return old, err
	}
	return endpointByID(x, ep.Scope, ep.ID)
}

// disable disables an endpoint without anybody having asked for it.
func disable(x execer, ep store.Endpoint, now int64, reason string) (store.Endpoint, error) {
	ep.State, ep.Reason = store.Disabled, reason
	return changeEndpoint(x, ep, now, store.ChangeParams{Action: store.WasDisabled})
}

// urlFree returns ErrDuplicateURL if another endpoint has ep's URL.
func urlFree(x execer, scope int64, ep store.Endpoint, self int64) error {
	var other string
	taken, err := first(x, func(r row) { other = r.text(0) },
		"SELECT id FROM hookpost_endpoint WHERE scope = ? AND url_key = ? AND state <> 3 AND num <> ?", scope, ep.URLKey, self)
	if err == nil && taken {
		err = fmt.Errorf("%w: %s", store.ErrDuplicateURL, other)
	}
	return err
}

func encodeEndpoint(ep store.Endpoint) (config, secrets string, err error) {
	c, err := json.Marshal(ep.Config)
	if err != nil {
		return "", "", fmt.Errorf("%w: configuration of endpoint %s: %w", store.ErrInvalid, ep.ID, err)
	}
	secrets, err = encodeSealed(&ep)
	return string(c), secrets, err
}

func encodeSealed(ep *store.Endpoint) (string, error) {
	text, err := json.Marshal(store.CloneSealed(ep.Sealed)) // its times are as stored
	if err != nil {
		return "", fmt.Errorf("%w: secrets of endpoint %s cannot be stored", store.ErrInvalid, ep.ID)
	}
	return string(text), nil
}

// did reports whether the endpoint's history has a change with that Op.
func did(x execer, endpoint int64, op string) (bool, error) {
	if op == "" {
		return false, nil
	}
	return first(x, func(row) {}, "SELECT 1 FROM hookpost_change WHERE endpoint = ? AND op = ?", endpoint, op)
}

// record raises the set's version and adds a line to the endpoint's history.
func record(x execer, scope *scopeRow, endpoint, version, now int64, p store.ChangeParams, from, to store.Config) error {
	if err := scope.bump(x); err != nil {
		return err
	}
	var before any // NULL in the first line, whose state would have no name
	if from.State != 0 {
		text, err := json.Marshal(from)
		if err != nil {
			return err
		}
		before = string(text)
	}
	after, err := json.Marshal(to)
	if err != nil {
		return err
	}
	_, err = x.exec(`INSERT INTO hookpost_change (endpoint, version, set_version, at, action, actor, op, old, new)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`, endpoint, version, scope.version, now, string(p.Action), p.Actor, p.Op, before, string(after))
	return err
}

// Endpoint implements [store.Endpoints].
func (s *Store) Endpoint(ctx context.Context, scope store.Scope, id string) (ep store.Endpoint, err error) {
	err = s.read(ctx, func(c *conn) error {
		ep, err = endpointByID(c, scope, id)
		return err
	})
	return ep, err
}

// ListEndpoints implements [store.Endpoints].
func (s *Store) ListEndpoints(ctx context.Context, scope store.Scope, q store.EndpointQuery) (eps []store.Endpoint, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, err
	}
	states := q.States
	if len(states) == 0 {
		states = []store.EndpointState{store.Enabled, store.Disabled}
	}
	args := []any{scope.Tenant, int(scope.Mode), q.After}
	for _, st := range states {
		args = append(args, int(st))
	}
	where := "WHERE s.tenant = ? AND s.mode = ? AND e.num > ? AND e.state IN (" + strings.Repeat("?,", len(states)-1) + "?)"
	if q.Search != "" {
		where += ` AND (instr(lower(e.id), ?) OR instr(lower(e.config ->> '$.url'), ?) OR instr(lower(e.config ->> '$.description'), ?))`
		text := store.FoldASCII(q.Search)
		args = append(args, text, text, text)
	}
	args = append(args, pageSize(q.Limit, 100, 1000))
	err = s.read(ctx, func(c *conn) error {
		eps, err = endpointsWhere(c, where+" ORDER BY e.num LIMIT ?", args...)
		return err
	})
	return eps, err
}

// EndpointSet implements [store.Endpoints].
func (s *Store) EndpointSet(ctx context.Context, scope store.Scope) (set store.EndpointSet, err error) {
	err = s.read(ctx, func(c *conn) error {
		sc, err := scopeOf(c, scope)
		if err == nil {
			set, err = endpointSet(c, sc, s.now())
		}
		return err
	})
	if err == nil {
		s.targets.remember(set.Endpoints)
	}
	return set, err
}

// LoadEndpoints implements [store.Endpoints].
func (s *Store) LoadEndpoints(ctx context.Context, keys []store.EndpointKey) (eps []store.Endpoint, err error) {
	err = s.read(ctx, func(c *conn) error {
		eps = make([]store.Endpoint, 0, len(keys))
		for _, k := range keys {
			found, err := endpointsWhere(c, "WHERE e.num = ? AND s.tenant = ? AND s.mode = ?", k.Num, k.Tenant, int(k.Mode))
			if err != nil {
				return err
			}
			eps = append(eps, found...)
		}
		return nil
	})
	return eps, err
}

// EndpointHistory implements [store.Endpoints].
func (s *Store) EndpointHistory(ctx context.Context, scope store.Scope, id string) (changes []store.Change, err error) {
	err = s.read(ctx, func(c *conn) error {
		changes = nil
		ep, err := endpointByID(c, scope, id)
		if err != nil {
			return err
		}
		return c.query(func(r row) error {
			ch := store.Change{
				EndpointID: id,
				Version:    r.int(0),
				SetVersion: r.int(1),
				At:         r.time(2),
				Action:     store.Action(r.text(3)),
				Actor:      r.text(4),
				Op:         r.text(5),
			}
			if !r.null(6) {
				if err := json.Unmarshal(r.blob(6), &ch.Old); err != nil {
					return err
				}
			}
			if err := json.Unmarshal(r.blob(7), &ch.New); err != nil {
				return err
			}
			changes = append(changes, ch)
			return nil
		}, "SELECT version, set_version, at, action, actor, op, old, new FROM hookpost_change WHERE endpoint = ? ORDER BY version", ep.Num)
	})
	return changes, err
}
