package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hookpost/hookpost/store"
)

// Settle implements [store.Queue] in one round trip and one commit. There are two
// ways through it. Plain successes, nearly all there is, are applied by a statement
// of their own. For the others the rows are locked first, as far as nobody else has
// them, and a second statement, which sees what was committed until then, decides and
// applies.
//
// When a plain success turns out not to be one, because the lease no longer
// stands, it takes the second way in another round trip. So does the whole batch when
// somebody holds what a plain success needs.
func (s *Store) Settle(ctx context.Context, all []store.Settlement) ([]store.Settled, error) {
	if err := store.CheckSettlements(all); err != nil {
		return nil, err
	}
	out, err := s.settle(ctx, all, false)
	if c := code(err); (c == codeLockTimeout || c == codeDeadlock) && !errors.Is(err, store.ErrUnknownCommit) {
		out, err = s.settle(ctx, all, true)
	}
	return out, err
}

// settle takes the second way with all if wary is set.
func (s *Store) settle(ctx context.Context, all []store.Settlement, wary bool) ([]store.Settled, error) {
	t := settler{all: all, out: make([]store.Settled, len(all)), done: make([]bool, len(all))}
	var plain, other []int
	disables := false
	for i := range all {
		if !wary && all[i].Plain() {
			plain = append(plain, i)
		} else {
			other = append(other, i)
			disables = disables || all[i].DisableVersion != 0
		}
	}
	plain, other = t.together(plain, other)
	t.order(plain)
	t.order(other)
	var err error
	if disables {
		err = s.writeTx(ctx, settingsSettle, func(tx pgx.Tx) error { return s.settleAndDisable(ctx, &t, tx, plain, other) })
	} else {
		err = s.pipeline(ctx, settingsSettle, func(b *batch) {
			t.queue(b, plain, other)
		})
	}
	if err != nil {
		return nil, err
	}
	if late := slices.DeleteFunc(plain, func(i int) bool { return t.done[i] }); len(late) > 0 {
		err := s.pipeline(ctx, settingsSettle, func(b *batch) { t.queue(b, nil, late) })
		if err != nil {
			return nil, fmt.Errorf("%w: a part of it is committed: %w", store.ErrUnknownCommit, err)
		}
	}
	t.recovered()
	again := false
	for i := range all {
		if all[i].Verdict != store.Deliver && t.out[i].Accepted {
			if all[i].Verdict == store.Release {
				s.hot.forget(all[i].ID.Endpoint)
			}
			again = again || all[i].Verdict == store.Release
		}
	}
	if again {
		s.notify.send(s)
	}
	return t.out, nil
}

// settler applies one batch.
type settler struct {
	all  []store.Settlement
	out  []store.Settled
	done []bool

	told  []report // what was new about endpoints
	wants []int    // settlements that may disable their endpoint
	plain plainRow
}

// plainRow is a row of the answer of settlePlain.
type plainRow struct {
	k            int
	failingSince *time.Time
	dest         []any // pointers to the columns
}

// report is news about an endpoint, with its health before the batch.
type report struct {
	index        int
	failingSince time.Time
	lastFailure  time.Time
	now          time.Time
}

// together moves plain successes of endpoints that others report on to the others,
// so that what is told of an endpoint is told in order.
func (t *settler) together(plain, other []int) (p, o []int) {
	if len(plain) == 0 || len(other) == 0 {
		return plain, other
	}
	mixed := make(map[int64]bool, len(other))
	for _, i := range other {
		mixed[t.all[i].ID.Endpoint] = true
	}
	p = plain[:0]
	for _, i := range plain {
		if mixed[t.all[i].ID.Endpoint] {
			other = append(other, i)
		} else {
			p = append(p, i)
		}
	}
	return p, other
}

// order sorts indexes by delivery, the order in which rows are locked.
func (t *settler) order(indexes []int) {
	slices.SortFunc(indexes, func(a, b int) int {
		x, y := t.all[a].ID, t.all[b].ID
		return cmp.Or(cmp.Compare(x.Event, y.Event), cmp.Compare(x.Endpoint, y.Endpoint), cmp.Compare(x.Round, y.Round))
	})
}

// queue queues the statements for plain successes and for the others. Results of an
// earlier try are forgotten.
func (t *settler) queue(b *batch, plain, other []int) {
	for _, indexes := range [...][]int{plain, other} {
		for _, i := range indexes {
			t.out[i], t.done[i] = store.Settled{}, false
		}
		t.told = slices.DeleteFunc(t.told, func(r report) bool { return slices.Contains(indexes, r.index) })
	}
	t.wants = nil
	if len(plain) > 0 {
		b.add(settlePlain, t.plainArgs(plain), func(scan scanner) error { return t.takePlain(scan, plain) })
	}
	if len(other) > 0 {
		args := t.otherArgs(other)
		b.add(lockOther, append(slices.Clone(args[:4]), t.changing(other)), func(scanner) error { return nil })
		b.add(settleOther, args, t.takeOther)
	}
}

// changing returns the endpoints whose health changes for certain.
func (t *settler) changing(indexes []int) []int64 {
	nums := []int64{}
	for _, i := range indexes {
		s := &t.all[i]
		if s.Verdict != store.Deliver && s.Attempt != nil && !s.Quiet || s.Hold > 0 {
			nums = append(nums, s.ID.Endpoint)
		}
	}
	slices.Sort(nums)
	return slices.Compact(nums)
}

func (t *settler) plainArgs(indexes []int) []any {
	n := len(indexes)
	var (
		rounds, tokens, ns, statuses   = make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
		events, endpoints, agos, tooks = make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		urls                           = make([]string, n)
		quiet                          = make([]bool, n)
	)
	for k, i := range indexes {
		s := &t.all[i]
		events[k], endpoints[k], rounds[k] = s.ID.Event, s.ID.Endpoint, int4(s.ID.Round)
		tokens[k], ns[k], statuses[k] = int4(s.Token), int4(s.Attempt.N), int4(s.Attempt.Status)
		agos[k], tooks[k], urls[k], quiet[k] = micros(s.Ago), micros(s.Attempt.Took), toText(s.Attempt.URL), s.Quiet
	}
	return []any{events, endpoints, rounds, tokens, ns, statuses, agos, tooks, urls, quiet}
}

func (t *settler) otherArgs(indexes []int) []any {
	n := len(indexes)
	var (
		ords, rounds, tokens, ns, statuses = make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n), make([]int32, n)
		events, endpoints, agos, tooks     = make([]int64, n), make([]int64, n), make([]int64, n), make([]int64, n)
		delays, holds                      = make([]int64, n), make([]int64, n)
		verdicts, outcomes                 = make([]int16, n), make([]int16, n)
		urls, classes, errs, reasons       = make([]string, n), make([]string, n), make([]string, n), make([]string, n)
		headers, bodies                    = make([][]byte, n), make([][]byte, n)
		quiet                              = make([]bool, n)
	)
	for k, i := range indexes {
		s := &t.all[i]
		ords[k], events[k], endpoints[k], rounds[k] = int32(i), s.ID.Event, s.ID.Endpoint, int4(s.ID.Round)
		tokens[k], verdicts[k], delays[k], holds[k] = int4(s.Token), int16(s.Verdict), micros(s.Delay), micros(s.Hold)
		reasons[k], quiet[k], agos[k] = toText(s.Reason), s.Quiet, micros(s.Ago)
		if s.Attempt == nil {
			continue
		}
		a := s.Logged()
		ns[k], statuses[k], tooks[k], outcomes[k] = int4(a.N), int4(a.Status), micros(a.Took), int16(a.Outcome)
		urls[k], classes[k], errs[k] = toText(a.URL), toText(a.Class), toText(a.Error)
		headers[k], bodies[k] = a.ResponseHeader, a.ResponseBody
	}
	return []any{
		events, endpoints, rounds, ords, tokens, verdicts, ns, outcomes, agos, tooks, statuses,
		urls, classes, errs, headers, bodies, delays, holds, reasons, quiet,
	}
}

// takePlain reads a row of the answer of settlePlain.
func (t *settler) takePlain(scan scanner, indexes []int) error {
	r := &t.plain
	if r.dest == nil {
		r.dest = []any{&r.k, &r.failingSince}
	}
	if err := scan(r.dest...); err != nil {
		return err
	}
	i := indexes[r.k-1]
	t.out[i] = store.Settled{Accepted: true, State: store.Delivered}
	t.done[i] = true
	if !t.all[i].Quiet && r.failingSince != nil {
		t.told = append(t.told, report{index: i, failingSince: r.failingSince.UTC()})
	}
	return nil
}

// takeOther reads a row of the answer of settleOther.
func (t *settler) takeOther(scan scanner) error {
	var i, state, lane int
	var busy, accepted, told, counts bool
	var failingSince, lastFailure *time.Time
	var now time.Time
	if err := scan(&i, &busy, &accepted, &state, &lane, &told, &counts, &failingSince, &lastFailure, &now); err != nil {
		return err
	}
	if busy {
		t.out[i] = store.Settled{Busy: true}
		return nil
	}
	t.out[i] = store.Settled{Accepted: accepted, State: visible(state, store.EndpointState(lane))}
	if told {
		t.told = append(t.told, report{i, utc(failingSince), utc(lastFailure), now.UTC()})
	}
	if counts && t.all[i].DisableVersion != 0 {
		t.wants = append(t.wants, i)
	}
	return nil
}

// recovered finds out which successes ended a row of failures, going through the
// news of each endpoint in the order of the batch. Its health before is what came with
// the news of it that were applied first, which need not be the first of the batch.
func (t *settler) recovered() {
	before := make(map[int64]report)
	for _, r := range t.told {
		num := t.all[r.index].ID.Endpoint
		if _, met := before[num]; !met {
			before[num] = r
		}
	}
	slices.SortFunc(t.told, func(a, b report) int { return cmp.Compare(a.index, b.index) })
	since := make(map[int64]time.Time)
	for _, r := range t.told {
		s := &t.all[r.index]
		at, met := since[s.ID.Endpoint]
		if !met {
			at = before[s.ID.Endpoint].failingSince
		}
		if s.Verdict == store.Deliver {
			t.out[r.index].Recovered, t.out[r.index].FailingSince = !at.IsZero(), at
			at = time.Time{}
		} else if at.IsZero() || !met && r.now.Sub(before[s.ID.Endpoint].lastFailure) > failureGap {
			at = r.now
		}
		since[s.ID.Endpoint] = at
	}
}

// settleAndDisable is for batches that may disable endpoints. Sets are locked
// before endpoints, as everywhere. What would change a set that somebody else has is
// busy.
func (s *Store) settleAndDisable(ctx context.Context, t *settler, tx pgx.Tx, plain, other []int) error {
	q := pgxQuerier{s.text, tx}
	var nums []int64
	for _, i := range other {
		if t.all[i].DisableVersion != 0 {
			nums = append(nums, t.all[i].ID.Endpoint)
		}
	}
	free := make(map[int64]bool) // the endpoints whose sets are locked here
	err := q.query(ctx, `SELECT e.num FROM hookpost.endpoint e CROSS JOIN LATERAL (SELECT FROM hookpost.endpoint_set v
		WHERE v.tenant = e.tenant AND v.mode = e.mode LIMIT 1 FOR UPDATE SKIP LOCKED) v
		WHERE e.num = ANY ($1::bigint[]) ORDER BY e.tenant, e.mode`, []any{nums}, func(scan scanner) error {
		var num int64
		err := scan(&num)
		free[num] = true
		return err
	})
	if err != nil {
		return err
	}
	other = slices.DeleteFunc(slices.Clone(other), func(i int) bool {
		t.out[i].Busy = t.all[i].DisableVersion != 0 && !free[t.all[i].ID.Endpoint]
		return t.out[i].Busy
	})
	b := &batch{text: s.text}
	t.queue(b, plain, other)
	if err := tx.SendBatch(ctx, &b.Batch).Close(); err != nil {
		return err
	}
	slices.Sort(t.wants)
	for _, i := range t.wants {
		r := &t.all[i]
		eps, err := endpointsWhere(ctx, q, "WHERE e.num = $1", r.ID.Endpoint)
		if err != nil {
			return err
		}
		if len(eps) == 0 || eps[0].State != store.Enabled || eps[0].Version != r.DisableVersion {
			continue
		}
		if _, err := disable(ctx, q, eps[0], r.DisableReason); err != nil {
			return err
		}
		t.out[i].Disabled = true
	}
	return nil
}

// lockSets locks the rows of the endpoints' sets, in one order for all.
func lockSets(ctx context.Context, q querier, eps []store.Endpoint) error {
	var scopes []store.Scope
	for _, ep := range eps {
		scopes = append(scopes, ep.Scope)
	}
	slices.SortFunc(scopes, func(a, b store.Scope) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Mode, b.Mode))
	})
	for _, sc := range slices.Compact(scopes) {
		_, err := q.exec(ctx, "SELECT FROM hookpost.endpoint_set WHERE tenant = $1 AND mode = $2 FOR UPDATE", sc.Tenant, int16(sc.Mode))
		if err != nil {
			return err
		}
	}
	return nil
}
