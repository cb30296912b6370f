package store

import "fmt"

// MaxEraseTx bounds what [Tx.Erase] erases at once: events, or their deliveries where
// those are more.
const MaxEraseTx = 1000

// EraseParams selects the events that [Log.Erase] erases: exactly one of EventID, Ref
// and All is set.
type EraseParams struct {
	EventID string // this event
	Ref     string // every event with this reference
	All     bool   // every event of the scope
	// After goes on after a step: only events whose Num is greater.
	After int64
	Limit int // events, or their deliveries where those are more, of one step; 0 means 1000
}

// Erased is what a step of [Log.Erase] did.
type Erased struct {
	Events    int // that lost what had been kept of them until then
	Cancelled int // deliveries that were pending
	After     int64
	Done      bool // nothing is left after this step
}

// CheckErase checks the parameters of [Log.Erase] and [Tx.Erase].
func CheckErase(s Scope, p EraseParams) error {
	if err := CheckScope(s); err != nil {
		return err
	}
	set := 0
	for _, given := range []bool{p.EventID != "", p.Ref != "", p.All} {
		if given {
			set++
		}
	}
	if set != 1 {
		return fmt.Errorf("%w: erasing needs exactly one of an event id, a reference and all, not %d of them", ErrInvalid, set)
	}
	return nil
}
