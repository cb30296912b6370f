package storemodel

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// model makes calls to both sides.
type model struct {
	rand          *rand.Rand
	subject       Subject
	tested, ideal *side
	clock         clock

	made  int               // of ids and contents
	eps   []string          // ids of endpoints that were created, or tried to be
	evs   []string          // the same of events
	hash  map[string]string // contents of events
	vague map[delivery]bool // see side.dump

	log     []string
	remarks []string
	// Calls that were to fail, and that did: before their commit, after it, in it.
	faulty, before, after, parts int
}

// clock is that of the store which is compared with.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = t
}

func (c *clock) advance(d time.Duration) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	return c.now
}

// call is one of the contract's.
type call struct {
	method string
	about  string
	// prepare reads what the call needs to know of a side, and returns the call, which
	// writes its result down so that both sides' can be compared.
	prepare func(ctx context.Context, s *side) (func(ctx context.Context) (string, error), error)
	// again is how it is repeated after ErrUnknownCommit; nil: the contract doesn't say.
	again *call
	whole bool // never fails
	// unseen says that nobody can see whether it has happened, and that once more does no
	// harm.
	unseen bool
	// parts says that it consists of parts, of which an unknown outcome may leave some done.
	// Once more does the rest.
	parts bool
}

// check makes so many calls.
func check(ctx context.Context, seed uint64, calls int, subject Subject) (*model, error) {
	m := &model{
		rand: rand.New(rand.NewPCG(seed, 0)), subject: subject,
		hash: make(map[string]string), vague: make(map[delivery]bool),
	}
	m.clock.now = begun
	ideal := memory.NewWithClock(m.clock.time)
	defer ideal.Close()
	m.tested = newSide(subject.Store, subject.Begin)
	m.ideal = newSide(ideal, func() (Tx, error) {
		tx := ideal.Begin()
		return Tx{tx, tx.Commit, tx.Rollback}, nil
	})
	const compareEvery = 10
	for i := range calls {
		subject.SetClock(m.clock.advance(m.pause()))
		c := m.next()
		m.log = append(m.log, fmt.Sprintf("%4d at %s: %s %s", i, at(m.clock.now), c.method, c.about))
		err := m.make(ctx, c)
		if err == nil && (i%compareEvery == 0 || i == calls-1) {
			err = m.compare(ctx)
		}
		if err != nil {
			return m, fmt.Errorf("%s %s: %w", c.method, c.about, err)
		}
	}
	return m, nil
}

// pause is how long after a call the next is made: an even number of minutes. All else
// that takes time takes an odd one, so that nothing ends just when something happens.
func (m *model) pause() time.Duration {
	switch m.rand.IntN(40) {
	case 0:
		return 25 * time.Hour
	case 1, 2, 3:
		return 10 * time.Minute
	}
	return 2 * time.Minute
}

// remark adds to what is logged of the last call.
func (m *model) remark(format string, args ...any) {
	m.log[len(m.log)-1] += fmt.Sprintf(format, args...)
}

// make makes a call to both sides, and lets it fail on the tested one if it comes so.
func (m *model) make(ctx context.Context, c *call) error {
	do, err := c.prepare(ctx, m.tested)
	if err != nil {
		return err
	}
	if c.whole || len(m.subject.Faults) == 0 || m.rand.IntN(3) > 0 {
		got, err := do(ctx)
		return m.same(ctx, c, do, got, err)
	}
	fault := m.subject.Faults[m.rand.IntN(len(m.subject.Faults))]
	m.faulty++
	m.remark(" (%s)", fault.Name)
	var got string
	err = fault.Do(ctx, m.rand, func(ctx context.Context) error {
		var err error
		got, err = do(ctx)
		return err
	})
	if err == nil || answer(err) != nil {
		return m.same(ctx, c, do, got, err)
	}
	return m.failed(ctx, c, err)
}

// same makes the call to the ideal store and compares the answers.
func (m *model) same(ctx context.Context, c *call, do func(context.Context) (string, error), got string, err error) error {
	want, wantErr, e := m.idealise(ctx, c)
	if e != nil {
		return e
	}
	m.remark(" = %s %v", want, wantErr)
	// A store may space steps that took long and found nothing.
	for deadline := time.Now().Add(time.Minute); c.method == "Expire" && got != want && err == nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
		var n string
		n, err = do(ctx)
		got = sum(got, n)
	}
	switch {
	case wantErr == nil && err != nil:
		return fmt.Errorf("got error %w, want result %s", err, want)
	case wantErr != nil && !errors.Is(err, answer(wantErr)):
		return fmt.Errorf("got result %s, error %w, want error %w", got, err, wantErr)
	case wantErr == nil && got != want:
		return fmt.Errorf("the result\n%s", differences(strings.Split(got, "; "), strings.Split(want, "; ")))
	}
	return nil
}

func (m *model) idealise(ctx context.Context, c *call) (string, error, error) {
	do, err := c.prepare(ctx, m.ideal)
	if err != nil {
		return "", nil, err
	}
	want, wantErr := do(ctx)
	if wantErr != nil && answer(wantErr) == nil {
		return "", nil, fmt.Errorf("storemodel: the ideal store failed: %w", wantErr)
	}
	return want, wantErr, nil
}

// failed finds out whether a call that has failed has happened, which only an unknown
// outcome allows, and has the ideal store do the same.
func (m *model) failed(ctx context.Context, c *call, err error) error {
	m.remark(": %v", err)
	if c.unseen {
		return m.bothAgain(ctx, c)
	}
	now, e := m.tested.dump(ctx, m.vague)
	if e != nil {
		return e
	}
	was, e := m.ideal.dump(ctx, m.vague)
	if e != nil {
		return e
	}
	unknown := errors.Is(err, store.ErrUnknownCommit)
	if slices.Equal(now, was) {
		m.before++
	} else {
		tokens := maps.Clone(m.ideal.tokens)
		if _, _, e := m.idealise(ctx, c); e != nil {
			return e
		}
		m.forget(tokens)
		is, e := m.ideal.dump(ctx, m.vague)
		if e != nil {
			return e
		}
		if !slices.Equal(now, is) && unknown && c.parts {
			m.remark("; a part of it happened; repeated")
			return m.complete(ctx, c)
		}
		if !slices.Equal(now, is) {
			return fmt.Errorf("after error %w, the store is neither as before:\n%s\nnor as after the call:\n%s", err, differences(now, was), differences(now, is))
		}
		m.after++
		if known := m.subject.Known[c.method]; !unknown && known != "" {
			m.remarks = append(m.remarks, fmt.Sprintf("known: %s: %s (%v)", c.method, known, err))
		} else if !unknown {
			return fmt.Errorf("after error %w, which says that nothing was changed, this was:\n%s", err, differences(now, was))
		}
		m.remark("; it happened")
	}
	if !unknown || c.again == nil || m.rand.IntN(4) == 0 {
		return nil
	}
	m.remark("; repeated")
	do, e := c.again.prepare(ctx, m.tested)
	if e != nil {
		return e
	}
	got, err := do(ctx)
	if err := m.same(ctx, c.again, do, got, err); err != nil {
		return fmt.Errorf("repeated: %w", err)
	}
	return m.compare(ctx)
}

// bothAgain makes a call that has happened to both sides, or to neither, or to one.
func (m *model) bothAgain(ctx context.Context, c *call) error {
	do, err := c.prepare(ctx, m.tested)
	if err == nil {
		_, err = do(ctx)
	}
	if err == nil {
		_, _, err = m.idealise(ctx, c)
	}
	return err
}

// complete does the rest of a call of which a part has happened.
func (m *model) complete(ctx context.Context, c *call) error {
	m.parts++
	do, err := c.prepare(ctx, m.tested)
	if err == nil {
		_, err = do(ctx)
	}
	if err != nil {
		return err
	}
	return m.compare(ctx)
}

// forget drops the leases that only the ideal store has told of.
func (m *model) forget(before map[lease]int64) {
	for l, token := range m.ideal.tokens {
		if before[l] != token {
			delete(m.ideal.tokens, l)
			delete(m.tested.tokens, l)
		}
	}
}

// compare compares what is stored.
func (m *model) compare(ctx context.Context) error {
	got, err := m.tested.dump(ctx, m.vague)
	if err != nil {
		return err
	}
	want, err := m.ideal.dump(ctx, m.vague)
	if err != nil {
		return err
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the store\n%s", differences(got, want))
	}
	return nil
}

// answer returns which of the contract's answers an error is, of those that do not
// depend on the state of the world; nil if it is none.
func answer(err error) error {
	for _, e := range []error{
		store.ErrNotFound, store.ErrInvalid, store.ErrConflict, store.ErrDuplicateURL, store.ErrChanged, store.ErrDisabled,
		store.ErrDeleted, store.ErrErased, store.ErrFinished, store.ErrTooMany,
	} {
		if errors.Is(err, e) {
			return e
		}
	}
	return nil
}
