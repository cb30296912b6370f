package postgres

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Enqueue implements [store.Queue]: one round trip and one commit, and a second
// round trip when ids were there already.
func (s *Store) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	if err := store.CheckEvents(p.Events, false); err != nil {
		return nil, err
	}
	e := newEnqueuer(p, true, &s.targets)
	if len(p.Events) == 0 {
		if err := s.enter(); err != nil {
			return nil, err
		}
		s.calls.Done()
		return e.out, ctx.Err()
	}
	committed := false
	for len(e.open) > 0 {
		text, args := e.statement()
		err := s.pipeline(ctx, settingsEnqueue, func(b *batch) { b.add(text, args, e.take) })
		if err == nil {
			err = e.bad
		}
		if err != nil && !committed {
			return nil, err
		}
		// An id that was there may have been deleted since; then its turn comes again.
		if err == nil {
			committed = true
			if e.close(); len(e.open) > 0 {
				err = s.read(ctx, func(q querier) error { return e.lookUp(ctx, q) })
			}
		}
		if err != nil {
			// What is committed can't be taken back, only asked for again.
			return nil, fmt.Errorf("%w: its answer is incomplete: %w", store.ErrUnknownCommit, err)
		}
	}
	if e.anyReady {
		s.notify.send(s)
	}
	return e.out, nil
}

// enqueuer stores one batch.
type enqueuer struct {
	store.EnqueueParams
	compare bool // the set version with the current one, and lease
	targets *targets

	open     []int // indexes of the members without a result, in the order in which rows are locked
	out      []store.Enqueued
	bad      error
	anyReady bool
}

func newEnqueuer(p store.EnqueueParams, compare bool, t *targets) *enqueuer {
	e := &enqueuer{EnqueueParams: p, compare: compare, targets: t, out: make([]store.Enqueued, len(p.Events))}
	e.open = make([]int, len(p.Events))
	for i := range e.open {
		e.open[i] = i
	}
	// All batches lock ids in the same order, so that none waits for one that waits
	// for it.
	slices.SortStableFunc(e.open, func(a, b int) int {
		x, y := &p.Events[a], &p.Events[b]
		return cmp.Or(cmp.Compare(x.Tenant, y.Tenant), cmp.Compare(x.Mode, y.Mode), cmp.Compare(x.ID, y.ID))
	})
	return e
}

// take reads a row of the statement's answer.
func (e *enqueuer) take(scan scanner) error {
	var ord int
	var num int64
	if err := scan(&ord, &num); err != nil {
		return err
	}
	switch num {
	case answerBad:
		ev := &e.Events[e.open[ord]]
		e.bad = fmt.Errorf("%w: event %q is for an endpoint that is not of its scope %v", store.ErrInvalid, ev.ID, ev.Scope)
	case answerStale:
		e.out[e.open[ord]] = store.Enqueued{Status: store.Stale}
	default:
		e.out[e.open[ord]] = store.Enqueued{Status: store.Stored, Event: num}
	}
	return nil
}

// close keeps those open that have no result.
func (e *enqueuer) close() {
	for _, i := range e.open {
		res := &e.out[i]
		if res.Status != store.Stored {
			continue
		}
		list, later := e.Events[i].For, micros(e.Events[i].Delay) > 0
		for _, d := range list {
			switch {
			case later:
			case d.Lease && e.compare && len(list) <= store.MaxFanOut:
				res.Leased = true
			default:
				e.anyReady = true
			}
		}
	}
	e.open = slices.DeleteFunc(e.open, func(i int) bool { return e.out[i].Status != 0 })
}

// The answers of the statement below that are not numbers of events.
const (
	answerStale = 0
	answerBad   = -1
)

// What a statement of enqueueText contains.
type enqueueParts struct {
	json    bool // parameters as one JSON text, instead of arrays, with bodies and hashes one behind the other
	compare bool // set versions
	check   bool // the scope of endpoints
	refs    bool
	lists   bool // of more than MaxFanOut endpoints
}

// enqueueText is the statement that stores a batch: events that are there already
// are left out, the rest goes in with what belongs to it. The numbers of events
// are drawn in the order in which they were given.
func enqueueText(p enqueueParts) string {
	var b strings.Builder
	b.WriteString("WITH i AS MATERIALIZED (SELECT t.ord::int AS ord, t.tenant, t.mode, t.id, t.type, t.created, t.set_version, t.content_type, t.trace, t.delay, ")
	if p.json {
		b.WriteString("decode(t.hash, 'hex') AS hash, t.refs, decode(t.body, 'base64') AS body, ")
	} else {
		b.WriteString("substring($9::bytea FROM t.ord * 32 + 1 FOR 32) AS hash, t.refs, substring($1::bytea FROM t.body_at FOR t.body_size) AS body, ")
	}
	if p.compare {
		b.WriteString(`coalesce((SELECT v.version FROM hookpost.endpoint_set v WHERE v.tenant = t.tenant AND v.mode = t.mode), 0)
			<> t.set_version AS stale FROM `)
	} else {
		b.WriteString("false AS stale FROM ")
	}
	if p.json {
		b.WriteString(`json_to_recordset($1::text::json -> 'events') AS t(ord int, tenant text, mode smallint, id text, type text,
			created bigint, set_version bigint, content_type text, delay bigint, hash text, refs text, trace text, body text))`)
	} else {
		b.WriteString(`unnest($2::int[], $3::text[], $4::smallint[], $5::text[], $6::text[], $7::bigint[], $8::bigint[], $10::text[],
			$11::text[], $12::int[], $13::int[], $16::text[], $17::bigint[])
			AS t(ord, tenant, mode, id, type, created, set_version, content_type, refs, body_at, body_size, trace, delay))`)
	}
	next := 18
	source := func(name, jsonColumns, arrays string, columns string, n int) string {
		if p.json {
			return "json_to_recordset($1::text::json -> '" + name + "') AS t(" + jsonColumns + ")"
		}
		args := make([]any, n)
		for i := range args {
			args[i] = next
			next++
		}
		return fmt.Sprintf("unnest("+arrays+") AS t("+columns+")", args...)
	}
	const targetColumns = "ord int, endpoint bigint, lease boolean"
	targets := source("targets", targetColumns, "$%d::int[], $%d::bigint[], $%d::boolean[]", "ord, endpoint, lease", 3)
	fresh := "NOT i.stale"
	if p.check {
		b.WriteString(`, bad AS MATERIALIZED (SELECT i.ord FROM ` + source("unknown", "ord int, endpoint bigint", "$%d::int[], $%d::bigint[]", "ord, endpoint", 2) + `
			JOIN i ON i.ord = t.ord WHERE NOT i.stale AND (SELECT n.num FROM hookpost.endpoint n
			WHERE n.num = t.endpoint AND n.tenant = i.tenant AND n.mode = i.mode) IS NULL LIMIT 1)`)
		fresh += " AND NOT EXISTS (SELECT FROM bad)"
	}
	b.WriteString(`, f AS MATERIALIZED (SELECT nextval('hookpost.event_num') AS num, clock_timestamp() AS at, i.* FROM i WHERE ` + fresh + `),
		e AS (INSERT INTO hookpost.event (num, tenant, mode, id, type, created_at, stored_at, set_version, content_type, hash, refs, trace, body)
			SELECT num, tenant, mode, id, type, timestamptz 'epoch' + created * interval '1 microsecond', at, set_version, content_type, hash,
			nullif(refs, '')::json, nullif(trace, ''), body FROM f ON CONFLICT (tenant, mode, id) DO NOTHING RETURNING num),
		n AS MATERIALIZED (SELECT f.ord, f.num, f.at, f.at + f.delay * interval '1 microsecond' AS due, f.delay > 0 AS later FROM f JOIN e ON e.num = f.num),
		d AS (INSERT INTO hookpost.delivery (event, endpoint, round, due_at, created_at, state, token, attempts, owner, leased_at, lease_until, first_at)
			SELECT n.num, t.endpoint, 0, n.due, n.at, `)
	if p.json {
		b.WriteString("CASE WHEN n.later THEN 0 ELSE 1 END, 0, 0, NULL, NULL, NULL, NULL")
	} else {
		b.WriteString(`CASE WHEN n.later THEN 0 WHEN t.lease THEN 2 ELSE 1 END, t.lease::int, t.lease::int, CASE WHEN t.lease THEN $14::bigint END,
			CASE WHEN t.lease THEN n.at END, CASE WHEN t.lease THEN n.at + $15::bigint * interval '1 microsecond' END, CASE WHEN t.lease THEN n.at END`)
	}
	b.WriteString(" FROM " + targets + " JOIN n ON n.ord = t.ord)")
	if p.lists {
		b.WriteString(`, l AS (INSERT INTO hookpost.fanout (event, due_at, part, endpoints) SELECT n.num, n.due, t.part, t.endpoints::bigint[]
			FROM ` + source("lists", "ord int, part int, endpoints text", "$%d::int[], $%d::int[], $%d::text[]", "ord, part, endpoints", 3) + ` JOIN n ON n.ord = t.ord)`)
	}
	if p.refs {
		b.WriteString(`, r AS (INSERT INTO hookpost.ref (tenant, mode, ref, event) SELECT DISTINCT f.tenant, f.mode, x.ref, f.num
			FROM f JOIN n ON n.num = f.num CROSS JOIN LATERAL json_array_elements_text(nullif(f.refs, '')::json) AS x(ref))`)
	}
	b.WriteString(" SELECT n.ord, n.num FROM n UNION ALL SELECT i.ord, 0 FROM i WHERE i.stale")
	if p.check {
		b.WriteString(" UNION ALL SELECT bad.ord, -1 FROM bad")
	}
	return b.String()
}

// statement returns the statement for the open members, with its parameters.
func (e *enqueuer) statement() (string, []any) {
	n := len(e.open)
	var (
		parts                   = enqueueParts{compare: e.compare}
		ords                    = make([]int32, n)
		modes                   = make([]int16, n)
		created, versions       = make([]int64, n), make([]int64, n)
		delays                  = make([]int64, n)
		tenants, ids, types     = make([]string, n), make([]string, n), make([]string, n)
		contentTypes, refs      = make([]string, n), make([]string, n)
		traces                  = make([]string, n)
		starts, sizes           = make([]int32, n), make([]int32, n)
		hashes, bodies          = make([]byte, 0, n*sha256.Size), make([]byte, 0, e.bodyBytes())
		targetOrds, unknownOrds []int32
		targetEnds, unknownEnds []int64
		leases                  []bool
		listOrds, listParts     []int32
		lists                   []string
	)
	for k, i := range e.open {
		ev := &e.Events[i]
		ords[k], tenants[k], modes[k], ids[k], types[k] = int32(k), ev.Tenant, int16(ev.Mode), ev.ID, ev.Type
		created[k], versions[k], contentTypes[k] = ev.CreatedAt.UnixMicro(), ev.SetVersion, ev.ContentType
		starts[k], sizes[k], refs[k] = int32(len(bodies)+1), int32(len(ev.Body)), encodeRefs(ev.Refs)
		hashes, bodies = append(hashes, ev.Hash[:]...), append(bodies, ev.Body...)
		traces[k] = ev.Trace
		delays[k] = micros(max(ev.Delay, 0))
		parts.refs = parts.refs || len(ev.Refs) > 0
		for _, d := range ev.For {
			if !e.targets.knows(d.Endpoint, ev.Scope) {
				unknownOrds, unknownEnds = append(unknownOrds, int32(k)), append(unknownEnds, d.Endpoint)
			}
		}
		if len(ev.For) > store.MaxFanOut {
			eachPart(ev.For, func(part int, endpoints string) {
				listOrds, listParts, lists = append(listOrds, int32(k)), append(listParts, int32(part)), append(lists, endpoints)
			})
			continue
		}
		for _, d := range ev.For {
			targetOrds, targetEnds = append(targetOrds, int32(k)), append(targetEnds, d.Endpoint)
			leases = append(leases, d.Lease && e.compare && delays[k] == 0)
		}
	}
	// The largest parameter goes first: the buffer of all grows once for it.
	args := []any{
		bodies, ords, tenants, modes, ids, types, created, versions, hashes, contentTypes, refs, starts, sizes,
		e.Owner, e.Lease.Microseconds(), traces, delays, orEmpty(targetOrds), orEmpty(targetEnds), orEmpty(leases),
	}
	if parts.check = len(unknownOrds) > 0; parts.check {
		args = append(args, unknownOrds, unknownEnds)
	}
	if parts.lists = len(lists) > 0; parts.lists {
		args = append(args, listOrds, listParts, lists)
	}
	return enqueueText(parts), args
}

// bodyBytes is the size of the open members' bodies together.
func (e *enqueuer) bodyBytes() (n int) {
	for _, i := range e.open {
		n += len(e.Events[i].Body)
	}
	return n
}

// orEmpty keeps nil from becoming NULL.
func orEmpty[S ~[]E, E any](s S) S {
	if s == nil {
		return S{}
	}
	return s
}

func encodeRefs(refs []string) string {
	if len(refs) == 0 {
		return ""
	}
	text, err := json.Marshal(refs)
	if err != nil {
		return "" // strings always marshal
	}
	return string(text)
}

// eachPart cuts a list into parts of MaxFanOut, written as array literals.
func eachPart(list []store.NewDelivery, f func(part int, endpoints string)) {
	for part := 0; len(list) > 0; part++ {
		n := min(len(list), store.MaxFanOut)
		literal := []byte{'{'}
		for i, d := range list[:n] {
			if i > 0 {
				literal = append(literal, ',')
			}
			literal = strconv.AppendInt(literal, d.Endpoint, 10)
		}
		f(part, string(append(literal, '}')))
		list = list[n:]
	}
}

const (
	selectKnown = `SELECT t.ord, e.num, e.type = t.type AND e.hash = t.hash FROM
		unnest($1::int[], $2::text[], $3::smallint[], $4::text[], $5::text[], $6::bytea[]) AS t(ord, tenant, mode, id, type, hash)
		JOIN hookpost.event e ON e.tenant = t.tenant AND e.mode = t.mode AND e.id = t.id`
	selectStanding = `SELECT count(*) FROM hookpost.delivery WHERE event = $1 AND endpoint = ANY ($2::bigint[]) AND round = 0
		AND state = 2 AND token = 1 AND owner = $3 AND lease_until > statement_timestamp()`
)

// lookUp decides what the open members have become whose ids were there. It sees
// what a statement that met an id being committed could not.
func (e *enqueuer) lookUp(ctx context.Context, q querier) error {
	var ords []int32
	var modes []int16
	var tenants, ids, types []string
	var hashes [][]byte
	for k, i := range e.open {
		ev := &e.Events[i]
		ords, tenants, modes = append(ords, int32(k)), append(tenants, ev.Tenant), append(modes, int16(ev.Mode))
		ids, types, hashes = append(ids, ev.ID), append(types, ev.Type), append(hashes, ev.Hash[:])
	}
	if err := q.query(ctx, selectKnown, []any{ords, tenants, modes, ids, types, hashes}, e.known); err != nil {
		return err
	}
	for _, i := range e.open {
		ev, res := &e.Events[i], &e.out[i]
		if res.Status != store.Duplicate || !e.Repeat || !e.compare || len(ev.For) > store.MaxFanOut {
			continue
		}
		var asked []int64
		for _, d := range ev.For {
			if d.Lease {
				asked = append(asked, d.Endpoint)
			}
		}
		if len(asked) == 0 {
			continue
		}
		standing := 0
		if err := q.row(ctx, selectStanding, []any{res.Event, asked, e.Owner}, &standing); err != nil {
			return err
		}
		res.Leased = standing == len(asked)
	}
	e.close()
	return nil
}

// known reads a row about an event that is there.
func (e *enqueuer) known(scan scanner) error {
	var ord int
	var num int64
	var same bool
	if err := scan(&ord, &num, &same); err != nil {
		return err
	}
	status := store.Conflict
	if same {
		status = store.Duplicate
	}
	e.out[e.open[ord]] = store.Enqueued{Status: status, Event: num}
	return nil
}

// micros is a duration as the statements take it.
func micros(d time.Duration) int64 { return d.Microseconds() }
