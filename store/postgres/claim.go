package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/hookpost/hookpost/store"
)

// claimText is one claim: a loose scan of the index of ready deliveries, from
// endpoint to endpoint, that locks what it takes and passes over what others have
// locked. Its cost grows with the endpoints looked at and the deliveries taken,
// and not with those that are passed over.
//
// Each row of w is an endpoint that was visited; its first row, and the one that
// begins again at the start, are none and have number 0. The walk goes one endpoint
// beyond its bound, without taking anything there, to learn whether there is one.
//
// Of the endpoints in $7, $8 gives the time before which nothing is ready, so that
// they are visited without reading the index entries of what was taken lately. See
// [hotLanes].
const claimText = `WITH RECURSIVE w(endpoint, wrapped, n, taken, bytes, cut, lane, tids) AS (
	SELECT $1::bigint, false, 0, 0, 0::bigint, false, NULL::smallint, NULL::tid[]
	UNION ALL
	SELECT x.endpoint, x.wrapped, w.n + (x.endpoint > 0)::int, w.taken + t.n::int, w.bytes + coalesce(t.bytes, 0)::bigint,
		coalesce(t.cut, false), l.state, t.tids
	FROM w
	CROSS JOIN LATERAL (SELECT coalesce(min(k), 9223372036854775807) AS hot FROM unnest($7::bigint[]) k WHERE k > w.endpoint) h
	CROSS JOIN LATERAL (
		(SELECT q.endpoint, w.wrapped FROM hookpost.delivery q
		 WHERE q.state = 1 AND q.endpoint > w.endpoint AND q.endpoint < h.hot ORDER BY q.endpoint LIMIT 1)
		UNION ALL (SELECT h.hot, w.wrapped WHERE h.hot < 9223372036854775807)
		UNION ALL (SELECT 0::bigint, true WHERE NOT w.wrapped AND $1::bigint > 0)
		LIMIT 1) x
	LEFT JOIN LATERAL (
		SELECT l.state, l.state = 1 AND (l.hold_until IS NULL OR l.hold_until <= statement_timestamp()) AS open,
			coalesce(($5::jsonb ->> x.endpoint::text)::int, $4::int) AS room,
			greatest(l.enabled_at - $6::bigint * interval '1 microsecond',
				(SELECT k.low FROM unnest($7::bigint[], $8::timestamptz[]) AS k(endpoint, low) WHERE k.endpoint = x.endpoint LIMIT 1)) AS low,
			l.enabled_at - $6::bigint * interval '1 microsecond' AS since
		FROM hookpost.lane l WHERE l.endpoint = x.endpoint LIMIT 1) l ON true
	CROSS JOIN LATERAL (
		SELECT count(*) FILTER (WHERE g.fits) AS n, sum(g.size) FILTER (WHERE g.fits) AS bytes,
			array_agg(g.tid) FILTER (WHERE g.fits) AS tids,
			bool_or(NOT g.fits) OR w.bytes + sum(g.size) >= $3::bigint AND $3::bigint > 0 AS cut
		FROM (SELECT b.tid, b.size, $3::bigint <= 0 OR w.bytes + sum(b.size) OVER o <= $3::bigint
				OR w.taken = 0 AND row_number() OVER o = 1 AS fits
			FROM (SELECT c.tid, c.due_at, c.event, coalesce((SELECT octet_length(e.body) FROM hookpost.event e WHERE e.num = c.event), 0) AS size
				FROM (SELECT q.ctid AS tid, q.due_at, q.event FROM hookpost.delivery q
					WHERE q.endpoint = x.endpoint AND q.state = 1 AND q.due_at >= coalesce(l.low, '-infinity')
					AND (l.since IS NULL OR coalesce(q.first_at, q.due_at) > l.since)
					AND l.open AND l.room > 0 AND w.n < $9::int
					ORDER BY q.due_at LIMIT greatest(least(l.room, $2::int - w.taken), 0) FOR UPDATE SKIP LOCKED) c OFFSET 0) b
			WINDOW o AS (ORDER BY b.due_at, b.event ROWS UNBOUNDED PRECEDING)) g) t
	WHERE w.n <= $9::int AND w.taken < $2::int AND NOT w.cut AND NOT (x.wrapped AND x.endpoint > $1::bigint)
), z AS MATERIALIZED (
	SELECT coalesce((SELECT w.endpoint FROM w WHERE w.endpoint > 0 AND w.n BETWEEN 1 AND $9::int
			AND NOT (w.cut AND w.tids IS NULL) ORDER BY w.n DESC LIMIT 1), $1::bigint) AS after,
		(SELECT bool_or(w.cut OR w.n > $9::int OR w.taken >= $2::int) FROM w) AS more,
		ARRAY(SELECT w.endpoint FROM w WHERE w.lane = 3 ORDER BY w.n)::text AS dead
), u AS (
	UPDATE hookpost.delivery d SET state = 2, token = token + 1, attempts = attempts + 1, owner = $10::bigint,
		leased_at = statement_timestamp(), lease_until = statement_timestamp() + $11::bigint * interval '1 microsecond',
		first_at = coalesce(first_at, statement_timestamp())
	WHERE d.ctid = ANY (ARRAY(SELECT unnest(w.tids) FROM w))
	RETURNING d.event, d.endpoint, d.round, d.token, d.attempts, d.failures, d.unknown, d.first_at, d.due_at
)
SELECT z.after, z.more, z.dead, statement_timestamp(), c.*
FROM z LEFT JOIN (SELECT u.*, e.tenant, e.mode::int, e.id, e.type, e.content_type, e.erased_at IS NOT NULL, e.trace, e.body, l.version
	FROM u JOIN hookpost.event e ON e.num = u.event JOIN hookpost.lane l ON l.endpoint = u.endpoint) c ON true`

// Claim implements [store.Queue].
func (s *Store) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	if p.Limit < 1 {
		return store.Claims{}, fmt.Errorf("%w: claim of %d deliveries, want at least 1", store.ErrInvalid, p.Limit)
	}
	endpoints := p.Endpoints
	if endpoints <= 0 {
		endpoints = 500
	}
	var window *int64
	if p.Window > 0 {
		window = new(micros(p.Window))
	}
	rooms, err := encodeRooms(p.Room)
	if err != nil {
		return store.Claims{}, err
	}
	began := time.Now()
	hot, low := s.hot.known(began, func(num int64) int { return roomOf(p, num) })
	args := []any{
		p.After, int32(min(p.Limit, 100_000)), int64(p.Bytes), int32(min(p.DefaultRoom, 1<<30)), rooms, window, hot, low,
		int32(min(endpoints, 1<<20)), p.Owner, micros(p.Lease),
	}
	var c claim
	err = s.pipeline(ctx, settingsIndex, func(b *batch) {
		c = claim{out: store.Claims{After: p.After}}
		b.add(claimText, args, c.take)
	})
	if err != nil {
		return store.Claims{}, err
	}
	c.order(p.After)
	s.hot.claimed(c.found)
	s.hot.cameTo(began, func(num int64) bool { return c.cameTo(p, num) })
	s.dead.met(c.dead)
	return c.out, nil
}

// encodeRooms writes rooms as a JSON object.
func encodeRooms(room map[int64]int) (string, error) {
	if len(room) == 0 {
		return "{}", nil
	}
	m := make(map[string]int, len(room))
	for num, n := range room {
		m[strconv.FormatInt(num, 10)] = min(max(n, 0), 1<<30)
	}
	text, err := json.Marshal(m)
	return string(text), err
}

// claim is the answer to a claim.
type claim struct {
	out   store.Claims
	found []found
	dead  string

	row  claimRow
	dest []any // pointers to the columns
}

// found is a delivery that was claimed.
type found struct {
	store.Claimed
	due time.Time
}

// roomOf is how many deliveries of an endpoint a claim may take.
func roomOf(p store.ClaimParams, num int64) int {
	if room, ok := p.Room[num]; ok {
		return room
	}
	return p.DefaultRoom
}

// cameTo reports whether the claim looked at what an endpoint has.
func (c *claim) cameTo(p store.ClaimParams, num int64) bool {
	from, to := p.After, c.out.After
	switch {
	case roomOf(p, num) <= 0:
		return false
	case !c.out.More:
		return true
	case from < to:
		return from < num && num <= to
	case from == to && len(c.found) == 0:
		return false // it may have come to none
	}
	return num > from || num <= to
}

// order puts what was found into the order of the contract. It is cheaper here than
// in the statement, where the bodies would be sorted too.
func (c *claim) order(after int64) {
	slices.SortFunc(c.found, func(a, b found) int {
		if wrapped := a.ID.Endpoint <= after; wrapped != (b.ID.Endpoint <= after) {
			if wrapped {
				return 1
			}
			return -1
		}
		return cmp.Or(cmp.Compare(a.ID.Endpoint, b.ID.Endpoint), a.due.Compare(b.due), cmp.Compare(a.ID.Event, b.ID.Event))
	})
	c.out.Deliveries = make([]store.Claimed, len(c.found))
	for i := range c.found {
		c.out.Deliveries[i] = c.found[i].Claimed
	}
}

// claimRow holds the columns of a delivery, all of them NULL in the one row of a
// claim that found none.
type claimRow struct {
	event, endpoint, version                        pgtype.Int8
	round, token, attempts, failures, unknown, mode pgtype.Int4
	firstAt, dueAt                                  pgtype.Timestamptz
	tenant, id, typ, contentType, trace             pgtype.Text
	erased                                          pgtype.Bool
	body                                            []byte
}

func (c *claim) take(scan scanner) error {
	r := &c.row
	if c.dest == nil {
		c.dest = []any{
			&c.out.After, &c.out.More, &c.dead, &c.out.Now,
			&r.event, &r.endpoint, &r.round, &r.token, &r.attempts, &r.failures, &r.unknown, &r.firstAt, &r.dueAt,
			&r.tenant, &r.mode, &r.id, &r.typ, &r.contentType, &r.erased, &r.trace, &r.body, &r.version,
		}
	}
	r.body = nil
	err := scan(c.dest...)
	c.out.Now = c.out.Now.UTC()
	if err != nil || !r.event.Valid {
		return err
	}
	c.found = append(c.found, found{due: r.dueAt.Time, Claimed: store.Claimed{
		ID:              store.DeliveryID{Event: r.event.Int64, Endpoint: r.endpoint.Int64, Round: int(r.round.Int32)},
		Token:           int64(r.token.Int32),
		Scope:           store.Scope{Tenant: r.tenant.String, Mode: store.Mode(r.mode.Int32)},
		EventID:         r.id.String,
		EventType:       r.typ.String,
		ContentType:     r.contentType.String,
		Body:            r.body,
		Erased:          r.erased.Bool,
		Trace:           r.trace.String,
		EndpointVersion: r.version.Int64,
		Attempt:         int(r.attempts.Int32),
		Failures:        int(r.failures.Int32),
		Unknown:         int(r.unknown.Int32),
		Elapsed:         max(0, c.out.Now.Sub(r.firstAt.Time)),
	}})
	return nil
}
