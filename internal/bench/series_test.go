package main

import (
	"context"
	"io"
	"slices"
	"testing"
)

func TestSeriesMeasureTheCeilingBesideEachTest(t *testing.T) {
	var order []string
	counting := func(name string) *test {
		return &test{name: name, do: func(context.Context, *run) (result, error) {
			order = append(order, name)
			return result{events: len(order)}, nil
		}}
	}
	used, unused, first, second := counting("used"), counting("unused"), counting("first"), counting("second")
	used.isCeiling, unused.isCeiling = true, true
	first.ceiling = used
	s := &series{
		runs: 2, tests: []*test{used, unused, first, second},
		print: func(io.Writer, *config, []*test) error { return nil },
	}
	if err := s.run(t.Context(), &config{}, nil); err != nil {
		t.Fatal(err)
	}
	want := []string{"unused", "used", "first", "second", "used", "first", "second", "unused"}
	if !slices.Equal(order, want) {
		t.Errorf("the order was %q, want %q", order, want)
	}
	if len(used.results) != 2 || len(first.beside) != 2 || first.beside[0].events != 2 || first.beside[1].events != 5 {
		t.Errorf("beside the runs is %+v, want the results of the ceiling", first.beside)
	}
}
