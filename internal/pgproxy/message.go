package pgproxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Side is who sends.
type Side uint8

// The sides of a connection.
const (
	Client Side = 1
	Server Side = 2
)

// String returns "client" or "server".
func (s Side) String() string {
	if s == Client {
		return "client"
	}
	return "server"
}

// Message is one of the protocol's, as it passes.
type Message struct {
	Conn int // number of the connection, from 1
	From Side
	// Type is the message's first byte, 0 for those that have none: the client's first.
	// The client's are 'Q' Query, 'P' Parse, 'B' Bind, 'D' Describe, 'E' Execute,
	// 'S' Sync, 'X' Terminate and others; the server's 'C' CommandComplete,
	// 'Z' ReadyForQuery, 'E' ErrorResponse, 'D' DataRow and others.
	Type byte
	// Text is the statement that a client's message is about, by which name ever;
	// "startup" or "cancel" for those without a type. Of a server's message it is the
	// command tag ('C'), the SQLSTATE ('E', 'N') or the transaction's state ('Z').
	Text string
	Size int // in bytes, type and length included
	// Status is what the server's last ReadyForQuery said: 'I' outside of a
	// transaction, 'T' in one, 'E' in one that failed, 0 before the first.
	Status byte
}

// String describes the message in a line.
func (m Message) String() string {
	text := strings.Join(strings.Fields(m.Text), " ")
	if m.Type == 0 {
		return fmt.Sprintf("%d %v: %s (%d bytes)", m.Conn, m.From, text, m.Size)
	}
	return fmt.Sprintf("%d %v: %c %.80s (%d bytes)", m.Conn, m.From, m.Type, text, m.Size)
}

// Is returns a condition: messages of this type.
func Is(typ byte) func(Message) bool {
	return func(m Message) bool { return m.Type == typ }
}

// Begins returns a condition: messages whose Text begins with this, in either case and
// behind a comment or not, and which, from the client, have the statement run: Query and Execute.
func Begins(text string) func(Message) bool {
	return func(m Message) bool {
		if m.From == Client && m.Type != 'Q' && m.Type != 'E' {
			return false
		}
		begin := strings.TrimSpace(m.Text)
		if comment, rest, ok := strings.Cut(begin, "*/"); ok && strings.HasPrefix(comment, "/*") {
			begin = strings.TrimSpace(rest)
		}
		return len(begin) >= len(text) && strings.EqualFold(begin[:len(text)], text)
	}
}

// Commits is a condition: a client's message that ends a transaction with success, by
// COMMIT or, where BEGIN was not said, by what ends an implicit one: Sync, or a Query.
func Commits(m Message) bool {
	if m.From != Client || Begins("rollback")(m) || Begins("begin")(m) {
		return false
	}
	return Begins("commit")(m) || m.Status == 'I' && (m.Type == 'S' || m.Type == 'Q')
}

// Codes of the messages without a type.
const (
	codeCancel = 80877102
	codeSSL    = 80877103
	codeGSS    = 80877104
)

// maxMessage is the protocol's own bound, in bytes.
const maxMessage = 1 << 30

var errFraming = errors.New("pgproxy: a message of impossible length")

// readMessage reads a message as it is. At an error it returns what there was of it.
func readMessage(r io.Reader, untyped bool) ([]byte, error) {
	head := 5
	if untyped {
		head = 4
	}
	raw := make([]byte, head)
	if n, err := io.ReadFull(r, raw); err != nil {
		return raw[:n], err
	}
	length := int(binary.BigEndian.Uint32(raw[head-4:]))
	if length < 4 || length > maxMessage {
		return raw, errFraming
	}
	raw = append(raw, make([]byte, length-4)...)
	n, err := io.ReadFull(r, raw[head:])
	return raw[:head+n], err
}

// statements are those that a client has given names.
type statements struct {
	prepared map[string]string
	portals  map[string]string
}

// text returns the statement that a client's message is about.
func (s *statements) text(typ byte, body []byte) string {
	first, rest, _ := bytes.Cut(body, []byte{0})
	second, _, _ := bytes.Cut(rest, []byte{0})
	switch typ {
	case 'Q':
		return string(first)
	case 'P':
		s.prepared[string(first)] = string(second)
		return string(second)
	case 'B':
		s.portals[string(first)] = s.prepared[string(second)]
		return s.portals[string(first)]
	case 'E':
		return s.portals[string(first)]
	case 'D', 'C':
		kind, name := first, ""
		if len(first) > 0 {
			kind, name = first[:1], string(first[1:])
		}
		known := s.prepared
		if string(kind) == "P" {
			known = s.portals
		}
		text := known[name]
		if typ == 'C' {
			delete(known, name)
		}
		return text
	}
	return ""
}

// untypedText names a client's first messages.
func untypedText(raw []byte) string {
	if len(raw) >= 8 && binary.BigEndian.Uint32(raw[4:]) == codeCancel {
		return "cancel"
	}
	return "startup"
}

// asksToEncrypt reports whether a client's first message wants something else than the
// protocol.
func asksToEncrypt(raw []byte) bool {
	if len(raw) != 8 {
		return false
	}
	code := binary.BigEndian.Uint32(raw[4:])
	return code == codeSSL || code == codeGSS
}

// answerText is what a server's message says.
func answerText(typ byte, body []byte) string {
	switch typ {
	case 'C', 'Z':
		text, _, _ := bytes.Cut(body, []byte{0})
		return string(text)
	case 'E', 'N':
		for field := range bytes.SplitSeq(body, []byte{0}) {
			if len(field) > 0 && field[0] == 'C' {
				return string(field[1:])
			}
		}
	}
	return ""
}
