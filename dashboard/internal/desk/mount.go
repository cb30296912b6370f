package desk

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// Mount is what a request tells about where a handler is mounted.
type Mount struct {
	// Wrong says that the handler is given paths that can't be its own: no prefix was
	// stripped, or one with the slash at its end.
	Wrong bool
	// Doubtful says that the path is none of the handler's, and that no prefix was
	// stripped: it is mounted wrongly, or at the root and there is no such page.
	Doubtful bool

	asked  string // the path of the request as it was made; empty if it is unknown
	path   string // the one that the handler was given
	prefix string // the one that should have been stripped
}

// maxDepth is how deep a handler may be mounted for the help to know where.
const maxDepth = 20

// MountOf judges by a request. own reports whether the handler has paths that begin
// with a segment; no path of its own is judged to be wrong.
func MountOf(r *http.Request, own func(segment string) bool) Mount {
	m := Mount{asked: askedPath(r), path: r.URL.Path}
	if m.path == "*" {
		return m
	}
	pattern := patternSegments(r.Pattern)
	if !strings.HasPrefix(m.path, "/") {
		// The mount itself may be asked for without a slash at its end. With one, it was
		// stripped if the pattern needed it.
		m.Wrong = m.path != "" || strings.HasSuffix(r.Pattern, "/") && len(pattern) > 0 && strings.HasSuffix(m.asked, "/")
		m.prefix = strings.TrimSuffix(strings.TrimSuffix(m.asked, m.path), "/")
		return m
	}
	segment, _, _ := strings.Cut(m.path[1:], "/")
	if m.path == "/" || own(segment) {
		return m
	}
	stripped, known := strings.CutSuffix(m.asked, m.path)
	if !known {
		return m
	}
	// A router in a router tells the pattern of what was asked for, or of the rest.
	if prefix, ok := matched(pattern, m.asked); ok && len(prefix) > len(stripped) {
		m.Wrong, m.prefix = true, prefix
		return m
	}
	if prefix, ok := matched(pattern, m.path); ok && !endsWith(stripped, pattern) {
		m.Wrong, m.prefix = true, stripped+prefix
		return m
	}
	m.Doubtful, m.prefix = stripped == "", "/"+segment
	at := 0 // where the handler's own paths seem to begin
	for _, segment := range strings.SplitN(m.path[1:], "/", maxDepth) {
		if own(segment) {
			m.prefix = m.path[:at]
			break
		}
		at += 1 + len(segment)
	}
	return m
}

// Folder is the relative path from what was asked for to what is below the handler, if
// its first page was asked for: with a slash at the end or without.
func (m Mount) Folder() string {
	if m.asked == "" || strings.HasSuffix(m.asked, "/") {
		return "./"
	}
	last := m.asked[strings.LastIndexByte(m.asked, '/')+1:]
	return "./" + url.PathEscape(last) + "/"
}

// Help says how the handler is mounted, as the variable of that name.
func (m Mount) Help(variable string) string {
	prefix := m.prefix
	if len(prefix) > 100 || strings.ContainsFunc(prefix, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '"' || r == '\\' }) {
		prefix = "/webhooks"
	}
	if prefix == "" {
		return fmt.Sprintf(`http.Handle("/", %s)`, variable)
	}
	return fmt.Sprintf(`http.Handle("%s/", http.StripPrefix("%s", %s))`, prefix, prefix, variable)
}

// Problem says what is wrong if it is Wrong.
func (m Mount) Problem() string {
	return fmt.Sprintf("it is mounted wrongly: asked for %.100q, it was given the path %.100q; "+
		"strip the path that it is mounted at, without the slash at its end", m.asked, m.path)
}

// askedPath is the path of the request line, which nothing strips.
func askedPath(r *http.Request) string {
	raw, _, _ := strings.Cut(r.RequestURI, "?")
	if _, rest, found := strings.Cut(raw, "://"); found && !strings.HasPrefix(raw, "/") { // to a proxy
		_, path, _ := strings.Cut(rest, "/")
		raw = "/" + path
	}
	path, err := url.PathUnescape(raw)
	if err != nil {
		return ""
	}
	return path
}

// patternSegments splits the pattern by which a router found the handler, such as
// "GET host/webhooks/" or "/webhooks/*", without what stands for the rest of a path.
func patternSegments(pattern string) []string {
	i := strings.IndexByte(pattern, '/')
	if i < 0 {
		return nil
	}
	segments := strings.Split(pattern[i+1:], "/")
	switch last := segments[len(segments)-1]; {
	case last == "", last == "*", last == "{$}", strings.HasSuffix(last, "...}"):
		segments = segments[:len(segments)-1]
	}
	return segments
}

// matched returns the beginning of a path that a pattern stands for.
func matched(pattern []string, path string) (prefix string, ok bool) {
	segments := strings.SplitN(path[1:], "/", len(pattern)+1)
	if len(pattern) == 0 || len(segments) < len(pattern) || !same(pattern, segments[:len(pattern)]) {
		return "", false
	}
	return "/" + strings.Join(segments[:len(pattern)], "/"), true
}

// endsWith reports whether a pattern stands for the end of a path.
func endsWith(path string, pattern []string) bool {
	segments := strings.Split(path, "/")
	return len(segments) > len(pattern) && same(pattern, segments[len(segments)-len(pattern):])
}

func same(pattern, segments []string) bool {
	for i, p := range pattern {
		if plain, err := url.PathUnescape(p); err == nil {
			p = plain
		}
		if p != segments[i] && !strings.HasPrefix(p, "{") {
			return false
		}
	}
	return true
}
