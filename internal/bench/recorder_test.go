package main

import (
	"context"
	"testing"
	"time"

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

func TestPayloadHasItsSize(t *testing.T) {
	for size := minPayload; size < minPayload+200; size++ {
		if got := len(payload(size)); got != size {
			t.Fatalf("payload(%d) has %d bytes", size, got)
		}
	}
}

func TestQuantile(t *testing.T) {
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i))
	}
	if p50, p99 := quantile(sorted, 0.5), quantile(sorted, 0.99); p50 != 50 || p99 != 99 {
		t.Errorf("p50 is %d and p99 %d of 0..99, want 50 and 99", p50, p99)
	}
	if s := spreadOfValues([]float64{4, 1, 3, 2}); s != (spread{median: 2.5, low: 1, high: 4}) {
		t.Errorf("spread is %+v", s)
	}
}

func TestTallyNamesWhatIsWrong(t *testing.T) {
	if err := (tally{Requests: 5, Distinct: 5}).check(5); err != nil {
		t.Error(err)
	}
	for name, bad := range map[string]tally{
		"lost":    {Requests: 4, Distinct: 4},
		"twice":   {Requests: 6, Distinct: 5},
		"refused": {Requests: 6, Distinct: 5, Refused: 1},
	} {
		if bad.check(5) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
