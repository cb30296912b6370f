package postgres

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/hookpost/hookpost/store"
)

// settled is the condition that an event e has nothing pending.
const settled = `NOT EXISTS (SELECT FROM hookpost.delivery d WHERE d.event = e.num AND d.state <= 2)
	AND NOT EXISTS (SELECT FROM hookpost.fanout f WHERE f.event = e.num)`

// outdated remembers where pruning begins, so that it does not begin with the
// index entries of what it has removed. From time to time it looks at everything.
type outdated struct {
	mu             sync.Mutex
	forgot, erased int64
	silenced       *time.Time // of attempts, by the store's clock; nil: everything
	looked         time.Time
}

const pruneFull = 10 * time.Minute

func (o *outdated) begin(now time.Time) (forgot, erased int64, silenced *time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if now.Sub(o.looked) >= pruneFull {
		o.looked, o.forgot, o.erased, o.silenced = now, 0, 0, nil
	}
	return o.forgot, o.erased, o.silenced
}

// Prune implements [store.Upkeep].
func (s *Store) Prune(ctx context.Context, r store.Retention, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if r.Log <= 0 && r.Payloads <= 0 && r.Responses <= 0 {
		return 0, s.read(ctx, func(querier) error { return ctx.Err() })
	}
	var forgotTo, erasedTo int64
	var silencedTo *time.Time
	err = s.writeTx(ctx, settingsWrite, func(tx pgx.Tx) error {
		q := pgxQuerier{s.text, tx}
		n = 0
		forgotTo, erasedTo, silencedTo = s.outdated.begin(time.Now())
		if r.Log > 0 {
			nums, end, err := lockOutdated(ctx, q, "", r.Log, forgotTo, limit)
			if err != nil {
				return err
			}
			if err := forget(ctx, s, tx, nums); err != nil {
				return err
			}
			n, forgotTo = len(nums), end
		}
		if r.Payloads > 0 && n < limit {
			nums, end, err := lockOutdated(ctx, q, "AND e.erased_at IS NULL ", r.Payloads, max(erasedTo, forgotTo), limit-n)
			if err != nil {
				return err
			}
			k, err := q.exec(ctx, "UPDATE hookpost.event SET body = NULL, erased_at = statement_timestamp() WHERE num = ANY ($1::bigint[])", nums)
			if err != nil {
				return err
			}
			n, erasedTo = n+k, end
		}
		if r.Responses > 0 && n < limit {
			k := 0
			err := q.row(ctx, silence, []any{micros(r.Responses), limit - n, silencedTo}, &k, &silencedTo)
			if err != nil {
				return err
			}
			n += k
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	s.outdated.mu.Lock()
	defer s.outdated.mu.Unlock()
	s.outdated.forgot, s.outdated.erased, s.outdated.silenced = forgotTo, erasedTo, silencedTo
	return n, nil
}

// hasAnswer is the condition that an attempt a has a header or body of an answer.
const hasAnswer = "(a.response_header IS NOT NULL OR a.response_body IS NOT NULL)"

// silence removes the answers of up to $2 attempts that began longer ago than $1, and
// from $3 on. It returns how many, and where to go on.
const silence = `WITH u AS (
	UPDATE hookpost.attempt SET response_header = NULL, response_body = NULL
	WHERE ctid = ANY (ARRAY(SELECT a.ctid FROM hookpost.attempt a WHERE ` + hasAnswer + `
		AND a.started_at <= statement_timestamp() - $1::bigint * interval '1 microsecond' AND a.started_at >= coalesce($3::timestamptz, '-infinity')
		ORDER BY a.started_at LIMIT $2 FOR UPDATE SKIP LOCKED))
	RETURNING started_at
) SELECT count(*), coalesce(max(started_at), $3::timestamptz) FROM u`

// lockOutdated locks events stored longer ago than age that have nothing pending,
// and returns them and where to go on.
func lockOutdated(ctx context.Context, q querier, where string, age time.Duration, from int64, limit int) (nums []int64, end int64, err error) {
	end = from
	_, to, err := numsAt(ctx, q, nil, new(-micros(age)))
	if err != nil {
		return nil, end, err
	}
	var locked []int64
	err = q.query(ctx, "SELECT e.num FROM hookpost.event e WHERE e.num >= $1 AND e.num < $2 "+where+
		"AND e.stored_at <= statement_timestamp() - $3::bigint * interval '1 microsecond' AND "+settled+" ORDER BY e.num LIMIT $4 FOR UPDATE SKIP LOCKED",
		[]any{from, to, micros(age), limit}, func(scan scanner) error {
			var num int64
			err := scan(&num)
			locked = append(locked, num)
			return err
		})
	if err != nil || len(locked) == 0 {
		return nil, end, err
	}
	// Now that they are locked, nothing can become pending: a replay locks the event.
	err = q.query(ctx, "SELECT e.num FROM hookpost.event e WHERE e.num = ANY ($1::bigint[]) AND "+settled+" ORDER BY e.num", []any{locked},
		func(scan scanner) error {
			var num int64
			err := scan(&num)
			nums = append(nums, num)
			return err
		})
	if len(locked) == limit {
		end = locked[len(locked)-1] + 1
	}
	return nums, end, err
}

// forget removes events with all that belongs to them. Deliveries go first: a
// report that holds one locked adds to its attempts.
func forget(ctx context.Context, s *Store, tx pgx.Tx, nums []int64) error {
	if len(nums) == 0 {
		return nil
	}
	b := &batch{text: s.text}
	var n int
	b.addExec("DELETE FROM hookpost.delivery WHERE event = ANY ($1::bigint[])", &n, nums)
	b.addExec("DELETE FROM hookpost.attempt WHERE event = ANY ($1::bigint[])", &n, nums)
	b.addExec(deleteRefs, &n, literal(nums))
	b.addExec("DELETE FROM hookpost.event WHERE num = ANY ($1::bigint[])", &n, nums)
	return tx.SendBatch(ctx, &b.Batch).Close()
}

// deleteRefs removes the rows of the references of events.
const deleteRefs = `DELETE FROM hookpost.ref r USING hookpost.event e, json_array_elements_text(e.refs) AS x(ref)
	WHERE e.num = ANY ($1::text::bigint[]) AND e.refs IS NOT NULL
	AND r.tenant = e.tenant AND r.mode = e.mode AND r.ref = x.ref AND r.event = e.num`

// literal writes numbers as an array, for statements that every driver can send.
func literal(nums []int64) string {
	b := []byte{'{'}
	for i, num := range nums {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, num, 10)
	}
	return string(append(b, '}'))
}
