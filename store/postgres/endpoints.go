package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/store"
)

const endpointColumns = `e.num, e.tenant, e.mode, e.id, e.config::text, e.url_key, e.secrets::text, e.created_at, e.changed_at,
	l.state, l.version, l.enabled_at, l.failing_since, l.last_failure, l.failures, l.last_success, l.hold_until`

const selectEndpoint = "SELECT " + endpointColumns + " FROM hookpost.endpoint e JOIN hookpost.lane l ON l.endpoint = e.num "

// endpointRow receives the columns above, which are all NULL where an outer join
// found none.
type endpointRow struct {
	num, version                                        *int64
	mode, state, failures                               *int
	tenant, id, config, urlKey, secrets                 *string
	created, changed                                    *time.Time
	enabled, failingSince, lastFailure, lastSuccess, to *time.Time
}

func (r *endpointRow) dest() []any {
	return []any{
		&r.num, &r.tenant, &r.mode, &r.id, &r.config, &r.urlKey, &r.secrets, &r.created, &r.changed,
		&r.state, &r.version, &r.enabled, &r.failingSince, &r.lastFailure, &r.failures, &r.lastSuccess, &r.to,
	}
}

func (r *endpointRow) endpoint() (store.Endpoint, error) {
	ep := store.Endpoint{
		Num:       *r.num,
		Scope:     store.Scope{Tenant: *r.tenant, Mode: store.Mode(*r.mode)},
		ID:        *r.id,
		URLKey:    *r.urlKey,
		Version:   *r.version,
		CreatedAt: utc(r.created),
		ChangedAt: utc(r.changed),
		EnabledAt: utc(r.enabled),
		Health: store.Health{
			FailingSince: utc(r.failingSince),
			LastFailure:  utc(r.lastFailure),
			Failures:     *r.failures,
			LastSuccess:  utc(r.lastSuccess),
			HoldUntil:    utc(r.to),
		},
	}
	if err := json.Unmarshal([]byte(*r.config), &ep.Config); err != nil {
		return ep, fmt.Errorf("configuration of endpoint %s: %w", ep.ID, err)
	}
	if err := json.Unmarshal([]byte(*r.secrets), &ep.Sealed); err != nil {
		return ep, fmt.Errorf("secrets of endpoint %s are not readable", ep.ID)
	}
	ep.State = store.EndpointState(*r.state)
	return ep, nil
}

// endpointsWhere returns the endpoints that a condition on e and l selects.
func endpointsWhere(ctx context.Context, q querier, where string, args ...any) (eps []store.Endpoint, err error) {
	err = q.query(ctx, selectEndpoint+where, args, func(scan scanner) error {
		var r endpointRow
		if err := scan(r.dest()...); err != nil {
			return err
		}
		ep, err := r.endpoint()
		eps = append(eps, ep)
		return err
	})
	return eps, err
}

// endpointByID returns ErrNotFound if there is none.
func endpointByID(ctx context.Context, q querier, scope store.Scope, id string) (store.Endpoint, error) {
	if err := store.CheckScope(scope); err != nil {
		return store.Endpoint{}, err
	}
	var eps []store.Endpoint
	var err error
	if store.IsText(id) {
		eps, err = endpointsWhere(ctx, q, "WHERE e.tenant = $1 AND e.mode = $2 AND e.id = $3", scope.Tenant, int16(scope.Mode), id)
	}
	if err == nil && len(eps) == 0 {
		err = store.NotFound("endpoint", id, scope)
	}
	if err != nil {
		return store.Endpoint{}, err
	}
	return eps[0], nil
}

// selectSet reads the version and the endpoints in one statement: they belong
// together.
const selectSet = `SELECT v.version, statement_timestamp(), ` + selectPlace + `, ` + endpointColumns + `
	FROM (SELECT coalesce((SELECT s.version FROM hookpost.endpoint_set s WHERE s.tenant = $1::text AND s.mode = $2::int), 0) AS version) v
	LEFT JOIN (hookpost.endpoint e JOIN hookpost.lane l ON l.endpoint = e.num)
	ON e.tenant = $1::text AND e.mode = $2::int AND e.state = 1 ORDER BY e.num`

// place is where a statement runs.
type place struct {
	store     int64  // id of the database
	isolation string // of the transaction
}

const selectPlace = "(SELECT id FROM hookpost.store), current_setting('transaction_isolation')"

// endpointSet also returns where it was read.
func endpointSet(ctx context.Context, q querier, scope store.Scope) (set store.EndpointSet, at place, err error) {
	if err := store.CheckScope(scope); err != nil {
		return set, at, err
	}
	err = q.query(ctx, selectSet, []any{scope.Tenant, int64(scope.Mode)}, func(scan scanner) error {
		var r endpointRow
		if err := scan(append([]any{&set.Version, &set.Now, &at.store, &at.isolation}, r.dest()...)...); err != nil || r.num == nil {
			return err
		}
		ep, err := r.endpoint()
		set.Endpoints = append(set.Endpoints, ep)
		return err
	})
	if err != nil {
		return store.EndpointSet{}, at, err
	}
	set.Now = set.Now.UTC()
	return set, at, nil
}

// raiseSet raises the version of a scope's endpoint set. The row it locks makes
// changes of a scope's endpoints come one after the other.
func raiseSet(ctx context.Context, q querier, scope store.Scope) (version int64, err error) {
	err = q.row(ctx, `INSERT INTO hookpost.endpoint_set AS s (tenant, mode, version) VALUES ($1, $2, 1)
		ON CONFLICT (tenant, mode) DO UPDATE SET version = s.version + 1 RETURNING version`,
		[]any{scope.Tenant, int16(scope.Mode)}, &version)
	return version, err
}

// CreateEndpoint implements [store.Endpoints].
func (s *Store) CreateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (out store.Endpoint, err error) {
	if err := store.CheckEndpoint(&ep, p); err != nil {
		return out, err
	}
	err = s.write(ctx, func(q querier) error {
		set, err := raiseSet(ctx, q, ep.Scope)
		if err != nil {
			return err
		}
		if out, err = endpointByID(ctx, q, ep.Scope, ep.ID); err == nil {
			err = neverDid(ctx, q, out.Num, p.Op)
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
		if ep.State != store.Deleted {
			if err := urlFree(ctx, q, ep, 0); err != nil {
				return err
			}
		}
		config, secrets, err := encodeEndpoint(ep)
		if err != nil {
			return err
		}
		var num int64
		found, err := first(ctx, q, `INSERT INTO hookpost.endpoint (tenant, mode, id, url_key, state, config, secrets, created_at, changed_at)
			VALUES ($1, $2, $3, $4, $5, $6::text::json, $7::text::json, statement_timestamp(), statement_timestamp())
			ON CONFLICT (tenant, mode, id) DO NOTHING RETURNING num`,
			[]any{ep.Tenant, int16(ep.Mode), ep.ID, ep.URLKey, int16(ep.State), config, secrets}, &num)
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("%w: endpoint id %q is taken", store.ErrInvalid, ep.ID)
		}
		_, err = q.exec(ctx, "INSERT INTO hookpost.lane (endpoint, state, version) VALUES ($1, $2, 1)", num, int16(ep.State))
		if err != nil {
			return err
		}
		if err := record(ctx, q, set, num, 1, p, store.Config{}, ep.Config); err != nil {
			return err
		}
		out, err = endpointByID(ctx, q, ep.Scope, ep.ID)
		return err
	})
	if err != nil && !errors.Is(err, errDone) {
		return store.Endpoint{}, err
	}
	return out, nil
}

// UpdateEndpoint implements [store.Endpoints].
func (s *Store) UpdateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (out store.Endpoint, err error) {
	if err := store.CheckEndpoint(&ep, p); err != nil {
		return out, err
	}
	err = s.write(ctx, func(q querier) error {
		out, err = changeEndpoint(ctx, q, ep, p)
		return err
	})
	if err != nil && !errors.Is(err, errDone) {
		return store.Endpoint{}, err
	}
	if out.State == store.Enabled {
		s.notify.send(s)
	}
	return out, nil
}

// errDone says that a call was repeated after it had been carried out. Its transaction is
// rolled back.
var errDone = errors.New("done before")

// neverDid returns errDone if the endpoint's history has a change with that Op.
func neverDid(ctx context.Context, q querier, endpoint int64, op string) error {
	if op == "" {
		return nil
	}
	var one int
	done, err := first(ctx, q, "SELECT 1 FROM hookpost.change WHERE endpoint = $1 AND op = $2 LIMIT 1", []any{endpoint, op}, &one)
	if err == nil && done {
		err = errDone
	}
	return err
}

// changeEndpoint is UpdateEndpoint inside a transaction.
func changeEndpoint(ctx context.Context, q querier, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	set, err := raiseSet(ctx, q, ep.Scope)
	if err != nil {
		return ep, err
	}
	// Nobody else makes a change now but Reseal, which waits for the row.
	_, err = q.exec(ctx, "SELECT FROM hookpost.endpoint WHERE tenant = $1 AND mode = $2 AND id = $3 FOR UPDATE", ep.Tenant, int16(ep.Mode), ep.ID)
	if err != nil {
		return ep, err
	}
	old, err := endpointByID(ctx, q, ep.Scope, ep.ID)
	if err == nil {
		err = neverDid(ctx, q, old.Num, p.Op)
	}
	switch {
	case err != nil:
		return old, err
	case old.State == store.Deleted:
		return old, fmt.Errorf("%w: %s", store.ErrDeleted, ep.ID)
	case old.Version != ep.Version:
		return old, fmt.Errorf("%w: %s has version %d, not %d", store.ErrChanged, ep.ID, old.Version, ep.Version)
	}
	ep.Sealed = store.KeepSealed(ep.Sealed, old.Sealed)
	if ep.State == store.Deleted {
		ep.Sealed = store.Sealed{}
		if _, err := q.exec(ctx, "INSERT INTO hookpost.deleted (endpoint) VALUES ($1)", old.Num); err != nil {
			return old, err
		}
	} else if err := urlFree(ctx, q, ep, old.Num); err != nil {
		return old, err
	}
	config, secrets, err := encodeEndpoint(ep)
	if err != nil {
		return old, err
	}
	_, err = q.exec(ctx, `UPDATE hookpost.endpoint SET url_key = $2, state = $3, config = $4::text::json, secrets = $5::text::json,
		changed_at = statement_timestamp() WHERE num = $1`, old.Num, ep.URLKey, int16(ep.State), config, secrets)
	if err != nil {
		return old, err
	}
	text := "UPDATE hookpost.lane SET state = $2, version = $3 WHERE endpoint = $1"
	if ep.State == store.Enabled && old.State == store.Disabled {
		text = `UPDATE hookpost.lane SET state = $2, version = $3, enabled_at = statement_timestamp(),
			failing_since = NULL, failures = 0, hold_until = NULL WHERE endpoint = $1`
	}
	if _, err := q.exec(ctx, text, old.Num, int16(ep.State), old.Version+1); err != nil {
		return old, err
	}
	if err := record(ctx, q, set, old.Num, old.Version+1, p, old.Config, ep.Config); err != nil {
		return old, err
	}
	return endpointByID(ctx, q, ep.Scope, ep.ID)
}

// disable disables an endpoint without anybody having asked for it.
func disable(ctx context.Context, q querier, ep store.Endpoint, reason string) (store.Endpoint, error) {
	ep.State, ep.Reason = store.Disabled, toText(reason)
	return changeEndpoint(ctx, q, ep, store.ChangeParams{Action: store.WasDisabled})
}

// urlFree returns ErrDuplicateURL if another endpoint has ep's URL.
func urlFree(ctx context.Context, q querier, ep store.Endpoint, self int64) error {
	var other string
	taken, err := first(ctx, q, "SELECT id FROM hookpost.endpoint WHERE tenant = $1 AND mode = $2 AND url_key = $3 AND state <> 3 AND num <> $4",
		[]any{ep.Tenant, int16(ep.Mode), ep.URLKey, self}, &other)
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

// record adds a line to an endpoint's history.
func record(ctx context.Context, q querier, set, endpoint, version int64, p store.ChangeParams, from, to store.Config) error {
	var before *string // NULL in the first line, whose state would have no name
	if from.State != 0 {
		text, err := json.Marshal(from)
		if err != nil {
			return err
		}
		before = new(string(text))
	}
	after, err := json.Marshal(to)
	if err != nil {
		return err
	}
	_, err = q.exec(ctx, `INSERT INTO hookpost.change (endpoint, version, set_version, at, action, actor, op, old, new)
		VALUES ($1, $2, $3, statement_timestamp(), $4, $5, $6, $7::text::json, $8::text::json)`,
		endpoint, version, set, string(p.Action), p.Actor, p.Op, before, string(after))
	return err
}

// Endpoint implements [store.Endpoints].
func (s *Store) Endpoint(ctx context.Context, scope store.Scope, id string) (ep store.Endpoint, err error) {
	err = s.read(ctx, func(q querier) error {
		ep, err = endpointByID(ctx, q, scope, id)
		return err
	})
	return ep, err
}

// ListEndpoints implements [store.Endpoints].
func (s *Store) ListEndpoints(ctx context.Context, scope store.Scope, query store.EndpointQuery) (eps []store.Endpoint, err error) {
	if err := store.CheckScope(scope); err != nil {
		return nil, err
	}
	states := []int16{int16(store.Enabled), int16(store.Disabled)}
	if len(query.States) > 0 {
		states = states[:0]
		for _, st := range query.States {
			states = append(states, int16(st))
		}
	}
	err = s.read(ctx, func(q querier) error {
		eps = nil
		if !store.IsText(query.Search) {
			return nil
		}
		var t text
		t.add("WHERE e.tenant = ? AND e.mode = ? AND e.num > ? AND e.state = ANY (?::smallint[])", scope.Tenant, int16(scope.Mode), query.After, states)
		if query.Search != "" {
			t.add(` AND strpos(lower(concat_ws(chr(10), e.id, e.config ->> 'url', e.config ->> 'description') COLLATE "C"), ?) > 0`, store.FoldASCII(query.Search))
		}
		t.add(" ORDER BY e.num LIMIT ?", pageSize(query.Limit, 100, 1000))
		eps, err = endpointsWhere(ctx, q, t.String(), t.args...)
		return err
	})
	return eps, err
}

// EndpointSet implements [store.Endpoints].
func (s *Store) EndpointSet(ctx context.Context, scope store.Scope) (set store.EndpointSet, err error) {
	err = s.read(ctx, func(q querier) error {
		set, _, err = endpointSet(ctx, q, scope)
		return err
	})
	if err == nil {
		s.targets.remember(set.Endpoints)
	}
	return set, err
}

// LoadEndpoints implements [store.Endpoints].
func (s *Store) LoadEndpoints(ctx context.Context, keys []store.EndpointKey) (eps []store.Endpoint, err error) {
	nums := make([]int64, len(keys))
	wanted := make(map[store.EndpointKey]bool, len(keys))
	for i, k := range keys {
		nums[i], wanted[k] = k.Num, true
	}
	err = s.read(ctx, func(q querier) error {
		found, err := endpointsWhere(ctx, q, "WHERE e.num = ANY ($1::bigint[])", nums)
		eps = make([]store.Endpoint, 0, len(found))
		for _, ep := range found {
			if wanted[store.EndpointKey{Scope: ep.Scope, Num: ep.Num}] {
				eps = append(eps, ep)
			}
		}
		return err
	})
	return eps, err
}

// EndpointHistory implements [store.Endpoints].
func (s *Store) EndpointHistory(ctx context.Context, scope store.Scope, id string) (changes []store.Change, err error) {
	err = s.read(ctx, func(q querier) error {
		ep, err := endpointByID(ctx, q, scope, id)
		if err != nil {
			return err
		}
		changes = nil
		return q.query(ctx, "SELECT version, set_version, at, action, actor, op, old::text, new::text FROM hookpost.change WHERE endpoint = $1 ORDER BY version",
			[]any{ep.Num}, func(scan scanner) error {
				ch := store.Change{EndpointID: id}
				var before *string
				var after string
				if err := scan(&ch.Version, &ch.SetVersion, &ch.At, (*string)(&ch.Action), &ch.Actor, &ch.Op, &before, &after); err != nil {
					return err
				}
				ch.At = ch.At.UTC()
				if before != nil {
					if err := json.Unmarshal([]byte(*before), &ch.Old); err != nil {
						return err
					}
				}
				err := json.Unmarshal([]byte(after), &ch.New)
				changes = append(changes, ch)
				return err
			})
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	return changes, err
}
