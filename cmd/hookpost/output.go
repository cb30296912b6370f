package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/hookpost/hookpost/internal/inert"
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
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_ = inert.Indent(o, b.Bytes()) // o remembers
	fmt.Fprintln(o)
	return nil
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
		clean[i] = oneLine(cell[:min(len(cell), maxCell)])
		switch {
		case clean[i] == "":
			clean[i] = "-"
		case len(cell) > maxCell:
			clean[i] += "..."
		}
	}
	fmt.Fprintln(w, strings.Join(clean, "\t"))
}

// maxPrinted is how much of a text of somebody else's is printed for people, and
// maxCell how much of it in a table, in bytes.
const (
	maxPrinted = 1 << 20
	maxCell    = 4 << 10
)

// payload prints a text of somebody else's in lines that begin with indent. It escapes
// what could change a terminal.
func (o *output) payload(shown inert.Shown, indent string) {
	fmt.Fprintln(o, indent+strings.ReplaceAll(shown.Text, "\n", "\n"+indent))
	if shown.Cut {
		fmt.Fprintf(o, "%s... the first part of %d bytes; --json prints all of them\n", indent, shown.Size)
	}
}

// oneLine puts the words of a text on one line that a terminal shows as it is.
func oneLine(s string) string { return inert.Line(strings.Join(strings.Fields(s), " ")) }

// clock prints a time for people, in UTC; nothing for the zero time.
func clock(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}

// A stamp is a time that JSON always gives with six fraction digits and in UTC, as
// events have it.
type stamp struct{ time.Time }

// utc is a time for programs: zero if JSON can't hold it, as the year 10000.
func utc(t time.Time) stamp {
	t = t.UTC()
	if t.IsZero() || t.Year() < 0 || t.Year() > 9999 {
		return stamp{}
	}
	return stamp{t}
}

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	return s.AppendFormat(nil, `"2006-01-02T15:04:05.000000Z"`), nil
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
