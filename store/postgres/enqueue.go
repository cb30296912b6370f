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
	spare, _ := s.spare.Get().(*[]byte)
	if spare == nil {
		spare = new([]byte)
	}
	e.bodies = *spare
	defer func() {
		if *spare = e.bodies; cap(*spare) <= maxSpare {
			s.spare.Put(spare)
		}
	}()
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

// maxSpare bounds the buffers that are kept for the bodies of the next batches.
const maxSpare = 1 << 20

// enqueuer stores one batch.
type enqueuer struct {
	store.EnqueueParams
	leases  bool // else those that members ask for are not taken, as in a transaction
	targets *targets

	open     []int   // indexes of the members without a result, in the order in which rows are locked
	scopes   []int32 // of the open, counted from 1
	bodies   []byte  // one behind the other, of the last statement
	out      []store.Enqueued
	bad      error
	anyReady bool
}

func newEnqueuer(p store.EnqueueParams, leases bool, t *targets) *enqueuer {
	e := &enqueuer{EnqueueParams: p, leases: leases, targets: t, out: make([]store.Enqueued, len(p.Events))}
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

// take reads a row of the statement's answer. Ordinals begin at 1, as the server's do.
func (e *enqueuer) take(scan scanner) error {
	var ord int
	var num int64
	if err := scan(&ord, &num); err != nil {
		return err
	}
	switch num {
	case answerBad:
		ev := &e.Events[e.open[ord-1]]
		e.bad = fmt.Errorf("%w: event %q is for an endpoint that is not of its tenant %.255q, %v", store.ErrInvalid, ev.ID, ev.Tenant, ev.Mode)
	case answerStale:
		for k, scope := range e.scopes {
			if scope == int32(ord) {
				e.out[e.open[k]] = store.Enqueued{Status: store.Stale}
			}
		}
	default:
		e.out[e.open[ord-1]] = store.Enqueued{Status: store.Stored, Event: num}
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
			case d.Lease && e.leases && len(list) <= store.MaxFanOut:
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
	answerStale = 0 // for a scope
	answerBad   = -1
)

// What a statement of enqueueText contains beyond what all need.
type enqueueParts struct {
	json   bool // parameters as one JSON text, and nothing leased; else arrays, and versions of sets are compared
	check  bool // the scope of endpoints
	refs   bool
	traces bool
	delays bool
	lists  bool // of more than MaxFanOut endpoints
}

// enqueueText is the statement that stores a batch: events that are there already
// are left out, the rest goes in with what belongs to it. The numbers of events
// are drawn in the order in which they were given.
//
// Of the arrays only texts are unnested. The others are read at the place of the
// event, ord, which is several times cheaper. Bodies and hashes are one behind the
// other in one parameter each.
func enqueueText(p enqueueParts) string {
	var (
		source  string // of what is given of events
		fresh   string // condition for storing
		scope   = [3]string{"f.tenant", "f.mode", "f.set_version"}
		hash    = "decode(f.hash, 'hex')"
		body    = "decode(f.body, 'base64')"
		created = "f.created"
		refs    = "nullif(f.refs, '')::json"
		trace   = "nullif(f.trace, '')"
		delay   = "f.delay"
		targets = "f.targets, "
		next    = 16 // the first parameter of a part
	)
	param := func(typ string) string {
		next++
		return fmt.Sprintf("$%d::%s", next-1, typ)
	}
	var b strings.Builder
	if p.json {
		b.WriteString("WITH ")
		source = `json_to_recordset($1::text::json -> 'events') AS t(ord int, tenant text, mode smallint, id text, type text, created bigint,
			set_version bigint, content_type text, delay bigint, hash text, refs text, trace text, body text, targets bigint[])`
		fresh = "true"
	} else {
		b.WriteString(`WITH s AS MATERIALIZED (SELECT s.k::int AS k FROM unnest($8::text[], $9::smallint[], $10::bigint[]) WITH ORDINALITY
			AS s(tenant, mode, version, k) WHERE s.version <>
			coalesce((SELECT v.version FROM hookpost.endpoint_set v WHERE v.tenant = s.tenant AND v.mode = s.mode), 0)), `)
		arrays, names := "$1::text[], $2::text[], $3::text[]", "id, type, content_type"
		targets = "" // they are ranges of $12
		scope = [3]string{"($8::text[])[f.scope]", "($9::smallint[])[f.scope]", "($10::bigint[])[f.scope]"}
		hash = "substring($4::bytea FROM f.ord * 32 - 31 FOR 32)"
		created = "($5::bigint[])[f.ord]"
		if p.refs {
			arrays, names = arrays+", "+param("text[]"), names+", refs"
		} else {
			refs = "NULL"
		}
		if p.traces {
			arrays, names = arrays+", "+param("text[]"), names+", trace"
		} else {
			trace = "NULL"
		}
		if p.delays {
			delay = "(" + param("bigint[]") + ")[f.ord]"
		}
		source = "(SELECT t.*, ($7::int[])[t.k] AS scope, t.k::int AS ord FROM unnest(" + arrays + ") WITH ORDINALITY AS t(" + names + ", k)) t"
		fresh = "t.scope <> ALL (ARRAY(SELECT s.k FROM s))"
	}
	if p.check {
		unknown := "json_to_recordset($1::text::json -> 'unknown') AS t(ord int, tenant text, mode smallint, endpoint bigint)"
		if !p.json {
			unknown = "(SELECT t.ord, ($8::text[])[t.scope] AS tenant, ($9::smallint[])[t.scope] AS mode, t.endpoint FROM " +
				"unnest(" + param("int[]") + ", " + param("int[]") + ", " + param("bigint[]") + ") AS t(ord, scope, endpoint) WHERE " + fresh + ") t"
		}
		b.WriteString("bad AS MATERIALIZED (SELECT t.ord FROM " + unknown + ` WHERE (SELECT n.num FROM hookpost.endpoint n
			WHERE n.num = t.endpoint AND n.tenant = t.tenant AND n.mode = t.mode) IS NULL LIMIT 1), `)
		fresh += " AND NOT EXISTS (SELECT FROM bad)"
	}
	lists := "json_to_recordset($1::text::json -> 'lists') AS t(ord int, part int, endpoints text)"
	if p.lists && !p.json {
		lists = "unnest(" + param("int[]") + ", " + param("int[]") + ", " + param("text[]") + ") AS t(ord, part, endpoints)"
	}
	if !p.json {
		body = "substring(" + param("bytea") + " FROM ($6::int[])[f.ord] FOR ($6::int[])[f.ord + 1] - ($6::int[])[f.ord])"
	}
	due, later := "f.at", "false"
	if p.delays {
		due, later = "f.at + "+delay+" * interval '1 microsecond'", delay+" > 0"
	}
	b.WriteString("f AS MATERIALIZED (SELECT nextval('hookpost.event_num') AS num, clock_timestamp() AS at, t.* FROM " + source + " WHERE " + fresh + `),
		e AS (INSERT INTO hookpost.event (num, tenant, mode, set_version, id, type, content_type, created_at, stored_at, hash, refs, trace, body)
			SELECT f.num, ` + strings.Join(scope[:], ", ") + ", f.id, f.type, f.content_type, " + instant(created) + `, f.at,
			` + hash + ", " + refs + ", " + trace + ", " + body + ` FROM f ON CONFLICT (tenant, mode, id) DO NOTHING RETURNING num),
		n AS MATERIALIZED (SELECT f.num, f.at, f.ord, ` + targets + due + " AS due, " + later + ` AS later FROM f JOIN e ON e.num = f.num),
		d AS (INSERT INTO hookpost.delivery (event, round, due_at, created_at, endpoint, state, token, attempts, owner, leased_at, lease_until, first_at)
			SELECT n.num, 0, n.due, n.at, `)
	if p.json {
		b.WriteString(`n.endpoint, CASE WHEN n.later THEN 0 ELSE 1 END, 0, 0, NULL, NULL, NULL, NULL
			FROM (SELECT n.num, n.due, n.at, n.later, unnest(n.targets) AS endpoint FROM n) n)`)
	} else {
		b.WriteString(`($12::bigint[])[n.t], CASE WHEN n.later THEN 0 WHEN n.lease THEN 2 ELSE 1 END, n.lease::int, n.lease::int,
			CASE WHEN n.lease THEN $14::bigint END, CASE WHEN n.lease THEN n.at END, CASE WHEN n.lease THEN n.at + $15::interval END,
			CASE WHEN n.lease THEN n.at END
			FROM (SELECT n.*, ($13::boolean[])[n.t] AS lease
				FROM (SELECT n.num, n.due, n.at, n.later, generate_series(($11::int[])[n.ord], ($11::int[])[n.ord + 1] - 1) AS t FROM n) n) n)`)
	}
	if p.lists {
		b.WriteString(`, l AS (INSERT INTO hookpost.fanout (event, due_at, part, endpoints) SELECT n.num, n.due, t.part, t.endpoints::bigint[]
			FROM ` + lists + " JOIN n ON n.ord = t.ord)")
	}
	if p.refs {
		b.WriteString(", r AS (INSERT INTO hookpost.ref (tenant, mode, ref, event) SELECT DISTINCT " + scope[0] + ", " + scope[1] + `, x.ref, f.num
			FROM f JOIN n ON n.num = f.num CROSS JOIN LATERAL json_array_elements_text(nullif(f.refs, '')::json) AS x(ref))`)
	}
	b.WriteString(" SELECT n.ord, n.num FROM n")
	if !p.json {
		b.WriteString(" UNION ALL SELECT s.k, 0 FROM s")
	}
	if p.check {
		b.WriteString(" UNION ALL SELECT bad.ord, -1 FROM bad")
	}
	return b.String()
}

// instant is the time that is an expression of so many microseconds after 1970. A product
// with an interval is made in floating point, which is exact for the seconds and for the
// rest of any year to 9999, and not for both in one.
func instant(us string) string {
	return "timestamptz 'epoch' + " + us + " / 1000000 * interval '1 second' + " + us + " % 1000000 * interval '1 microsecond'"
}

// statement returns the statement for the open members, with its parameters.
func (e *enqueuer) statement() (string, []any) {
	n := len(e.open)
	var (
		parts                 enqueueParts
		ids, types            = make([]string, n), make([]string, n)
		contentTypes          = make([]string, n)
		refs, traces          = make([]string, n), make([]string, n)
		created, delays       = make([]int64, n), make([]int64, n)
		hashes, bodies        = make([]byte, 0, n*sha256.Size), slices.Grow(e.bodies[:0], e.bodyBytes())
		starts, targetStarts  = make([]int32, n+1), make([]int32, n+1) // counted from 1, as the server does; the last is an end
		targets               = make([]int64, 0, n)
		leases                = make([]bool, 0, n)
		tenants               []string
		modes                 []int16
		versions              []int64
		unknownOrds, unknowns []int32 // events, and their scopes
		unknownEnds           []int64
		listOrds, listParts   []int32
		lists                 []string
	)
	e.scopes = make([]int32, n)
	for k, i := range e.open {
		ev := &e.Events[i]
		ord, at := int32(k+1), len(tenants)
		if at == 0 || tenants[at-1] != ev.Tenant || modes[at-1] != int16(ev.Mode) || versions[at-1] != ev.SetVersion {
			tenants, modes, versions = append(tenants, ev.Tenant), append(modes, int16(ev.Mode)), append(versions, ev.SetVersion)
		}
		e.scopes[k] = int32(len(tenants))
		ids[k], types[k], contentTypes[k], created[k] = ev.ID, ev.Type, ev.ContentType, ev.CreatedAt.UnixMicro()
		refs[k], traces[k], delays[k] = encodeRefs(ev.Refs), ev.Trace, micros(max(ev.Delay, 0))
		parts.refs, parts.traces, parts.delays = parts.refs || refs[k] != "", parts.traces || traces[k] != "", parts.delays || delays[k] != 0
		hashes, bodies = append(hashes, ev.Hash[:]...), append(bodies, ev.Body...)
		for _, d := range ev.For {
			if !e.targets.knows(d.Endpoint, ev.Scope) {
				unknownOrds, unknowns, unknownEnds = append(unknownOrds, ord), append(unknowns, e.scopes[k]), append(unknownEnds, d.Endpoint)
			}
		}
		if len(ev.For) > store.MaxFanOut {
			eachPart(ev.For, func(part int, endpoints string) {
				listOrds, listParts, lists = append(listOrds, ord), append(listParts, int32(part)), append(lists, endpoints)
			})
		} else {
			for _, d := range ev.For {
				targets, leases = append(targets, d.Endpoint), append(leases, d.Lease && delays[k] == 0)
			}
		}
		starts[k+1], targetStarts[k+1] = int32(len(bodies)+1), int32(len(targets)+1)
	}
	starts[0], targetStarts[0], e.bodies = 1, 1, bodies
	args := []any{
		ids, types, contentTypes, hashes, created, starts, e.scopes, tenants, modes, versions,
		targetStarts, targets, leases, e.Owner, e.Lease,
	}
	if parts.refs {
		args = append(args, refs)
	}
	if parts.traces {
		args = append(args, traces)
	}
	if parts.delays {
		args = append(args, delays)
	}
	if parts.check = len(unknownOrds) > 0; parts.check {
		args = append(args, unknownOrds, unknowns, unknownEnds)
	}
	if parts.lists = len(lists) > 0; parts.lists {
		args = append(args, listOrds, listParts, lists)
	}
	// The largest parameter goes last, so that it is not copied while the driver's
	// buffers grow for the others.
	return enqueueText(parts), append(args, orEmpty(bodies))
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
		ords, tenants, modes = append(ords, int32(k+1)), append(tenants, ev.Tenant), append(modes, int16(ev.Mode))
		ids, types, hashes = append(ids, ev.ID), append(types, ev.Type), append(hashes, ev.Hash[:])
	}
	if err := q.query(ctx, selectKnown, []any{ords, tenants, modes, ids, types, hashes}, e.known); err != nil {
		return err
	}
	for _, i := range e.open {
		ev, res := &e.Events[i], &e.out[i]
		if res.Status != store.Duplicate || !e.Repeat || len(ev.For) > store.MaxFanOut {
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
	e.out[e.open[ord-1]] = store.Enqueued{Status: status, Event: num}
	return nil
}
