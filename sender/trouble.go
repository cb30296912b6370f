package sender

import (
	"log/slog"
	"sync"
	"time"
)

// troubleEvery is the least time between two lines about trouble.
const troubleEvery = 10 * time.Second

// trouble logs what goes wrong again and again, such as a store that does not
// answer, at most once in ten seconds.
type trouble struct {
	log *slog.Logger

	mu      sync.Mutex
	last    time.Time
	skipped int
}

func (t *trouble) report(msg string, err error, args ...any) {
	now := time.Now()
	t.mu.Lock()
	if !t.last.IsZero() && now.Sub(t.last) < troubleEvery {
		t.skipped++
		t.mu.Unlock()
		return
	}
	skipped := t.skipped
	t.last, t.skipped = now, 0
	t.mu.Unlock()
	args = append(args, "error", err)
	if skipped > 0 {
		args = append(args, "lines_skipped", skipped)
	}
	t.log.Warn(msg, args...)
}
