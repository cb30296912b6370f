package sender

import (
	"errors"
	"fmt"
	"strings"
)

// maxSelection bounds how many patterns an endpoint has, since all of them are
// kept in memory.
const maxSelection = 1000

// ErrInvalidSelection says that an endpoint's event types are not acceptable.
var ErrInvalidSelection = errors.New("sender: invalid selection of event types")

// selection is the compiled form of an endpoint's event types. It matches what
// one of them does: "*" everything, "payment.*" every type below payment, and
// anything else itself. Reserved types match nothing.
type selection struct {
	all      bool
	exact    map[string]struct{}
	prefixes []string // with their full stop
}

// validSelection says whether patterns can be the selection of an endpoint. The
// error is an ErrInvalidSelection.
func validSelection(patterns []string) error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("%w: %s", ErrInvalidSelection, fmt.Sprintf(format, args...))
	}
	if len(patterns) == 0 {
		return bad("it is empty; name at least one, such as \"payment.succeeded\" or \"payment.*\", or \"*\" for all, future ones included")
	}
	if len(patterns) > maxSelection {
		return bad("it has %d elements, more than %d; \"payment.*\" selects all types below payment", len(patterns), maxSelection)
	}
	for i, p := range patterns {
		if p == "*" {
			continue
		}
		if !validType(strings.TrimSuffix(p, ".*")) {
			return bad("element %d, %.140q, is neither an event type such as \"payment.succeeded\", nor one such as \"payment.*\" for all below it, nor \"*\"", i, p)
		}
		if strings.HasPrefix(p, reservedPrefix) {
			return bad("element %d, %q, is reserved: such events reach every endpoint that they concern", i, p)
		}
	}
	return nil
}

// newSelection compiles patterns that validSelection accepts.
func newSelection(patterns []string) selection {
	var s selection
	for _, p := range patterns {
		switch prefix, found := strings.CutSuffix(p, "*"); {
		case p == "*":
			s.all = true
		case found:
			s.prefixes = append(s.prefixes, prefix)
		default:
			if s.exact == nil {
				s.exact = make(map[string]struct{})
			}
			s.exact[p] = struct{}{}
		}
	}
	return s
}

// matches reports whether events of that type are selected.
func (s *selection) matches(eventType string) bool {
	if strings.HasPrefix(eventType, reservedPrefix) {
		return false
	}
	if s.all {
		return true
	}
	if _, found := s.exact[eventType]; found {
		return true
	}
	for _, p := range s.prefixes {
		if strings.HasPrefix(eventType, p) {
			return true
		}
	}
	return false
}
