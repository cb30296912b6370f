package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"time"
)

// An operation takes so little time that many are measured together. It is a line of
// a table.
type operation struct {
	table   string
	name    string
	task    task
	letter  *letter
	base    *operation // what it is compared with; nil: nothing
	ours    *operation // hookpost's task of the kind; nil: this is it
	n       int        // as many fill a turn
	results []result
}

// operationTables says what the tables of operations compare with.
var operationTables = []struct{ name, base string }{
	{"verify", "of floor"}, {"construct", "of floor"}, {"sign", "of floor"}, {"refuse", "of verify"},
}

// signatureOperations returns the operations that cfg.only selects.
func signatureOperations(cfg *config, lib *libraries) []*operation {
	var all []*operation
	add := func(table, size string, l *letter, tasks []task, base *operation) map[string]*operation {
		named := make(map[string]*operation)
		for _, t := range tasks {
			op := &operation{table: table, name: table + " " + size + ": " + t.name, task: t, letter: l, base: base, ours: named[t.like]}
			if base == nil {
				op.base = named[floorTask]
			}
			named[t.name] = op
			all = append(all, op)
		}
		return named
	}
	var verify1KiB *operation
	for _, size := range letterSizes {
		if size.bytes != 1<<10 && !cfg.wholeSet {
			continue
		}
		l := newLetter(size.bytes)
		verify := add("verify", size.name, l, lib.verifying(), nil)
		add("construct", size.name, l, lib.constructing(), verify[floorTask])
		add("sign", size.name, l, lib.signing(), nil)
		if size.bytes == 1<<10 {
			verify1KiB = verify[standardTask]
		}
	}
	flooded := newLetter(1 << 10)
	flooded.flooded = true
	add("refuse", "1 MiB", flooded, lib.refusing(), verify1KiB)
	return slices.DeleteFunc(all, func(op *operation) bool { return !cfg.only.MatchString(op.name) })
}

// turn returns how long one operation is repeated. Many short turns, each operation in
// its place, even out a machine that drifts better than few long ones.
func (c *config) turn() time.Duration {
	if c.profiler != nil {
		return time.Second // for enough samples
	}
	return c.turnLength
}

// runOperations measures all in turns and prints their tables.
func runOperations(ctx context.Context, cfg *config, lib *libraries, ops []*operation) error {
	for i := range 1 + cfg.turns {
		fmt.Fprintf(os.Stderr, "\r\033[Kturn %d of %d of signatures", i, cfg.turns)
		for j := range ops {
			if err := ctx.Err(); err != nil {
				return err
			}
			op := ops[(i+j)%len(ops)]
			op.letter.sign(lib)
			step := op.measure
			if i == 0 {
				step = op.calibrate
			}
			if err := step(cfg); err != nil {
				return fmt.Errorf("%s: %w", op.name, err)
			}
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	return printOperations(os.Stdout, cfg, ops)
}

// calibrate finds out how many fill a turn.
func (o *operation) calibrate(cfg *config) error {
	for n := 1; ; n *= 2 {
		start := time.Now()
		if err := o.do(n); err != nil {
			return err
		}
		if took := time.Since(start); took >= cfg.turn()/2 {
			o.n = max(1, int(float64(n)*float64(cfg.turn())/float64(took)))
			return nil
		}
	}
}

// measure takes one turn.
func (o *operation) measure(cfg *config) error {
	runtime.GC()
	if err := o.do(1); err != nil { // fills the pools that this has emptied
		return err
	}
	m, err := (&run{config: cfg, test: o.name}).start()
	if err != nil {
		return err
	}
	failed := o.do(o.n)
	r, err := m.end(o.n)
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	o.results = append(o.results, r)
	if o.task.check == nil {
		return nil
	}
	return o.task.check(o.letter)
}

func (o *operation) do(n int) error {
	for range n {
		if err := o.task.do(o.letter); err != nil {
			return err
		}
	}
	return nil
}

func printOperations(w io.Writer, cfg *config, ops []*operation) error {
	fmt.Fprintf(w, "\nSignatures, %d turns of about %s\n", cfg.turns, cfg.turn())
	for _, table := range operationTables {
		lines := slices.DeleteFunc(slices.Clone(ops), func(op *operation) bool { return op.table != table.name })
		if len(lines) == 0 {
			continue
		}
		tw := cfg.sheet(w)
		fmt.Fprintf(tw, "%s\tns\tleast..most\t%s\tleast..most\tof ours\tleast..most\tCPU ns\tallocs\tbytes\t\n", table.name, table.base)
		for _, op := range lines {
			ns := spreadOf(op.results, nanoseconds)
			fmt.Fprintf(tw, "%s\t%.0f\t%.0f..%.0f\t%s\t%s\t%.0f\t%.1f\t%.0f\t\n",
				op.name, ns.median, ns.low, ns.high, op.against(op.base), op.against(op.ours),
				spreadOf(op.results, func(r *result) float64 { return float64(r.cpu) }).median,
				spreadOf(op.results, func(r *result) float64 { return r.allocs }).median,
				spreadOf(op.results, func(r *result) float64 { return r.bytes }).median)
		}
		if err := tw.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(w, `
floor:     HMAC-SHA256 of the body by a hash that is used again, and a comparison
construct: verify, and make an event of the body
refuse:    1 MiB of worthless signatures, against verifying 1 KiB in the standard scheme
of ours:   against hookpost in the same scheme; as all ratios, within the same turn
`)
	return err
}

func nanoseconds(r *result) float64 { return 1e9 / r.rate }

// ratios returns how the time compares with another's in the same turn, for each; nil
// where one of them was not measured.
func (o *operation) ratios(other *operation) []float64 {
	if len(other.results) != len(o.results) {
		return nil
	}
	ratios := make([]float64, len(o.results))
	for i := range o.results {
		ratios[i] = nanoseconds(&o.results[i]) / nanoseconds(&other.results[i])
	}
	return ratios
}

// against returns the median of the ratios, and their spread.
func (o *operation) against(other *operation) string {
	if other == nil || o.ratios(other) == nil {
		return "-\t-"
	}
	s := spreadOfValues(o.ratios(other))
	digits := 2
	if s.median >= 100 {
		digits = 0
	}
	return fmt.Sprintf("%.*f\t%.*f..%.*f", digits, s.median, digits, s.low, digits, s.high)
}
