package storetest_test

import (
	"sync"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/store/storetest"
)

// clock is a store's clock in the hands of a test: it runs on unless it is
// frozen, and can be moved.
type clock struct {
	mu     sync.Mutex
	ahead  time.Duration
	frozen time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.frozen.IsZero() {
		return c.frozen.Add(c.ahead)
	}
	return time.Now().Add(c.ahead)
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func instance(t *testing.T, c *clock) storetest.Instance {
	st := memory.NewWithClock(c.Now)
	t.Cleanup(func() { st.Close() })
	return storetest.Instance{
		Store:   st,
		Advance: c.Advance,
		Begin: func(*testing.T) storetest.Transaction {
			tx := st.Begin()
			return storetest.Transaction{Tx: tx, Commit: tx.Commit, Rollback: tx.Rollback}
		},
	}
}

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Instance { return instance(t, &clock{}) })
}

// A store's clock may stand still between two readings.
func TestMemoryFrozenClock(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Instance {
		return instance(t, &clock{frozen: time.Date(2026, 2, 28, 23, 59, 59, 999_999_000, time.UTC)})
	})
}

// A store without transactions is tested for the rest.
func TestMemoryWithoutTransactions(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Instance {
		in := instance(t, &clock{})
		in.Begin = nil
		return in
	})
}
