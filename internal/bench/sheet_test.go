package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestSheet(t *testing.T) {
	for name, c := range map[string]struct {
		markdown bool
		want     string
	}{
		"columns": {want: `
  ms      p50  p99
  a       1.0   12
  longer        13
`},
		"Markdown": {markdown: true, want: `
| ms | p50 | p99 |
|---|--:|--:|
| a | 1.0 | 12 |
| longer |  | 13 |
`},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			s := (&config{markdown: c.markdown}).sheet(&b)
			fmt.Fprint(s, "ms\tp50\tp99\t\n")
			fmt.Fprint(s, "a\t1.0")
			fmt.Fprint(s, "\t12\t\n", "longer\t\t13\t\n")
			if err := s.Flush(); err != nil {
				t.Fatal(err)
			}
			if got := b.String(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
