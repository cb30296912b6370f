//go:build unix

package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/pgserver"
)

var (
	workerProgram string
	server        *pgserver.Server // nil: there is no PostgreSQL
	full          = os.Getenv("HOOKPOST_FAULTS") == "full"
	patience      = size(4*time.Minute, 10*time.Minute) // ends a test that hangs
	table         figures
)

// size is a number of the short form or of the full one.
func size[T any](short, long T) T {
	if full {
		return long
	}
	return short
}

// amount is size for events, which cost many times more with the race detector.
func amount(short, long int) int {
	n := size(short, long)
	if raceEnabled {
		n /= 4
	}
	return n
}

// chance returns what a test decides by, from HOOKPOST_SEED if that is set, and says
// how to have the same decisions again.
func chance(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if text := os.Getenv("HOOKPOST_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		require.NoError(t, err)
	}
	t.Logf("HOOKPOST_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	if flag.Parse(); testing.Short() {
		fmt.Println("SKIP: the tests across processes, because of -short")
		return 0
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute) // of the preparations
	defer cancel()
	dir, err := os.MkdirTemp("", "hookpost-e2e")
	if err != nil {
		fmt.Println("FAIL:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	workerProgram = filepath.Join(dir, "worker")
	args := []string{"build", "-o", workerProgram}
	if raceEnabled {
		args = append(args, "-race")
	}
	if text, err := exec.CommandContext(ctx, "go", append(args, "./worker")...).CombinedOutput(); err != nil {
		fmt.Printf("FAIL: building the worker: %v\n%s", err, text)
		return 1
	}
	server, err = pgserver.Start(ctx)
	switch {
	case err == nil:
		defer func() { _ = server.Stop() }()
	case errors.Is(err, pgserver.ErrNone) && os.Getenv("CI") != "true":
		fmt.Println("SKIP: the faults of PostgreSQL:", err)
	default:
		fmt.Println("FAIL:", err)
		return 1
	}
	code = m.Run()
	table.print(os.Stdout)
	return code
}

// onEachStore runs a test on SQLite and, at the same time, on PostgreSQL.
func onEachStore(t *testing.T, test func(t *testing.T, store string)) {
	onSQLite(t, test)
	onPostgres(t, test)
}

func onSQLite(t *testing.T, test func(t *testing.T, store string)) {
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		test(t, "sqlite")
	})
}

func onPostgres(t *testing.T, test func(t *testing.T, store string)) {
	t.Run("postgres", func(t *testing.T) {
		if server == nil {
			t.Skip("no PostgreSQL is installed")
		}
		t.Parallel()
		test(t, "postgres")
	})
}
