package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
)

// series are tests that take turns: a machine's speed drifts, and what is compared
// has to see the same of it. Each has a table.
type series struct {
	name  string
	runs  int
	tests []*test
	print func(w io.Writer, cfg *config, tests []*test) error
	// legend says what the columns mean; "": another series with the same has said it.
	legend string
}

func (s *series) add(t *test) *test {
	s.tests = append(s.tests, t)
	return t
}

// ceilingAt returns the ceiling with so many requests at once, which is a line of the
// series too.
func (s *series) ceilingAt(cfg *config, concurrency int) *test {
	name := ceilingName(concurrency)
	if i := slices.IndexFunc(s.tests, func(t *test) bool { return t.name == name }); i >= 0 {
		return s.tests[i]
	}
	n := cfg.n
	if concurrency == 1 {
		n = cfg.n / 3
	}
	return s.add(&test{name: name, n: n, do: ceiling(concurrency), isCeiling: true})
}

// keep drops the tests that are not wanted, but for the ceilings of those that are.
func (s *series) keep(wanted func(*test) bool) {
	kept := make(map[*test]bool)
	for _, t := range s.tests {
		if wanted(t) {
			kept[t] = true
			kept[t.ceiling] = true
		}
	}
	s.tests = slices.DeleteFunc(slices.Clone(s.tests), func(t *test) bool { return !kept[t] })
}

// onlyCeilings says that there is nothing to compare with them.
func (s *series) onlyCeilings() bool {
	return !slices.ContainsFunc(s.tests, func(t *test) bool { return !t.isCeiling })
}

// run measures each test s.runs times, in an order that rotates, and prints the table.
// A ceiling has no turn of its own if it is measured before each test that is compared
// with it.
func (s *series) run(ctx context.Context, cfg *config, rcv *receiver) error {
	beside := make(map[*test]bool)
	for _, t := range s.tests {
		beside[t.ceiling] = true
	}
	turns := slices.DeleteFunc(slices.Clone(s.tests), func(t *test) bool { return beside[t] })
	for round := range s.runs {
		for i := range turns {
			t := turns[(i+round)%len(turns)]
			fmt.Fprintf(os.Stderr, "\r\033[K%s, run %d of %d: %s", s.name, round+1, s.runs, t.name)
			if t.ceiling != nil {
				if err := t.ceiling.measure(ctx, cfg, rcv); err != nil {
					return err
				}
				t.beside = append(t.beside, t.ceiling.results[len(t.ceiling.results)-1])
			}
			if err := t.measure(ctx, cfg, rcv); err != nil {
				return err
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	fmt.Printf("\n%s, %d runs\n", s.name, s.runs)
	if err := s.print(os.Stdout, cfg, s.tests); err != nil {
		return err
	}
	_, err := fmt.Print(s.legend)
	return err
}
