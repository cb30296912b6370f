package desk

import (
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// What one tenant recovers neither keeps others from it nor hides what they did.
func TestRecoveriesOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		receiver := sendertest.NewTransport()
		receiver.Script(sendertest.Status(500))
		hooks, err := sender.New(memory.New(), &sender.Options{
			Schedule: retry.None, Logger: slog.New(slog.DiscardHandler), HTTP: sender.HTTPOptions{WrapTransport: receiver.Wrap},
		})
		require.NoError(t, err)
		require.NoError(t, hooks.Start(t.Context()))
		office := NewOffice(hooks)
		defer func() {
			office.Close()
			require.NoError(t, hooks.Stop(t.Context()))
		}()
		desk := func(tenant string) *Desk {
			d := office.Desk("ann", store.Scope{Tenant: tenant, Mode: store.Live}, Manage|Replay)
			_, _, err := d.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://example.com", EventTypes: []string{"*"}, NoTestEvent: true})
			require.NoError(t, err)
			for i := range maxRunning {
				_, err := hooks.For(tenant, store.Live).Send(t.Context(), sender.Event{Type: fmt.Sprintf("t%d", i)})
				require.NoError(t, err)
			}
			return d
		}
		greedy, other := desk("greedy"), desk("other")
		synctest.Wait()
		slow := func(d *Desk, i int) (string, error) {
			return d.StartRecovery(t.Context(), sender.Recovery{Type: fmt.Sprintf("t%d", i), Rate: 1})
		}

		// All that there can be run for a second.
		for i := range maxRunning {
			if _, err := slow(greedy, i); err != nil {
				require.ErrorIs(t, err, store.ErrBusy)
			}
		}
		_, err = slow(greedy, 0)
		require.ErrorIs(t, err, store.ErrBusy)
		kept, err := slow(other, 0)
		require.NoError(t, err, "the other tenant's turn")
		time.Sleep(time.Minute)

		for range 2 * maxKept {
			_, err := greedy.StartRecovery(t.Context(), sender.Recovery{Type: "none"})
			require.NoError(t, err)
			synctest.Wait()
		}
		r, err := other.Recovery(kept)
		require.NoError(t, err, "it can still be looked at")
		require.Equal(t, 1, r.Total())
		require.Len(t, office.recoveries.list, maxKept)
		require.Len(t, greedy.Recoveries(), maxKept-1)
	})
}

// After Close none runs, whoever starts one meanwhile.
func TestCloseWhileStarting(t *testing.T) {
	hooks, err := sender.New(memory.New(), &sender.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	for range 200 {
		office := NewOffice(hooks)
		d := office.Desk("ann", store.Scope{Mode: store.Live}, Replay)
		var starting sync.WaitGroup
		for range 4 {
			starting.Go(func() { _, _ = d.StartRecovery(t.Context(), sender.Recovery{}) })
		}
		office.Close()
		for _, r := range d.Recoveries() {
			require.False(t, r.Running())
		}
		starting.Wait()
	}
}
