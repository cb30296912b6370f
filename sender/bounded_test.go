package sender

import (
	"context"
	"path/filepath"
	"reflect"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// hanging is a store that answers to none of some calls before their context ends.
type hanging struct {
	store.Store
	now, set, enqueue, others bool
	as                        error // what Enqueue returns then; nil: the context's error
}

func untilEnd(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func (h *hanging) Now(ctx context.Context) (time.Time, error) {
	if h.now {
		return time.Time{}, untilEnd(ctx)
	}
	return h.Store.Now(ctx)
}

func (h *hanging) EndpointSet(ctx context.Context, scope store.Scope) (store.EndpointSet, error) {
	if h.set {
		return store.EndpointSet{}, untilEnd(ctx)
	}
	return h.Store.EndpointSet(ctx, scope)
}

func (h *hanging) Enqueue(ctx context.Context, p store.EnqueueParams) ([]store.Enqueued, error) {
	if h.enqueue {
		err := untilEnd(ctx)
		if h.as != nil {
			err = h.as
		}
		return nil, err
	}
	return h.Store.Enqueue(ctx, p)
}

func (h *hanging) CreateEndpoint(ctx context.Context, ep store.Endpoint, p store.ChangeParams) (store.Endpoint, error) {
	if h.others {
		return ep, untilEnd(ctx)
	}
	return h.Store.CreateEndpoint(ctx, ep, p)
}

func (h *hanging) Endpoint(ctx context.Context, scope store.Scope, id string) (store.Endpoint, error) {
	if h.others {
		return store.Endpoint{}, untilEnd(ctx)
	}
	return h.Store.Endpoint(ctx, scope, id)
}

func (h *hanging) Events(ctx context.Context, scope store.Scope, q store.EventQuery) ([]store.Event, error) {
	if h.others {
		return nil, untilEnd(ctx)
	}
	return h.Store.Events(ctx, scope, q)
}

func (h *hanging) Deliveries(ctx context.Context, scope store.Scope, q store.DeliveryQuery) ([]store.Delivery, error) {
	if h.others {
		return nil, untilEnd(ctx)
	}
	return h.Store.Deliveries(ctx, scope, q)
}

func (h *hanging) Recover(ctx context.Context, scope store.Scope, p store.RecoverParams) (store.Recovered, error) {
	if h.others {
		return store.Recovered{}, untilEnd(ctx)
	}
	return h.Store.Recover(ctx, scope, p)
}

// Whatever a store does not answer, nobody waits for it for ever: after 30 s the error is
// a store.ErrBusy that names the usual mistake.
func TestNoCallWaitsForEver(t *testing.T) {
	ev := Event{Type: "a.b"}
	for name, c := range map[string]struct {
		hangs hanging
		call  func(ctx context.Context, s *Sender) error
	}{
		"Send, the clock":     {hanging{now: true}, func(ctx context.Context, s *Sender) error { _, err := s.Send(ctx, ev); return err }},
		"Send, the endpoints": {hanging{set: true}, func(ctx context.Context, s *Sender) error { _, err := s.Send(ctx, ev); return err }},
		"Send, no connection": {hanging{enqueue: true, as: store.ErrBusy}, func(ctx context.Context, s *Sender) error { _, err := s.Send(ctx, ev); return err }},
		"SendBatch":           {hanging{set: true}, func(ctx context.Context, s *Sender) error { _, err := s.SendBatch(ctx, []Event{ev}); return err }},
		"Start":               {hanging{now: true}, func(ctx context.Context, s *Sender) error { return s.Start(ctx) }},
		"CreateEndpoint":      {hanging{others: true}, func(ctx context.Context, s *Sender) error { return create(ctx, s) }},
		"Endpoint":            {hanging{others: true}, func(ctx context.Context, s *Sender) error { _, err := s.Endpoint(ctx, "ep_1"); return err }},
		"EditEndpoint": {hanging{others: true}, func(ctx context.Context, s *Sender) error {
			_, err := s.EditEndpoint(ctx, "ep_1", EndpointEdit{})
			return err
		}},
		"RotateSecret": {hanging{others: true}, func(ctx context.Context, s *Sender) error {
			_, _, err := s.RotateSecret(ctx, "ep_1", nil)
			return err
		}},
		"DeleteEndpoint": {hanging{others: true}, func(ctx context.Context, s *Sender) error { return s.DeleteEndpoint(ctx, "ep_1") }},
		"Replay":         {hanging{others: true}, func(ctx context.Context, s *Sender) error { _, err := s.Replay(ctx, "evt_1", "ep_1"); return err }},
		"Recover":        {hanging{others: true}, func(ctx context.Context, s *Sender) error { _, err := s.Recover(ctx, Recovery{}); return err }},
		"Events":         {hanging{others: true}, func(ctx context.Context, s *Sender) error { _, err := s.Events(ctx, store.EventQuery{}); return err }},
		"Deliveries": {hanging{others: true}, func(ctx context.Context, s *Sender) error {
			_, err := s.Deliveries(ctx, store.DeliveryQuery{})
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := &c.hangs
				h.Store = memory.New()
				s, err := New(h, &Options{PlaintextSecrets: true})
				require.NoError(t, err)
				begun := time.Now()
				err = c.call(context.Background(), s)
				require.ErrorIs(t, err, store.ErrBusy)
				require.NotErrorIs(t, err, ErrOutcomeUnknown)
				require.Equal(t, callTimeout, time.Since(begun))
				if h.as == nil {
					require.ErrorContains(t, err, "inside a transaction use SendTx")
				}

				// The caller's own context ends it as before.
				if h.enqueue {
					return
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Second)
				defer cancel()
				err = c.call(ctx, s)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.NotErrorIs(t, err, store.ErrBusy)
			})
		})
	}
}

func create(ctx context.Context, s *Sender) error {
	_, _, err := s.CreateEndpoint(ctx, EndpointSpec{URL: "https://example.com", EventTypes: []string{"*"}})
	return err
}

// No method of the store's is called without a bound, but for those whose callers have one.
func TestEveryCallIsBounded(t *testing.T) {
	all, bounded := reflect.TypeFor[store.Store](), reflect.TypeFor[boundedStore]()
	first := reflect.TypeFor[context.Context]()
	n := 0
	for i := range all.NumMethod() {
		m := all.Method(i)
		if m.Type.NumIn() == 0 || m.Type.In(0) != first || m.Name == "Enqueue" || m.Name == "Settle" {
			continue
		}
		n++
		ours, _ := bounded.MethodByName(m.Name)
		file, _ := runtime.FuncForPC(ours.Func.Pointer()).FileLine(ours.Func.Pointer())
		require.Equal(t, "bounded.go", filepath.Base(file), "boundedStore has no method %s", m.Name)
	}
	require.Greater(t, n, 30)
}
