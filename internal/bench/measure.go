package main

import (
	"runtime"
	"slices"
	"time"
)

// result is what one run of a test measured.
type result struct {
	events   int
	rate     float64       // deliveries a second
	cpu      time.Duration // each per delivery
	receiver time.Duration // CPU of the receiver's process
	database time.Duration // CPU of the processes of the PostgreSQL server
	allocs   float64
	bytes    float64
	written  float64       // bytes to disk by this process, and to the server's log; 0: none, or not known
	p50      time.Duration // live: from Send to the recorded result; paced: to the receipt
	p99      time.Duration
	late     time.Duration // p99 of how late Send was called; paced tests only
	wall     time.Duration
	machine  time.Duration // CPU of all processes of the machine, in all; 0: not known
	calls    calls
	commits  int64 // that the store counts itself; -1: it does not
	trips    int64 // round trips to the PostgreSQL server, in all
}

// measurement is one under way.
type measurement struct {
	db          *database // nil: not used
	stopProfile func() error

	mem      runtime.MemStats
	machine  time.Duration
	database time.Duration
	written  int64
	trips    int64
	cpu      time.Duration
	start    time.Time
}

// begin starts from a collected heap, so that no test pays for the one before.
func (r *run) begin() (*measurement, error) {
	runtime.GC()
	return r.start()
}

// start is begin without collecting.
func (r *run) start() (*measurement, error) {
	m := &measurement{db: r.db}
	var err error
	if m.stopProfile, err = r.profiler.start(r.test); err != nil {
		return nil, err
	}
	m.written = m.writtenSoFar()
	runtime.ReadMemStats(&m.mem)
	m.trips = m.db.roundTrips()
	m.machine = machineTime()
	m.database = m.db.cpu()
	m.cpu = cpuTime()
	m.start = time.Now()
	return m, nil
}

// end returns what n deliveries, or operations, have cost since begin.
func (m *measurement) end(n int) (result, error) {
	wall := time.Since(m.start)
	cpu := cpuTime() - m.cpu
	database := m.db.cpu() - m.database
	machine := machineTime() - m.machine
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	written := m.writtenSoFar() - m.written
	return result{
		events:   n,
		rate:     float64(n) / wall.Seconds(),
		cpu:      cpu / time.Duration(n),
		database: database / time.Duration(n),
		allocs:   float64(mem.Mallocs-m.mem.Mallocs) / float64(n),
		bytes:    float64(mem.TotalAlloc-m.mem.TotalAlloc) / float64(n),
		written:  float64(written) / float64(n),
		commits:  -1,
		trips:    m.db.roundTrips() - m.trips,
		wall:     wall,
		machine:  machine,
	}, m.stopProfile()
}

func (m *measurement) writtenSoFar() int64 { return writtenByThis() + m.db.logged() }

// others returns how many CPUs processes used that have no part in the test.
func (r *result) others() float64 {
	ours := time.Duration(r.events) * (r.cpu + r.receiver + r.database)
	return max(0, float64(r.machine-ours)/float64(r.wall))
}

// quantile returns the value below which the part q of the sorted values lie.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// spread is a figure over all runs.
type spread struct{ median, low, high float64 }

func spreadOf(results []result, figure func(*result) float64) spread {
	values := make([]float64, len(results))
	for i := range results {
		values[i] = figure(&results[i])
	}
	return spreadOfValues(values)
}

func spreadOfValues(values []float64) spread {
	if len(values) == 0 {
		return spread{}
	}
	slices.Sort(values)
	mid := len(values) / 2
	median := values[mid]
	if len(values)%2 == 0 {
		median = (values[mid-1] + values[mid]) / 2
	}
	return spread{median: median, low: values[0], high: values[len(values)-1]}
}
