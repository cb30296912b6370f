package dashboard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// A chart shows the newest attempts of an endpoint over time: how they ended, and
// how long they took. The template draws it as SVG, whose units are pixels of a
// width that scales.
type chart struct {
	Attempts int
	counts   tally
	From, To string
	Bars     []bar
	Most     int    // attempts in the highest bar
	Line     string // points of the median of the time taken
	Dots     []dot
	Slowest  time.Duration // of the medians
	Median   time.Duration // of all
}

// The parts of a bar, from the bottom up.
const (
	partDelivered = iota
	partReached
	partFailed
	partUnknown
	barParts
)

// tally counts attempts by part.
type tally [barParts]int

func (t tally) total() int { return t[partDelivered] + t[partReached] + t[partFailed] + t[partUnknown] }

// text is the tally in words.
func (t tally) text() string {
	s := fmt.Sprintf("%d delivered, %d failed", t[partDelivered], t[partFailed])
	if n := t[partReached]; n > 0 {
		s += fmt.Sprintf(", %d reached only", n)
	}
	if n := t[partUnknown]; n > 0 {
		s += fmt.Sprintf(", %d unknown", n)
	}
	return s
}

// What the template draws in.
const (
	chartWidth  = 720
	chartHeight = 120
	chartBars   = 48
)

// bar is the attempts of a part of the time.
type bar struct {
	X, Width float64
	Parts    []barPart
	Label    string
}

// barPart is those of one outcome.
type barPart struct {
	Class     string
	Y, Height float64
}

// dot is the median of a part of the time.
type dot struct {
	X, Y  float64
	Label string
}

// newChart takes attempts in order of their start.
func newChart(attempts []store.Attempt, zone *time.Location) chart {
	c := chart{Attempts: len(attempts)}
	if len(attempts) == 0 {
		return c
	}
	first := attempts[0].StartedAt
	span := attempts[len(attempts)-1].StartedAt.Sub(first)
	step := max(span/chartBars+1, time.Second)
	if span < chartBars*time.Second {
		span = chartBars * time.Second
	}
	clock := func(t time.Time) string {
		form := "15:04:05"
		if span > 24*time.Hour {
			form = "2006-01-02 15:04"
		}
		return t.In(zone).Format(form)
	}
	c.From, c.To = clock(first), clock(attempts[len(attempts)-1].StartedAt)

	var tallies [chartBars]tally
	var times [chartBars][]time.Duration
	var all []time.Duration
	for _, a := range attempts {
		i := min(int(a.StartedAt.Sub(first)/step), chartBars-1)
		part := partOf(a)
		tallies[i][part]++
		c.counts[part]++
		if part != partUnknown { // which has no end
			times[i] = append(times[i], a.Took)
			all = append(all, a.Took)
		}
	}
	var medians [chartBars]time.Duration
	for i := range chartBars {
		c.Most = max(c.Most, tallies[i].total())
		medians[i] = median(times[i])
		c.Slowest = max(c.Slowest, medians[i])
	}
	c.Median = median(all)
	width := float64(chartWidth) / chartBars
	var line strings.Builder
	for i, t := range tallies {
		from := clock(first.Add(time.Duration(i) * step))
		if t.total() == 0 {
			continue
		}
		b := bar{X: float64(i)*width + 1, Width: width - 2, Label: from + ": " + t.text()}
		y := float64(chartHeight)
		for part, class := range [barParts]string{"delivered", "reached", "failed", "unknown"} {
			if t[part] == 0 {
				continue
			}
			h := float64(chartHeight) * float64(t[part]) / float64(c.Most)
			y -= h
			b.Parts = append(b.Parts, barPart{class, round(y), round(h)})
		}
		c.Bars = append(c.Bars, b)
		if len(times[i]) > 0 && c.Slowest > 0 {
			d := dot{X: round((float64(i) + 0.5) * width), Y: round(chartHeight * (1 - 0.9*float64(medians[i])/float64(c.Slowest)))}
			d.Label = from + ": " + tookText(medians[i])
			c.Dots = append(c.Dots, d)
			fmt.Fprintf(&line, "%g,%g ", d.X, d.Y)
		}
	}
	c.Line = strings.TrimSpace(line.String())
	return c
}

// partOf says which part of a bar an attempt belongs to.
func partOf(a store.Attempt) int {
	switch {
	case a.ReachedOnly():
		return partReached
	case a.Outcome == store.AttemptDelivered:
		return partDelivered
	case a.Outcome == store.AttemptFailed:
		return partFailed
	}
	return partUnknown
}

// Summary is the chart in words.
func (c chart) Summary() string {
	return fmt.Sprintf("%s from %s to %s: %s", plural(c.Attempts, "attempt"), c.From, c.To, c.counts.text())
}

// Reached reports whether there are test events that were reached only, and Unknown
// whether there are attempts without a report.
func (c chart) Reached() bool { return c.counts[partReached] > 0 }

// Unknown is explained at Reached.
func (c chart) Unknown() bool { return c.counts[partUnknown] > 0 }

func median(list []time.Duration) time.Duration {
	if len(list) == 0 {
		return 0
	}
	slices.Sort(list)
	return list[len(list)/2]
}

func round(f float64) float64 { return float64(int(f*100+0.5)) / 100 }
