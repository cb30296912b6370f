package sqlite

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/hookpost/hookpost/store"
)

// settled is the condition that an event e has nothing pending.
const settled = `NOT EXISTS (SELECT 1 FROM hookpost_delivery d WHERE d.event = e.num AND d.state <= 2)
	AND NOT EXISTS (SELECT 1 FROM hookpost_fanout f WHERE f.event = e.num)`

// Prune implements [store.Upkeep]. The file does not shrink: SQLite uses the room
// again.
func (s *Store) Prune(ctx context.Context, r store.Retention, limit int) (int, error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	var forget, erase []int64
	var silence []attemptKey
	var now int64
	err := s.read(ctx, func(c *conn) (err error) {
		now = s.now()
		if forget, erase, err = s.outdated(c, r, now, limit); err != nil {
			return err
		}
		silence, err = oldAnswers(c, r, now, limit-len(forget)-len(erase), forget)
		return err
	})
	if err != nil || len(forget)+len(erase)+len(silence) == 0 {
		return 0, err
	}
	n := 0
	err = s.write(ctx, func(c *conn) error {
		n = 0
		for _, r := range runs(forget) {
			k, err := forgetEvents(c, r)
			if err != nil {
				return err
			}
			n += k
		}
		for _, r := range runs(erase) {
			k, err := c.exec("UPDATE hookpost_event AS e SET body = NULL, erased_at = ? WHERE e.num BETWEEN ? AND ? AND e.erased_at IS NULL AND "+settled,
				now, r.first, r.last)
			if err != nil {
				return err
			}
			n += k
		}
		for _, a := range silence {
			k, err := c.exec(`UPDATE hookpost_attempt SET response_header = NULL, response_body = NULL
				WHERE event = ? AND endpoint = ? AND round = ? AND n = ? AND `+hasAnswer, a.event, a.endpoint, a.round, a.n)
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
	return n, nil
}

// hasAnswer is the condition that an attempt has a header or body of an answer.
const hasAnswer = "(response_header IS NOT NULL OR response_body IS NOT NULL)"

type attemptKey struct{ event, endpoint, round, n int64 }

// oldAnswers finds attempts whose answers are older than r says, of events that are not
// to be forgotten.
func oldAnswers(c *conn, r store.Retention, now int64, limit int, forget []int64) (keys []attemptKey, err error) {
	if r.Responses <= 0 || limit <= 0 {
		return nil, nil
	}
	err = c.query(func(r row) error {
		if _, goes := slices.BinarySearch(forget, r.int(0)); goes {
			return nil
		}
		if len(keys) == limit {
			return errBound
		}
		keys = append(keys, attemptKey{r.int(0), r.int(1), r.int(2), r.int(3)})
		return nil
	}, `SELECT event, endpoint, round, n FROM hookpost_attempt INDEXED BY hookpost_attempt_answer
		WHERE `+hasAnswer+` AND started_at <= ? ORDER BY started_at`, now-r.Responses.Microseconds())
	if err == errBound {
		err = nil
	}
	return keys, err
}

// outdated finds what is older than r says, without a lock.
func (s *Store) outdated(c *conn, r store.Retention, now int64, limit int) (forget, erase []int64, err error) {
	if r.Log > 0 {
		end, err := numAt(c, now-r.Log.Microseconds()+1)
		if err != nil {
			return nil, nil, err
		}
		err = c.query(func(r row) error {
			forget = append(forget, r.int(0))
			return nil
		}, "SELECT e.num FROM hookpost_event e WHERE e.num < ? AND "+settled+" ORDER BY e.num LIMIT ?", end, limit)
		if err != nil {
			return nil, nil, err
		}
	}
	if limit -= len(forget); r.Payloads <= 0 || limit == 0 {
		return forget, nil, nil
	}
	end, err := numAt(c, now-r.Payloads.Microseconds()+1)
	if err != nil {
		return nil, nil, err
	}
	// What was erased stays so: the place where the rest begins only moves on.
	s.payloadsFrom.Lock()
	defer s.payloadsFrom.Unlock()
	_, err = first(c, func(r row) { s.payloadsFrom.num = max(s.payloadsFrom.num, r.int(0)) },
		`SELECT coalesce((SELECT num FROM hookpost_event WHERE num >= ? AND erased_at IS NULL ORDER BY num LIMIT 1),
			(SELECT max(num) + 1 FROM hookpost_event))`, s.payloadsFrom.num)
	if err != nil {
		return nil, nil, err
	}
	from := s.payloadsFrom.num
	if n := len(forget); n > 0 {
		from = max(from, forget[n-1]+1)
	}
	err = c.query(func(r row) error {
		erase = append(erase, r.int(0))
		return nil
	}, "SELECT e.num FROM hookpost_event e WHERE e.num >= ? AND e.num < ? AND e.erased_at IS NULL AND "+settled+" ORDER BY e.num LIMIT ?", from, end, limit)
	return forget, erase, err
}

// numRun is a run of numbers without a gap.
type numRun struct{ first, last int64 }

// runs divides numbers in rising order. Old events mostly have numbers without gaps,
// and a run costs hardly more than one of them.
func runs(nums []int64) (list []numRun) {
	for _, num := range nums {
		if n := len(list); n > 0 && list[n-1].last+1 == num {
			list[n-1].last = num
		} else {
			list = append(list, numRun{num, num})
		}
	}
	return list
}

// forgetEvents removes the events of a run with all that belongs to them, but for
// those of which something is pending again. It returns how many there were.
func forgetEvents(x execer, r numRun) (int, error) {
	type referring struct {
		scope, num int64
		refs       []byte
	}
	var nums []int64
	var refs []referring
	err := x.query(func(r row) error {
		nums = append(nums, r.int(0))
		if !r.null(2) {
			refs = append(refs, referring{r.int(1), r.int(0), r.blob(2)})
		}
		return nil
	}, "SELECT e.num, e.scope, e.refs FROM hookpost_event e WHERE e.num BETWEEN ? AND ? AND "+settled, r.first, r.last)
	if err != nil {
		return 0, err
	}
	for _, ev := range refs {
		if err := deleteRefs(x, ev.scope, ev.num, ev.refs); err != nil {
			return 0, err
		}
	}
	for _, r := range runs(nums) {
		for _, text := range []string{
			"DELETE FROM hookpost_attempt WHERE event BETWEEN ? AND ?",
			"DELETE FROM hookpost_delivery WHERE event BETWEEN ? AND ?",
			"DELETE FROM hookpost_event WHERE num BETWEEN ? AND ?",
		} {
			if _, err := x.exec(text, r.first, r.last); err != nil {
				return 0, err
			}
		}
	}
	return len(nums), nil
}

// deleteRefs removes the rows of an event's references, given as JSON.
func deleteRefs(x execer, scope, event int64, refs []byte) error {
	if refs == nil {
		return nil
	}
	var list []string
	if err := json.Unmarshal(refs, &list); err != nil {
		return err
	}
	for _, ref := range list {
		if _, err := x.exec("DELETE FROM hookpost_ref WHERE scope = ? AND ref = ? AND event = ?", scope, ref, event); err != nil {
			return err
		}
	}
	return nil
}
