package main

import (
	"fmt"
	"io"
)

// printOverview writes the table that tells most in few lines: one per engine.
func printOverview(w io.Writer, cfg *config, f *findings) error {
	lines := []struct{ label, engine string }{
		{"hookpost, SQLite, `synchronous=FULL`", sqliteName},
		{"hookpost, PostgreSQL, fsync on", postgresName},
		{"hookpost, in memory", memoryName},
		{"River with a worker that signs and posts", riverName},
	}
	tw := cfg.sheet(w)
	fmt.Fprintln(tw, "of the ceiling\tdrain\tlive\tlive, not waiting\tCPU per delivery\tp50, p99 at 300/s\tp50, p99 at 2,000/s\t")
	measured := false
	for _, line := range lines {
		live := liveName(line.engine, callers)
		cells := []string{
			ratioCell(f.ofCeiling(drainName(line.engine))),
			ratioCell(f.ofCeiling(live)),
			ratioCell(f.ofCeiling(unwaitedName(line.engine))),
			f.cpuCell(live),
			f.latencyCell(latencyName(line.engine, lowRate)),
			f.latencyCell(latencyName(line.engine, highRate)),
		}
		text, known := line.label, false
		for _, cell := range cells {
			known = known || cell != ""
			text += "\t" + cell
		}
		if known {
			measured = true
			fmt.Fprintf(tw, "%s\t\n", text)
		}
	}
	if !measured {
		return nil
	}
	fmt.Fprint(w, "\nOverview\n")
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `
medians (least to most); CPU per delivery live, application plus database; live with %d callers;
the ceiling is a signed net/http client at the same concurrency, each time just before%s
`, callers, f.ceilings(cfg))
	return err
}

// ceilings says what the ceilings are.
func (f *findings) ceilings(cfg *config) string {
	text := ""
	for _, concurrency := range []int{cfg.drainConcurrency(), callers} {
		if rates := f.each(ceilingName(concurrency), rateOf); len(rates) > 0 {
			s := spreadOfValues(rates)
			text += fmt.Sprintf("; %d at once: %s/s (%s to %s)", concurrency, thousands(int(s.median)), thousands(int(s.low)), thousands(int(s.high)))
		}
	}
	return text
}

func ratioCell(ratios []float64) string {
	if len(ratios) == 0 {
		return ""
	}
	s := spreadOfValues(ratios)
	return fmt.Sprintf("%.2f (%.2f to %.2f)", s.median, s.low, s.high)
}

func (f *findings) cpuCell(name string) string {
	values := f.cpu(name)
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%.0f us", spreadOfValues(values).median)
}

func (f *findings) latencyCell(name string) string {
	p50 := f.each(name, func(r *result) float64 { return micros(r.p50) / 1000 })
	p99 := f.each(name, func(r *result) float64 { return micros(r.p99) / 1000 })
	if len(p50) == 0 {
		return ""
	}
	return fmt.Sprintf("%.1f, %.1f ms", spreadOfValues(p50).median, spreadOfValues(p99).median)
}
