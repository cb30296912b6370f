package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
)

// An output is where results go. It remembers the first error, so that a full disk
// does not pass for success.
type output struct {
	to  io.Writer
	err error
}

func (o *output) Write(p []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	n, err := o.to.Write(p)
	o.err = err
	return n, err
}

// json prints a value as indented JSON.
func (o *output) json(v any) error {
	enc := json.NewEncoder(o)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// jsonLine prints a value as one line of JSON.
func (o *output) jsonLine(v any) error {
	enc := json.NewEncoder(o)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows in aligned columns below their titles.
func (o *output) table(titles []string, rows [][]string) {
	w := tabwriter.NewWriter(o, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join(titles, "\t"))
	for _, row := range rows {
		printRow(w, row)
	}
	_ = w.Flush() // o remembers
}

// facts prints pairs of a name and a value, leaving out those without a value.
func (o *output) facts(pairs [][2]string) {
	w := tabwriter.NewWriter(o, 0, 0, 2, ' ', 0)
	for _, p := range pairs {
		if p[1] != "" {
			printRow(w, p[:])
		}
	}
	_ = w.Flush()
}

func printRow(w io.Writer, cells []string) {
	clean := make([]string, len(cells))
	for i, cell := range cells {
		if clean[i] = oneLine(cell); clean[i] == "" {
			clean[i] = "-"
		}
	}
	fmt.Fprintln(w, strings.Join(clean, "\t"))
}

// printable escapes what could change a terminal: bodies and descriptions are
// somebody else's input.
func printable(s string) string {
	return escape(s, func(r rune) bool { return unicode.IsPrint(r) })
}

// printableLines is printable for text of several lines.
func printableLines(s string) string {
	return escape(s, func(r rune) bool { return unicode.IsPrint(r) || r == '\n' || r == '\t' })
}

func escape(s string, keep func(rune) bool) string {
	var b strings.Builder
	for i, r := range s {
		switch {
		case r == unicode.ReplacementChar && !strings.HasPrefix(s[i:], "\uFFFD"):
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case keep(r):
			b.WriteRune(r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// clock prints a time for people, in UTC; nothing for the zero time.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}

// utc is a time for programs.
func utc(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC()
}

// millis prints a duration for people, not finer than they can use.
func millis(d time.Duration) string {
	if d < 10*time.Millisecond {
		return d.Round(10 * time.Microsecond).String()
	}
	return d.Round(time.Millisecond).String()
}

// plural counts things: "1 attempt", "2 attempts".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// onTerminal reports whether v is a terminal.
func onTerminal(v any) bool {
	f, ok := v.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull) // the other such device that programs are given
	return err != nil || !os.SameFile(info, null)
}
