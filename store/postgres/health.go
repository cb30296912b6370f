package postgres

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

// failureGap is after how long without one a failure begins a new row of them.
const failureGap = 24 * time.Hour

// failing is the condition that the rule with age $1 applies to an endpoint.
const failing = `l.failing_since <= statement_timestamp() - $1::bigint * interval '1 microsecond'
	AND l.last_failure >= statement_timestamp() - interval '24 hours' AND l.state = 1
	AND EXISTS (SELECT FROM hookpost.lane o WHERE o.last_success >= l.failing_since AND o.endpoint <> l.endpoint)`

// DisableFailing implements [store.Upkeep].
func (s *Store) DisableFailing(ctx context.Context, rule store.FailingRule, limit int) (out []store.Endpoint, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return nil, err
	}
	const list = "WHERE " + failing + " ORDER BY e.num LIMIT $2"
	var eps []store.Endpoint
	err = s.read(ctx, func(q querier) error {
		eps, err = endpointsWhere(ctx, q, list, micros(rule.For), limit)
		return err
	})
	if err != nil || len(eps) == 0 {
		return nil, err
	}
	err = s.write(ctx, func(q querier) error {
		out = nil
		if err := lockSets(ctx, q, eps); err != nil {
			return err
		}
		for _, ep := range eps {
			now, err := endpointsWhere(ctx, q, "WHERE e.num = $2 AND "+failing, micros(rule.For), ep.Num)
			if err != nil {
				return err
			}
			if len(now) == 0 {
				continue // it has recovered, or somebody was faster
			}
			ep, err := disable(ctx, q, now[0], rule.Reason)
			if err != nil {
				return err
			}
			out = append(out, ep)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
