package sqlite

import (
	"context"
	"fmt"
	"math"

	"github.com/hookpost/hookpost/store"
)

// Undelivered implements [store.Log].
func (s *Store) Undelivered(ctx context.Context, scope store.Scope, q store.UndeliveredQuery) (page []store.Undelivered, after int64, done bool, err error) {
	err = s.read(ctx, func(c *conn) error {
		page, after, done = nil, q.After, true
		ep, err := endpointByID(c, scope, q.EndpointID)
		if err != nil {
			return err
		}
		sc, err := scopeOf(c, scope)
		if err != nil {
			return err
		}
		from, end, err := numsAt(c, q.From, q.To)
		if err != nil {
			return err
		}
		most := pageSize(q.Limit, 1000, math.MaxInt32)
		looked := 0
		return c.query(func(r row) error {
			if looked == most {
				done = false
				return nil
			}
			looked++
			after = r.int(0)
			typ := r.text(2)
			if r.int(11) != 0 || store.Reserved(typ) || q.Type != "" && typ != q.Type {
				return nil
			}
			if waits, err := waitsFor(c, after, ep.Num); err != nil || waits {
				return err
			}
			ev, err := scanEvent(r, scope)
			if err != nil {
				return err
			}
			u := store.Undelivered{Event: ev}
			if !r.null(12) {
				d, err := deliveryByID(c, scope, store.DeliveryID{Event: ev.Num, Endpoint: ep.Num, Round: int(r.int(12))})
				if err != nil {
					return err
				}
				u.Last = &d
			}
			page = append(page, u)
			return nil
		}, "SELECT "+eventColumns+`,
			EXISTS (SELECT 1 FROM hookpost_delivery d WHERE d.event = e.num AND d.endpoint = ?1 AND d.state = 3),
			(SELECT max(d.round) FROM hookpost_delivery d WHERE d.event = e.num AND d.endpoint = ?1)
			FROM hookpost_event e INDEXED BY hookpost_event_scope WHERE e.scope = ?2 AND e.num >= ?3 AND e.num < ?4 ORDER BY e.num LIMIT ?5`,
			ep.Num, sc.num, max(from, q.After+1), end, most+1)
	})
	if err != nil {
		return nil, 0, false, err
	}
	return page, after, done, nil
}

// BackFill implements [store.Log].
func (s *Store) BackFill(ctx context.Context, scope store.Scope, endpointID string, events []int64) (n int, err error) {
	err = s.write(ctx, func(c *conn) error {
		n = 0
		ep, err := takesDeliveries(c, scope, endpointID)
		if err != nil {
			return err
		}
		sc, err := scopeOf(c, scope)
		if err != nil {
			return err
		}
		now := s.now()
		for _, num := range events {
			if waits, err := waitsFor(c, num, ep.Num); err != nil {
				return err
			} else if waits {
				continue
			}
			k, err := c.exec(`INSERT INTO hookpost_delivery (event, endpoint, round, state, due_at, created_at)
				SELECT e.num, ?1, 1, 1, ?2, ?2 FROM hookpost_event e WHERE e.num = ?3 AND e.scope = ?4 AND e.erased_at IS NULL
				AND NOT EXISTS (SELECT 1 FROM hookpost_delivery d WHERE d.event = e.num AND d.endpoint = ?1)`, ep.Num, now, num, sc.num)
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

// takesDeliveries returns an endpoint that is enabled, or why it is not.
func takesDeliveries(x execer, scope store.Scope, id string) (store.Endpoint, error) {
	ep, err := endpointByID(x, scope, id)
	switch {
	case err != nil:
		return ep, err
	case ep.State == store.Deleted:
		return ep, fmt.Errorf("%w: %s", store.ErrDeleted, id)
	case ep.State == store.Disabled:
		return ep, fmt.Errorf("%w: %s", store.ErrDisabled, id)
	}
	return ep, nil
}
