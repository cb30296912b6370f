package storetest

import (
	"context"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/store"
)

func claimParams() store.ClaimParams {
	return store.ClaimParams{Owner: me, Lease: leaseTime, Limit: many, DefaultRoom: many, Window: window}
}

// claim claims once.
func (w *world) claim(p store.ClaimParams) store.Claims {
	w.Helper()
	c, err := w.st.Claim(w.ctx(), p)
	w.must(err, "Claim")
	if len(c.Deliveries) > p.Limit {
		w.Errorf("Claim with Limit %d returned %d deliveries", p.Limit, len(c.Deliveries))
	}
	return c
}

// claimAll claims until nothing is left, following the cursor.
func (w *world) claimAll() []store.Claimed {
	w.Helper()
	return w.claimWith(claimParams())
}

func (w *world) claimWith(p store.ClaimParams) []store.Claimed {
	w.Helper()
	var all []store.Claimed
	for range 1000 {
		c := w.claim(p)
		all = append(all, c.Deliveries...)
		if len(c.Deliveries) == 0 && !c.More {
			return all
		}
		p.After = c.After
	}
	w.Fatalf("1000 claims in a row said More or found something; %d deliveries so far", len(all))
	return nil
}

// take claims everything and returns the claim of one delivery, which must be
// the only one.
func (w *world) take(id store.DeliveryID) store.Claimed {
	w.Helper()
	all := w.claimAll()
	if len(all) != 1 || all[0].ID != id {
		w.Fatalf("claiming everything found %v, want only %v, which is ready", claimedIDs(all), id)
	}
	return all[0]
}

// idle reports deliveries that can be claimed although none may be.
func (w *world) idle(why string) {
	w.Helper()
	if all := w.claimAll(); len(all) > 0 {
		w.Errorf("claimed %v, want nothing: %s", claimedIDs(all), why)
	}
}

func claimedIDs(cs []store.Claimed) []string {
	ids := []string{}
	for _, c := range cs {
		ids = append(ids, c.ID.String())
	}
	return ids
}

func (w *world) settle(ss ...store.Settlement) []store.Settled {
	w.Helper()
	got, err := w.st.Settle(w.ctx(), ss)
	w.must(err, "Settle")
	if len(got) != len(ss) {
		w.Fatalf("Settle of %d returned %d results, want one per settlement in order", len(ss), len(got))
	}
	return got
}

// settleAll reports until nothing is busy, which is what a sender does. It is for
// reports that race with others on purpose.
func settleAll(ctx context.Context, st store.Store, ss []store.Settlement) ([]store.Settled, error) {
	out := make([]store.Settled, len(ss))
	open := make([]int, len(ss))
	for i := range ss {
		open[i] = i
	}
	for try := 0; ; try++ {
		var batch []store.Settlement
		for _, i := range open {
			batch = append(batch, ss[i])
		}
		got, err := busy(func() ([]store.Settled, error) { return st.Settle(ctx, batch) })
		if err != nil {
			return nil, err
		}
		if len(got) != len(batch) {
			return nil, fmt.Errorf("settling %d returned %d results", len(batch), len(got))
		}
		var again []int
		for k, i := range open {
			if out[i] = got[k]; got[k].Busy {
				again = append(again, i)
			}
		}
		if open = again; len(open) == 0 {
			break
		}
		if try == 10_000 {
			return nil, fmt.Errorf("%d settlements are busy for ever", len(open))
		}
		time.Sleep(time.Millisecond) // what holds them ends by itself
	}
	return out, nil
}

// success reports the claim's attempt as delivered.
func success(c store.Claimed) store.Settlement {
	return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Deliver, Attempt: &store.Attempt{
		N: c.Attempt, Took: 5 * time.Millisecond, Outcome: store.AttemptDelivered, URL: "https://example.com/", Status: 204,
	}}
}

// failure reports the claim's attempt as failed, to be repeated after delay.
func failure(c store.Claimed, delay time.Duration) store.Settlement {
	return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Retry, Delay: delay, Attempt: &store.Attempt{
		N: c.Attempt, Took: 5 * time.Millisecond, Outcome: store.AttemptFailed, URL: "https://example.com/",
		Status: 500, Class: "status", Error: "answered 500 Internal Server Error",
	}}
}

// exhaust reports the claim's attempt as the last one, failed.
func exhaust(c store.Claimed) store.Settlement {
	s := failure(c, 0)
	s.Verdict, s.Reason = store.Exhaust, "no attempts left"
	return s
}

// release gives the lease back.
func release(c store.Claimed) store.Settlement {
	return store.Settlement{ID: c.ID, Token: c.Token, Verdict: store.Release}
}

// accepted settles one lease and reports if that did not count.
func (w *world) accepted(s store.Settlement) store.Settled {
	w.Helper()
	got := w.settle(s)[0]
	if !got.Accepted {
		w.Errorf("Settle of %v, verdict %d, under its live lease was not accepted", s.ID, s.Verdict)
	}
	return got
}
