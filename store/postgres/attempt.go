package postgres

import "github.com/hookpost/hookpost/store"

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
	a.ResponseHeader = a.ResponseHeader[:min(len(a.ResponseHeader), store.MaxResponseHeader)]
	a.ResponseBody = a.ResponseBody[:min(len(a.ResponseBody), store.MaxResponseBody)]
	return a
}
