package sender

import (
	"log/slog"
	"sync"
	"time"
)

// troubleEvery is the least time between two lines about the same trouble.
const troubleEvery = 10 * time.Second

// trouble logs what goes wrong again and again, such as a store that does not
// answer. Each message is logged at most once in ten seconds: one endpoint that can't
// be sent to must not hide that nothing can be.
type trouble struct {
	log *slog.Logger

	mu   sync.Mutex
	told map[string]told // by message; they are few
}

type told struct {
	last    time.Time
	skipped int // since then
}

func (t *trouble) report(msg string, err error, args ...any) {
	now := time.Now()
	t.mu.Lock()
	m, again := t.told[msg]
	if again && now.Sub(m.last) < troubleEvery {
		m.skipped++
		t.told[msg] = m
		t.mu.Unlock()
		return
	}
	if t.told == nil {
		t.told = make(map[string]told)
	}
	t.told[msg] = told{last: now}
	t.mu.Unlock()
	args = append(args, "error", err)
	if m.skipped > 0 {
		args = append(args, "lines_skipped", m.skipped)
	}
	t.log.Warn(msg, args...)
}
