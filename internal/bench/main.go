// Bench measures what signatures cost beside other libraries for them, and what the
// sender costs beside plain net/http, which signs and posts the same bodies, keeps no
// record and retries nothing: the ceiling that no sender on net/http can exceed.
//
//	GOWORK=off go run .            # about eight minutes on two CPUs
//	GOWORK=off go run . -full      # everything at full size, most of an hour
//	GOWORK=off go run . -short     # one quick turn, to see that it works
//
// The output says which sizes a form has; -only runs the lines whose names match, and their ceilings.
// What it prints, in this order:
//
//   - Signatures: verified and made by hookpost, standard-webhooks, svix, stripe-go and
//     go-github, each by the call that it documents, and by a bare HMAC, the floor that
//     none can go below. Then a signature header of 1 MiB is refused.
//   - Throughput of each engine. In a drain, events are stored first and the clock runs
//     from Start until the last one is delivered and its result is committed. Live,
//     64 goroutines each send an event, wait until it is delivered and its result
//     committed, and send the next; those not waiting send the next as soon as Send
//     returns. The same by River, a job queue on the same PostgreSQL server, with a
//     worker that signs and posts. One engine sends nothing: what remains is the
//     sender's own cost.
//   - Callers: live with 1, 16 and 256.
//   - Send to receipt: how long a request takes to arrive when events come at a fixed
//     rate that does not depend on it.
//   - Isolation: what a tenth of all endpoints costs the others when it hangs.
//   - Processes: a drain by 1, 2 and 4, which are this program once more.
//   - Heap with many deliveries pending.
//   - Claims with few and with many deliveries pending; with -full and -short, what Stats
//     asks the store in the same way, and events passed live while old ones are pruned.
//   - An overview, and what the project has set itself as targets.
//
// The receiver is this program too, in a process of its own, and says after each run
// how many requests were lost or came twice, either of which ends the program. Runs
// are interleaved, in an order that rotates, since a machine's speed drifts; the
// tables show medians with the least and the greatest. The ceiling is measured just
// before each line that is compared with it, with as many requests at once.
//
// SQLite's databases lie in -dir, that of the private PostgreSQL server in the
// directory for temporary files: what they reach depends on the disk.
// HOOKPOST_TEST_POSTGRES names another server to use. Where there is none, what
// needs it is skipped, or fails if CI=true.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
)

// config is what the flags say.
type config struct {
	form
	payload   int // bytes of an event's data
	inFlight  int // MaxInFlight
	endpoints int
	markdown  bool
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
	cfg, err := parseFlags()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err = bench(ctx, cfg)
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

func parseFlags() (*config, error) {
	cfg := &config{form: usualForm}
	only := flag.String("only", "", "run only the tests whose names match this regular `expression`, and the ceilings they are compared with")
	once := flag.Bool("short", false, "one quick turn of everything, to see that it works")
	full := flag.Bool("full", false, "everything at full size, which takes most of an hour")
	n := flag.Int("n", 0, "`events` of one run of the central tests; 0: as the form has it")
	runs := flag.Int("runs", 0, "how many `times` everything but signatures and claims is run, the heap at most as the form has it; 0: that")
	flag.IntVar(&cfg.payload, "payload", 1024, "`bytes` of an event's data")
	flag.IntVar(&cfg.inFlight, "inflight", 512, "sender.Options.MaxInFlight")
	flag.IntVar(&cfg.endpoints, "endpoints", 1, "how many `endpoints` the events are spread over, each for one")
	flag.BoolVar(&cfg.markdown, "markdown", false, "print the tables as Markdown")
	flag.StringVar(&cfg.dir, "dir", os.TempDir(), "`directory` for the databases of SQLite")
	profiles := flag.String("profile", "", "write pprof profiles of each test into this `directory`")
	flag.Parse()
	switch {
	case *once && *full:
		return nil, fmt.Errorf("-short contradicts -full")
	case *once:
		cfg.form = onceForm
	case *full:
		cfg.form = fullForm
	}
	if *n != 0 {
		cfg.n, cfg.onServer = *n, *n
	}
	if *runs != 0 {
		cfg.runs, cfg.rest, cfg.heapRuns = *runs, *runs, min(*runs, cfg.heapRuns)
	}
	if flag.NArg() > 0 || cfg.n < minEvents || min(cfg.runs, cfg.inFlight, cfg.endpoints) < 1 || cfg.payload < minPayload {
		return nil, fmt.Errorf("-n must be at least %d, -payload %d, other counts 1, and there are no arguments", minEvents, minPayload)
	}
	var err error
	if cfg.only, err = regexp.Compile(*only); err != nil {
		return nil, fmt.Errorf("-only: %w", err)
	}
	cfg.profiler, err = newProfiler(*profiles)
	return cfg, err
}
