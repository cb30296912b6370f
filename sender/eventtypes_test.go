package sender_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

var shopTypes = []sender.EventType{
	{Name: "payment.succeeded", Resource: "Payments", Description: "A payment went through.", Recommended: true, Example: map[string]int{"amount": 5000}},
	{Name: "payment.failed", Resource: "Payments", Example: json.RawMessage(`{"a": 1e2}`)},
	{Name: "customer.created"},
}

func TestEventTypesAreChecked(t *testing.T) {
	for name, types := range map[string][]sender.EventType{
		"no name":      {{Resource: "Payments"}},
		"shape":        {{Name: "payment succeeded"}},
		"pattern":      {{Name: "payment.*"}},
		"reserved":     {{Name: "webhook.test"}},
		"twice":        {{Name: "a"}, {Name: "b"}, {Name: "a"}},
		"no data":      {{Name: "a", Example: make(chan int)}},
		"no JSON":      {{Name: "a", Example: json.RawMessage("{")}},
		"example long": {{Name: "a", Example: make([]int, 1<<20)}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := sender.New(newWorld(t, sender.Options{}).st, &sender.Options{EventTypes: types})
			require.ErrorIs(t, err, sender.ErrInvalidOptions)
			require.ErrorContains(t, err, "EventTypes")
		})
	}
	got := newQuiet(t, &sender.Options{EventTypes: shopTypes}).EventTypes()
	require.Len(t, got, 3)
	require.Equal(t, shopTypes[0], got[0])
	require.Equal(t, "customer", got[2].Resource, "the default")
	require.Empty(t, newQuiet(t, nil).EventTypes())
}

func TestOnlyKnownTypesAreSent(t *testing.T) {
	s := newQuiet(t, &sender.Options{EventTypes: shopTypes})
	ctx := t.Context()
	_, err := s.Send(ctx, sender.Event{Type: "payment.succeeded"})
	require.NoError(t, err)
	_, err = s.Send(ctx, sender.Event{Type: "payment.succeded"})
	require.ErrorIs(t, err, sender.ErrInvalidEvent)
	require.ErrorContains(t, err, `"payment.succeded" is not in Options.EventTypes`)
	receipts, err := s.SendBatch(ctx, []sender.Event{{Type: "payment.failed"}, {Type: "push"}})
	require.ErrorIs(t, err, sender.ErrInvalidEvent)
	require.NotEmpty(t, receipts[0].ID)
	require.Empty(t, receipts[1].ID)
	events, err := s.Events(ctx, store.EventQuery{})
	require.NoError(t, err)
	require.Len(t, events, 2, "nothing of an unknown type")
}

func TestOnlyKnownTypesAreSelected(t *testing.T) {
	w := newWorld(t, sender.Options{})
	free := w.Sender
	strict := w.another(sender.Options{EventTypes: shopTypes})
	ctx := t.Context()
	old, _, err := free.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://old.example.com", EventTypes: []string{"push", "payment.failed"}})
	require.NoError(t, err)

	for _, selection := range [][]string{{"*"}, {"payment.*"}, {"later.*"}, {"payment.failed", "customer.created"}} {
		ep, _, err := strict.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://example.com/" + selection[0], EventTypes: selection})
		require.NoError(t, err)
		require.Equal(t, selection, ep.EventTypes)
	}
	_, _, err = strict.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://new.example.com", EventTypes: []string{"payment.failed", "push"}})
	require.ErrorIs(t, err, sender.ErrInvalidSelection)
	require.ErrorContains(t, err, `"push"`)

	// What an endpoint has selected before the catalogue it keeps; it takes no other.
	_, err = strict.EditEndpoint(ctx, old.ID, sender.EndpointEdit{URL: ptr("https://moved.example.com")})
	require.NoError(t, err)
	_, err = strict.EditEndpoint(ctx, old.ID, sender.EndpointEdit{EventTypes: []string{"push", "customer.created"}})
	require.NoError(t, err)
	_, err = strict.EditEndpoint(ctx, old.ID, sender.EndpointEdit{EventTypes: []string{"push", "pull"}})
	require.ErrorIs(t, err, sender.ErrInvalidSelection)
}

func TestSendExample(t *testing.T) {
	inBubble(t, sender.Options{EventTypes: shopTypes}, func(t *testing.T, w *world) {
		ctx := t.Context()
		create := func(host string, types ...string) store.Endpoint {
			ep, _, err := w.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://" + host, EventTypes: types, NoTestEvent: true})
			require.NoError(t, err)
			return ep
		}
		one := create("one.example.com", "customer.created")
		other := create("other.example.com", "*")
		receiver := w.net.at("one.example.com", sendertest.Answer{Status: 500}, sendertest.Answer{Status: 200})
		receipt, err := w.SendExample(ctx, one.ID, "payment.failed")
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Deliveries)
		time.Sleep(time.Hour) // it is retried, like any other
		require.Len(t, receiver.Requests(), 2)
		got := decode(t, receiver.Requests()[1])
		require.Equal(t, "payment.failed", got.Type)
		require.Equal(t, `{"a": 1e2}`, string(got.Data))
		require.Empty(t, w.net.at("other.example.com").Requests(), "it goes to nobody else")
		found, err := w.Events(ctx, store.EventQuery{Ref: "webhook.example"})
		require.NoError(t, err)
		require.Len(t, found, 1)
		why, err := w.Explain(ctx, receipt.ID, other.ID)
		require.NoError(t, err)
		require.Equal(t, sender.WhyNotSelected, why.Why)

		_, err = w.SendExample(ctx, one.ID, "push")
		require.ErrorIs(t, err, sender.ErrInvalidEvent)
		_, err = w.SendExample(ctx, "ep_unknown", "payment.failed")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.DisableEndpoint(ctx, other.ID, "")
		require.NoError(t, err)
		_, err = w.SendExample(ctx, other.ID, "payment.failed")
		require.ErrorIs(t, err, store.ErrDisabled)
		_, err = w.SendExample(ctx, one.ID, "payment.failed")
		require.NoError(t, err)
		_, err = w.EnableEndpoint(ctx, other.ID)
		require.NoError(t, err)
		report, err := w.Recover(ctx, sender.Recovery{EndpointID: other.ID, Missed: true})
		require.NoError(t, err)
		require.Zero(t, report.Missed, "nor afterwards")
		require.NoError(t, w.DeleteEndpoint(ctx, other.ID))
		_, err = w.SendExample(ctx, other.ID, "payment.failed")
		require.ErrorIs(t, err, store.ErrDeleted)
	})
}
