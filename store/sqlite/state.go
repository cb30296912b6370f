package sqlite

import "github.com/hookpost/hookpost/store"

// The values of hookpost_delivery.state. The first three are store.Pending.
const (
	scheduled = 0
	ready     = 1
	leased    = 2
	delivered = 3
	exhausted = 4
	cancelled = 5
)

// publicState is the contract's name for a state.
func publicState(state int64) store.State {
	switch state {
	case delivered:
		return store.Delivered
	case exhausted:
		return store.Exhausted
	case cancelled:
		return store.Cancelled
	}
	return store.Pending
}

// visible is the state that a delivery reads as: those that are pending at a
// deleted endpoint are cancelled already.
func visible(state int64, deleted bool) store.State {
	if deleted && state <= leased {
		return store.Cancelled
	}
	return publicState(state)
}
