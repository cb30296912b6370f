package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// statsEndpoints is how many endpoints the deliveries are spread over, of which the
// tenant that is asked about has a hundredth.
const statsEndpoints = 1000

// statsBound is where the sender's counts stop.
const statsBound = 50

// statsTest compares what the backlogs of a tenant and of one endpoint cost with few
// and with many deliveries pending.
type statsTest struct {
	name   string
	engine engine
	scale  claimScale
	rows   []statsRow
}

// statsRow is a line of the table.
type statsRow struct {
	name             string
	pending          int
	tenant, endpoint []time.Duration // sorted
}

// statsTests returns the tests that cfg.only selects.
func statsTests(cfg *config, db *database) []*statsTest {
	var all []*statsTest
	if cfg.aged == 0 {
		return nil
	}
	for _, e := range engines(db) {
		t := &statsTest{name: e.name + ": stats", engine: e, scale: cfg.claims}
		if e.durable && cfg.only.MatchString(t.name) {
			all = append(all, t)
		}
	}
	return all
}

func (t *statsTest) measure(ctx context.Context, cfg *config) error {
	var shelves []*shelf
	for _, pending := range []int{t.scale.few, t.scale.many} {
		s, err := newShelf(ctx, &claimTest{engine: t.engine, endpoints: statsEndpoints}, cfg, pending)
		if err != nil {
			return err
		}
		defer s.close()
		shelves = append(shelves, s)
		t.rows = append(t.rows, statsRow{name: t.name, pending: pending})
	}
	for turn := range warmUp + t.scale.claims {
		for i, s := range shelves {
			row := &t.rows[i]
			if turn == warmUp {
				row.tenant, row.endpoint = nil, nil
			}
			if err := s.stats(ctx, row); err != nil {
				return fmt.Errorf("%d pending: %w", s.pending, err)
			}
		}
	}
	for i := range t.rows {
		slices.Sort(t.rows[i].tenant)
		slices.Sort(t.rows[i].endpoint)
	}
	return nil
}

// stats asks for the backlogs of a tenant's endpoints, and for that of one.
func (s *shelf) stats(ctx context.Context, row *statsRow) error {
	start := time.Now()
	page, err := s.Backlogs(ctx, s.targets[0].scope, store.BacklogQuery{Limit: 1000, Bound: statsBound})
	if err != nil {
		return err
	}
	asked := time.Now()
	if len(page) != statsEndpoints/tenants {
		return fmt.Errorf("a tenant has %d endpoints", len(page))
	}
	one, err := s.Backlogs(ctx, s.targets[0].scope, store.BacklogQuery{EndpointID: page[0].EndpointID, Bound: statsBound})
	if err != nil {
		return err
	}
	row.tenant, row.endpoint = append(row.tenant, asked.Sub(start)), append(row.endpoint, time.Since(asked))
	if want := s.pending / statsEndpoints; one[0].Due.N != min(want, statsBound) {
		return fmt.Errorf("an endpoint has %v due of %d", one[0].Due, want)
	}
	return nil
}

// runStatsTests measures all and prints their table.
func runStatsTests(ctx context.Context, cfg *config, tests []*statsTest) error {
	for i, t := range tests {
		fmt.Fprintf(os.Stderr, "\r\033[K%d of %d: %s", i+1, len(tests), t.name)
		if err := t.measure(ctx, cfg); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	return printStats(os.Stdout, cfg, tests)
}

func printStats(w io.Writer, cfg *config, tests []*statsTest) error {
	tw := cfg.sheet(w)
	fmt.Fprint(tw, "ms\tpending\ttenant p50\tp99\tto fewer\tendpoint p50\tp99\tto fewer\t\n")
	for _, t := range tests {
		for i := range t.rows {
			row, base := &t.rows[i], &t.rows[0]
			fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t\n", row.name, row.pending, callTimes(row.tenant, base.tenant), callTimes(row.endpoint, base.endpoint))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "\ntenant:   the backlogs of %d endpoints, of %d that share the pending deliveries evenly; endpoint: that of one\n",
		statsEndpoints/tenants, statsEndpoints)
	return err
}
