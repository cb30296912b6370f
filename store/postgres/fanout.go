package postgres

import (
	"context"
	"strconv"
	"strings"

	"github.com/hookpost/hookpost/store"
)

// FanOut implements [store.Upkeep].
func (s *Store) FanOut(ctx context.Context, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	err = s.write(ctx, func(q querier) error {
		n = 0
		for n < limit {
			k, err := fanOutPart(ctx, q, limit-n)
			if err != nil || k == 0 {
				return err
			}
			n += k
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if n > 0 {
		s.notify.send(s)
	}
	return n, nil
}

// fanOutPart turns the beginning of the oldest part of a list that nobody else
// works on into deliveries.
func fanOutPart(ctx context.Context, q querier, limit int) (int, error) {
	var event int64
	var part, size int
	found, err := first(ctx, q, `SELECT event, part, cardinality(endpoints) FROM hookpost.fanout
		ORDER BY event, part LIMIT 1 FOR UPDATE SKIP LOCKED`, nil, &event, &part, &size)
	if err != nil || !found {
		return 0, err
	}
	n := min(size, limit)
	// Of an endpoint deleted meanwhile it is cancelled at once: nobody goes through
	// those again.
	_, err = q.exec(ctx, `INSERT INTO hookpost.delivery (event, endpoint, round, state, due_at, created_at, finished_at, reason)
		SELECT f.event, l.endpoint, 0, CASE WHEN l.state = 3 THEN 5 WHEN f.due_at > statement_timestamp() THEN 0 ELSE 1 END,
			greatest(f.due_at, statement_timestamp()), e.stored_at,
			CASE l.state WHEN 3 THEN (SELECT p.changed_at FROM hookpost.endpoint p WHERE p.num = l.endpoint) END,
			CASE l.state WHEN 3 THEN '`+store.ReasonDeleted+`' ELSE '' END
		FROM hookpost.fanout f JOIN hookpost.event e ON e.num = f.event
		CROSS JOIN LATERAL unnest(f.endpoints[1:$3]) AS t(endpoint) JOIN hookpost.lane l ON l.endpoint = t.endpoint
		WHERE f.event = $1 AND f.part = $2 ON CONFLICT DO NOTHING`, event, part, n)
	if err != nil {
		return 0, err
	}
	if n == size {
		_, err = q.exec(ctx, "DELETE FROM hookpost.fanout WHERE event = $1 AND part = $2", event, part)
	} else {
		_, err = q.exec(ctx, "UPDATE hookpost.fanout SET endpoints = endpoints[$3 + 1:] WHERE event = $1 AND part = $2", event, part, n)
	}
	return n, err
}

// parseArray reads an array of numbers as PostgreSQL writes it.
func parseArray(literal string) []int64 {
	var nums []int64
	for _, f := range strings.Split(strings.Trim(literal, "{}"), ",") {
		if n, err := strconv.ParseInt(f, 10, 64); err == nil {
			nums = append(nums, n)
		}
	}
	return nums
}
