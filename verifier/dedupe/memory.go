package dedupe

import (
	"context"
	"sync"
	"time"

	"github.com/hookpost/hookpost/verifier"
)

// DefaultMax is how many ids a [Memory] keeps by default.
const DefaultMax = 100_000

// MemoryOptions configures a [Memory]. The zero value, like nil, means the
// defaults.
type MemoryOptions struct {
	// Keep is how long an id is remembered after its event was handled.
	// Default DefaultKeep. Negative: until Max is reached.
	Keep time.Duration

	// Max is how many handled events are remembered, each some 250 bytes;
	// beyond it the oldest are forgotten first. Default DefaultMax. Negative:
	// no limit.
	Max int
}

// Memory is a [verifier.Dedupe] in memory. A restart forgets everything, and
// other processes know nothing of it. Claims last until they are done or
// released: what holds them dies with them. It starts no goroutine.
type Memory struct {
	keep time.Duration
	max  int

	mu      sync.Mutex
	entries map[string]*memoryClaim
	done    []*memoryClaim // the oldest first, and therefore the next to expire
}

// NewMemory returns an empty Memory.
func NewMemory(opts *MemoryOptions) *Memory {
	m := &Memory{keep: DefaultKeep, max: DefaultMax, entries: make(map[string]*memoryClaim)}
	if opts != nil && opts.Keep != 0 {
		m.keep = opts.Keep
	}
	if opts != nil && opts.Max != 0 {
		m.max = opts.Max
	}
	return m
}

// memoryClaim is the entry of one key, guarded by the Memory's mu.
type memoryClaim struct {
	m      *Memory
	key    string
	doneAt time.Time // zero: claimed
}

// Claim implements [verifier.Dedupe].
func (m *Memory) Claim(_ context.Context, key string) (verifier.Claim, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.prune(time.Now())
	if c, found := m.entries[key]; found {
		if c.doneAt.IsZero() {
			return nil, verifier.ErrInProgress
		}
		return nil, verifier.ErrDuplicate
	}
	c := &memoryClaim{m: m, key: key}
	m.entries[key] = c
	return c, nil
}

// prune forgets what is due. Every call of Claim and Done adds at most one
// entry, so that the work is constant on average.
func (m *Memory) prune(now time.Time) {
	for len(m.done) > 0 {
		oldest := m.done[0]
		full := m.max >= 0 && len(m.done) > m.max
		expired := m.keep >= 0 && now.Sub(oldest.doneAt) >= m.keep
		if !full && !expired {
			return
		}
		delete(m.entries, oldest.key)
		m.done[0] = nil
		m.done = m.done[1:]
	}
}

// Done implements [verifier.Claim]. It never fails.
func (c *memoryClaim) Done(context.Context) error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.m.entries[c.key] == c && c.doneAt.IsZero() {
		c.doneAt = time.Now()
		c.m.done = append(c.m.done, c)
		c.m.prune(c.doneAt)
	}
	return nil
}

// Release implements [verifier.Claim]. It never fails.
func (c *memoryClaim) Release(context.Context) error {
	c.m.mu.Lock()
	defer c.m.mu.Unlock()
	if c.m.entries[c.key] == c && c.doneAt.IsZero() {
		delete(c.m.entries, c.key)
	}
	return nil
}
