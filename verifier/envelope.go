package verifier

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// An envelope is what a body in one of the known forms says.
type envelope struct {
	id        string // "" if it has none
	typ       string
	createdAt time.Time
	data      json.RawMessage // a part of the body
}

// ErrUnreadable says that a genuine event has no type: its body is none of the
// envelopes that [Event] describes, and no header names one. The text of an
// error that wraps it says what is wrong with the body.
var ErrUnreadable = errors.New("verifier: the event's type can't be read")

// Why a body is no envelope.
var (
	errEmpty     = unreadable("the body is empty")
	errNotObject = unreadable("the body is not one JSON object in UTF-8")
	errNoType    = unreadable(`the body has no "type" that is a string, in UTF-8 and not empty`)
	errTwice     = unreadable("a member of the body's envelope appears twice")
	errBare      = unreadable(`the body has a "type", but neither "data" nor a time`)
)

func unreadable(why string) error { return fmt.Errorf("%w: %s", ErrUnreadable, why) }

// byteOrderMark may precede JSON, and is skipped (RFC 8259, 8.1).
var byteOrderMark = []byte("\ufeff")

// parseEnvelope reads body if it is an envelope; what [Event] says about
// envelopes is what it does. The id is not read if it isn't wanted. It is
// stricter than encoding/json where that would let two parsers see two events:
// names are compared exactly, and a name that appears twice makes it no
// envelope. The error is an ErrUnreadable.
func parseEnvelope(body []byte, wantID bool) (envelope, error) {
	s := scanner{body, 0}
	switch {
	case len(body) == 0:
		return envelope{}, errEmpty
	case !s.enter('{'), !json.Valid(body):
		return envelope{}, errNotObject
	}
	// The body is known to be valid, so the scan needs to find edges only.
	var id, typ, createdAt, timestamp, created, data []byte
	for s.more('}') {
		name := s.value()
		s.skip(':')
		value := s.value()
		var into *[]byte
		switch string(memberName(name)) {
		case "id":
			into = &id
		case "type":
			into = &typ
		case "created_at":
			into = &createdAt
		case "timestamp":
			into = &timestamp
		case "created":
			into = &created
		case "data":
			into = &data
		default:
			continue
		}
		if *into != nil {
			return envelope{}, errTwice
		}
		*into = value
	}
	env := envelope{data: data}
	var ok bool
	if env.typ, ok = stringOf(typ); !ok {
		return envelope{}, errNoType
	}
	for _, literal := range [...][]byte{createdAt, timestamp, created} {
		if env.createdAt = timeOf(literal); !env.createdAt.IsZero() {
			break
		}
	}
	if wantID {
		env.id, _ = stringOf(id)
	}
	if data == nil && env.createdAt.IsZero() {
		return envelope{}, errBare
	}
	return env, nil
}

// yearTenThousand begins that many seconds after 1970. Larger numbers count
// milliseconds.
const yearTenThousand = 253402300800

// timeOf reads a JSON string in RFC 3339 or a positive integer that counts
// from 1970; the zero time for anything else.
func timeOf(literal []byte) (t time.Time) {
	switch {
	case len(literal) == 0:
	case literal[0] == '"':
		if t.UnmarshalText(literal[1:len(literal)-1]) != nil {
			return time.Time{}
		}
	case literal[0] >= '1' && literal[0] <= '9':
		n, err := strconv.ParseInt(string(literal), 10, 64)
		switch {
		case err != nil || n >= yearTenThousand*1000:
		case n >= yearTenThousand:
			t = time.UnixMilli(n)
		default:
			t = time.Unix(n, 0)
		}
	}
	return t.UTC()
}

// memberName undoes escapes only where there are some.
func memberName(literal []byte) []byte {
	if bytes.IndexByte(literal, '\\') < 0 {
		return literal[1 : len(literal)-1]
	}
	name, _ := stringOf(literal)
	return []byte(name)
}

// stringOf returns what a JSON string stands for; not ok for anything else,
// for the empty string, for invalid UTF-8 and for half a surrogate pair, which
// encoding/json would replace by U+FFFD.
func stringOf(literal []byte) (string, bool) {
	if len(literal) < 3 || literal[0] != '"' || !utf8.Valid(literal) {
		return "", false
	}
	if bytes.IndexByte(literal, '\\') < 0 {
		return string(literal[1 : len(literal)-1]), true
	}
	var text string
	err := json.Unmarshal(literal, &text)
	return text, err == nil && text != "" && !strings.ContainsRune(text, utf8.RuneError)
}

// A scanner walks valid JSON without recursion and without copying.
type scanner struct {
	b []byte
	i int
}

func (s *scanner) space() {
	for s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// enter steps over an opening bracket if there is one.
func (s *scanner) enter(open byte) bool {
	s.space()
	if s.i < len(s.b) && s.b[s.i] == open {
		s.i++
		return true
	}
	return false
}

// skip steps over a separator.
func (s *scanner) skip(sep byte) { s.enter(sep) }

// more steps to the next member and reports whether there is one.
func (s *scanner) more(closing byte) bool {
	s.skip(',')
	s.space()
	return s.i < len(s.b) && s.b[s.i] != closing
}

// value steps over one value and returns it, its capacity clipped.
func (s *scanner) value() []byte {
	s.space()
	start, depth := s.i, 0
	for s.i < len(s.b) {
		switch s.b[s.i] {
		case '"':
			s.text()
		case '{', '[':
			depth++
			s.i++
		case '}', ']':
			depth--
			s.i++
		default:
			s.i++
		}
		if depth == 0 && s.ended(start) {
			break
		}
	}
	return s.b[start:s.i:s.i]
}

// ended reports whether the value that began at start is complete: strings,
// objects and arrays end with their own mark, other literals before whatever
// cannot be a part of them.
func (s *scanner) ended(start int) bool {
	switch s.b[start] {
	case '"', '{', '[':
		return true
	}
	if s.i == len(s.b) {
		return true
	}
	switch s.b[s.i] {
	case ',', ']', '}', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// text steps over a string.
func (s *scanner) text() {
	for s.i++; s.i < len(s.b); s.i++ {
		switch s.b[s.i] {
		case '\\':
			s.i++
		case '"':
			s.i++
			return
		}
	}
}
