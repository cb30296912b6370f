package store

import (
	"fmt"
)

// Mode is one of two isolated worlds, each with its own endpoints, secrets,
// events and log. The zero Mode is neither and is refused everywhere.
type Mode uint8

// The modes.
const (
	Live Mode = 1 // real events
	Test Mode = 2 // events of integrations under construction
)

// String returns "live" or "test", and "mode(n)" for any other value.
func (m Mode) String() string {
	switch m {
	case Live:
		return "live"
	case Test:
		return "test"
	}
	return fmt.Sprintf("mode(%d)", uint8(m))
}

// Valid reports whether m is Live or Test.
func (m Mode) Valid() bool { return m == Live || m == Test }

// ParseMode is the inverse of [Mode.String] for the two modes.
func ParseMode(s string) (Mode, error) {
	switch s {
	case "live":
		return Live, nil
	case "test":
		return Test, nil
	}
	return 0, fmt.Errorf("%w: mode %q is neither \"live\" nor \"test\"", ErrInvalid, s)
}

// MarshalText implements encoding.TextMarshaler.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (m *Mode) UnmarshalText(text []byte) error {
	v, err := ParseMode(string(text))
	if err == nil {
		*m = v
	}
	return err
}

// Scope names one world: whose endpoints and events, and in which mode. It has no
// methods, since everything that embeds it would have them too and print, log or
// marshal itself as nothing but its scope.
type Scope struct {
	Tenant string // the customer account; may be empty. Valid UTF-8 without NUL, at most 255 bytes
	Mode   Mode
}
