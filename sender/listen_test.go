package sender

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// newsStore is a store with news, whose connection fails from time to time.
type newsStore struct {
	store.Store
	listens atomic.Int64
	news    chan struct{}
	lost    chan struct{}
}

func (s *newsStore) Listen(ctx context.Context, wake func()) error {
	s.listens.Add(1)
	wake()
	for {
		select {
		case <-s.news:
			wake()
		case <-s.lost:
			return errors.New("connection lost")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Another process stores an event: with news it is claimed at once, and with the
// next poll when the connection for news is lost.
func TestNewsShortenTheWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		st := &newsStore{Store: b.mem, news: make(chan struct{}), lost: make(chan struct{})}
		other := b.sender(b.mem, Options{}) // never started
		s := b.start(st, Options{PollInterval: time.Hour})
		b.endpoint(&s.Tenant, host(1))
		b.pass(time.Second)

		_, err := other.Send(t.Context(), Event{Type: "a.b"})
		require.NoError(t, err)
		b.pass(time.Minute)
		before := len(b.net.arrivals(""))
		st.news <- struct{}{}
		b.pass(time.Second)
		require.Len(t, b.net.arrivals(""), before+1)

		st.lost <- struct{}{}
		b.pass(time.Minute)
		require.EqualValues(t, 2, st.listens.Load())
	})
}
