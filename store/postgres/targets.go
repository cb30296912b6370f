package postgres

import (
	"sync"

	"github.com/hookpost/hookpost/store"
)

// maxTargets bounds the endpoints whose scope is remembered.
const maxTargets = 100_000

// targets remembers which scope endpoints belong to, which never changes, so that
// events for those that the sender has just read need no check in the database.
// Only what is committed goes in.
type targets struct {
	mu    sync.RWMutex
	scope map[int64]store.Scope
}

func (t *targets) remember(eps []store.Endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.scope == nil || len(t.scope)+len(eps) > maxTargets {
		t.scope = make(map[int64]store.Scope, len(eps))
	}
	for i := range eps {
		t.scope[eps[i].Num] = eps[i].Scope
	}
}

// knows reports whether the endpoint is known to be of the scope.
func (t *targets) knows(endpoint int64, scope store.Scope) bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	s, ok := t.scope[endpoint]
	return ok && s == scope
}
