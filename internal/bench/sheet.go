package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// sheet is a table under construction: lines of cells that end with tabs, the first
// of which is the head. Flush writes it, in columns or as Markdown.
type sheet struct {
	w        io.Writer
	markdown bool
	lines    bytes.Buffer
}

func (c *config) sheet(w io.Writer) *sheet { return &sheet{w: w, markdown: c.markdown} }

// Write adds lines or parts of them.
func (s *sheet) Write(p []byte) (int, error) { return s.lines.Write(p) }

// Flush writes the table after an empty line, as all parts of the output begin.
func (s *sheet) Flush() error {
	var b bytes.Buffer
	b.WriteByte('\n')
	if s.markdown {
		s.flushMarkdown(&b)
	} else {
		s.flushColumns(&b)
	}
	_, err := b.WriteTo(s.w)
	return err
}

func (s *sheet) all() []string {
	return strings.Split(strings.TrimSuffix(s.lines.String(), "\n"), "\n")
}

// flushColumns aligns the first column left and the others right.
func (s *sheet) flushColumns(b *bytes.Buffer) {
	width := 0
	for _, line := range s.all() {
		first, _, _ := strings.Cut(line, "\t")
		width = max(width, len(first))
	}
	tw := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, line := range s.all() {
		first, others, _ := strings.Cut(line, "\t")
		fmt.Fprintf(tw, "%-*s\t%s\n", width, first, others)
	}
	_ = tw.Flush() // into memory
}

func (s *sheet) flushMarkdown(b *bytes.Buffer) {
	for i, line := range s.all() {
		cells := strings.Split(strings.TrimSuffix(line, "\t"), "\t")
		b.WriteString("| " + strings.Join(cells, " | ") + " |\n")
		if i == 0 {
			b.WriteString("|---" + strings.Repeat("|--:", len(cells)-1) + "|\n")
		}
	}
}
