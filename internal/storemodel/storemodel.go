// Package storemodel tests a store by chance: it makes calls of the contract in an order
// that a seed decides, lets some of them fail, and compares what they answer and what is
// stored with store/memory, to which it makes the same calls.
//
// A call that fails must have changed nothing, unless its error wraps
// [store.ErrUnknownCommit]: then it has happened wholly or not at all, and where the
// contract lets it be repeated, repeating it makes it happen once. After a call that
// succeeds, it has happened once.
//
// Only what the contract determines is compared: no numbers but through the ids that
// they stand for, and times to the minute, since a database's clock runs on. Between
// two calls the clock moves on by two minutes or more.
package storemodel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Subject is a store under test. It is empty.
type Subject struct {
	Store store.Store
	// SetClock makes the store's clock show t, which is later than what it was told
	// before. The clock may run on.
	SetClock func(t time.Time)
	// Begin opens an application transaction; nil: the store knows none.
	Begin func() (Tx, error)
	// Faults are ways to let a call fail; one of them is chosen each time.
	Faults []Fault
	// Known names methods whose errors don't tell the truth yet, with a sentence that
	// says how. What they do wrong is logged.
	Known map[string]string
}

// Tx is a transaction of the application's, seen through the store.
type Tx struct {
	store.Tx
	Commit   func() error
	Rollback func() error
}

// Fault is a way to let a call fail.
type Fault struct {
	Name string
	// Do makes the call once, or not at all, with a failure at a place that r decides,
	// and returns the call's error; nil if the failure did no harm. When it returns,
	// nothing of the call is under way any more, and calls work again.
	Do func(ctx context.Context, r *rand.Rand, call func(ctx context.Context) error) error
}

// errInjected is the failure of a call that was not made.
var errInjected = errors.New("storemodel: the call was not made")

// FailBefore is the fault of a call that does not come to the store.
func FailBefore() Fault {
	return Fault{"fails before", func(context.Context, *rand.Rand, func(context.Context) error) error { return errInjected }}
}

// LoseAnswer is the fault of a call whose answer is lost.
func LoseAnswer() Fault {
	return Fault{"answer lost", func(ctx context.Context, _ *rand.Rand, call func(context.Context) error) error {
		if err := call(ctx); err != nil {
			return err
		}
		return fmt.Errorf("%w: storemodel: the answer was lost", store.ErrUnknownCommit)
	}}
}

// GiveUp is the fault of a caller whose context ends at some time within the longest.
func GiveUp(longest time.Duration) Fault {
	return Fault{"caller gives up", func(ctx context.Context, _ *rand.Rand, call func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, rand.N(longest+1))
		defer cancel()
		return call(ctx)
	}}
}

// EnvSeed names the variable with the seed of a single sequence to run.
const EnvSeed = "HOOKPOST_SEED"

// Sequences is how many sequences of calls a test runs: few with -short or the race
// detector, which one caller gives little to find, and very many with HOOKPOST_FAULTS=full.
func Sequences(short, usual, full int) int {
	switch {
	case os.Getenv("HOOKPOST_FAULTS") == "full":
		return full
	case testing.Short() || raceEnabled:
		return short
	}
	return usual
}

const (
	length    = 120 // of a sequence, in calls
	lastCalls = 30  // that are told when one goes wrong
)

// Run runs sequences of calls, each as a subtest with a seed and a subject of its own. What
// differs between subjects is to be decided by the seed.
func Run(t *testing.T, sequences int, newSubject func(t *testing.T, seed uint64) Subject) {
	t.Helper()
	seeds := make([]uint64, sequences)
	for i := range seeds {
		seeds[i] = rand.Uint64()
	}
	if text := os.Getenv(EnvSeed); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		seeds = []uint64{seed}
	}
	for _, seed := range seeds {
		ok := t.Run(fmt.Sprintf("%s=%d", EnvSeed, seed), func(t *testing.T) {
			m, err := check(t.Context(), seed, length, newSubject(t, seed))
			for _, line := range m.remarks {
				t.Log(line)
			}
			if err != nil {
				t.Fatalf("%v\n\nThe calls before:\n%s", err, strings.Join(m.log[max(0, len(m.log)-lastCalls):], "\n"))
			}
			t.Logf("%d calls, of which %d were to fail: %d failed before their commit, %d after it, %d in it", length, m.faulty, m.before, m.after, m.parts)
		})
		if !ok {
			return // the next would say the same
		}
	}
}
