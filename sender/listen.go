package sender

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/hookpost/hookpost/store"
)

// Between two tries to listen again.
const (
	listenPause    = time.Second
	listenPauseMax = 30 * time.Second
)

// listen wakes the Sender when the store has news of other processes, if it is of
// the kind that has any. Polling goes on whether it works or not, so that a lost
// connection costs time and nothing else.
func (s *Sender) listen(ctx context.Context) {
	news, ok := s.st.Store.(store.Waker)
	if !ok {
		return
	}
	for pause := listenPause; ; pause = min(2*pause, listenPauseMax) {
		heard := false
		err := news.Listen(ctx, func() {
			heard = true
			s.Wake()
		})
		if err == nil || ctx.Err() != nil {
			return
		}
		if heard {
			pause = listenPause
		}
		s.trouble.report("hookpost: no news from other processes; polling goes on", err)
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return
		}
	}
}
