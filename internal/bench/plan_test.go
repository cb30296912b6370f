package main

import (
	"regexp"
	"slices"
	"testing"
)

func allOf(t *testing.T, f form) *plan {
	t.Helper()
	p, err := newPlan(&config{form: f, payload: 1024, inFlight: 512, endpoints: 1, only: regexp.MustCompile("")})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestEveryTestHasEventsAndANameOfItsOwn(t *testing.T) {
	smallest := onceForm
	smallest.n, smallest.onServer = minEvents, minEvents
	for _, s := range allOf(t, smallest).series {
		var names []string
		for _, line := range s.tests {
			if line.n < 1 && s.name != "Isolation" { // which lasts a time
				t.Errorf("%s has no events", line.name)
			}
			if slices.Contains(names, line.name) {
				t.Errorf("%s has two lines %q", s.name, line.name)
			}
			names = append(names, line.name)
		}
	}
}

func TestPlanWithoutServer(t *testing.T) {
	all := allOf(t, fullForm)
	local := all.withoutServer()
	for _, s := range local.series {
		for _, line := range s.tests {
			if line.db != nil {
				t.Errorf("%s needs a server", line.name)
			}
		}
	}
	// SQLite: heap, claims at two sizes, stats, prune.
	if got := len(local.heaps) + len(local.claims) + len(local.stats) + len(local.prunes); got != 5 {
		t.Errorf("%d tests of SQLite alone, want 5", got)
	}
	if local.count() >= all.count() || len(all.heaps) != 2 {
		t.Error("the plan itself was changed")
	}
}

func TestOnlySelectsLinesAndTheirCeilings(t *testing.T) {
	for expression, want := range map[string][]string{
		"SQLite FULL: drain$":  {ceilingName(256), drainName(sqliteName)},
		"^signed":              {ceilingName(256), ceilingName(callers)},
		"2 processes|1 caller": {ceilingName(1), liveName(memoryName, 1), liveName(sqliteName, 1), liveName(postgresName, 1), ceilingName(256), drainName(postgresName) + " by 2 processes"},
		"heap":                 nil,
	} {
		p, err := newPlan(&config{form: usualForm, payload: 1024, inFlight: 512, endpoints: 1, only: regexp.MustCompile(expression)})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range p.series {
			for _, line := range s.tests {
				got = append(got, line.name)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("-only %q runs %q, want %q", expression, got, want)
		}
	}
}
