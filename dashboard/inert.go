package dashboard

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxShown is how much of a text a page shows, in bytes; the rest is to be
// downloaded.
const maxShown = 64 << 10

// shown is a text of somebody else's, as a page shows it.
type shown struct {
	Text string
	Cut  bool // there is more
	Size int  // of all of it, in bytes
	// Indented says that it is JSON, laid out for reading: other bytes than were sent.
	Indented bool
}

// show prepares what a receiver or an event says. The template escapes it.
func show(b []byte) shown {
	s := shown{Size: len(b)}
	if trimmed := bytes.TrimSpace(b); len(b) <= maxShown && len(trimmed) > 0 && (trimmed[0] == '{' || trimmed[0] == '[') {
		var buf bytes.Buffer
		// Much nesting makes many spaces, which is no help to readers either.
		if json.Indent(&buf, trimmed, "", "  ") == nil && buf.Len() <= 4*maxShown {
			b, s.Indented = buf.Bytes(), true
		}
	}
	if len(b) > maxShown && !s.Indented {
		b, s.Cut = b[:maxShown], true
		for range utf8.UTFMax { // not in the middle of a character
			if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
				break
			}
			b = b[:len(b)-1]
		}
	}
	s.Text = inert(b)
	return s
}

// inert makes visible what would be invisible or change how its surroundings are
// read: bytes that are not UTF-8, control characters but for line ends and tabs, and
// those that turn the direction of text.
func inert(b []byte) string {
	var out strings.Builder
	out.Grow(len(b))
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, b[0])
		case r == '\r' && len(b) > 1 && b[1] == '\n':
		case r == '\n' || r == '\t':
			out.WriteRune(r)
		case r < 0x80 && unicode.IsControl(r):
			fmt.Fprintf(&out, `\x%02x`, r)
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Zl, r), unicode.Is(unicode.Zp, r):
			if r > 0xffff {
				fmt.Fprintf(&out, `\U%08x`, r)
			} else {
				fmt.Fprintf(&out, `\u%04x`, r)
			}
		default:
			out.Write(b[:n])
		}
		b = b[n:]
	}
	return out.String()
}

// inertString is inert for one line.
func inertString(s string) string {
	return strings.NewReplacer("\n", `\n`, "\t", `\t`).Replace(inert([]byte(s)))
}
