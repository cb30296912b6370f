package postgres

import "github.com/hookpost/hookpost/store"

// The values of hookpost.delivery.state. The first three are store.Pending.
const (
	scheduled = 0
	ready     = 1
	leased    = 2
	delivered = 3
	exhausted = 4
	cancelled = 5
)

// reserved is store.Reserved of an event e.
const reserved = "e.type LIKE 'webhook.%'"

// publicState is the contract's name for a state.
func publicState(state int) store.State {
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
func visible(state int, lane store.EndpointState) store.State {
	if lane == store.Deleted && state <= leased {
		return store.Cancelled
	}
	return publicState(state)
}
