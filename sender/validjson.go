package sender

import "bytes"

// maxJSONDepth is the deepest nesting accepted, that of encoding/json.
const maxJSONDepth = 10_000

// validJSON reports what json.Valid does, in a third of its time: every event given
// as bytes is checked, and it would be much of Send's own work.
func validJSON(b []byte) bool {
	i, ok := jsonValue(b, jsonSpace(b, 0), 0)
	return ok && jsonSpace(b, i) == len(b)
}

// nestedDeeper reports whether arrays and objects are nested deeper than limit in
// JSON. It seldom looks closely: there are not that many brackets.
func nestedDeeper(b []byte, limit int) bool {
	if bytes.Count(b, []byte{'['})+bytes.Count(b, []byte{'{'}) <= limit {
		return false
	}
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			quoted = !quoted
		case quoted && c == '\\':
			i++
		case quoted:
		case c == '[', c == '{':
			if depth++; depth > limit {
				return true
			}
		case c == ']', c == '}':
			depth--
		}
	}
	return false
}

func jsonSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\r' || b[i] == '\t') {
		i++
	}
	return i
}

// jsonValue returns the index after the value that begins at b[i].
func jsonValue(b []byte, i, depth int) (int, bool) {
	if i >= len(b) {
		return i, false
	}
	switch b[i] {
	case '"':
		return jsonString(b, i)
	case '{', '[':
		if depth == maxJSONDepth {
			return i, false
		}
		return jsonMembers(b, i, depth+1)
	case 't':
		return jsonWord(b, i, "true")
	case 'f':
		return jsonWord(b, i, "false")
	case 'n':
		return jsonWord(b, i, "null")
	}
	return jsonNumber(b, i)
}

func jsonWord(b []byte, i int, word string) (int, bool) {
	end := i + len(word)
	return end, end <= len(b) && string(b[i:end]) == word
}

// jsonMembers reads an object or an array.
func jsonMembers(b []byte, i, depth int) (int, bool) {
	object, end := b[i] == '{', byte(']')
	if object {
		end = '}'
	}
	i = jsonSpace(b, i+1)
	if i < len(b) && b[i] == end {
		return i + 1, true
	}
	for {
		var ok bool
		if object {
			if i >= len(b) || b[i] != '"' {
				return i, false
			}
			if i, ok = jsonString(b, i); !ok {
				return i, false
			}
			if i = jsonSpace(b, i); i >= len(b) || b[i] != ':' {
				return i, false
			}
			i = jsonSpace(b, i+1)
		}
		if i, ok = jsonValue(b, i, depth); !ok {
			return i, false
		}
		i = jsonSpace(b, i)
		switch {
		case i >= len(b):
			return i, false
		case b[i] == end:
			return i + 1, true
		case b[i] != ',':
			return i, false
		}
		i = jsonSpace(b, i+1)
	}
}

func jsonString(b []byte, i int) (int, bool) {
	for i++; i < len(b); i++ {
		switch c := b[i]; {
		case c == '"':
			return i + 1, true
		case c < ' ':
			return i, false
		case c == '\\':
			if i++; i >= len(b) {
				return i, false
			}
			switch b[i] {
			case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
			case 'u':
				for range 4 {
					if i++; i >= len(b) || !isHex(b[i]) {
						return i, false
					}
				}
			default:
				return i, false
			}
		}
	}
	return i, false
}

func isHex(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'
}

func jsonNumber(b []byte, i int) (int, bool) {
	if i < len(b) && b[i] == '-' {
		i++
	}
	whole := jsonDigits(b, i)
	if whole == i || b[i] == '0' && whole > i+1 {
		return i, false
	}
	i = whole
	if i < len(b) && b[i] == '.' {
		end := jsonDigits(b, i+1)
		if end == i+1 {
			return i, false
		}
		i = end
	}
	if i < len(b) && (b[i] == 'e' || b[i] == 'E') {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		end := jsonDigits(b, i)
		if end == i {
			return i, false
		}
		i = end
	}
	return i, true
}

func jsonDigits(b []byte, i int) int {
	for i < len(b) && '0' <= b[i] && b[i] <= '9' {
		i++
	}
	return i
}
