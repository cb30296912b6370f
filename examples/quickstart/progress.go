package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// progress says how far things are: in place on a terminal, in lines elsewhere.
type progress struct {
	out      io.Writer
	terminal bool
	rcv      *receiver
	total    int
	start    time.Time
	accepted atomic.Int64
	repeated atomic.Int64

	end  chan struct{}
	done sync.WaitGroup
}

func startProgress(out io.Writer, rcv *receiver, total int) *progress {
	p := &progress{out: out, rcv: rcv, total: total, start: time.Now(), end: make(chan struct{})}
	every := time.Second
	if f, ok := out.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			p.terminal, every = true, 100*time.Millisecond
		}
	}
	p.done.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			p.print()
			select {
			case <-tick.C:
			case <-p.end:
				p.print()
				if p.terminal {
					fmt.Fprintln(p.out)
				}
				return
			}
		}
	})
	return p
}

// sent counts an event that the sender has accepted.
func (p *progress) sent(duplicate bool) {
	p.accepted.Add(1)
	if duplicate {
		p.repeated.Add(1)
	}
}

func (p *progress) print() {
	requests, verified := p.rcv.counts()
	var b strings.Builder
	if p.terminal {
		b.WriteString("\r\x1b[K")
	}
	fmt.Fprintf(&b, "%5.1fs  accepted %d of %d", time.Since(p.start).Seconds(), p.accepted.Load(), p.total)
	if n := p.repeated.Load(); n > 0 {
		fmt.Fprintf(&b, " (%d already in an earlier run)", n)
	}
	fmt.Fprintf(&b, ", requests %d, verified events %d", requests, verified)
	if !p.terminal {
		b.WriteByte('\n')
	}
	_, _ = io.WriteString(p.out, b.String())
}

// stop prints the last state.
func (p *progress) stop() {
	close(p.end)
	p.done.Wait()
}

// list writes durations as "200ms, 500ms".
func list(ds []time.Duration) string {
	s := make([]string, len(ds))
	for i, d := range ds {
		s[i] = d.String()
	}
	return strings.Join(s, ", ")
}
