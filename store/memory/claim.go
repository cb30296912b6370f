package memory

import (
	"context"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/store"
)

// lapsedAVisit bounds how many deliveries that belong to Expire a claim passes
// over at one endpoint.
const lapsedAVisit = 1000

// Claim implements [store.Queue]. The bodies it hands out are the stored ones and
// must not be modified.
func (s *Store) Claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	if p.Limit < 1 {
		return store.Claims{}, fmt.Errorf("%w: claim of %d deliveries, want at least 1", store.ErrInvalid, p.Limit)
	}
	if err := s.lock(ctx); err != nil {
		return store.Claims{}, err
	}
	defer s.mu.Unlock()
	now := s.now()
	c := claim{Store: s, p: &p, now: now}
	c.out = store.Claims{After: p.After, Now: now.time()}
	if n := min(p.Limit, s.ready); n > 0 {
		c.out.Deliveries = make([]store.Claimed, 0, min(n, 1024))
	}
	bound := p.Endpoints
	if bound <= 0 {
		bound = 500
	}

	// Once round: from after the cursor to the end, and from the start up to it.
	cursor := min(max(p.After, 0), int64(len(s.endpoints)))
	num, wrapped := s.open.next(cursor+1), false
	for looked := 0; ; looked++ {
		if num < 0 && !wrapped {
			num, wrapped = s.open.next(0), true
		}
		if num < 0 || wrapped && num > cursor {
			break
		}
		if c.full || looked == bound || len(c.out.Deliveries) == p.Limit {
			c.out.More = true
			break
		}
		had := len(c.out.Deliveries)
		c.visit(s.endpoint(num))
		if c.full && len(c.out.Deliveries) == had {
			break // did not fit: the next claim begins with it
		}
		c.out.After = num
		num = s.open.next(num + 1)
	}
	return c.out, nil
}

// claim is a claim under way.
type claim struct {
	*Store
	p     *store.ClaimParams
	now   micros
	out   store.Claims
	bytes int
	full  bool // of bytes
}

// visit takes from ep what may be taken.
func (c *claim) visit(ep *endpoint) {
	room, ok := c.p.Room[ep.Num]
	if !ok {
		room = c.p.DefaultRoom
	}
	if room <= 0 || ep.State != store.Enabled || toMicros(ep.HoldUntil) > c.now {
		return
	}
	var passed []*delivery
	someLapsed := ep.someLapsed(c.p.Window, c.now)
	for ; room > 0 && len(ep.ready) > 0; room-- {
		d := ep.ready[0].d
		if someLapsed && d.lapsed(c.p.Window, c.now) {
			if len(passed) == lapsedAVisit {
				break
			}
			ep.ready.remove(0)
			passed = append(passed, d)
			room++
			continue
		}
		size := len(d.event.Body)
		over := c.p.Bytes > 0 && len(c.out.Deliveries) > 0 && size > c.p.Bytes-c.bytes
		if c.full = c.full || over; c.full || len(c.out.Deliveries) == c.p.Limit {
			c.out.More = true
			break
		}
		c.take(d)
		c.bytes += size
		c.full = c.p.Bytes > 0 && c.bytes >= c.p.Bytes
	}
	for _, d := range passed {
		ep.ready.push(d.due, d)
	}
	if len(ep.ready) > 0 {
		c.open.add(ep.Num)
	}
}

func (c *claim) take(d *delivery) {
	ev := d.event
	var elapsed time.Duration
	if d.first != 0 {
		elapsed = c.now.sub(d.first)
	}
	c.toLease(d, c.now, c.p.Owner, c.p.Lease)
	c.out.Deliveries = append(c.out.Deliveries, store.Claimed{
		ID:              d.id(),
		Token:           d.token,
		Scope:           ev.Scope,
		EventID:         ev.ID,
		EventType:       ev.Type,
		ContentType:     ev.ContentType,
		Body:            ev.Body,
		Erased:          !ev.ErasedAt.IsZero(),
		Trace:           ev.Trace,
		EndpointVersion: d.endpoint.Version,
		Attempt:         d.attempts,
		Failures:        d.failures,
		Unknown:         d.unknown,
		Elapsed:         elapsed,
	})
}

// lapsed reports whether the window of d, a ready delivery, ended while its
// endpoint was disabled.
func (d *delivery) lapsed(window time.Duration, now micros) bool {
	return lapsed(d.endpoint, d.windowStart(), window, now)
}

// someLapsed reports whether ready deliveries of ep may have lapsed.
func (ep *endpoint) someLapsed(window time.Duration, now micros) bool {
	return len(ep.ready) > 0 && lapsed(ep, ep.oldest, window, now)
}

func lapsed(ep *endpoint, start micros, window time.Duration, now micros) bool {
	if window <= 0 {
		return false
	}
	end := start.add(window)
	switch ep.State {
	case store.Disabled:
		return end <= now
	case store.Enabled:
		return !ep.EnabledAt.IsZero() && end <= toMicros(ep.EnabledAt)
	}
	return false
}
