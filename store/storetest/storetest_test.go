package storetest_test

import (
	"sync"
	"testing"
	"time"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/store/storetest"
)

// clock is a store's clock in the hands of a test: it runs on and can be moved.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

func TestMemory(t *testing.T) {
	storetest.Run(t, func(t *testing.T) storetest.Instance {
		c := &clock{}
		st := memory.NewWithClock(c.Now)
		t.Cleanup(func() { st.Close() })
		return storetest.Instance{Store: st, Advance: c.Advance}
	})
}

var _ store.Store = (*memory.Store)(nil)
