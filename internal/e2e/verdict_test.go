//go:build unix

package e2e

import (
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// verdict compares what the receiver got with the log when all workers have ended,
// and returns the figures. At most bound attempts may have been repeated although
// they had succeeded.
func (tr *trial) verdict(t *testing.T, bound int) figure {
	t.Helper()
	log := tr.readLog(t)
	requests := tr.rcv.requests()
	f := figure{name: t.Name(), workers: len(tr.procs), faults: tr.faults, events: len(tr.ids), bound: bound}
	for _, id := range tr.ids {
		got, entry := requests[id], log[id]
		want := store.Delivered
		if tr.gone[id] {
			want = store.Exhausted
		}
		if entry.delivery.State != want || got.total == 0 || want == store.Delivered && got.succeeded == 0 {
			f.lost++
			t.Errorf("%s: lost; %d requests, delivery %+v, attempts %+v", id, got.total, entry.delivery, entry.attempts)
			continue
		}
		f.compare(t, id, got, entry)
	}
	for id := range tr.loose {
		f.compare(t, id, requests[id], log[id])
		delete(requests, id)
		if state := log[id].delivery.State; state == store.Delivered || state == store.Cancelled {
			delete(log, id)
		}
	}
	for id, e := range log {
		if e.delivery.State == store.Pending || e.delivery.InFlight {
			f.leased++
			t.Errorf("%s: left behind: %+v", id, e.delivery)
		}
	}
	for _, id := range tr.absent {
		require.NotContains(t, log, id)
		require.NotContains(t, requests, id)
	}
	t.Log(f)
	table.add(f)

	require.Zero(t, f.lost)
	require.Zero(t, f.unlogged, "requests that are not in the log")
	require.Zero(t, f.leased)
	require.LessOrEqual(t, f.duplicates, bound+f.cutOff)
	require.LessOrEqual(t, f.unknown, bound)
	require.Len(t, log, len(tr.ids))
	require.Len(t, requests, len(tr.ids))
	require.Zero(t, tr.rcv.refused(), "requests that didn't verify")
	return f
}

// compare adds what became of an event to the figures, the log's attempts against the
// receiver's requests.
func (f *figure) compare(t *testing.T, id string, got tally, e entry) {
	t.Helper()
	delivered, answered := 0, 0
	for i, a := range e.attempts {
		require.Equal(t, i+1, a.N, id)
		switch {
		case a.Outcome == store.AttemptUnknown:
			f.unknown++
		case a.Status == 0:
			f.cutOff++
		default:
			answered++
		}
		if a.Outcome == store.AttemptDelivered {
			delivered++
		}
	}
	f.duplicates += max(0, got.succeeded-1)
	f.unlogged += max(0, got.total-len(e.attempts))
	require.LessOrEqual(t, answered, got.total, "%s: the log invents answers: %+v", id, e.attempts)
	require.LessOrEqual(t, delivered, got.succeeded, "%s: the log invents successes: %+v", id, e.attempts)
	if e.delivery.State == store.Delivered {
		require.Positive(t, delivered, "%s: the log has no success: %+v", id, e.attempts)
	}
}

// entry is what the log says about an event.
type entry struct {
	delivery store.Delivery
	attempts []store.Attempt
}

func (tr *trial) readLog(t *testing.T) map[string]entry {
	t.Helper()
	log := make(map[string]entry)
	query := store.DeliveryQuery{Limit: 1000}
	for {
		page, err := tr.hooks.Deliveries(tr.ctx, query)
		require.NoError(t, err)
		if len(page) == 0 {
			return log
		}
		attempts := make([][]store.Attempt, len(page))
		errs := make([]error, len(page))
		var readers sync.WaitGroup
		const several = 8
		for k := range several {
			readers.Go(func() {
				for i := k; i < len(page); i += several {
					attempts[i], errs[i] = tr.db.Store.Attempts(tr.ctx, tr.hooks.Scope(), page[i].ID)
				}
			})
		}
		readers.Wait()
		for i, d := range page {
			require.NoError(t, errs[i])
			require.NotContains(t, log, d.EventID, "a second delivery")
			log[d.EventID] = entry{d, attempts[i]}
		}
		query.Before = page[len(page)-1].ID
	}
}
