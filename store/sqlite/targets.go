package sqlite

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

// unknown appends to nums those of an event's endpoints that must be looked up.
func (t *targets) unknown(nums []int64, ev *store.NewEvent) []int64 {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, d := range ev.For {
		if s, ok := t.scope[d.Endpoint]; !ok || s != ev.Scope {
			nums = append(nums, d.Endpoint)
		}
	}
	return nums
}
