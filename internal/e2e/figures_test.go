//go:build unix

package e2e

import (
	"fmt"
	"io"
	"sync"
	"text/tabwriter"
)

// figure is what one trial found.
type figure struct {
	name       string // of the test
	workers    int
	faults     int
	events     int // acknowledged or committed
	lost       int // of them
	duplicates int // successes beyond the first of an event, by the receiver's count
	bound      int // what was in flight at the faults: the most duplicates allowed
	cutOff     int // attempts that failed without an answer: each allows one more
	unknown    int // attempts in the log that nobody reported on
	unlogged   int // requests beyond the attempts in the log
	leased     int // deliveries in flight when all has ended
}

func (f figure) String() string {
	return fmt.Sprintf("%d workers, %d faults, %d events: %d lost, %d duplicates of at most %d+%d, %d unknown attempts, %d requests not in the log, %d left leased",
		f.workers, f.faults, f.events, f.lost, f.duplicates, f.bound, f.cutOff, f.unknown, f.unlogged, f.leased)
}

// figures are those of all trials.
type figures struct {
	mu   sync.Mutex
	rows []figure
}

func (f *figures) add(row figure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, row)
}

func (f *figures) print(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) == 0 {
		return
	}
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tab, "workers\tfaults\tevents\tlost\tduplicates\tbound\tcut off\tunknown\tnot in log\tleased\t  test")
	for _, r := range f.rows {
		fmt.Fprintf(tab, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t  %s\n",
			r.workers, r.faults, r.events, r.lost, r.duplicates, r.bound, r.cutOff, r.unknown, r.unlogged, r.leased, r.name)
	}
	_ = tab.Flush()
}
