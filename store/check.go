package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// What follows is for implementations: the rules that need no database to be
// checked, and the words that all logs share. Every error is an ErrInvalid.

// Of the answer to a failed attempt the log keeps this much, in bytes.
const (
	MaxResponseHeader = 4 << 10
	MaxResponseBody   = 16 << 10
)

// Why a delivery ended, where the store is who knows.
const (
	ReasonDeleted = "the endpoint was deleted"
	ReasonExpired = "its time ended while the endpoint was disabled"
	ReasonErased  = "the event was erased"
)

// maxRefs is how many references an event can have.
const maxRefs = 8

// CheckScope refuses a mode that is neither live nor test and a tenant that is not
// text of at most 255 bytes.
func CheckScope(s Scope) error {
	switch {
	case !s.Mode.Valid():
		return fmt.Errorf("%w: %v is neither live nor test", ErrInvalid, s.Mode)
	case len(s.Tenant) > 255:
		return fmt.Errorf("%w: tenant has %d bytes, more than 255", ErrInvalid, len(s.Tenant))
	case !IsText(s.Tenant):
		return fmt.Errorf("%w: tenant %q is not UTF-8 without NUL", ErrInvalid, s.Tenant)
	}
	return nil
}

// IsText reports whether every database can keep s as text: valid UTF-8 without NUL.
func IsText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// CheckEvents checks a batch for [Queue.Enqueue], or with repeats, which allows an
// id to be there twice, for [Tx].Enqueue.
func CheckEvents(events []NewEvent, repeats bool) error {
	type key struct {
		Scope
		id string
	}
	var seen map[key]bool
	if !repeats && len(events) > 1 {
		seen = make(map[key]bool, len(events))
	}
	for i := range events {
		ev := &events[i]
		if err := CheckScope(ev.Scope); err != nil {
			return err
		}
		k := key{ev.Scope, ev.ID}
		switch {
		case ev.ID == "" || !IsText(ev.ID):
			return fmt.Errorf("%w: event id %q is empty or not UTF-8 without NUL", ErrInvalid, ev.ID)
		case !IsText(ev.Type) || !IsText(ev.ContentType):
			return fmt.Errorf("%w: type or content type of event %q is not UTF-8 without NUL", ErrInvalid, ev.ID)
		case len(ev.Refs) > maxRefs:
			return fmt.Errorf("%w: event %q has %d references, more than %d", ErrInvalid, ev.ID, len(ev.Refs), maxRefs)
		case slices.ContainsFunc(ev.Refs, func(ref string) bool { return !IsText(ref) }):
			return fmt.Errorf("%w: a reference of event %q is not UTF-8 without NUL", ErrInvalid, ev.ID)
		case endpointTwice(ev.For):
			return fmt.Errorf("%w: event %q is for the same endpoint twice", ErrInvalid, ev.ID)
		case seen[k]:
			return fmt.Errorf("%w: event id %q is in the batch twice", ErrInvalid, ev.ID)
		}
		if seen != nil {
			seen[k] = true
		}
	}
	return nil
}

func endpointTwice(list []NewDelivery) bool {
	byNum := func(a, b NewDelivery) int { return cmp.Compare(a.Endpoint, b.Endpoint) }
	if !slices.IsSortedFunc(list, byNum) {
		list = slices.SortedFunc(slices.Values(list), byNum)
	}
	for i := 1; i < len(list); i++ {
		if list[i-1].Endpoint == list[i].Endpoint {
			return true
		}
	}
	return false
}

// CheckSettlements checks a batch for [Queue.Settle].
func CheckSettlements(batch []Settlement) error {
	seen := make(map[DeliveryID]bool, len(batch))
	for i := range batch {
		s := &batch[i]
		var wrong string
		switch {
		case s.Verdict < Deliver || s.Verdict > Release:
			wrong = "has no verdict"
		case s.Verdict == Deliver && s.Attempt == nil:
			wrong = "delivers without an attempt"
		case s.Verdict == Release && s.Attempt != nil:
			wrong = "releases an attempt that was made"
		case s.Attempt != nil && s.Attempt.N < 1:
			wrong = "has an attempt without a number"
		case seen[s.ID]:
			wrong = "is in the batch twice"
		default:
			seen[s.ID] = true
			continue
		}
		return fmt.Errorf("%w: settlement of %s %s", ErrInvalid, s.ID, wrong)
	}
	return nil
}

// CheckLimit checks the limit of a step of [Upkeep].
func CheckLimit(limit int) error {
	if limit < 1 {
		return fmt.Errorf("%w: a limit of %d, want at least 1", ErrInvalid, limit)
	}
	return nil
}
