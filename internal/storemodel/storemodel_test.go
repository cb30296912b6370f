package storemodel

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// inMemory returns a subject that is a memory store, as change makes it.
func inMemory(change func(st store.Store) store.Store, faults ...Fault) Subject {
	c := &clock{now: begun}
	st := memory.NewWithClock(c.time)
	return Subject{
		Store:    change(st),
		SetClock: c.set,
		Begin: func() (Tx, error) {
			tx := st.Begin()
			return Tx{tx, tx.Commit, tx.Rollback}, nil
		},
		Faults: faults,
	}
}

func asItIs(st store.Store) store.Store { return st }

func TestModel(t *testing.T) {
	Run(t, Sequences(3, 20, 1000), func(*testing.T, uint64) Subject {
		return inMemory(asItIs, FailBefore(), LoseAnswer(), GiveUp(20*time.Microsecond))
	})
}

// The same seed makes the same calls.
func TestSeed(t *testing.T) {
	var logs [][]string
	for range 2 {
		m, err := check(t.Context(), 7, length, inMemory(asItIs, FailBefore(), LoseAnswer()))
		require.NoError(t, err)
		require.Positive(t, m.before)
		require.Positive(t, m.after)
		logs = append(logs, m.log)
	}
	require.Equal(t, logs[0], logs[1])
}

// What breaks the contract is found within some sequences.
func TestCatches(t *testing.T) {
	liar := func() Subject { return inMemory(asItIs, untruthful()) }
	for name, c := range map[string]struct {
		subject func() Subject
		want    string // "": nothing is wrong
	}{
		"an error of what has happened": {liar, "which says that nothing was changed"},
		"the same, and known": {func() Subject {
			s := liar()
			s.Known = make(map[string]string)
			for _, method := range []string{
				"CreateEndpoint", "UpdateEndpoint", "Enqueue", "Claim", "Settle", "TakeOver", "Expire", "DisableFailing", "Prune",
				"Replay", "Cancel", "Recover", "BackFill", "Erase", "Reseal",
			} {
				s.Known[method] = "it lies"
			}
			return s
		}, ""},
		"a part of a batch": {func() Subject {
			p := &partial{}
			s := inMemory(func(st store.Store) store.Store { p.Store = st; return p }, p.fault())
			return s
		}, "neither as before"},
		"a replay that happens twice": {func() Subject {
			return inMemory(func(st store.Store) store.Store { return twice{st} }, LoseAnswer())
		}, "Replay"},
		"a change that happens twice": {func() Subject {
			return inMemory(func(st store.Store) store.Store { return forgetful{st} }, LoseAnswer())
		}, "Endpoint"},
		"a delay that is too long": {func() Subject {
			return inMemory(func(st store.Store) store.Store { return late{st} })
		}, "the store"},
	} {
		t.Run(name, func(t *testing.T) {
			var err error
			remarks := 0
			for seed := uint64(1); seed <= 20 && err == nil; seed++ {
				var m *model
				m, err = check(t.Context(), seed, length, c.subject())
				remarks += len(m.remarks)
			}
			if c.want == "" {
				require.NoError(t, err)
				require.Positive(t, remarks)
				return
			}
			require.ErrorContains(t, err, c.want)
		})
	}
}

// untruthful is the fault of a call that says it has not happened.
func untruthful() Fault {
	return Fault{"lies", func(ctx context.Context, _ *rand.Rand, call func(context.Context) error) error {
		if err := call(ctx); err != nil {
			return err
		}
		return errInjected
	}}
}

// partial loses the second half of a batch with its answer.
type partial struct {
	store.Store
	lose bool
}

func (p *partial) fault() Fault {
	lost := LoseAnswer()
	do := lost.Do
	lost.Do = func(ctx context.Context, r *rand.Rand, call func(context.Context) error) error {
		p.lose = true
		defer func() { p.lose = false }()
		return do(ctx, r, call)
	}
	return lost
}

func (p *partial) Enqueue(ctx context.Context, params store.EnqueueParams) ([]store.Enqueued, error) {
	if p.lose {
		params.Events = params.Events[:(len(params.Events)+1)/2]
	}
	return p.Store.Enqueue(ctx, params)
}

// twice replays again what is repeated.
type twice struct{ store.Store }

func (s twice) Replay(ctx context.Context, scope store.Scope, event, endpoint string, _ store.ReplayParams) (store.DeliveryID, error) {
	return s.Store.Replay(ctx, scope, event, endpoint, store.ReplayParams{})
}

// forgetful doesn't know whose change it has made.
type forgetful struct{ store.Store }

func (s forgetful) UpdateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	p.Op = ""
	return s.Store.UpdateEndpoint(ctx, ep, p)
}

func (s forgetful) CreateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	p.Op = ""
	return s.Store.CreateEndpoint(ctx, ep, p)
}

// late delays retries for longer than was asked for.
type late struct{ store.Store }

func (s late) Settle(ctx context.Context, batch []store.Settlement) ([]store.Settled, error) {
	for i := range batch {
		batch[i].Delay *= 2
	}
	return s.Store.Settle(ctx, batch)
}
