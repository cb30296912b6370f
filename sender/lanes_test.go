package sender

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// laneWorld drives lanes by hand.
type laneWorld struct {
	*lanes
	t   *testing.T
	now time.Time
}

func newLaneWorld(t *testing.T, slots int) *laneWorld {
	w := &laneWorld{lanes: newLanes(slots), t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.open(true)
	return w
}

func jobFor(endpoint int64, handedOff bool) *job {
	j := &job{handedOff: handedOff}
	j.ID.Endpoint = endpoint
	return j
}

// hand reserves and begins an attempt.
func (w *laneWorld) hand(endpoint int64) *job {
	w.t.Helper()
	require.True(w.t, w.reserve(endpoint, w.now))
	j := jobFor(endpoint, true)
	w.begin(j, w.now)
	return j
}

// claim takes what the room allows of n ready deliveries of each endpoint, and
// begins their attempts.
func (w *laneWorld) claim(ready map[int64]int) []*job {
	w.t.Helper()
	slots, room, defaultRoom := w.offer(claimBatch, w.now)
	if slots == 0 {
		return nil
	}
	var jobs []*job
	more := false
	var last int64
	for endpoint, n := range ready {
		r, ok := room[endpoint]
		if !ok {
			r = defaultRoom
		}
		for range min(n, r) {
			if len(jobs) == slots {
				more = true
				break
			}
			jobs = append(jobs, jobFor(endpoint, false))
			ready[endpoint]--
			last = endpoint
		}
	}
	w.claimed(slots, room, defaultRoom, jobs, more, last, w.now)
	for _, j := range jobs {
		w.begin(j, w.now)
	}
	return jobs
}

func (w *laneWorld) end(j *job, how howItWent) {
	w.finish(j, how, 0, w.now)
	w.release(j)
}

// signalled reports whether the claims were woken.
func (w *laneWorld) signalled() bool {
	select {
	case <-w.changed:
		return true
	default:
		return false
	}
}

func TestLanesRoomGrowsAndShrinks(t *testing.T) {
	w := newLaneWorld(t, 64)
	for range 40 {
		w.end(w.hand(1), wentWell)
	}
	require.Equal(t, initialRoom, w.byEndpoint[1].room, "one at a time shows nothing")
	for range 10 {
		var jobs []*job
		for range w.byEndpoint[1].room {
			jobs = append(jobs, w.hand(1))
		}
		before := w.byEndpoint[1].room
		for _, j := range jobs {
			w.end(j, wentWell)
		}
		require.Greater(t, w.byEndpoint[1].room, min(before, 31))
	}
	w.end(w.hand(1), wentBadly)
	require.Equal(t, 32, w.byEndpoint[1].room, "an answer that is no success says nothing about the speed")
	for _, want := range []int{16, 8, 4, 2, 1, 1} {
		w.end(w.hand(1), timedOut)
		require.Equal(t, want, w.byEndpoint[1].room)
	}
}

func TestLanesClaimsHearOfShrunkRoomWhenIdle(t *testing.T) {
	w := newLaneWorld(t, 64)
	for range 3 {
		w.end(w.hand(1), timedOut)
	}
	require.Len(t, w.claim(map[int64]int{1: 10, 2: 10}), 1+initialRoom)
}

func TestLanesHold(t *testing.T) {
	w := newLaneWorld(t, 64)
	j := w.hand(1)
	w.finish(j, wentBadly, time.Minute, w.now)
	w.release(j)
	require.False(t, w.reserve(1, w.now))
	require.Empty(t, w.claim(map[int64]int{1: 10}))
	w.now = w.now.Add(holdHere)
	require.False(t, w.reserve(1, w.now), "hand-offs wait until the hold ends")
	require.Len(t, w.claim(map[int64]int{1: 10}), 1, "from here on the store's word counts, with a room of 1")
}

func TestLanesBlock(t *testing.T) {
	w := newLaneWorld(t, 64)
	w.block(1, time.Minute, w.now)
	require.False(t, w.reserve(1, w.now))
	require.Empty(t, w.claim(map[int64]int{1: 10}))
	w.forget(w.now)
	require.Empty(t, w.claim(map[int64]int{1: 10}))
	w.now = w.now.Add(time.Minute)
	require.Len(t, w.claim(map[int64]int{1: 10}), 1)

	w.block(2, time.Hour, w.now)
	w.block(2, 0, w.now)
	require.True(t, w.reserve(2, w.now.Add(1)))
}

func TestLanesBacklogIsNotOvertaken(t *testing.T) {
	w := newLaneWorld(t, 64)
	var jobs []*job
	for range initialRoom {
		jobs = append(jobs, w.hand(1))
	}
	require.False(t, w.reserve(1, w.now), "no room")
	require.False(t, w.stored(1, w.now), "a claim could not take it")
	w.end(jobs[0], wentWell)
	require.True(t, w.signalled(), "now it could")
	require.False(t, w.reserve(1, w.now), "the stored one goes first")
	require.True(t, w.reserve(2, w.now), "another endpoint has nothing to do with it")
	require.Len(t, w.claim(map[int64]int{1: 1}), 1)
	require.True(t, w.reserve(1, w.now), "a claim that got less than there was room for found the end of it")
}

func TestLanesDeliveryStoredDuringAClaimIsNotForgotten(t *testing.T) {
	w := newLaneWorld(t, 64)
	w.strangers = false
	for i := range int64(w.spare()) {
		w.hand(100 + i)
	}
	slots, room, defaultRoom := w.offer(claimBatch, w.now)
	require.False(t, w.reserve(1, w.now), "the claim has all slots")
	require.True(t, w.stored(1, w.now), "the claim may have looked already")
	w.claimed(slots, room, defaultRoom, nil, false, 0, w.now)
	require.False(t, w.reserve(1, w.now))
	require.Empty(t, w.claim(map[int64]int{}))
	require.True(t, w.reserve(1, w.now))
}

// However much is claimed, some slots are for events that are sent now; and while those
// have them, claims get the rest.
func TestLanesAnEighthIsForHandOffs(t *testing.T) {
	for _, slots := range []int{2, 3, 8, 64, 512} {
		w := newLaneWorld(t, slots)
		w.strangers = false
		ready := make(map[int64]int)
		for i := range int64(2 * slots) {
			ready[i] = 1
		}
		claimed := 0
		for range slots {
			claimed += len(w.claim(ready))
		}
		spare := max(1, slots/8)
		require.Equal(t, slots-spare, claimed, "%d slots", slots)
		for i := range int64(spare) {
			require.True(t, w.reserve(10_000+i, w.now), "%d slots", slots)
		}
		require.False(t, w.reserve(20_000, w.now), "%d slots", slots)
	}
}

func TestLanesAQuarterIsForClaims(t *testing.T) {
	for _, slots := range []int{2, 3, 4, 64} {
		w := newLaneWorld(t, slots)
		require.Len(t, w.claim(map[int64]int{1: 1}), 1)
		handed := 0
		for endpoint := int64(2); w.reserve(endpoint, w.now); endpoint++ {
			handed++
		}
		require.Equal(t, min(slots-1, slots-max(1, slots/4)), handed, "%d slots", slots)
	}
}

func TestLanesSlowEndpointsShareHalf(t *testing.T) {
	w := newLaneWorld(t, 64)
	ready := make(map[int64]int)
	for i := range int64(10) {
		ready[i] = 1000
		w.end(w.hand(i), wentBadly) // in time: it is not unknown
	}
	first := append(w.claim(ready), w.claim(ready)...)
	require.Len(t, first, 10*initialRoom, "nobody knows that they are slow")
	w.now = w.now.Add(2 * time.Second)
	require.Empty(t, w.claim(ready), "more than half is theirs already")
	for i := int64(100); i < 105; i++ {
		require.True(t, w.reserve(i, w.now))
	}
	w.now = w.now.Add(3 * time.Second)
	for _, j := range first {
		w.end(j, wentBadly)
	}
	for range 5 {
		jobs := w.claim(ready)
		require.NotEmpty(t, jobs)
		require.LessOrEqual(t, len(jobs), 32, "known to be slow before their first second is over")
		w.now = w.now.Add(5 * time.Second)
		for _, j := range jobs {
			w.end(j, wentBadly)
		}
	}
	var jobs []*job
	for len(jobs) == 0 { // chance shares out what there is
		jobs = w.claim(map[int64]int{3: 1})
	}
	w.end(jobs[0], wentWell)
	require.False(t, w.byEndpoint[3].slow(w.now), "one answer in time, and it is as good as any")
}

func TestLanesSlowEndpointsWithABacklogComeFirst(t *testing.T) {
	w := newLaneWorld(t, 64)
	for i := range int64(40) { // more of them than half the slots have room for
		j := w.hand(i)
		w.now = w.now.Add(2 * time.Second)
		w.end(j, wentBadly)
	}
	w.stored(17, w.now)
	require.Len(t, w.claim(map[int64]int{17: 10}), initialRoom)
}

func TestLanesAnIdleClaimWakesNobody(t *testing.T) {
	w := newLaneWorld(t, 64)
	require.Empty(t, w.claim(nil))
	require.False(t, w.signalled())
	require.True(t, w.idle())
}

func TestLanesWakeClaimsWhenFull(t *testing.T) {
	w := newLaneWorld(t, 2)
	a, b := w.hand(1), w.hand(2)
	require.Empty(t, w.claim(map[int64]int{3: 1}))
	require.False(t, w.signalled())
	w.finish(a, wentWell, 0, w.now)
	require.False(t, w.signalled(), "its slot is held until the result is recorded")
	w.release(a)
	require.True(t, w.signalled())
	w.end(b, wentWell)
	require.True(t, w.idle())
}

func TestLanesForget(t *testing.T) {
	w := newLaneWorld(t, 8)
	for i := range int64(1000) {
		w.end(w.hand(i), timedOut)
	}
	require.LessOrEqual(t, len(w.busy), 2*8+1, "what claims are told is bounded by the slots")
	w.reserve(5000, w.now)
	w.forget(w.now.Add(laneMemory + 1))
	require.Len(t, w.byEndpoint, 1)
	require.Len(t, w.busy, 1)
}

// TestLanesModel does random things and checks after each that no slot and no room
// is lost or given twice.
func TestLanesModel(t *testing.T) {
	for seed := range uint64(15) {
		r := rand.New(rand.NewPCG(seed, 1))
		slots := 2 + r.IntN(40)
		w := newLaneWorld(t, slots)
		endpoints := int64(1 + r.IntN(12))
		ready := make(map[int64]int)
		var reserved []int64
		var under, answered []*job
		drop := func(list []*job, i int) []*job { return append(list[:i:i], list[i+1:]...) }
		for range 600 {
			w.now = w.now.Add(time.Duration(r.IntN(400)) * time.Millisecond)
			ep := r.Int64N(endpoints)
			switch r.IntN(9) {
			case 0, 1:
				if w.reserve(ep, w.now) {
					reserved = append(reserved, ep)
				} else {
					ready[ep]++
					w.stored(ep, w.now)
				}
			case 2:
				if n := len(reserved); n > 0 {
					if r.IntN(3) == 0 {
						w.unreserve(reserved[n-1], w.now)
					} else {
						j := jobFor(reserved[n-1], true)
						w.begin(j, w.now)
						under = append(under, j)
					}
					reserved = reserved[:n-1]
				}
			case 3, 4:
				under = append(under, w.claim(ready)...)
			case 5, 6:
				if n := len(under); n > 0 {
					i := r.IntN(n)
					hold := time.Duration(0)
					if r.IntN(20) == 0 {
						hold = time.Duration(r.IntN(5000)) * time.Millisecond
					}
					w.finish(under[i], howItWent(r.IntN(4)), hold, w.now)
					answered = append(answered, under[i])
					under = drop(under, i)
				}
			case 7:
				if n := len(answered); n > 0 {
					i := r.IntN(n)
					w.release(answered[i])
					answered = drop(answered, i)
				}
			case 8:
				switch r.IntN(10) {
				case 0:
					w.block(ep, time.Duration(r.IntN(3))*time.Second, w.now)
				case 1:
					w.forget(w.now)
				}
			}
			require.Equal(t, slots, w.free+len(reserved)+len(under)+len(answered), "seed %d", seed)
			require.GreaterOrEqual(t, w.free, 0)
			handed := len(reserved)
			inFlight := make(map[int64]int)
			for _, ep := range reserved {
				inFlight[ep]++
			}
			for _, j := range under {
				inFlight[j.ID.Endpoint]++
			}
			for _, j := range append(under[:len(under):len(under)], answered...) {
				if j.handedOff {
					handed++
				}
			}
			require.Equal(t, handed, w.handedOff, "seed %d", seed)
			unproven := 0
			for _, la := range w.byEndpoint {
				if !la.proven {
					unproven += la.inFlight
				}
			}
			require.Equal(t, unproven, w.unproven, "seed %d", seed)
			for num, la := range w.byEndpoint {
				require.Equal(t, inFlight[num], la.inFlight, "seed %d", seed)
				require.True(t, la.room >= 1 && la.room <= max(w.maxRoom, 1))
				require.Equal(t, la.backlog, w.waiting[num] != nil)
				require.True(t, la.inFlight == 0 || w.busy[num] == la)
			}
		}
		for _, ep := range reserved {
			w.unreserve(ep, w.now)
		}
		for _, j := range under {
			w.end(j, wentWell)
		}
		for _, j := range answered {
			w.release(j)
		}
		require.True(t, w.idle(), "seed %d", seed)
		require.Zero(t, w.handedOff)
	}
}

func TestUnknownEndpointsAreTriedOneByOneWhereHalfIsSlow(t *testing.T) {
	w := newLaneWorld(t, 16)
	for endpoint := range int64(2) {
		w.end(w.hand(endpoint), wentBadly) // in time: it is not unknown
		for range initialRoom {
			w.hand(endpoint)
		}
	}
	slots, room, before := w.offer(claimBatch, w.now)
	w.claimed(slots, room, before, nil, false, 0, w.now)
	require.Equal(t, initialRoom, before)
	w.now = w.now.Add(2 * slowAfter)
	_, _, after := w.offer(claimBatch, w.now)
	require.Equal(t, 1, after, "the slow ones have their half; one attempt each tells about the others")
}

func TestLanesAClaimOfUnknownEndpointsGetsAQuarter(t *testing.T) {
	w := newLaneWorld(t, 64)
	ready := make(map[int64]int)
	for i := range int64(100) {
		ready[i] = 10
	}
	require.Empty(t, w.claim(nil), "an empty claim tells nothing")
	first := w.claim(ready)
	require.Len(t, first, 16)
	require.LessOrEqual(t, len(w.claim(ready)), 16)
	for _, j := range first {
		w.end(j, wentWell)
	}
	known := first[0].ID.Endpoint
	require.NotEmpty(t, w.claim(map[int64]int{known: 1}))
	slots, room, defaultRoom := w.offer(claimBatch, w.now)
	require.Greater(t, slots, 16, "all that the last claim found are known")
	w.claimed(slots, room, defaultRoom, nil, false, 0, w.now)
}

func TestUnknownEndpointsAreTriedOneByOneWhereAQuarterHasNotAnswered(t *testing.T) {
	w := newLaneWorld(t, 32)
	var jobs []*job
	for endpoint := range int64(2) {
		for range initialRoom {
			jobs = append(jobs, w.hand(endpoint))
		}
	}
	require.Len(t, w.claim(map[int64]int{2: 10, 3: 10}), 2)
	w.hand(4)
	require.False(t, w.reserve(4, w.now))
	w.end(jobs[0], wentBadly)
	w.end(jobs[4], wentWell)
	require.Len(t, w.claim(map[int64]int{5: 10}), initialRoom, "the first two have answered")
}
