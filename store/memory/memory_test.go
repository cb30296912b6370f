package memory_test

import (
	"sync"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/store/storetest"
)

// clock is a clock that only moves when told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Instance {
		c := &clock{now: time.Date(2001, 2, 3, 4, 5, 6, 789_012_345, time.UTC)}
		s := memory.NewWithClock(c.Now)
		t.Cleanup(func() { _ = s.Close() })
		return storetest.Instance{
			Store:   s,
			Advance: c.Advance,
			Begin: func(*testing.T) storetest.Transaction {
				tx := s.Begin()
				return storetest.Transaction{Tx: tx, Commit: tx.Commit, Rollback: tx.Rollback}
			},
		}
	})
}
