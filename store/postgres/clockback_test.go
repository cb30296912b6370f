package postgres

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// A clock that is set back delays nothing that is ready.
func TestReadyNeedsNoClock(t *testing.T) {
	pool := TestServer.Pool(t)
	opts := &Options{Schema: TestServer.Schema(t, "back_")}
	st := NewShifted(t, pool, opts)
	scope := store.Scope{Tenant: "acme", Mode: store.Live}
	ep, err := st.CreateEndpoint(t.Context(), store.Endpoint{
		Scope: scope, ID: "ep_1", URLKey: "1", Config: store.Config{State: store.Enabled},
	}, store.ChangeParams{Action: store.Created})
	require.NoError(t, err)
	set, err := st.EndpointSet(t.Context(), scope)
	require.NoError(t, err)
	for _, id := range []string{"evt_1", "evt_2"} {
		_, err := st.Enqueue(t.Context(), store.EnqueueParams{Events: []store.NewEvent{{
			Event: store.Event{Scope: scope, ID: id, SetVersion: set.Version, CreatedAt: time.Now(), Body: []byte("{}")},
			For:   []store.NewDelivery{{Endpoint: ep.Num}},
		}}})
		require.NoError(t, err)
		st.Advance(t, -time.Minute)
	}
	c, err := st.Claim(t.Context(), store.ClaimParams{Owner: 1, Lease: time.Minute, Limit: 10, DefaultRoom: 10})
	require.NoError(t, err)
	require.Len(t, c.Deliveries, 2)
}
