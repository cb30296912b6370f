package memory

import (
	"context"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Prune implements [store.Upkeep].
func (s *Store) Prune(ctx context.Context, r store.Retention, limit int) (int, error) {
	if err := store.CheckLimit(limit); err != nil {
		return 0, err
	}
	if err := s.lock(ctx); err != nil {
		return 0, err
	}
	defer s.mu.Unlock()
	now := s.now().time()
	n := 0
	for _, w := range s.worlds {
		if r.Log > 0 && n < limit {
			n += s.forget(w, now.Add(-r.Log), limit-n)
		}
		if r.Payloads > 0 && n < limit {
			n += w.erase(now, now.Add(-r.Payloads), limit-n)
		}
	}
	until := noneOlder
	if r.Responses > 0 {
		until = toMicros(now.Add(-r.Responses))
	}
	return n + s.forgetAnswers(until, limit-n), nil
}

// forget removes up to limit settled events stored until then.
func (s *Store) forget(w *world, until time.Time, limit int) int {
	n, kept, end := 0, 0, 0
	for ; end < len(w.log) && n < limit; end++ {
		ev := w.log[end]
		if ev.StoredAt.After(until) {
			break
		}
		if !ev.settled() {
			kept++
			continue
		}
		delete(w.events, ev.ID)
		delete(s.events, ev.Num)
		for _, d := range ev.deliveries {
			d.countExhausted(-1)
		}
		w.log[end] = nil
		n++
	}
	if n == 0 {
		return 0
	}
	// Close the gaps: what is kept moves up to what follows, and what was removed
	// falls off the front.
	to := end
	for i := end - 1; i >= 0 && kept > 0; i-- {
		if w.log[i] != nil {
			to--
			w.log[to] = w.log[i]
			kept--
		}
	}
	clear(w.log[:to])
	w.log = w.log[to:]
	return n
}

// erase erases up to limit payloads of settled events stored until then.
func (w *world) erase(now, until time.Time, limit int) int {
	n, whole := 0, true
	for _, ev := range w.log[w.after(w.erased):] {
		if n == limit || ev.StoredAt.After(until) {
			break
		}
		switch {
		case !ev.ErasedAt.IsZero():
		case ev.settled():
			ev.Body, ev.ErasedAt = nil, now
			n++
		default:
			whole = false
		}
		if whole {
			w.erased = ev.Num
		}
	}
	return n
}
