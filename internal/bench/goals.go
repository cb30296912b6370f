package main

import (
	"fmt"
	"io"
	"slices"
)

// goal is a figure that the project has set itself, and what was reached.
type goal struct {
	figure string
	unit   string
	target float64
	upper  bool // the target is the most, not the least
	values []float64
}

// verdict says whether the median reaches the target.
func (g *goal) verdict() string {
	median := spreadOfValues(g.values).median
	if g.upper && median <= g.target || !g.upper && median >= g.target {
		return "met"
	}
	return "missed"
}

func (g *goal) sign() string {
	if g.upper {
		return "<="
	}
	return ">="
}

// findings are all results, by which goals are judged.
type findings struct {
	series []*series
	ops    []*operation
	heaps  []*heapTest
	claims []*claimTest
}

// test returns the first one of that name that was run.
func (f *findings) test(name string) *test {
	for _, s := range f.series {
		for _, t := range s.tests {
			if t.name == name && len(t.results) > 0 {
				return t
			}
		}
	}
	return nil
}

// each returns a figure of each run of a test; none if it was not run.
func (f *findings) each(name string, figure func(*result) float64) []float64 {
	t := f.test(name)
	if t == nil {
		return nil
	}
	values := make([]float64, len(t.results))
	for i := range t.results {
		values[i] = figure(&t.results[i])
	}
	return values
}

// ofCeiling returns a test's ratio to its ceiling in each run.
func (f *findings) ofCeiling(name string) []float64 {
	t := f.test(name)
	if t == nil {
		return nil
	}
	return ratios(t.results, t.beside, rateOf)
}

// against returns a test's ratio to its rival in each run.
func (f *findings) against(name string, figure func(*result) float64) []float64 {
	t := f.test(name)
	if t == nil || len(t.rivals) == 0 {
		return nil
	}
	return ratios(t.results, t.rivals[0].results, figure)
}

// cpu returns the microseconds of application and database per delivery in each run;
// none where what the database used is not known.
func (f *findings) cpu(name string) []float64 {
	t := f.test(name)
	if t == nil || t.db != nil && slices.ContainsFunc(t.results, func(r result) bool { return r.database == 0 }) {
		return nil
	}
	return f.each(name, func(r *result) float64 { return micros(r.cpu + r.database) })
}

func (f *findings) operation(name string) *operation {
	i := slices.IndexFunc(f.ops, func(op *operation) bool { return op.name == name && len(op.results) > 0 })
	if i < 0 {
		return nil
	}
	return f.ops[i]
}

// goals lists those that were measured.
func (f *findings) goals() []goal {
	millis := func(q func(*result) float64) func(*result) float64 {
		return func(r *result) float64 { return q(r) / 1000 }
	}
	p50 := millis(func(r *result) float64 { return micros(r.p50) })
	p99 := millis(func(r *result) float64 { return micros(r.p99) })
	sqliteLive, postgresLive := liveName(sqliteName, callers), liveName(postgresName, callers)
	const ceiling = ", against the signed net/http ceiling at the same concurrency"
	all := []goal{
		{figure: "drain of a backlog, SQLite (FULL)" + ceiling, target: 0.70, values: f.ofCeiling(drainName(sqliteName))},
		{figure: "live, 64 callers of Send until delivered and recorded, SQLite (FULL)" + ceiling, target: 0.55, values: f.ofCeiling(sqliteLive)},
		{figure: "drain, PostgreSQL with fsync" + ceiling, target: 0.75, values: f.ofCeiling(drainName(postgresName))},
		{figure: "live, 64 callers, PostgreSQL with fsync" + ceiling, target: 0.50, values: f.ofCeiling(postgresLive)},
		{figure: "live, PostgreSQL, against River with an HTTP worker, same database", target: 4, values: f.against(postgresLive, rateOf)},
	}
	for _, engine := range []string{sqliteName, postgresName} {
		paced := latencyName(engine, lowRate)
		all = append(all,
			goal{figure: "Send to receipt, 300/s, p50, " + engine, unit: "ms", upper: true, target: 1.5, values: f.each(paced, p50)},
			goal{figure: "Send to receipt, 300/s, p99, " + engine, unit: "ms", upper: true, target: 7, values: f.each(paced, p99)})
	}
	for _, name := range []string{drainName(sqliteName), sqliteLive, drainName(postgresName), postgresLive} {
		all = append(all, goal{
			figure: "CPU per delivery at saturation, application plus database, " + name,
			unit:   "us", upper: true, target: 100, values: f.cpu(name),
		})
	}
	all = append(all, goal{
		figure: "our own allocations per delivery (memory store, fake RoundTripper, drain)", upper: true, target: 15,
		values: f.each(drainName(offlineName), func(r *result) float64 { return r.allocs }),
	})
	if peer, ours := f.operation("verify 1 KiB: standard-webhooks"), f.operation("verify 1 KiB: "+standardTask); peer != nil && ours != nil {
		allocs := make([]float64, len(ours.results))
		for i := range allocs {
			allocs[i] = float64(int64(ours.results[i].allocs)) // what the runtime allocates meanwhile is a small part of one
		}
		all = append(all,
			goal{figure: "verify, 1 KiB, times faster than standard-webhooks' Go library", target: 2.3, values: peer.ratios(ours)},
			goal{figure: "verify, 1 KiB, allocations", upper: true, target: 0, values: allocs})
	}
	for _, t := range f.heaps {
		figure := "heap with " + thousands(t.pending) + " pending deliveries, above idle, " + t.engine.name
		if t.pending != fullForm.heap {
			figure += " (the target is for " + thousands(fullForm.heap) + ")"
		}
		all = append(all, goal{figure: figure, unit: "MiB", upper: true, target: 64, values: t.aboveIdle()})
	}
	for _, engine := range []string{sqliteName, postgresName} {
		hanging := hangingName(engine)
		all = append(all,
			goal{figure: "a tenth of the endpoints hanging: throughput of the others, " + engine, target: 0.9, values: f.against(hanging, rateOf)},
			goal{figure: "a tenth of the endpoints hanging: p99 of the others, " + engine, unit: "times", upper: true, target: 2, values: f.against(hanging, p99)})
	}
	for _, t := range f.claims {
		for i := 1; i < len(t.rows); i += 2 {
			all = append(all, goal{
				figure: fmt.Sprintf("%s, %s pending against %s", t.rows[i].name, thousands(t.rows[i].pending), thousands(t.rows[i-1].pending)),
				unit:   "times", upper: true, target: 1.2,
				values: []float64{float64(quantile(t.rows[i].claim, 0.5)) / float64(quantile(t.rows[i-1].claim, 0.5))},
			})
		}
	}
	return slices.DeleteFunc(all, func(g goal) bool { return len(g.values) == 0 })
}

// printGoals writes one line per goal.
func printGoals(w io.Writer, cfg *config, goals []goal) error {
	if len(goals) == 0 {
		return nil
	}
	fmt.Fprint(w, "\nTargets\n")
	tw := cfg.sheet(w)
	fmt.Fprintln(tw, "figure\ttarget\treached\tleast..most\tverdict\t")
	for i := range goals {
		g := &goals[i]
		s := spreadOfValues(g.values)
		unit := ""
		if g.unit != "" {
			unit = " " + g.unit
		}
		fmt.Fprintf(tw, "%s\t%s %g%s\t%.2f\t%.2f..%.2f\t%s\t\n", g.figure, g.sign(), g.target, unit, s.median, s.low, s.high, g.verdict())
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, "\nNothing lost when workers are killed is what make faults checks.")
	return err
}
