package storetest

import (
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
)

func leaseChecks() []check {
	return []check{
		{"OneLiveLease", "no delivery has two live leases, tokens only grow and attempt numbers are given out once, however many claim at once: else the same request is under way twice and reports cannot be told apart", oneLiveLease},
		{"ReleaseIsNotCharged", "a lease given back unused costs nothing: the attempt number is free again, nothing is logged, the window has not begun", releaseIsNotCharged},
		{"LeaseIsTold", "a delivery in flight says when its lease began and ends, and no other delivery has these times", leaseIsTold},
		{"UnknownDoesNotAdvance", "an attempt that was never reported takes a number and a row in the log but does not advance the schedule: the worker's crash is not the receiver's failure", unknownDoesNotAdvance},
		{"TakeOverOnlyExpired", "TakeOver ends leases that have expired by the store's clock and no others", takeOverOnlyExpired},
	}
}

func leaseIsTold(w *world) {
	ep := w.endpoint()
	id := w.send(ep)[0]
	none := func(why string) {
		w.Helper()
		if d := w.delivery(id); !d.LeasedAt.IsZero() || !d.LeaseUntil.IsZero() {
			w.Errorf("%s: a lease from %v until %v is told, want none", why, d.LeasedAt, d.LeaseUntil)
		}
	}
	none("ready")
	p := claimParams()
	from := w.now()
	w.claimWithin(p, 1)
	to := w.now()
	told := func(why string) {
		w.Helper()
		d := w.delivery(id)
		w.between("LeasedAt, "+why, d.LeasedAt, from, to)
		w.between("LeaseUntil, "+why, d.LeaseUntil, from.Add(p.Lease), to.Add(p.Lease))
	}
	told("leased")
	page, err := w.st.Deliveries(w.ctx(), w.scope, store.DeliveryQuery{EndpointID: ep.ID})
	w.must(err, "Deliveries")
	if d := w.delivery(id); len(page) != 1 || !page[0].LeasedAt.Equal(d.LeasedAt) || !page[0].LeaseUntil.Equal(d.LeaseUntil) {
		w.Errorf("Deliveries returned %+v, want the lease that Delivery tells", page)
	}
	w.advance(p.Lease + time.Minute)
	told("expired, and not taken over")
	w.takeOver()
	none("taken over")
	w.accepted(failure(w.claimWithin(p, 1)[0], time.Hour))
	none("waiting for a retry")
	w.advance(time.Hour)
	w.promote()
	w.accepted(success(w.claimWithin(p, 1)[0]))
	none("delivered")
	id = w.send(ep)[0]
	w.claimWithin(p, 1)
	w.must(w.st.Cancel(w.ctx(), w.scope, id, "no"), "Cancel")
	none("cancelled in flight")
	id = w.send(ep)[0]
	w.claimWithin(p, 1)
	w.setState(ep, store.Deleted)
	none("its endpoint is deleted")
}

func oneLiveLease(w *world) {
	eps := w.endpoints(6)
	const events, workers = 10, 8
	for range events {
		w.send(eps...)
	}
	type track struct {
		live     bool
		token    int64
		attempts map[int]bool
		done     bool
	}
	var mu sync.Mutex
	seen := map[store.DeliveryID]*track{}
	leaseIt := func(c store.Claimed) {
		mu.Lock()
		defer mu.Unlock()
		d := seen[c.ID]
		if d == nil {
			d = &track{attempts: map[int]bool{}}
			seen[c.ID] = d
		}
		if d.live {
			w.Errorf("delivery %v was leased while another lease of it was live", c.ID)
		}
		if d.done {
			w.Errorf("delivery %v was leased after it was delivered", c.ID)
		}
		if c.Token <= d.token {
			w.Errorf("delivery %v: token %d after token %d, want tokens that only grow", c.ID, c.Token, d.token)
		}
		if d.attempts[c.Attempt] {
			w.Errorf("delivery %v: attempt number %d given out twice", c.ID, c.Attempt)
		}
		d.live, d.token, d.attempts[c.Attempt] = true, c.Token, true
	}
	// end notes the end of a lease before it is reported, since the next lease may
	// begin the moment that is.
	end := func(c store.Claimed, released, done bool) {
		mu.Lock()
		defer mu.Unlock()
		d := seen[c.ID]
		d.live, d.done = false, done
		if released {
			delete(d.attempts, c.Attempt)
		}
	}
	stores := []store.Store{w.st, w.another()}
	work := func(i int) {
		st := stores[i%2]
		p := claimParams()
		p.Owner, p.Limit, p.DefaultRoom = int64(i), 4, 2
		for round := range 60 {
			c, err := busy(func() (store.Claims, error) { return st.Claim(w.ctx(), p) })
			if err != nil {
				w.Errorf("Claim: %v", err)
				return
			}
			p.After = c.After
			for _, d := range c.Deliveries {
				leaseIt(d)
			}
			var ss []store.Settlement
			for k, d := range c.Deliveries {
				switch kind := (round + k + i) % 4; {
				case d.Attempt >= 4 || kind == 0:
					end(d, false, true)
					ss = append(ss, success(d))
				case kind == 1 && round < 30:
					end(d, true, false)
					ss = append(ss, release(d))
				case kind == 2 || round >= 30:
					end(d, false, false)
					ss = append(ss, failure(d, 0))
				}
				// The others keep their lease until it expires.
			}
			if len(ss) > 0 {
				if _, err := settleAll(w.ctx(), st, ss); err != nil {
					w.Errorf("Settle: %v", err)
					return
				}
			}
			if _, err := busy(func() (store.Promoted, error) { return st.Promote(w.ctx(), many) }); err != nil {
				w.Errorf("Promote: %v", err)
				return
			}
			// No lease has expired, so this must end none.
			if _, err := busy(func() (int, error) { return st.TakeOver(w.ctx(), many) }); err != nil {
				w.Errorf("TakeOver: %v", err)
				return
			}
			if len(c.Deliveries) == 0 && !c.More {
				return
			}
		}
	}
	for range 6 {
		parallel(workers, work)
		w.advance(leaseTime + time.Second)
		parallel(4, func(i int) {
			if _, err := busy(func() (int, error) { return stores[i%2].TakeOver(w.ctx(), 5) }); err != nil {
				w.Errorf("TakeOver: %v", err)
			}
		})
		w.takeOver()
		for _, d := range seen {
			d.live = false
		}
	}
	if len(seen) != events*len(eps) {
		w.Errorf("%d deliveries were claimed, want all %d", len(seen), events*len(eps))
	}
	for id, d := range seen {
		rows := w.outcomes(id)
		for n := range d.attempts {
			if rows[n] == 0 {
				w.Errorf("delivery %v: attempt %d was given out and is not in the log", id, n)
			}
		}
		if len(rows) != len(d.attempts) {
			w.Errorf("delivery %v: the log has %d attempts, %d were given out and not released", id, len(rows), len(d.attempts))
		}
	}
}

func releaseIsNotCharged(w *world) {
	ep := w.endpoint()
	id := w.send(ep)[0]
	token := int64(0)
	for range 3 {
		c := w.take(id)
		if c.Attempt != 1 || c.Failures != 0 || c.Unknown != 0 || c.Elapsed != 0 {
			w.Fatalf("claim of a delivery that was only ever released: attempt %d, failures %d, unknown %d, elapsed %v, want attempt 1 and zeros",
				c.Attempt, c.Failures, c.Unknown, c.Elapsed)
		}
		if c.Token <= token {
			w.Errorf("token %d after %d: a release does not take a token back", c.Token, token)
		}
		token = c.Token
		w.advance(time.Minute)
		if got := w.accepted(release(c)); got.State != store.Pending {
			w.Errorf("released: state %v, want pending", got.State)
		}
		if got := w.settle(release(c))[0]; got.Accepted {
			w.Errorf("the same release again was accepted, but the lease is no longer the caller's")
		}
		d := w.delivery(id)
		if d.Attempts != 0 || d.Failures != 0 || !d.FirstAt.IsZero() || d.InFlight || d.State != store.Pending {
			w.Errorf("released delivery reads %+v, want it pending and as if never attempted", d)
		}
		if as := w.attempts(id); len(as) != 0 {
			w.Errorf("released attempt is in the log: %+v", as)
		}
	}
	w.accepted(failure(w.take(id), time.Minute))
	w.advance(time.Hour)
	w.promote()
	c := w.take(id)
	if c.Attempt != 2 || c.Failures != 1 || c.Elapsed < time.Hour || c.Elapsed > 2*time.Hour {
		w.Errorf("second attempt: number %d, failures %d, elapsed %v, want 2, 1 and the hour since the first began", c.Attempt, c.Failures, c.Elapsed)
	}
	w.accepted(release(c))
	d := w.delivery(id)
	if d.Attempts != 1 || d.Failures != 1 || d.FirstAt.IsZero() {
		w.Errorf("second attempt released: reads %+v, want one attempt and one failure as before", d)
	}
	if c := w.take(id); c.Attempt != 2 || c.Failures != 1 {
		w.Errorf("claimed after a release: attempt %d, failures %d, want 2 and 1 again", c.Attempt, c.Failures)
	}
	// Releasing an old lease must not end a new one.
	if got := w.settle(release(c))[0]; got.Accepted {
		w.Errorf("a release under an old token was accepted while another holds the lease")
	}
	w.idle("the new lease stands")
}

func unknownDoesNotAdvance(w *world) {
	ep := w.endpoint()
	id := w.send(ep)[0]
	w.accepted(failure(w.take(id), 0))
	w.promote()
	var c store.Claimed
	for i := range store.MaxUnknown {
		c = w.take(id)
		if c.Attempt != i+2 || c.Unknown != i || c.Failures != 1 {
			w.Fatalf("after %d attempts never reported: attempt %d, unknown %d, failures %d, want %d, %d and 1",
				i, c.Attempt, c.Unknown, c.Failures, i+2, i)
		}
		w.advance(leaseTime + time.Second)
		if n := w.takeOver(); n != 1 {
			w.Fatalf("TakeOver of one expired lease changed %d rows", n)
		}
	}
	d := w.delivery(id)
	if d.State != store.Pending || d.Failures != 1 || d.Attempts != 1+store.MaxUnknown {
		w.Errorf("reads %+v, want it pending with 1 failure and %d attempts", d, 1+store.MaxUnknown)
	}
	for _, a := range w.attempts(id)[1:] {
		if a.Outcome != store.AttemptUnknown {
			w.Errorf("attempt %d, never reported, is logged as %v, want unknown", a.N, a.Outcome)
		}
		if a.StartedAt.IsZero() {
			w.Errorf("attempt %d, never reported, has no StartedAt, want when its lease began", a.N)
		}
	}
	if h := w.reload(ep).Health; h.Failures != 1 {
		w.Errorf("the endpoint has %d failures, want 1: an unknown attempt says nothing about the receiver", h.Failures)
	}

	// The sender sees the count and turns it into one failure, without a request.
	c = w.take(id)
	if c.Unknown != store.MaxUnknown {
		w.Fatalf("Claimed.Unknown is %d, want %d", c.Unknown, store.MaxUnknown)
	}
	if got := w.accepted(store.Settlement{ID: id, Token: c.Token, Verdict: store.Retry, Delay: time.Hour}); got.State != store.Pending {
		w.Errorf("a Retry without an attempt: state %v, want pending", got.State)
	}
	if d := w.delivery(id); d.Failures != 2 {
		w.Errorf("a Retry without an attempt: failures %d, want 2, it is charged", d.Failures)
	}
	if n := len(w.attempts(id)); n != 1+store.MaxUnknown {
		w.Errorf("a Retry without an attempt: the log has %d attempts, want %d, there was no request", n, 1+store.MaxUnknown)
	}
	w.promote()
	w.idle("the retry waits for its hour")
	w.advance(time.Hour + time.Second)
	w.promote()
	c = w.take(id)
	if c.Unknown != 0 || c.Failures != 2 || c.Attempt < 2+store.MaxUnknown {
		w.Errorf("after the charged failure: unknown %d, failures %d, attempt %d, want 0, 2 and a number above all in the log", c.Unknown, c.Failures, c.Attempt)
	}

	// A late report of an attempt that became unknown counts if nobody has leased
	// the delivery since, and resets the count.
	w.advance(leaseTime + time.Second)
	w.takeOver()
	w.accepted(failure(c, 0))
	w.promote()
	if c := w.take(id); c.Unknown != 0 || c.Failures != 3 {
		w.Errorf("after a late failure that counted: unknown %d, failures %d, want 0 and 3", c.Unknown, c.Failures)
	}
}

func takeOverOnlyExpired(w *world) {
	ep := w.endpoint()
	w.send(ep)
	w.send(ep)
	p := claimParams()
	p.Limit = 1
	short := w.claim(p).Deliveries[0]
	p.Lease = 3 * leaseTime
	long := w.claim(p).Deliveries[0]
	if n := w.takeOver(); n != 0 {
		w.Errorf("TakeOver changed %d rows, want 0: no lease has expired", n)
	}
	w.idle("both deliveries are leased")
	w.advance(leaseTime + time.Second)
	if n := w.takeOver(); n != 1 {
		w.Errorf("TakeOver changed %d rows, want 1: one lease has expired", n)
	}
	c := w.take(short.ID)
	if c.Token <= short.Token {
		w.Errorf("token %d after %d", c.Token, short.Token)
	}
	w.accepted(success(long))
	w.accepted(success(c))
	w.advance(10 * leaseTime)
	if n := w.takeOver(); n != 0 {
		w.Errorf("TakeOver changed %d rows, want 0: both leases were settled", n)
	}
}
