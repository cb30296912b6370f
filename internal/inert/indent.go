package inert

import (
	"bufio"
	"io"
	"strings"
)

// maxDepth is how deep JSON is indented. What is nested deeper stands in one line:
// each line begins with as many spaces as it is deep, which without a bound makes the
// text as long as the square of its depth.
const maxDepth = 32

var lineStart = []byte("\n" + strings.Repeat("  ", maxDepth))

// Indent writes JSON, which must be valid, in several lines, as json.Indent does with
// two spaces, but nothing that is nested deeper than 32. It writes at most 65 bytes
// for one.
func Indent(w io.Writer, b []byte) error {
	to := bufio.NewWriter(w)
	indent(b, func(piece []byte) bool {
		_, err := to.Write(piece)
		return err == nil
	})
	return to.Flush()
}

// indent emits valid JSON in pieces, until emit returns false. No piece ends within a
// string.
func indent(b []byte, emit func(piece []byte) bool) {
	depth := 0
	line := func() bool { return depth > maxDepth || emit(lineStart[:1+2*depth]) }
	for i := 0; i < len(b); {
		n, ok := 1, true
		switch b[i] {
		case ' ', '\t', '\r', '\n':
		case '{', '[':
			for i+n < len(b) && isSpace(b[i+n]) {
				n++
			}
			ok = emit(b[i : i+1])
			if i+n < len(b) && (b[i+n] == '}' || b[i+n] == ']') {
				ok = ok && emit(b[i+n:i+n+1])
				n++
				break
			}
			depth++
			ok = ok && line()
		case '}', ']':
			ok = depth > maxDepth
			depth--
			ok = (ok || line()) && emit(b[i:i+1])
		case ',':
			ok = emit(b[i:i+1]) && line()
		case ':':
			ok = emit(b[i : i+1])
			if depth <= maxDepth {
				ok = ok && emit(lineStart[1:2])
			}
		case '"':
			for i+n < len(b) && b[i+n] != '"' {
				if b[i+n] == '\\' {
					n++
				}
				n++
			}
			n = min(n+1, len(b)-i)
			ok = emit(b[i : i+n])
		default:
			for i+n < len(b) && !isSpace(b[i+n]) && !strings.ContainsRune(",:]}", rune(b[i+n])) {
				n++
			}
			ok = emit(b[i : i+n])
		}
		if !ok {
			return
		}
		i += n
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }
