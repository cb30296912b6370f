// Bench measures what signatures cost beside other libraries for them, and what the
// sender costs beside plain net/http, which signs and posts the same bodies, keeps no
// record and retries nothing: the ceiling that no sender on net/http can exceed.
//
//	GOWORK=off go run .            # five interleaved runs of everything
//	GOWORK=off go run . -short     # one quick run, to see that it works
//
// Signatures are verified and made by hookpost, standard-webhooks, svix, stripe-go and
// go-github over bodies of 256 bytes to 256 KiB, each by the call that it documents,
// and by a bare HMAC, the floor that none can go below. Then a signature header of
// 1 MiB is refused. That takes less than a minute; -only 'verify|construct|sign |refuse'
// runs nothing else.
//
// For each engine there are two tests. In a drain, -n events are stored first and
// the clock runs from Start until the last one is delivered and its result is
// committed. Live, -callers goroutines each send an event, wait until it is
// delivered and its result committed, and send the next.
//
// On PostgreSQL a drain is also done by 1, 2 and 4 processes, which are this program
// once more, and both tests by River, a job queue on the same server, with a worker
// that signs and posts. At last, each durable engine's claims are timed with 10,000
// and with 1,000,000 deliveries pending, and what Stats asks the store is timed in the
// same way; and events are passed live with and without 1,000,000 old ones being
// pruned. These take minutes: -only claim, -only stats and -only prune run nothing
// else, and -only 'drain|live|net/http' the sender without them.
//
// The receiver is this program too, in a process of its own, and says after each run
// how many requests were lost or came twice. Runs are interleaved, in an order that
// rotates, since a machine's speed drifts; the table shows medians with the least
// and the greatest. Each figure is divided by the ceiling of the same round, at the
// same number of requests at once.
//
// SQLite's databases lie in -dir, that of the private PostgreSQL server in the
// directory for temporary files: what they reach depends on the disk.
// HOOKPOST_TEST_POSTGRES names another server to use. Where there is none, what
// needs it is skipped, or fails if CI=true.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"slices"

	"github.com/hookpost/hookpost/internal/pgserver"
)

// config is what the flags say.
type config struct {
	n         int // events of one run
	runs      int
	payload   int // bytes of an event's data
	callers   int
	inFlight  int // MaxInFlight
	endpoints int
	short     bool
	dir       string
	only      *regexp.Regexp
	profiler  *profiler // nil: none
}

func main() {
	if os.Getenv(receiverEnv) != "" {
		exit(serveReceiver())
	}
	if text := os.Getenv(workerEnv); text != "" {
		exit(serveWorker(text))
	}
	var cfg config
	only := flag.String("only", "", "run only the tests whose names match this regular `expression`")
	flag.BoolVar(&cfg.short, "short", false, "one quick run of everything: -n 2000 -runs 1, and little to claim from")
	flag.IntVar(&cfg.n, "n", 20_000, "`events` of one run")
	flag.IntVar(&cfg.runs, "runs", 5, "how many `times` everything is run")
	flag.IntVar(&cfg.payload, "payload", 1024, "`bytes` of an event's data")
	flag.IntVar(&cfg.callers, "callers", 64, "concurrent `callers` of Send in the live tests")
	flag.IntVar(&cfg.inFlight, "inflight", 512, "sender.Options.MaxInFlight")
	flag.IntVar(&cfg.endpoints, "endpoints", 1, "how many `endpoints` the events are spread over, each for one")
	flag.StringVar(&cfg.dir, "dir", os.TempDir(), "`directory` for the databases of SQLite")
	profiles := flag.String("profile", "", "write pprof profiles of each test into this `directory`")
	flag.Parse()
	if cfg.short {
		cfg.n, cfg.runs = 2000, 1
	}
	if flag.NArg() > 0 || min(cfg.n, cfg.runs, cfg.callers, cfg.inFlight, cfg.endpoints) < 1 || cfg.payload < minPayload {
		fmt.Fprintf(os.Stderr, "bench: counts must be at least 1, the payload at least %d bytes, and there are no arguments\n", minPayload)
		os.Exit(2)
	}
	var err error
	if cfg.only, err = regexp.Compile(*only); err != nil {
		fmt.Fprintln(os.Stderr, "bench: -only:", err)
		os.Exit(2)
	}
	if cfg.profiler, err = newProfiler(*profiles); err != nil {
		exit(err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err = bench(ctx, &cfg)
	stop()
	exit(err)
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// bench runs everything that cfg.only selects.
func bench(ctx context.Context, cfg *config) error {
	lib, err := newLibraries()
	if err != nil {
		return err
	}
	if ops := signatureOperations(cfg, lib); len(ops) > 0 {
		if err := runOperations(ctx, cfg, lib, ops); err != nil {
			return err
		}
	}
	db := &database{}
	all := senderTests{allTests(cfg, db), claimTests(cfg, db), statsTests(cfg, db), pruneTests(cfg, db)}
	if all.count() == 0 {
		return nil
	}
	return benchSender(ctx, cfg, db, all)
}

// senderTests are the kinds of tests that need more than this process.
type senderTests struct {
	tests  []*test
	claims []*claimTest
	stats  []*statsTest
	prunes []*pruneTest
}

func (s senderTests) count() int {
	return len(s.tests) + len(s.claims) + len(s.stats) + len(s.prunes)
}

// withoutServer returns those that need no PostgreSQL.
func (s senderTests) withoutServer() senderTests {
	s.tests = slices.DeleteFunc(slices.Clone(s.tests), func(t *test) bool { return t.db != nil })
	s.claims = slices.DeleteFunc(slices.Clone(s.claims), func(t *claimTest) bool { return t.engine.db != nil })
	s.stats = slices.DeleteFunc(slices.Clone(s.stats), func(t *statsTest) bool { return t.engine.db != nil })
	s.prunes = slices.DeleteFunc(slices.Clone(s.prunes), func(t *pruneTest) bool { return t.engine.db != nil })
	return s
}

// benchSender runs every test cfg.runs times and prints the table, and then those of
// the claims, of Stats and of pruning.
func benchSender(ctx context.Context, cfg *config, db *database, all senderTests) (err error) {
	rcv, err := startReceiver()
	if err != nil {
		return err
	}
	defer rcv.stop()
	if local := all.withoutServer(); local.count() < all.count() {
		started := db.start(ctx)
		switch {
		case started == nil:
			defer func() { err = errors.Join(err, db.end()) }()
		case errors.Is(started, pgserver.ErrNone) && os.Getenv("CI") != "true":
			fmt.Fprintln(os.Stderr, "bench: skipping what needs PostgreSQL:", started)
			all = local
		default:
			return started
		}
	}
	tests := all.tests
	for round := range cfg.runs {
		for i := range tests {
			t := tests[(i+round)%len(tests)]
			fmt.Fprintf(os.Stderr, "\r\033[Krun %d of %d: %s", round+1, cfg.runs, t.name)
			r, err := t.measure(ctx, cfg, rcv)
			if err != nil {
				return fmt.Errorf("%s: %w", t.name, err)
			}
			t.results = append(t.results, r)
		}
	}
	fmt.Fprint(os.Stderr, "\r\033[K")
	if len(tests) > 0 {
		if err := printTable(os.Stdout, cfg, db, tests); err != nil {
			return err
		}
	}
	if len(all.claims) > 0 {
		if err := runClaimTests(ctx, cfg, all.claims); err != nil {
			return err
		}
	}
	if len(all.stats) > 0 {
		if err := runStatsTests(ctx, cfg, all.stats); err != nil {
			return err
		}
	}
	if len(all.prunes) > 0 {
		return runPruneTests(ctx, cfg, rcv, all.prunes)
	}
	return nil
}
