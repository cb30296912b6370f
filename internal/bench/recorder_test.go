package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/hookpost/hookpost/store"
)

// settledStore answers every call as if it had worked.
type settledStore struct{ store.Store }

func (settledStore) Enqueue(context.Context, store.EnqueueParams) ([]store.Enqueued, error) {
	return []store.Enqueued{{Status: store.Stored, Event: 7}}, nil
}

func (settledStore) Settle(context.Context, []store.Settlement) ([]store.Settled, error) {
	return []store.Settled{{Accepted: true, State: store.Delivered}}, nil
}

// A delivery can be settled before its Enqueue has returned here, when another
// claim was faster; the caller must hear of it all the same.
func TestRecorderKnowsResultsInBothOrders(t *testing.T) {
	enqueue := func(ctx context.Context, r *recorder) error {
		_, err := r.Enqueue(ctx, store.EnqueueParams{Events: []store.NewEvent{{Event: store.Event{ID: "evt_1"}}}})
		return err
	}
	settle := func(ctx context.Context, r *recorder) error {
		_, err := r.Settle(ctx, []store.Settlement{{ID: store.DeliveryID{Event: 7}}})
		return err
	}
	for name, steps := range map[string][]func(context.Context, *recorder) error{
		"enqueue first": {enqueue, settle},
		"settle first":  {settle, enqueue},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRecorder(settledStore{}, true)
			for _, step := range steps {
				if err := step(t.Context(), r); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.wait(t.Context(), "evt_1"); err != nil {
				t.Error(err)
			}
			if len(r.byID)+len(r.byNum)+len(r.early) > 0 {
				t.Error("the event is still remembered")
			}
			if r.delivered.Load() != 1 || r.calls().sum() != 2 {
				t.Errorf("%d delivered by %d calls, want 1 by 2", r.delivered.Load(), r.calls().sum())
			}
		})
	}
}

// What a drain allocates is the sender's own: neither the transport that sends nothing
// nor the recorder adds to it.
func TestDrainCountsNothingOfThisProgram(t *testing.T) {
	req := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
	settlements := []store.Settlement{{ID: store.DeliveryID{Event: 7}}}
	var st emptyStore
	r := newRecorder(st, false)
	for name, call := range map[string]func(){
		"transport": func() {
			resp, err := nowhere{}.RoundTrip(req)
			if err != nil {
				t.Error(err)
			}
			resp.Body.Close()
		},
		"claim":  func() { _, _ = r.Claim(t.Context(), store.ClaimParams{}) },
		"settle": func() { _, _ = r.Settle(t.Context(), settlements) },
	} {
		if n := testing.AllocsPerRun(100, call); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// emptyStore does nothing.
type emptyStore struct{ store.Store }

func (emptyStore) Claim(context.Context, store.ClaimParams) (store.Claims, error) {
	return store.Claims{}, nil
}

func (emptyStore) Settle(context.Context, []store.Settlement) ([]store.Settled, error) {
	return nil, nil
}
