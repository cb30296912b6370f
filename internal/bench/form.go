package main

import (
	"fmt"
	"strings"
	"time"
)

// form is how much is measured.
type form struct {
	name string
	n    int // events of one run; some tests take a part or a multiple of it
	// onServer is n for tests on the PostgreSQL server. Each of its connections plans
	// a statement anew five times, which fewer events would mostly consist of.
	onServer int
	runs     int // of the central tests
	rest     int // runs of the others

	wholeSet   bool          // with the engines and sizes that say little more
	latency    time.Duration // for which requests of one run are timed
	isolation  isolationScale
	claims     claimScale
	heap       int // pending deliveries
	heapRuns   int
	aged       int // events past their retention; 0: neither pruning nor Stats is measured
	turns      int // of signatures
	turnLength time.Duration
}

// The forms: to see that everything works; about eight minutes; everything.
var (
	onceForm = form{
		name: "one quick turn", n: 1000, onServer: 1000, runs: 1, rest: 1, wholeSet: true,
		latency:   time.Second,
		isolation: isolationScale{pending: 1000, lasts: time.Second},
		claims:    claimScale{few: 1000, many: 5000, endpoints: []int{100, 1000}, claims: 3},
		heap:      2000, heapRuns: 1, aged: 10_000,
		turns: 1, turnLength: time.Millisecond,
	}
	usualForm = form{
		name: "usual form", n: 10_000, onServer: 40_000, runs: 5, rest: 3,
		latency:   4 * time.Second,
		isolation: isolationScale{pending: 10_000, lasts: 3 * time.Second},
		claims:    claimScale{few: 10_000, many: 100_000, endpoints: []int{1000}, claims: 200},
		heap:      100_000, heapRuns: 1,
		turns: 15, turnLength: 20 * time.Millisecond,
	}
	fullForm = form{
		name: "full form", n: 20_000, onServer: 40_000, runs: 5, rest: 5, wholeSet: true,
		latency: 15 * time.Second,
		// Long enough for a second round of those that hang for ten seconds.
		isolation: isolationScale{pending: 100_000, lasts: 15 * time.Second},
		claims:    claimScale{few: 10_000, many: 1_000_000, endpoints: []int{1000, 100_000}, claims: 500},
		heap:      1_000_000, heapRuns: 3, aged: 1_000_000,
		turns: 25, turnLength: 20 * time.Millisecond,
	}
)

// minEvents is the least that leaves every test some events.
const minEvents = 100

// String says how large everything is.
func (f form) String() string {
	parts := []string{
		fmt.Sprintf("%d runs of %s events in the first table, %s on PostgreSQL, %d runs of the others", f.runs, thousands(f.n), thousands(f.onServer), f.rest),
		fmt.Sprintf("requests timed for %s", f.latency),
		fmt.Sprintf("isolation for %s with %s pending for those that hang", f.isolation.lasts, thousands(f.isolation.pending)),
		fmt.Sprintf("claims from %s and %s pending", thousands(f.claims.few), thousands(f.claims.many)),
		fmt.Sprintf("heap with %s pending", thousands(f.heap)),
	}
	if f.aged > 0 {
		parts = append(parts, fmt.Sprintf("%s events to prune", thousands(f.aged)))
	}
	return f.name + ": " + strings.Join(parts, "; ")
}

// thousands writes 12000 as 12,000.
func thousands(n int) string {
	digits := fmt.Sprint(n)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}
