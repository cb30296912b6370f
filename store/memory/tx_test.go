package memory_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

var scope = store.Scope{Tenant: "acme", Mode: store.Test}

func newEndpoint(t testing.TB, s *memory.Store, id string) store.Endpoint {
	t.Helper()
	ep, err := s.CreateEndpoint(context.Background(), store.Endpoint{
		Scope:  scope,
		ID:     id,
		URLKey: "https://example.com/" + id,
		Config: store.Config{URL: "https://example.com/" + id, EventTypes: []string{"*"}, State: store.Enabled},
	}, store.ChangeParams{Action: store.Created, Actor: "test"})
	require.NoError(t, err)
	return ep
}

func newEvent(id string, set int64, endpoints ...int64) store.NewEvent {
	e := store.NewEvent{Event: store.Event{Scope: scope, ID: id, Type: "a.b", Body: []byte("{}"), SetVersion: set}}
	for _, num := range endpoints {
		e.For = append(e.For, store.NewDelivery{Endpoint: num})
	}
	return e
}

func claimAll(t testing.TB, s *memory.Store) []store.Claimed {
	t.Helper()
	c, err := s.Claim(context.Background(), store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 100, DefaultRoom: 100})
	require.NoError(t, err)
	return c.Deliveries
}

func TestTxAppearsAtCommit(t *testing.T) {
	ctx := context.Background()
	s := memory.New()
	ep := newEndpoint(t, s, "ep_1")

	tx := s.Begin()
	early, err := tx.Enqueue(ctx, []store.NewEvent{newEvent("evt_early", 0, ep.Num)})
	require.NoError(t, err)
	require.Equal(t, store.Stored, early[0].Status)
	again, err := tx.Enqueue(ctx, []store.NewEvent{newEvent("evt_early", 0, ep.Num)})
	require.NoError(t, err)
	require.Equal(t, store.Duplicate, again[0].Status)

	_, err = s.Event(ctx, scope, "evt_early")
	require.ErrorIs(t, err, store.ErrNotFound)
	late, err := s.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{newEvent("evt_late", 1, ep.Num)}})
	require.NoError(t, err)
	require.Less(t, early[0].Event, late[0].Event)
	require.Len(t, claimAll(t, s), 1)

	require.NoError(t, tx.Commit())
	require.ErrorIs(t, tx.Commit(), memory.ErrTxDone)
	require.ErrorIs(t, tx.Rollback(), memory.ErrTxDone)
	claims := claimAll(t, s)
	require.Len(t, claims, 1)
	require.Equal(t, "evt_early", claims[0].EventID)

	events, err := s.Events(ctx, scope, store.EventQuery{})
	require.NoError(t, err)
	require.Equal(t, "evt_late", events[0].ID)
	require.Equal(t, "evt_early", events[1].ID)
}

func TestTxBlocksItsIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		s := memory.New()
		ep := newEndpoint(t, s, "ep_1")
		batch := store.EnqueueParams{Events: []store.NewEvent{newEvent("evt_free", 1, ep.Num), newEvent("evt_held", 1, ep.Num)}}

		tx := s.Begin()
		_, err := tx.Enqueue(ctx, batch.Events[1:])
		require.NoError(t, err)
		start := time.Now()
		_, err = s.Enqueue(ctx, batch)
		require.ErrorIs(t, err, store.ErrBusy)
		require.Equal(t, 100*time.Millisecond, time.Since(start))
		_, err = s.Event(ctx, scope, "evt_free")
		require.ErrorIs(t, err, store.ErrNotFound)

		go func() {
			time.Sleep(50 * time.Millisecond)
			_ = tx.Rollback()
		}()
		results, err := s.Enqueue(ctx, batch)
		require.NoError(t, err)
		require.Equal(t, store.Stored, results[1].Status)
	})
}
