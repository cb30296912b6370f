package desk

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// slowStore searches until it is told not to.
type slowStore struct {
	store.Store
	searches, most atomic.Int32
}

func (s *slowStore) Recover(ctx context.Context, _ store.Scope, _ store.RecoverParams) (store.Recovered, error) {
	n := s.searches.Add(1)
	defer s.searches.Add(-1)
	s.most.Store(max(s.most.Load(), n))
	<-ctx.Done()
	return store.Recovered{}, ctx.Err()
}

// A count needs the right to recover, and neither one account nor all of them run more
// counts at once than a database can bear.
func TestCountsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow := &slowStore{Store: memory.New()}
		hooks, err := sender.New(slow, &sender.Options{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		office := NewOffice(hooks)
		defer office.Close()
		count := func(actor, tenant string, rights Right) chan error {
			d := office.Desk(actor, store.Scope{Tenant: tenant, Mode: store.Live}, rights)
			ended := make(chan error, 1)
			go func() {
				_, complete, err := d.Count(t.Context(), sender.Recovery{})
				if err == nil && complete {
					err = fmt.Errorf("it is complete")
				}
				ended <- err
			}()
			synctest.Wait()
			return ended
		}
		require.ErrorIs(t, <-count("ann", "acme", Manage|RotateSecrets), ErrForbidden)

		began := time.Now()
		first := count("ann", "acme", Replay)
		count("bob", "acme", Replay)
		require.ErrorIs(t, <-count("eve", "acme", Replay), store.ErrBusy, "a third of the account")
		count("ann", "globex", Replay)
		require.ErrorIs(t, <-count("ann", "initech", Replay), store.ErrBusy, "a third of the actor, whatever the account")
		for i := 3; i < maxCounts; i++ {
			count("", fmt.Sprint("tenant", i), Replay)
		}
		require.ErrorIs(t, <-count("zoe", "other", Replay), store.ErrBusy, "one more than all")
		require.EqualValues(t, maxCounts, slow.most.Load())

		require.NoError(t, <-first, "it says at least")
		require.Equal(t, countTime, time.Since(began))
		synctest.Wait()
		require.Empty(t, office.counts.running)
		require.NoError(t, <-count("zoe", "other", Replay))
	})
}
