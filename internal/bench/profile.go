package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
)

// profiler writes profiles of the measured part of each test; a later run of a
// test overwrites an earlier one.
type profiler struct{ dir string }

func newProfiler(dir string) (*profiler, error) {
	if dir == "" {
		return nil, nil
	}
	runtime.SetMutexProfileFraction(10)
	return &profiler{dir: dir}, os.MkdirAll(dir, 0o755)
}

// start begins to profile a test. What it returns ends that and writes the CPU
// profile; those of allocations and of waiting for mutexes count from the
// program's start, so that each has a base for pprof -base.
func (p *profiler) start(test string) (stop func() error, err error) {
	if p == nil {
		return func() error { return nil }, nil
	}
	name := strings.Join(strings.FieldsFunc(test, func(r rune) bool { return strings.ContainsRune(" :,/", r) }), "-")
	if err := errors.Join(p.write(name, "allocs", "-base"), p.write(name, "mutex", "-base")); err != nil {
		return nil, err
	}
	cpu, err := os.Create(filepath.Join(p.dir, name+".cpu"))
	if err != nil {
		return nil, err
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(err, cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		runtime.GC() // allocations are in the profile only after one
		return errors.Join(cpu.Close(), p.write(name, "allocs", ""), p.write(name, "mutex", ""))
	}, nil
}

func (p *profiler) write(test, kind, suffix string) error {
	f, err := os.Create(filepath.Join(p.dir, test+"."+kind+suffix))
	if err != nil {
		return err
	}
	if err := pprof.Lookup(kind).WriteTo(f, 0); err != nil {
		return fmt.Errorf("%s: %w", kind, errors.Join(err, f.Close()))
	}
	return f.Close()
}
