package sender_test

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/verifier"
)

// Everything at once and in earnest: real sockets, real time.
func TestSenderOverTheNetwork(t *testing.T) {
	const events = 500
	receiver := sendertest.NewReceiver(t)
	o := sender.Options{}
	o.HTTP.Egress.Allow = sendertest.Loopback()
	s := startReal(t, &o)
	ep, secret, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: receiver.URL(), EventTypes: []string{"payment.*"}})
	require.NoError(t, err)
	for i := range events {
		receipt, err := s.Send(t.Context(), sender.Event{ID: fmt.Sprintf("evt_%d", i), Type: "payment.succeeded", Data: i})
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Deliveries)
	}
	requests := receiver.Wait(events + 1) // and the test event
	require.NoError(t, s.Stop(t.Context()))
	require.Equal(t, events+1, receiver.Count())

	v, err := verifier.New(secret.Reveal(), nil)
	require.NoError(t, err)
	seen := make(map[string]bool)
	for _, r := range requests {
		event, err := v.ConstructEvent(r.Body, r.Header)
		require.NoError(t, err)
		require.False(t, seen[event.ID], "%s came twice", event.ID)
		seen[event.ID] = true
	}
	delivered, err := s.Deliveries(t.Context(), store.DeliveryQuery{EndpointID: ep.ID, States: []store.State{store.Delivered}, Limit: 1000})
	require.NoError(t, err)
	require.Len(t, delivered, events+1)
}
