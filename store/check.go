package store

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
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

// MaxTrace is how long the trace context of an event can be, in bytes.
const MaxTrace = 1024

// maxOp is how long [ChangeParams].Op can be, in bytes.
const maxOp = 64

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

// CheckEndpoint checks what [Endpoints] is given to store.
func CheckEndpoint(ep *Endpoint, p ChangeParams) error {
	if err := CheckScope(ep.Scope); err != nil {
		return err
	}
	if ep.ID == "" {
		return fmt.Errorf("%w: endpoint without an id", ErrInvalid)
	}
	for _, text := range [...]struct{ what, text string }{
		{"id", ep.ID}, {"URL key", ep.URLKey}, {"action", string(p.Action)}, {"actor", p.Actor}, {"op", p.Op},
	} {
		if !IsText(text.text) {
			return fmt.Errorf("%w: %s %.80q of an endpoint is not UTF-8 without NUL", ErrInvalid, text.what, text.text)
		}
	}
	if len(p.Op) > maxOp {
		return fmt.Errorf("%w: op of a change of endpoint %s has %d bytes, more than %d", ErrInvalid, ep.ID, len(p.Op), maxOp)
	}
	if ep.State < Enabled || ep.State > Deleted {
		return fmt.Errorf("%w: endpoint %s has %v", ErrInvalid, ep.ID, ep.State)
	}
	if ep.Timeout < 0 || ep.Timeout > MaxTimeout {
		return fmt.Errorf("%w: endpoint %s has a timeout of %s, want at most %s", ErrInvalid, ep.ID, ep.Timeout, MaxTimeout)
	}
	if ep.State != Deleted && !slices.EqualFunc(ep.Headers, ep.HeaderValues, func(name string, h SealedHeader) bool { return name == h.Name }) {
		return fmt.Errorf("%w: the header values of endpoint %s are not those of the headers %q", ErrInvalid, ep.ID, ep.Headers)
	}
	seen := make(map[string]bool)
	for _, v := range ep.SealedValues() {
		if v.ID == "" || seen[v.ID] || !IsText(v.ID) || !IsText(v.KeyID) {
			return fmt.Errorf("%w: endpoint %s has a sealed value without an id, or two with the same one", ErrInvalid, ep.ID)
		}
		seen[v.ID] = true
	}
	return nil
}

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
		case !year(ev.CreatedAt):
			return fmt.Errorf("%w: event %q is of the year %d, want one from 0 to 9999", ErrInvalid, ev.ID, ev.CreatedAt.UTC().Year())
		case len(ev.Trace) > MaxTrace || !IsText(ev.Trace):
			return fmt.Errorf("%w: trace context of event %q is over %d bytes or not UTF-8 without NUL", ErrInvalid, ev.ID, MaxTrace)
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

// year reports whether t is of a year that JSON has.
func year(t time.Time) bool {
	y := t.UTC().Year()
	return y >= 0 && y <= 9999
}

// What lies outside of these years is as far away for every search: databases know other
// limits, and beyond them fail or overflow.
var (
	firstTime = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	lastTime  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// CeilMicros rounds a time of a search up to the microsecond, the zero time aside: a
// stored time is before t if and only if it is before that. One that is farther away
// than the years 0 and 9999 becomes the end of these that is next to it.
func CeilMicros(t time.Time) time.Time {
	switch {
	case t.IsZero():
		return t
	case t.Before(firstTime):
		return firstTime
	case t.After(lastTime):
		return lastTime
	}
	if floor := t.Truncate(time.Microsecond); !floor.Equal(t) {
		return floor.Add(time.Microsecond)
	}
	return t
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

// Reserved reports whether an event type is hookpost's own: it begins with "webhook.".
func Reserved(eventType string) bool { return strings.HasPrefix(eventType, "webhook.") }

// CheckLimit checks the limit of a step of [Upkeep].
func CheckLimit(limit int) error {
	if limit < 1 {
		return fmt.Errorf("%w: a limit of %d, want at least 1", ErrInvalid, limit)
	}
	return nil
}

// FoldASCII returns s with its ASCII letters in lower case, as
// [EndpointQuery].Search compares them.
func FoldASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}, s)
}

// NotFound is the [ErrNotFound] that says what a scope does not have: an "event", an
// "endpoint" or a "delivery", by its id.
func NotFound(what, id string, s Scope) error {
	return fmt.Errorf("%w: %s %.80q of tenant %.255q, %v", ErrNotFound, what, id, s.Tenant, s.Mode)
}
