package sender

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hookpost/hookpost/store"
)

// job is a delivery in this Sender's hands, from the claim or the hand-off to the
// recorded result.
type job struct {
	store.Claimed
	endpoint *liveEndpoint
	// leasedAt is our time just before the lease was taken: it surely lasts until
	// leasedAt plus lease.
	leasedAt  time.Time
	lease     time.Duration
	handedOff bool

	// While the attempt is under way: a link in its lane's list.
	under      bool
	started    time.Time
	prev, next *job
}

// workers make the attempts. There are never more than slots, and they are started
// when needed; a goroutine that has grown its stack for net/http is worth keeping.
type workers struct {
	s    *Sender
	jobs chan *job
	idle atomic.Int64

	mu      sync.RWMutex
	ctx     context.Context // of attempts; ends when they are to be cut off
	closed  bool
	running sync.WaitGroup
}

func newWorkers(s *Sender) *workers {
	return &workers{s: s, jobs: make(chan *job, 2*s.cfg.MaxInFlight)}
}

func (w *workers) open(ctx context.Context) {
	w.mu.Lock()
	w.ctx = ctx
	w.mu.Unlock()
}

// close ends the workers. A delivery handed over later is left to its lease. It
// waits at most so long for attempts that were cut off, and reports whether all
// have ended: a transport of the application's may not heed its context.
func (w *workers) close(limit time.Duration) bool {
	w.mu.Lock()
	w.closed = true
	close(w.jobs)
	w.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		w.running.Wait()
		close(ended)
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-ended:
		return true
	case <-timer.C:
		return false
	}
}

// dispatch starts a job. Each call uses up an idle worker or starts a new one, so
// that no job waits behind a slow one.
func (s *Sender) dispatch(j *job) {
	w := s.workers
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return
	}
	if w.idle.Add(-1) < 0 {
		w.idle.Add(1)
		w.running.Add(1)
		go w.work(w.ctx, j)
		return
	}
	w.jobs <- j
}

func (w *workers) work(ctx context.Context, j *job) {
	defer w.running.Done()
	within := newDeadline(ctx)
	defer func() { within.end(nil) }()
	for ok := true; ok; {
		w.s.attempt(ctx, within, j)
		within = within.next(ctx)
		w.idle.Add(1)
		j, ok = <-w.jobs
	}
}
