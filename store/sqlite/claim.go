package sqlite

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Claim implements [store.Queue].
func (s *Store) Claim(ctx context.Context, p store.ClaimParams) (out store.Claims, err error) {
	err = s.write(ctx, func(c *conn) error {
		w := walk{x: c, now: s.now(), ClaimParams: p}
		out, err = w.run()
		return err
	})
	if err != nil {
		return store.Claims{}, err
	}
	return out, nil
}

// walk is one claim: a loose scan of the index of ready deliveries, from
// endpoint to endpoint. Its cost grows with the endpoints looked at and the
// deliveries taken, and not with those that are passed over.
type walk struct {
	x   execer
	now int64
	store.ClaimParams

	out    store.Claims
	bytes  int
	scopes []scopeRow
}

// lane is an endpoint as the walk meets it.
type lane struct {
	endpoint, scope, version int64
	open                     bool
	enabledAt                int64 // 0: never
}

// errBound ends the reading of a lane.
var errBound = errors.New("bound reached")

func (w *walk) run() (store.Claims, error) {
	w.out = store.Claims{After: w.After, Now: fromMicros(w.now)}
	if w.Limit < 1 {
		return w.out, nil
	}
	left := w.Endpoints
	if left <= 0 {
		left = 500
	}
	at, wrapped := w.After, false
	for {
		l, found, err := w.next(at)
		if err != nil {
			return w.out, err
		}
		if !found || wrapped && l.endpoint > w.After {
			if found || wrapped || w.After <= 0 {
				break
			}
			at, wrapped = 0, true
			continue
		}
		if left == 0 {
			w.out.More = true
			break
		}
		left--
		at = l.endpoint
		w.out.After = at
		if l.open {
			if err := w.take(l); err != nil {
				return w.out, err
			}
			if w.out.More {
				break
			}
		}
	}
	return w.out, w.lease()
}

// next finds the first endpoint after the given one that has ready deliveries.
func (w *walk) next(after int64) (l lane, found bool, err error) {
	found, err = first(w.x, func(r row) {
		l = lane{endpoint: r.int(0), scope: r.int(1), version: r.int(2), enabledAt: r.int(5)}
		l.open = r.int(3) == int64(store.Enabled) && (r.null(4) || r.int(4) <= w.now)
	}, `SELECT d.endpoint, l.scope, l.version, l.state, l.hold_until, l.enabled_at
		FROM hookpost_delivery d INDEXED BY hookpost_delivery_ready
		LEFT JOIN hookpost_lane l ON l.endpoint = d.endpoint
		WHERE d.state = 1 AND d.endpoint > ? ORDER BY d.endpoint LIMIT 1`, after)
	return l, found, err
}

// take chooses deliveries of one endpoint, the oldest due first.
func (w *walk) take(l lane) error {
	room, ok := w.Room[l.endpoint]
	if !ok {
		room = w.DefaultRoom
	}
	if room <= 0 {
		return nil
	}
	scope, err := w.scope(l.scope)
	if err != nil {
		return err
	}
	// A window that ended before the endpoint was enabled again belongs to Expire.
	since := int64(math.MinInt64)
	if l.enabledAt != 0 && w.Window > 0 {
		since = l.enabledAt - w.Window.Microseconds()
	}
	n := 0
	// There is no LIMIT because SQLite would prepare the statement again for each new
	// value of it; the bounds end the reading.
	err = w.x.query(func(r row) error {
		if len(w.out.Deliveries) >= w.Limit || w.Bytes > 0 && w.bytes >= w.Bytes {
			w.out.More = true
			return errBound
		}
		if n == room {
			return errBound
		}
		c := store.Claimed{
			ID:              store.DeliveryID{Event: r.int(0), Endpoint: l.endpoint, Round: int(r.int(1))},
			Token:           r.int(2) + 1,
			Scope:           scope,
			EventID:         r.text(7),
			EventType:       r.text(8),
			ContentType:     r.text(9),
			Erased:          !r.null(10),
			Trace:           r.text(11),
			EndpointVersion: l.version,
			Attempt:         int(r.int(3)) + 1,
			Failures:        int(r.int(4)),
			Unknown:         int(r.int(5)),
		}
		if !r.null(6) {
			c.Elapsed = max(0, time.Duration(w.now-r.int(6))*time.Microsecond)
		}
		if !c.Erased {
			if c.Body = r.blob(12); c.Body == nil {
				c.Body = []byte{}
			}
		}
		w.out.Deliveries = append(w.out.Deliveries, c)
		w.bytes += len(c.Body)
		n++
		return nil
	}, `SELECT d.event, d.round, d.token, d.attempts, d.failures, d.unknown, d.first_at, e.id, e.type, e.content_type, e.erased_at, e.trace, e.body
		FROM hookpost_delivery d INDEXED BY hookpost_delivery_ready CROSS JOIN hookpost_event e ON e.num = d.event
		WHERE d.state = 1 AND d.endpoint = ? AND coalesce(d.first_at, d.due_at) > ? ORDER BY d.due_at`,
		l.endpoint, since)
	if err == errBound {
		err = nil
	}
	// Bounds that were reached with the last row of a lane end the claim as well.
	if len(w.out.Deliveries) >= w.Limit || w.Bytes > 0 && w.bytes >= w.Bytes {
		w.out.More = true
	}
	return err
}

func (w *walk) scope(num int64) (store.Scope, error) {
	for i := range w.scopes {
		if w.scopes[i].num == num {
			return w.scopes[i].scope, nil
		}
	}
	s, err := scopeByNum(w.x, num)
	w.scopes = append(w.scopes, s)
	return s.scope, err
}

// With a list of numbers SQLite changes the rows as it finds them; with a list of whole
// keys it would collect them first and look each up twice. The index is the primary
// key's; for long lists SQLite would prefer that of the log.
var leaseReady = newMulti(`UPDATE OR FAIL hookpost_delivery INDEXED BY sqlite_autoindex_hookpost_delivery_1
	SET state = 2, token = token + 1, attempts = attempts + 1, owner = ?, leased_at = ?, lease_until = ?, first_at = coalesce(first_at, ?)
	WHERE endpoint = ? AND round = ? AND event IN (`, "?", ")")

// lease marks what was chosen.
func (w *walk) lease() error {
	var args []any
	for list := w.out.Deliveries; len(list) > 0; {
		id, n := list[0].ID, 1
		for n < len(list) && list[n].ID.Endpoint == id.Endpoint && list[n].ID.Round == id.Round {
			n++
		}
		err := inBatches(n, func(from, to int) error {
			args = append(args[:0], w.Owner, w.now, w.now+w.Lease.Microseconds(), w.now, id.Endpoint, id.Round)
			for i := from; i < to; i++ {
				args = append(args, list[i].ID.Event)
			}
			_, err := w.x.exec(leaseReady.rows(to-from), args...)
			return err
		})
		if err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}
