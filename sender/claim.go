package sender

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	claimBatch = 256     // deliveries in one claim
	claimBytes = 8 << 20 // of their bodies
	// claimTimeout ends a call of a store that hangs.
	claimTimeout = 30 * time.Second
	// gather is how long a busy Sender lets slots and room become free before it
	// claims again: claims of a few cost as much as claims of many.
	gather = 10 * time.Millisecond
)

// claimLoop takes deliveries from the store whenever there may be some and slots
// are free.
//
// The store is called under calls, which ends later than ctx: what it leases should
// be known here.
func (s *Sender) claimLoop(ctx, calls context.Context) {
	poll := time.NewTimer(0)
	defer poll.Stop()
	var after int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.wake:
		case <-s.lanes.changed:
			s.gather(ctx)
		case <-poll.C:
		}
		after = s.claimAll(ctx, calls, after)
		// Processes that started together should not stay together.
		poll.Reset(s.cfg.PollInterval - rand.N(s.cfg.PollInterval/10+1))
	}
}

// claimAll claims until the store has nothing more or no slot is free, and returns
// the endpoint to go on after.
func (s *Sender) claimAll(ctx, calls context.Context, after int64) int64 {
	wraps := 0
	for ctx.Err() == nil {
		now := time.Now()
		slots, room, defaultRoom := s.lanes.offer(claimBatch, now)
		if slots == 0 {
			return after
		}
		if ctx.Err() != nil { // Stop may not have seen that these slots are taken
			s.lanes.claimed(slots, room, defaultRoom, nil, true, after, time.Now())
			return after
		}
		lease, enough := s.leases.next(now)
		if !enough {
			s.trouble.report("hookpost: the store is so slow that leases end before attempts can begin", errSlowStore, "lease", lease)
		}
		claims, err := s.claim(calls, store.ClaimParams{
			Owner: s.cfg.owner, Lease: lease, Limit: slots, Bytes: claimBytes,
			Room: room, DefaultRoom: defaultRoom, After: after, Window: s.cfg.GiveUpAfter,
		})
		s.claimsFail.Store(err != nil)
		s.observe.claimed(now, slots, len(claims.Deliveries), err)
		var jobs []*job
		if err == nil {
			s.clock.learn(claims.Now, now, time.Now())
			jobs = s.jobs(calls, claims.Deliveries, now, lease)
		}
		s.lanes.claimed(slots, room, defaultRoom, jobs, claims.More || err != nil, claims.After, time.Now())
		if err != nil {
			if calls.Err() == nil {
				s.trouble.report("hookpost: deliveries can't be claimed; sending waits", err)
			}
			return after
		}
		for _, j := range jobs {
			s.dispatch(j)
		}
		if !claims.More {
			return claims.After
		}
		if len(jobs) > 0 {
			wraps = 0
			s.gather(ctx)
		} else if claims.After <= after {
			// Twice round without finding anything: the rest is on hold.
			if wraps++; wraps == 2 {
				return claims.After
			}
		}
		after = claims.After
	}
	return after
}

func (s *Sender) claim(ctx context.Context, p store.ClaimParams) (store.Claims, error) {
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	return s.st.Claim(ctx, p)
}

// jobs pairs claimed deliveries with their endpoints. One whose endpoint can't be
// read is given back by its attempt.
func (s *Sender) jobs(ctx context.Context, claims []store.Claimed, leasedAt time.Time, lease time.Duration) []*job {
	if len(claims) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, claimTimeout)
	defer cancel()
	endpoints, err := s.cache.endpoints(ctx, claims)
	if err != nil {
		s.trouble.report("hookpost: endpoints can't be read; their deliveries wait", err)
	}
	jobs := make([]*job, len(claims))
	var timeout time.Duration
	for i, c := range claims {
		ep := endpoints[c.ID.Endpoint]
		if ep != nil {
			timeout = max(timeout, s.cfg.timeout(&ep.Endpoint))
		}
		jobs[i] = &job{Claimed: c, endpoint: ep, leasedAt: leasedAt, lease: lease}
	}
	s.leases.took(time.Since(leasedAt), timeout, time.Now())
	return jobs
}

// gather waits a moment until a good part of the slots and of the endpoints' room is
// free.
func (s *Sender) gather(ctx context.Context) {
	enough := min(s.cfg.MaxInFlight/4, claimBatch/2)
	if s.lanes.enough(enough) {
		return
	}
	timer := time.NewTimer(gather)
	defer timer.Stop()
	for !s.lanes.enough(enough) {
		select {
		case <-s.lanes.changed:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}
