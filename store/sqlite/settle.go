package sqlite

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Settle implements [store.Queue].
func (s *Store) Settle(ctx context.Context, batch []store.Settlement) (out []store.Settled, err error) {
	if err := store.CheckSettlements(batch); err != nil {
		return nil, err
	}
	err = s.write(ctx, func(c *conn) error {
		t := settler{x: c, now: s.now(), batch: batch}
		out, err = t.run()
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// settler applies one batch: plain successes at once; of the rest it reads all rows,
// decides, and writes all rows.
type settler struct {
	x     execer
	now   int64
	batch []store.Settlement

	out   []store.Settled
	rows  []deliveryRow // one for each settlement, if any is to be read
	lanes map[int64]*health
	log   []logged
	args  []any
}

// deliveryRow is a row of hookpost_delivery and the outcome that the log has
// for the reported attempt.
type deliveryRow struct {
	there, changed, erased                    bool // erased: its event is
	state, token, attempts, failures, unknown int64
	leasedAt, firstAt, finishedAt             any // NULL or microseconds
	dueAt, lastStatus                         int64
	reason                                    string
	outcome                                   store.Outcome // 0: the log has none
}

func (t *settler) run() ([]store.Settled, error) {
	t.out = make([]store.Settled, len(t.batch))
	if len(t.batch) == 0 {
		return t.out, nil
	}
	t.lanes = make(map[int64]*health)
	slow, err := t.plain()
	if err != nil {
		return nil, err
	}
	if err := t.load(slow); err != nil {
		return nil, err
	}
	for i := range t.batch {
		s, res := &t.batch[i], &t.out[i]
		if res.Accepted {
			t.tell(s, res)
		} else if d := &t.rows[i]; d.there {
			if err := t.settle(s, d, res); err != nil {
				return nil, err
			}
		}
	}
	if err := insertAttempts(t.x, t.log); err != nil {
		return nil, err
	}
	if err := t.updateDeliveries(); err != nil {
		return nil, err
	}
	for _, h := range t.lanes {
		if err := h.save(t.x); err != nil {
			return nil, err
		}
	}
	return t.out, nil
}

var selectSettled = newMulti(`SELECT v.column1, d.state, d.token, d.attempts, d.failures, d.unknown,
	d.leased_at, d.first_at, d.finished_at, d.due_at, d.last_status, d.reason,
	coalesce((SELECT a.outcome FROM hookpost_attempt a
	 WHERE a.event = d.event AND a.endpoint = d.endpoint AND a.round = d.round AND a.n = v.column5),
	 CASE WHEN d.success_at IS NOT NULL AND d.attempts = v.column5 THEN 1 END),
	EXISTS (SELECT 1 FROM hookpost_event e WHERE e.num = d.event AND e.erased_at IS NOT NULL)
	FROM (VALUES `, "(?,?,?,?,?)", `) v CROSS JOIN hookpost_delivery d
	ON d.event = v.column2 AND d.endpoint = v.column3 AND d.round = v.column4`)

// plain settles what nearly all settlements are, successes under a lease that still
// stands, without reading a row first. The delivery keeps what there is to know of
// the attempt. It returns the indexes of the others.
func (t *settler) plain() (rest []int, err error) {
	for i := range t.batch {
		s := &t.batch[i]
		n := 0
		if s.Plain() {
			n, err = t.x.exec(`UPDATE OR FAIL hookpost_delivery SET state = 3, unknown = 0, owner = NULL, leased_at = NULL, lease_until = NULL,
				last_status = ?, finished_at = ?, reason = '', success_at = ?, success_took = ?, success_url = ?
				WHERE event = ? AND endpoint = ? AND round = ? AND state = 2 AND token = ? AND attempts = ?`,
				s.Attempt.Status, t.now, t.now-s.Ago.Microseconds(), s.Attempt.Took.Microseconds(), s.Attempt.URL,
				s.ID.Event, s.ID.Endpoint, s.ID.Round, s.Token, s.Attempt.N)
			if err != nil {
				return nil, err
			}
		}
		if n == 0 {
			rest = append(rest, i)
			continue
		}
		t.out[i] = store.Settled{Accepted: true, State: store.Delivered}
		t.lanes[s.ID.Endpoint] = nil
	}
	return rest, nil
}

// load reads the given deliveries, and the health of all endpoints.
func (t *settler) load(indexes []int) error {
	if len(indexes) > 0 {
		t.rows = make([]deliveryRow, len(t.batch))
	}
	err := inBatches(len(indexes), func(from, to int) error {
		t.args = t.args[:0]
		for _, i := range indexes[from:to] {
			id, n := t.batch[i].ID, 0
			if a := t.batch[i].Attempt; a != nil {
				n = a.N
			}
			t.args = append(t.args, i, id.Event, id.Endpoint, id.Round, n)
		}
		return t.x.query(func(r row) error {
			i := r.int(0)
			t.rows[i] = deliveryRow{
				there:      true,
				state:      r.int(1),
				token:      r.int(2),
				attempts:   r.int(3),
				failures:   r.int(4),
				unknown:    r.int(5),
				leasedAt:   r[6],
				firstAt:    r[7],
				finishedAt: r[8],
				dueAt:      r.int(9),
				lastStatus: r.int(10),
				reason:     r.text(11),
				outcome:    store.Outcome(r.int(12)),
				erased:     r.int(13) != 0,
			}
			t.lanes[t.batch[i].ID.Endpoint] = nil
			return nil
		}, selectSettled.rows(to-from), t.args...)
	})
	if err != nil {
		return err
	}
	return loadHealth(t.x, t.lanes)
}

// settle applies one settlement to the rows in memory.
func (t *settler) settle(s *store.Settlement, d *deliveryRow, res *store.Settled) error {
	lane := t.lanes[s.ID.Endpoint]
	deleted := lane.state == store.Deleted
	if s.Attempt == nil {
		if d.state != leased || d.token != s.Token {
			res.State = visible(d.state, deleted)
			return nil
		}
		res.Accepted = t.settleUnasked(s, d, deleted)
	} else {
		if d.outcome != 0 && d.outcome != store.AttemptUnknown {
			res.State = visible(d.state, deleted)
			return nil
		}
		l := reported(s, t.now)
		if d.erased {
			l.ResponseHeader, l.ResponseBody = nil, nil
		}
		t.log = append(t.log, l)
		res.Accepted = t.settleAttempt(s, d, deleted)
		t.tell(s, res)
	}
	res.State = visible(d.state, deleted)
	lane.hold(s.Hold, t.now)
	if s.DisableVersion != 0 && lane.state == store.Enabled && lane.version == s.DisableVersion {
		eps, err := endpointsWhere(t.x, "WHERE e.num = ?", lane.endpoint)
		if err != nil || len(eps) == 0 {
			return err
		}
		ep, err := disable(t.x, eps[0], t.now, s.DisableReason)
		if err != nil {
			return err
		}
		lane.state, lane.version = ep.State, ep.Version
		res.Disabled = true
	}
	return nil
}

// tell notes what a new report says about the receiver, of whatever consequence it
// is to the delivery.
func (t *settler) tell(s *store.Settlement, res *store.Settled) {
	lane := t.lanes[s.ID.Endpoint]
	switch {
	case s.Quiet:
	case s.Verdict == store.Deliver:
		res.FailingSince = lane.succeeded(t.now)
		res.Recovered = !res.FailingSince.IsZero()
	default:
		lane.failed(t.now)
	}
}

// settleUnasked ends a lease under which no request was made. Its attempt number
// is free again.
func (t *settler) settleUnasked(s *store.Settlement, d *deliveryRow, deleted bool) bool {
	if d.attempts--; d.attempts == 0 {
		d.firstAt = nil
	}
	switch {
	case deleted:
		t.finish(d, cancelled, store.ReasonDeleted)
		return false
	case s.Verdict == store.Release:
		d.state, d.leasedAt, d.changed = ready, nil, true
	case s.Verdict == store.Retry:
		t.retry(d, s.Delay)
	default:
		t.finish(d, exhausted, s.Reason)
	}
	return true
}

// settleAttempt applies a report that is new and says whether it changed the
// delivery.
func (t *settler) settleAttempt(s *store.Settlement, d *deliveryRow, deleted bool) bool {
	if s.Verdict == store.Deliver {
		if d.state == delivered {
			return false
		}
		if d.state == leased && d.attempts != int64(s.Attempt.N) {
			t.logUnknown(s.ID, d) // the attempt under way may never be reported
		}
		t.answered(s, d)
		t.finish(d, delivered, "")
		return true
	}
	if d.state > leased || d.token != s.Token {
		return false
	}
	if deleted {
		t.finish(d, cancelled, store.ReasonDeleted)
		return false
	}
	t.answered(s, d)
	if s.Verdict == store.Retry {
		t.retry(d, s.Delay)
	} else {
		d.failures++
		t.finish(d, exhausted, s.Reason)
	}
	return true
}

// answered notes an attempt that counts.
func (t *settler) answered(s *store.Settlement, d *deliveryRow) {
	d.unknown = 0
	if s.Attempt.Status != 0 {
		d.lastStatus = int64(s.Attempt.Status)
	}
}

func (t *settler) retry(d *deliveryRow, delay time.Duration) {
	d.failures++
	d.unknown = 0
	d.state, d.dueAt = scheduled, t.now+delay.Microseconds()
	if delay <= 0 {
		d.state, d.dueAt = ready, t.now
	}
	d.leasedAt, d.changed = nil, true
}

func (t *settler) finish(d *deliveryRow, state int64, reason string) {
	d.state, d.reason, d.finishedAt = state, reason, t.now
	d.leasedAt, d.changed = nil, true
}

// logUnknown logs the attempt under the current lease as never reported.
func (t *settler) logUnknown(id store.DeliveryID, d *deliveryRow) {
	at, _ := d.leasedAt.(int64)
	t.log = append(t.log, logged{
		id:        id,
		Attempt:   store.Attempt{N: int(d.attempts), Outcome: store.AttemptUnknown},
		startedAt: at,
	})
}

// updateDeliveries writes the rows that have changed.
func (t *settler) updateDeliveries() error {
	for i := range t.rows {
		d, id := &t.rows[i], t.batch[i].ID
		if !d.changed {
			continue
		}
		_, err := t.x.exec(`UPDATE hookpost_delivery SET state = ?, attempts = ?, failures = ?, unknown = ?,
			owner = NULL, leased_at = NULL, lease_until = NULL, due_at = ?, first_at = ?, last_status = ?, finished_at = ?, reason = ?
			WHERE event = ? AND endpoint = ? AND round = ?`,
			d.state, d.attempts, d.failures, d.unknown, d.dueAt, d.firstAt, d.lastStatus, d.finishedAt, d.reason,
			id.Event, id.Endpoint, id.Round)
		if err != nil {
			return err
		}
	}
	return nil
}
