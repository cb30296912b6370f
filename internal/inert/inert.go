// Package inert prepares for people what strangers say: payloads, the answers of
// receivers, the input of visitors. Work and memory are in proportion to the bytes
// that are shown, whatever they are.
package inert

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Shown is a text as it is shown.
type Shown struct {
	// Text has at most four times as many bytes as were to be shown. It is UTF-8
	// without control characters but for line ends and tabs.
	Text string
	Cut  bool // it is the beginning
	Size int  // of all of it, in bytes, before it was prepared
	// Indented says that it is JSON with line ends and spaces of our own.
	Indented bool
}

// Text shows the first bytes of a text, up to most. A JSON object or array that has no
// more is indented, as long as that makes it at most four times as long.
func Text(b []byte, most int) Shown {
	if len(b) <= most {
		if text, ok := indented(b, growth*most); ok {
			return Shown{Text: text, Size: len(b), Indented: true}
		}
	}
	return Lines(b, most)
}

// Lines is Text that is not indented.
func Lines(b []byte, most int) Shown {
	s := Shown{Size: len(b), Cut: len(b) > most}
	if s.Cut {
		b = b[:most]
		for range utf8.UTFMax { // not in the middle of a character
			if r, n := utf8.DecodeLastRune(b); r != utf8.RuneError || n != 1 {
				break
			}
			b = b[:len(b)-1]
		}
	}
	s.Text = string(appendInert(make([]byte, 0, len(b)), b, len(b)*growth))
	return s
}

// growth is how many times as long a text becomes at most: a byte can become four, as
// in \x00.
const growth = 4

// Line shows a text in one line. What is longer than 16 KiB ends in "...".
func Line(s string) string {
	if isPlain(s) {
		return s
	}
	shown := Lines([]byte(s[:min(len(s), maxLine+1)]), maxLine)
	text := lineEnds.Replace(shown.Text)
	if shown.Cut {
		text += "..."
	}
	return text
}

const maxLine = 16 << 10

var lineEnds = strings.NewReplacer("\n", `\n`, "\t", `\t`)

// isPlain reports whether a text is shown as it is.
func isPlain(s string) bool {
	if len(s) > maxLine {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// indented is JSON in several lines, and false if it is no object or array, or longer
// than most.
func indented(b []byte, most int) (string, bool) {
	trimmed := bytes.TrimSpace(b)
	if len(trimmed) == 0 || trimmed[0] != '{' && trimmed[0] != '[' || !json.Valid(trimmed) {
		return "", false
	}
	out := make([]byte, 0, 2*len(trimmed))
	fits := true
	indent(trimmed, func(piece []byte) bool {
		out = appendInert(out, piece, most)
		fits = len(out) <= most
		return fits
	})
	return string(out), fits
}

// appendInert makes visible what would be invisible or change how its surroundings are
// read: bytes that are not UTF-8, control characters but for line ends and tabs, and
// those that turn the direction of text. It stops once out is longer than most.
func appendInert(out, b []byte, most int) []byte {
	for len(b) > 0 && len(out) <= most {
		if c := b[0]; ' ' <= c && c < 0x7f {
			out, b = append(out, c), b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		switch {
		case r == utf8.RuneError && n == 1:
			out = fmt.Appendf(out, `\x%02x`, b[0])
		case r == '\r' && len(b) > 1 && b[1] == '\n':
		case r == '\n' || r == '\t':
			out = append(out, b[0])
		case r < 0x80:
			out = fmt.Appendf(out, `\x%02x`, r)
		case !unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp):
			out = append(out, b[:n]...)
		case r > 0xffff:
			out = fmt.Appendf(out, `\U%08x`, r)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		b = b[n:]
	}
	return out
}
