package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/hookpost/hookpost/store"
)

const (
	claimSize = 100
	// tenants share the endpoints.
	tenants = 100
	// warmUp is how many claims are not counted, if as many are.
	warmUp = 20
)

// claimScale is how much there is to claim from.
type claimScale struct {
	few, many int // pending deliveries
	endpoints []int
	claims    int // measured of each
}

// claimTest compares what a claim costs with few and with many deliveries pending.
// Both stores are measured in turns, so that the machine is the same to both.
type claimTest struct {
	name      string
	engine    engine
	endpoints int
	scale     claimScale
	// long says that it is measured again while a transaction that reads is open.
	long bool
	rows []claimRow
}

// claimRow is a line of the table.
type claimRow struct {
	name                   string
	pending                int
	claim, settle, enqueue []time.Duration // sorted
}

// claimTests returns the tests that cfg.only selects.
func claimTests(cfg *config, db *database) []*claimTest {
	var all []*claimTest
	scale := cfg.claims
	for _, e := range engines(db) {
		if !e.durable {
			continue
		}
		for _, n := range scale.endpoints {
			t := &claimTest{name: fmt.Sprintf("%s: claim, %d endpoints", e.name, n), engine: e, endpoints: n, scale: scale, long: e.db != nil}
			if cfg.only.MatchString(t.name) {
				all = append(all, t)
			}
		}
	}
	return all
}

func (t *claimTest) measure(ctx context.Context, cfg *config) error {
	var shelves []*shelf
	for _, pending := range []int{t.scale.few, t.scale.many} {
		s, err := newShelf(ctx, t, cfg, pending)
		if err != nil {
			return err
		}
		defer s.close()
		shelves = append(shelves, s)
	}
	if err := t.turns(ctx, t.name, shelves); err != nil || !t.long {
		return err
	}
	conn, err := pgx.Connect(ctx, t.engine.db.dsn)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class"); err != nil {
		return err
	}
	return t.turns(ctx, t.name+", transaction open", shelves)
}

// turns measures each shelf in turn.
func (t *claimTest) turns(ctx context.Context, name string, shelves []*shelf) error {
	rows := make([]claimRow, len(shelves))
	for i, s := range shelves {
		rows[i] = claimRow{name: name, pending: s.pending}
	}
	warm := min(warmUp, t.scale.claims)
	for turn := range warm + t.scale.claims {
		for i, s := range shelves {
			row := &rows[i]
			if turn == warm {
				row.claim, row.settle, row.enqueue = nil, nil, nil
			}
			if err := s.turn(ctx, row); err != nil {
				return fmt.Errorf("%d pending: %w", s.pending, err)
			}
		}
	}
	for i := range rows {
		slices.Sort(rows[i].claim)
		slices.Sort(rows[i].settle)
		slices.Sort(rows[i].enqueue)
	}
	t.rows = append(t.rows, rows...)
	return nil
}

// shelf is a store with a number of deliveries pending.
type shelf struct {
	store.Store
	remove  func()
	pending int

	targets  []target
	versions map[store.Scope]int64
	body     []byte
	hash     [sha256.Size]byte
	stored   int
	after    int64
}

// target is an endpoint.
type target struct {
	scope store.Scope
	num   int64
}

func newShelf(ctx context.Context, t *claimTest, cfg *config, pending int) (_ *shelf, err error) {
	s := &shelf{pending: pending, versions: make(map[store.Scope]int64), body: envelope(payload(cfg.payload), eventType(0))}
	s.hash = sha256.Sum256(s.body)
	if s.Store, s.remove, err = t.engine.open(ctx, cfg.dir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if err := s.createTargets(ctx, t.endpoints); err != nil {
		return nil, err
	}
	for s.stored < pending {
		if err := s.enqueue(ctx, min(1000, pending-s.stored)); err != nil {
			return nil, err
		}
	}
	if pg, ok := s.Store.(*pgStore); ok {
		// What the server would do by itself sooner or later.
		if _, err := pg.pool.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
			return nil, err
		}
		t.engine.db.settle(ctx, pg.pool)
	}
	return s, nil
}

func (s *shelf) close() {
	_ = s.Close()
	s.remove()
}

func (s *shelf) createTargets(ctx context.Context, n int) error {
	s.targets = make([]target, n)
	var next atomic.Int64
	create, creating := errgroup.WithContext(ctx)
	for range connections {
		create.Go(func() error {
			for {
				i := int(next.Add(1) - 1)
				if i >= n {
					return nil
				}
				url := fmt.Sprintf("https://example.com/hooks/%d", i)
				ep, err := s.CreateEndpoint(creating, store.Endpoint{
					Scope: store.Scope{Tenant: fmt.Sprintf("tenant%d", i%tenants), Mode: store.Live}, ID: fmt.Sprintf("ep_%d", i), URLKey: url,
					Config: store.Config{URL: url, EventTypes: []string{"*"}, State: store.Enabled},
				}, store.ChangeParams{Action: store.Created})
				if err != nil {
					return err
				}
				s.targets[i] = target{ep.Scope, ep.Num}
			}
		})
	}
	if err := create.Wait(); err != nil {
		return err
	}
	for _, t := range s.targets[:min(n, tenants)] {
		set, err := s.EndpointSet(ctx, t.scope)
		if err != nil {
			return err
		}
		s.versions[t.scope] = set.Version
	}
	return nil
}

// enqueue stores n events, each for the next endpoint.
func (s *shelf) enqueue(ctx context.Context, n int) error {
	events := make([]store.NewEvent, n)
	for i := range events {
		to := s.targets[(s.stored+i)%len(s.targets)]
		events[i] = store.NewEvent{
			Event: store.Event{
				Scope: to.scope, ID: ceilingID(int64(s.stored + i)), Type: eventType(0), CreatedAt: time.Now(),
				ContentType: "application/json", Body: s.body, Hash: s.hash, SetVersion: s.versions[to.scope],
			},
			For: []store.NewDelivery{{Endpoint: to.num}},
		}
	}
	results, err := s.Enqueue(ctx, store.EnqueueParams{Events: events})
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Status != store.Stored {
			return fmt.Errorf("an event has status %d", r.Status)
		}
	}
	s.stored += n
	return nil
}

// turn claims and settles, and stores as many again.
func (s *shelf) turn(ctx context.Context, row *claimRow) error {
	start := time.Now()
	got, err := s.Claim(ctx, store.ClaimParams{
		Owner: 1, Lease: time.Minute, Limit: claimSize, Bytes: 8 << 20, DefaultRoom: 1, After: s.after, Window: 72 * time.Hour,
	})
	if err != nil {
		return err
	}
	claimed := time.Now()
	if len(got.Deliveries) != claimSize {
		return fmt.Errorf("a claim got %d deliveries of %d", len(got.Deliveries), claimSize)
	}
	s.after = got.After
	reports := make([]store.Settlement, len(got.Deliveries))
	for i, d := range got.Deliveries {
		reports[i] = store.Settlement{ID: d.ID, Token: d.Token, Verdict: store.Deliver, Attempt: &store.Attempt{
			N: d.Attempt, Took: 3 * time.Millisecond, Outcome: store.AttemptDelivered, URL: "https://example.com/hooks/1", Status: 200,
		}}
	}
	toSettle := time.Now()
	if _, err := s.Settle(ctx, reports); err != nil {
		return err
	}
	settled := time.Now()
	if err := s.enqueue(ctx, claimSize); err != nil {
		return err
	}
	row.claim = append(row.claim, claimed.Sub(start))
	row.settle = append(row.settle, settled.Sub(toSettle))
	row.enqueue = append(row.enqueue, time.Since(settled))
	return nil
}

// runClaimTests measures all and prints their table.
func runClaimTests(ctx context.Context, cfg *config, tests []*claimTest) error {
	for i, t := range tests {
		fmt.Fprintf(os.Stderr, "\r\033[K%d of %d: %s", i+1, len(tests), t.name)
		if err := t.measure(ctx, cfg); err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	return printClaims(os.Stdout, cfg, tests)
}

func printClaims(w io.Writer, cfg *config, tests []*claimTest) error {
	tw := cfg.sheet(w)
	fmt.Fprintf(tw, "%d at once, ms\tpending\tclaim p50\tp99\tto fewer\tsettle p50\tp99\tto fewer\tenqueue p50\tp99\tto fewer\t\n", claimSize)
	for _, t := range tests {
		for i := range t.rows {
			row, base := &t.rows[i], &t.rows[i&^1] // of two rows the first has fewer pending
			fmt.Fprintf(tw, "%s\t%d\t%s\t%s\t%s\t\n", row.name, row.pending,
				callTimes(row.claim, base.claim), callTimes(row.settle, base.settle), callTimes(row.enqueue, base.enqueue))
		}
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprint(w, `
to fewer: the p50 against that with fewer deliveries pending, measured in turns. Each claim takes one
          delivery of each of 100 endpoints and their bodies; all are settled and as many stored again
`)
	return err
}

func callTimes(took, base []time.Duration) string {
	p50, p99 := quantile(took, 0.50), quantile(took, 0.99)
	return fmt.Sprintf("%.2f\t%.2f\t%.2f", micros(p50)/1000, micros(p99)/1000, float64(p50)/max(1, float64(quantile(base, 0.50))))
}
