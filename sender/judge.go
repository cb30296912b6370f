package sender

import (
	"fmt"
	"net/http"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/store"
)

// testEventType is the type of test events: one attempt to one endpoint, whatever
// it selects, that leaves its health alone.
const testEventType = "webhook.test"

// maxHold caps how long a receiver's Retry-After holds back its endpoint's other
// deliveries.
const maxHold = time.Hour

// judge decides what becomes of a delivery after an attempt.
func judge(j *job, schedule retry.Schedule, giveUpAfter time.Duration, r *result) store.Settlement {
	if j.EventType == testEventType {
		return judgeTest(r)
	}
	if r.Outcome == store.AttemptDelivered {
		return store.Settlement{Verdict: store.Deliver, Attempt: &r.Attempt, Ago: r.Took}
	}
	var s store.Settlement
	if r.Status == http.StatusGone {
		s = store.Settlement{
			Verdict: store.Exhaust, Reason: "the receiver answered 410 Gone",
			DisableVersion: j.endpoint.Version, DisableReason: "the receiver answered 410 Gone",
		}
	} else {
		elapsed := j.Elapsed + r.Took
		s = next(j, schedule, giveUpAfter, elapsed, r.Status, r.RetryAfter, r.Error)
		s.Hold = min(r.RetryAfter, maxHold)
	}
	s.Attempt, s.Ago = &r.Attempt, r.Took
	return s
}

// next counts one more failure: the delivery waits for its next attempt or is
// exhausted. A Retry-After of the receiver's only ever makes it wait longer, and
// never past the deadline.
func next(j *job, schedule retry.Schedule, giveUpAfter, elapsed time.Duration, status int, retryAfter time.Duration, last string) store.Settlement {
	failed := j.Failures + 1
	delay, ok := schedule.Next(retry.Failure{Failed: failed, Status: status, Elapsed: elapsed, Seed: seed(j.ID)})
	delay = max(0, delay)
	switch {
	case !ok:
		return store.Settlement{Verdict: store.Exhaust, Reason: fmt.Sprintf("the schedule ended after %d failed attempts; the last: %s", failed, last)}
	case retry.Exhausted(elapsed, delay, giveUpAfter):
		return store.Settlement{
			Verdict: store.Exhaust,
			Reason:  fmt.Sprintf("the next attempt would be more than %s after the first; the last: %s", giveUpAfter, last),
		}
	}
	delay = max(delay, min(retryAfter, giveUpAfter-elapsed))
	return store.Settlement{Verdict: store.Retry, Delay: delay}
}

// judgeTest takes any HTTP answer for success: a receiver that is being set up
// can't have the secret yet, and what is asked is whether it is reached.
func judgeTest(r *result) store.Settlement {
	s := store.Settlement{Verdict: store.Exhaust, Reason: "not reached: " + r.Error, Attempt: &r.Attempt, Ago: r.Took, Quiet: true}
	if r.Status != 0 {
		r.Outcome = store.AttemptDelivered
		s.Verdict, s.Reason = store.Deliver, ""
	}
	return s
}

// seed makes a delivery's jitter its own, and the same on every machine.
func seed(id store.DeliveryID) uint64 {
	h := uint64(14695981039346656037)
	for _, v := range [3]uint64{uint64(id.Event), uint64(id.Endpoint), uint64(id.Round)} {
		h = (h ^ v) * 1099511628211
		h ^= h >> 29
	}
	return h
}
