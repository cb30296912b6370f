package sqlite

import (
	"context"
	"encoding/binary"

	"github.com/hookpost/hookpost/store"
)

// FanOut implements [store.Upkeep].
func (s *Store) FanOut(ctx context.Context, limit int) (n int, err error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if found, err := s.any(ctx, "SELECT 1 FROM hookpost_fanout LIMIT 1"); err != nil || !found {
		return 0, err
	}
	err = s.write(ctx, func(c *conn) error {
		n = 0
		for n < limit {
			k, err := fanOutPart(c, limit-n, s.now())
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
	return n, nil
}

// fanOutPart turns the beginning of the oldest part of a list into deliveries.
func fanOutPart(c *conn, limit int, now int64) (int, error) {
	var event, part, stored, due int64
	var list []byte
	found, err := first(c, func(r row) { event, part, list, stored, due = r.int(0), r.int(1), r.blob(2), r.int(3), r.int(4) },
		`SELECT f.event, f.part, f.endpoints, e.stored_at, f.due_at FROM hookpost_fanout f JOIN hookpost_event e ON e.num = f.event
		ORDER BY f.event, f.part LIMIT 1`)
	if err != nil || !found {
		return 0, err
	}
	state := ready
	if due > now {
		state = scheduled
	}
	n := min(len(list)/8, limit)
	for _, endpoint := range unpack(list[:8*n]) {
		// Of an endpoint deleted meanwhile it is cancelled at once: nobody goes through
		// those again.
		_, err := c.exec(`INSERT INTO hookpost_delivery (event, endpoint, round, state, due_at, created_at, finished_at, reason)
			SELECT ?, num, 0, iif(state = 3, 5, ?), ?, ?, iif(state = 3, changed_at, NULL), iif(state = 3, ?, '')
			FROM hookpost_endpoint WHERE num = ? ON CONFLICT DO NOTHING`,
			event, state, max(now, due), stored, store.ReasonDeleted, endpoint)
		if err != nil {
			return 0, err
		}
	}
	if 8*n == len(list) {
		_, err = c.exec("DELETE FROM hookpost_fanout WHERE event = ? AND part = ?", event, part)
	} else {
		_, err = c.exec("UPDATE hookpost_fanout SET endpoints = ? WHERE event = ? AND part = ?", list[8*n:], event, part)
	}
	return n, err
}

// insertList stores an event's list for [Store.FanOut] in parts of MaxFanOut.
func insertList(x execer, event, due int64, list []store.NewDelivery) error {
	for part := 0; len(list) > 0; part++ {
		n := min(len(list), store.MaxFanOut)
		packed := make([]byte, 0, 8*n)
		for _, d := range list[:n] {
			packed = binary.BigEndian.AppendUint64(packed, uint64(d.Endpoint))
		}
		if _, err := x.exec("INSERT INTO hookpost_fanout (event, part, due_at, endpoints) VALUES (?, ?, ?, ?)", event, part, due, packed); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

// unpack reads a part of a list.
func unpack(packed []byte) []int64 {
	list := make([]int64, 0, len(packed)/8)
	for ; len(packed) >= 8; packed = packed[8:] {
		list = append(list, int64(binary.BigEndian.Uint64(packed)))
	}
	return list
}

// waitsFor reports whether a stored list of the event names the endpoint.
func waitsFor(x execer, event, endpoint int64) (found bool, err error) {
	err = x.query(func(r row) error {
		for _, num := range unpack(r.blob(0)) {
			found = found || num == endpoint
		}
		return nil
	}, "SELECT endpoints FROM hookpost_fanout WHERE event = ?", event)
	return found, err
}
