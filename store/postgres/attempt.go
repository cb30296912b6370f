package postgres

import "github.com/hookpost/hookpost/store"

// How much of a failure's answer is kept.
const (
	maxResponseHeader = 4 << 10
	maxResponseBody   = 16 << 10
)

// logged is what the log keeps of a settlement's attempt.
func logged(s *store.Settlement) store.Attempt {
	a := *s.Attempt
	if a.Outcome != store.AttemptDelivered && a.Outcome != store.AttemptFailed {
		a.Outcome = store.AttemptFailed
		if s.Verdict == store.Deliver {
			a.Outcome = store.AttemptDelivered
		}
	}
	if a.Outcome == store.AttemptDelivered {
		a.ResponseHeader, a.ResponseBody = nil, nil
	}
	a.ResponseHeader = a.ResponseHeader[:min(len(a.ResponseHeader), maxResponseHeader)]
	a.ResponseBody = a.ResponseBody[:min(len(a.ResponseBody), maxResponseBody)]
	return a
}
