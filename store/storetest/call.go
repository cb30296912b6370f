package storetest

import (
	"context"
	"errors"

	"github.com/hookpost/hookpost/store"
)

func callChecks() []check {
	return []check{
		{"CancelledContext", "a call with a cancelled context returns the context's error and writes nothing", cancelledContext},
		{"ClosedStore", "after Close every method returns ErrClosed; closing twice is allowed", closedStore},
	}
}

// call is a method of a store, called so that it would succeed and, if it can,
// change something.
type call struct {
	name string
	do   func(ctx context.Context, st store.Store) error
}

// calls returns a call of every method that returns an error, but for Close.
func calls(w *world) []call {
	ep := w.endpoint()
	ev := w.newEvent(ep)
	id := store.DeliveryID{Event: w.store(ev)[0], Endpoint: ep.Num}
	claimed := w.take(id)
	second, missed := w.send(ep)[0], w.store(w.newEvent())[0]
	fresh, another := w.newEvent(ep), w.newEndpoint()
	edited := ep
	edited.Description = "edited"
	s, keys := w.scope, []store.EndpointKey{{Scope: w.scope, Num: ep.Num}}
	return []call{
		{"Now", func(ctx context.Context, st store.Store) error { _, err := st.Now(ctx); return err }},
		{"Enqueue", func(ctx context.Context, st store.Store) error {
			_, err := st.Enqueue(ctx, enqueueParams(fresh))
			return err
		}},
		{"Claim", func(ctx context.Context, st store.Store) error { _, err := st.Claim(ctx, claimParams()); return err }},
		{"Settle", func(ctx context.Context, st store.Store) error {
			_, err := st.Settle(ctx, []store.Settlement{success(claimed)})
			return err
		}},
		{"CreateEndpoint", func(ctx context.Context, st store.Store) error {
			_, err := st.CreateEndpoint(ctx, another, store.ChangeParams{Action: store.Created})
			return err
		}},
		{"UpdateEndpoint", func(ctx context.Context, st store.Store) error {
			_, err := st.UpdateEndpoint(ctx, edited, store.ChangeParams{Action: store.Edited})
			return err
		}},
		{"Endpoint", func(ctx context.Context, st store.Store) error { _, err := st.Endpoint(ctx, s, ep.ID); return err }},
		{"ListEndpoints", func(ctx context.Context, st store.Store) error {
			_, err := st.ListEndpoints(ctx, s, store.EndpointQuery{})
			return err
		}},
		{"EndpointSet", func(ctx context.Context, st store.Store) error { _, err := st.EndpointSet(ctx, s); return err }},
		{"LoadEndpoints", func(ctx context.Context, st store.Store) error { _, err := st.LoadEndpoints(ctx, keys); return err }},
		{"EndpointHistory", func(ctx context.Context, st store.Store) error {
			_, err := st.EndpointHistory(ctx, s, ep.ID)
			return err
		}},
		{"Event", func(ctx context.Context, st store.Store) error { _, err := st.Event(ctx, s, ev.ID); return err }},
		{"Events", func(ctx context.Context, st store.Store) error {
			_, err := st.Events(ctx, s, store.EventQuery{})
			return err
		}},
		{"Deliveries", func(ctx context.Context, st store.Store) error {
			_, err := st.Deliveries(ctx, s, store.DeliveryQuery{})
			return err
		}},
		{"SearchEvents", func(ctx context.Context, st store.Store) error {
			_, _, err := st.SearchEvents(ctx, s, store.EventQuery{}, many)
			return err
		}},
		{"SearchDeliveries", func(ctx context.Context, st store.Store) error {
			_, _, err := st.SearchDeliveries(ctx, s, store.DeliveryQuery{}, many)
			return err
		}},
		{"Activity", func(ctx context.Context, st store.Store) error {
			_, err := st.Activity(ctx, s, []string{ep.ID}, many)
			return err
		}},
		{"RecentAttempts", func(ctx context.Context, st store.Store) error {
			_, err := st.RecentAttempts(ctx, s, ep.ID, many)
			return err
		}},
		{"Delivery", func(ctx context.Context, st store.Store) error { _, err := st.Delivery(ctx, s, id); return err }},
		{"Attempts", func(ctx context.Context, st store.Store) error { _, err := st.Attempts(ctx, s, id); return err }},
		{"Replay", func(ctx context.Context, st store.Store) error {
			_, err := st.Replay(ctx, s, ev.ID, ep.ID, store.ReplayParams{})
			return err
		}},
		{"Cancel", func(ctx context.Context, st store.Store) error { return st.Cancel(ctx, s, second, "why") }},
		{"Recover", func(ctx context.Context, st store.Store) error {
			_, err := st.Recover(ctx, s, store.RecoverParams{})
			return err
		}},
		{"Undelivered", func(ctx context.Context, st store.Store) error {
			_, _, _, err := st.Undelivered(ctx, s, store.UndeliveredQuery{EndpointID: ep.ID})
			return err
		}},
		{"BackFill", func(ctx context.Context, st store.Store) error {
			_, err := st.BackFill(ctx, s, ep.ID, []int64{missed})
			return err
		}},
		{"Erase", func(ctx context.Context, st store.Store) error {
			_, err := st.Erase(ctx, s, store.EraseParams{EventID: ev.ID})
			return err
		}},
		{"Backlogs", func(ctx context.Context, st store.Store) error {
			_, err := st.Backlogs(ctx, s, store.BacklogQuery{})
			return err
		}},
		{"Promote", func(ctx context.Context, st store.Store) error { _, err := st.Promote(ctx, many); return err }},
		{"TakeOver", func(ctx context.Context, st store.Store) error { _, err := st.TakeOver(ctx, many); return err }},
		{"Expire", func(ctx context.Context, st store.Store) error { _, err := st.Expire(ctx, window, many); return err }},
		{"FanOut", func(ctx context.Context, st store.Store) error { _, err := st.FanOut(ctx, many); return err }},
		{"CancelDeleted", func(ctx context.Context, st store.Store) error { _, err := st.CancelDeleted(ctx, many); return err }},
		{"DisableFailing", func(ctx context.Context, st store.Store) error {
			_, err := st.DisableFailing(ctx, store.FailingRule{For: day}, many)
			return err
		}},
		{"SealedEndpoints", func(ctx context.Context, st store.Store) error {
			_, err := st.SealedEndpoints(ctx, 0, many)
			return err
		}},
		{"Reseal", func(ctx context.Context, st store.Store) error {
			_, err := st.Reseal(ctx, []store.Resealed{anew(ep, "k2")})
			return err
		}},
		{"Prune", func(ctx context.Context, st store.Store) error {
			_, err := st.Prune(ctx, store.Retention{Payloads: day, Log: day}, many)
			return err
		}},
	}
}

func cancelledContext(w *world) {
	all := calls(w)
	ctx, cancel := context.WithCancel(w.ctx())
	cancel()
	events, deliveries, set := len(w.events(store.EventQuery{})), w.deliveries(store.DeliveryQuery{}), w.setVersion()
	for _, c := range all {
		if err := c.do(ctx, w.st); !errors.Is(err, context.Canceled) {
			w.Errorf("%s with a cancelled context: got error %v, want context.Canceled", c.name, err)
		}
	}
	now := w.deliveries(store.DeliveryQuery{})
	if n := len(w.events(store.EventQuery{})); n != events || len(now) != len(deliveries) || w.setVersion() != set {
		w.Fatalf("calls with a cancelled context wrote: %d events, %d deliveries, set version %d, were %d, %d, %d",
			n, len(now), w.setVersion(), events, len(deliveries), set)
	}
	for i := range now {
		if now[i] != deliveries[i] {
			w.Errorf("calls with a cancelled context changed a delivery from %+v to %+v", deliveries[i], now[i])
		}
	}
	// All of them work after that.
	for _, c := range all {
		w.must(c.do(w.ctx(), w.st), "%s after the same call with a cancelled context", c.name)
	}
}

func closedStore(w *world) {
	all := calls(w)
	w.must(w.st.Close(), "Close")
	for _, c := range all {
		w.wantErr(c.do(w.ctx(), w.st), store.ErrClosed, "%s of a closed store", c.name)
	}
	w.must(w.st.Close(), "Close again")
}
