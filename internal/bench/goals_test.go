package main

import (
	"strings"
	"testing"
	"time"
)

func TestGoalVerdict(t *testing.T) {
	for name, c := range map[string]struct {
		goal goal
		want string
	}{
		"at least, reached":      {goal{target: 0.7, values: []float64{0.1, 0.7, 0.9}}, "met"},
		"at least, not reached":  {goal{target: 0.7, values: []float64{0.6, 0.69, 0.9}}, "missed"},
		"at most, kept":          {goal{target: 15, upper: true, values: []float64{15, 15, 20}}, "met"},
		"at most, exceeded":      {goal{target: 15, upper: true, values: []float64{14, 15.1, 16}}, "missed"},
		"none allowed, none had": {goal{target: 0, upper: true, values: []float64{0, 0}}, "met"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := c.goal.verdict(); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// A ratio is of two runs of the same round, whatever their order by speed.
func TestGoalsCompareRoundByRound(t *testing.T) {
	river := &test{name: liveName(riverName, callers), results: []result{{rate: 10}, {rate: 10}, {rate: 20}}}
	live := &test{
		name: liveName(postgresName, callers), rivals: []*test{river},
		beside:  []result{{rate: 100}, {rate: 200}, {rate: 400}},
		results: []result{{rate: 60, cpu: 50 * time.Microsecond, database: 30 * time.Microsecond}, {rate: 40}, {rate: 100}},
	}
	f := &findings{series: []*series{{tests: []*test{live, river}}}}
	want := map[string]spread{
		"live, 64 callers, PostgreSQL with fsync, against the signed net/http ceiling at the same concurrency": {0.25, 0.2, 0.6},
		"live, PostgreSQL, against River with an HTTP worker, same database":                                   {5, 4, 6},
		"CPU per delivery at saturation, application plus database, " + live.name:                              {0, 0, 80},
	}
	goals := f.goals()
	for i := range goals {
		if got := spreadOfValues(goals[i].values); got != want[goals[i].figure] {
			t.Errorf("%s: %+v, want %+v", goals[i].figure, got, want[goals[i].figure])
		}
		delete(want, goals[i].figure)
	}
	if len(want) > 0 {
		t.Errorf("missing: %v", want)
	}
}

func TestPrintGoals(t *testing.T) {
	var b strings.Builder
	goals := []goal{{figure: "drain", target: 0.7, values: []float64{0.8}}, {figure: "heap", unit: "MiB", upper: true, target: 64, values: []float64{70}}}
	if err := printGoals(&b, &config{markdown: true}, goals); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"| drain | >= 0.7 | 0.80 | 0.80..0.80 | met |", "| heap | <= 64 MiB | 70.00 | 70.00..70.00 | missed |"} {
		if !strings.Contains(b.String(), line) {
			t.Errorf("%q is not in\n%s", line, b.String())
		}
	}
}

// The names by which goals and overview look for results are those of lines.
func TestGoalsAreMeasured(t *testing.T) {
	for _, f := range []form{onceForm, usualForm, fullForm} {
		p := allOf(t, f)
		for _, s := range p.series {
			for _, line := range s.tests {
				line.results = []result{{rate: 1, p50: 1, p99: 1, database: 1}}
				if line.ceiling != nil {
					line.beside = line.results
				}
			}
		}
		for _, op := range p.ops {
			op.results = []result{{rate: 1}}
		}
		found := &findings{series: p.series, ops: p.ops}
		// Of drain and live 4, River, latency 4, CPU 4, allocations, verify 2, isolation 4.
		if got, want := len(found.goals()), 4+1+4+4+1+2+4; got != want {
			t.Errorf("%s: %d goals are measured, want %d", f.name, got, want)
		}
	}
}

func TestCPUIsNotKnownWithoutTheDatabases(t *testing.T) {
	line := &test{name: "a drain", db: &database{}, results: []result{{cpu: 1000, database: 1000}, {cpu: 1000}}}
	found := &findings{series: []*series{{tests: []*test{line}}}}
	if got := found.cpu(line.name); got != nil {
		t.Errorf("got %v of a run whose database was not seen", got)
	}
	line.results = line.results[:1]
	if got := found.cpu(line.name); len(got) != 1 || got[0] != 2 {
		t.Errorf("got %v, want 2 us", got)
	}
}
