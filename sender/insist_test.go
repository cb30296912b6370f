package sender

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// loses returns b's store, whose calls of a method answer as the given errors say, one
// after the other. What is done all the same has its answer lost.
func (b *bubble) loses(method string, answers ...error) *brokenStore {
	ask := func(done bool) func(context.Context, string) error {
		return func(_ context.Context, m string) error {
			if m != method || len(answers) == 0 || errors.Is(answers[0], errDone) != done {
				return nil
			}
			err := answers[0]
			answers = answers[1:]
			return err
		}
	}
	return &brokenStore{Store: b.mem, before: ask(false), after: ask(true)}
}

var (
	errNotDone = fmt.Errorf("%w: cut off before", store.ErrUnknownCommit)
	errDone    = fmt.Errorf("%w: cut off after", store.ErrUnknownCommit)
)

// An operation whose answer was lost is repeated until it is known, and done once,
// whether the lost call had been carried out or not, and whatever hinders the
// repetition.
func TestLostAnswersOfOperations(t *testing.T) {
	lost := map[string][]error{
		"done":                     {errDone},
		"not done":                 {errNotDone},
		"not done, then done":      {errNotDone, errDone},
		"done, then busy and away": {errDone, store.ErrBusy, errAway, errDone},
		"done, standby for a time": {errDone, store.ErrReadOnly},
	}
	for _, op := range []struct {
		method string
		call   func(t *testing.T, b *bubble, s *Sender, ep store.Endpoint, event string)
	}{
		{"CreateEndpoint", func(t *testing.T, b *bubble, s *Sender, _ store.Endpoint, _ string) {
			ep, secret, err := s.CreateEndpoint(t.Context(), EndpointSpec{URL: "https://new.example/", EventTypes: []string{"*"}, NoTestEvent: true})
			require.NoError(t, err)
			all, err := s.Endpoints(t.Context(), store.EndpointQuery{})
			require.NoError(t, err)
			require.Len(t, all, 2)
			require.Equal(t, ep.ID, all[1].ID)
			require.Equal(t, secret.Fingerprint(), all[1].Secrets[0].Fingerprint)
		}},
		{"UpdateEndpoint", func(t *testing.T, b *bubble, s *Sender, ep store.Endpoint, _ string) {
			got, secret, err := s.RotateSecret(t.Context(), ep.ID, nil)
			require.NoError(t, err)
			require.EqualValues(t, 2, got.Version)
			stored, err := s.Endpoint(t.Context(), ep.ID)
			require.NoError(t, err)
			require.Equal(t, got.Version, stored.Version)
			require.Len(t, stored.Secrets, 2)
			require.Equal(t, secret.Fingerprint(), stored.Secrets[0].Fingerprint)
			history, err := s.EndpointHistory(t.Context(), ep.ID)
			require.NoError(t, err)
			require.Len(t, history, 2)
		}},
		{"Replay", func(t *testing.T, b *bubble, s *Sender, ep store.Endpoint, event string) {
			id, err := s.Replay(t.Context(), event, ep.ID)
			require.NoError(t, err)
			require.Equal(t, 1, id.Round)
			all, err := s.Deliveries(t.Context(), store.DeliveryQuery{EventID: event})
			require.NoError(t, err)
			require.Len(t, all, 2)
		}},
		{"Cancel", func(t *testing.T, b *bubble, s *Sender, ep store.Endpoint, event string) {
			d, _ := b.delivery(&s.Tenant, event)
			require.NoError(t, s.Cancel(t.Context(), d.ID, "by hand"))
			d, _ = b.delivery(&s.Tenant, event)
			require.Equal(t, store.Cancelled, d.State)
			require.ErrorIs(t, s.Cancel(t.Context(), d.ID, "by hand"), store.ErrFinished)
		}},
		{"Recover", func(t *testing.T, b *bubble, s *Sender, ep store.Endpoint, event string) {
			_, err := s.Recover(t.Context(), Recovery{EndpointID: ep.ID})
			require.NoError(t, err)
		}},
		{"Erase", func(t *testing.T, b *bubble, s *Sender, ep store.Endpoint, event string) {
			_, err := s.Erase(t.Context(), Erasure{EventID: event})
			require.NoError(t, err)
			d, _ := b.delivery(&s.Tenant, event)
			require.Equal(t, store.Cancelled, d.State)
		}},
	} {
		for name, answers := range lost {
			t.Run(op.method+"/"+name, func(t *testing.T) {
				inBubble(t, func(t *testing.T, b *bubble) {
					s := b.sender(b.loses(op.method, answers...), Options{})
					ep := b.endpoint(&b.sender(b.mem, Options{}).Tenant, host(1))
					op.call(t, b, s, ep, b.send(&s.Tenant, "evt_1"))
				})
			})
		}
	}
}

// As long as nobody knows, the error says so, and what was made comes with it.
func TestOutcomeOfOperationUnknown(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		forEver := make([]error, 10_000)
		for i := range forEver {
			forEver[i] = errDone
		}
		spec := EndpointSpec{URL: "https://new.example/", EventTypes: []string{"*"}, NoTestEvent: true}
		began := time.Now()
		ep, secret, err := b.sender(b.loses("CreateEndpoint", forEver...), Options{}).CreateEndpoint(t.Context(), spec)
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.Equal(t, insistFor, time.Since(began))
		s := b.sender(b.mem, Options{})
		stored, err := s.Endpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, secret.Fingerprint(), stored.Secrets[0].Fingerprint)

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, secret, err = b.sender(b.loses("UpdateEndpoint", forEver...), Options{}).RotateSecret(ctx, ep.ID, nil)
		require.ErrorIs(t, err, ErrOutcomeUnknown)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		stored, err = s.Endpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, secret.Fingerprint(), stored.Secrets[0].Fingerprint)

		// What failed before a commit is a plain failure, at once.
		began = time.Now()
		none, secret, err := b.sender(b.loses("CreateEndpoint", errAway), Options{}).CreateEndpoint(t.Context(), spec)
		require.ErrorIs(t, err, errAway)
		require.NotErrorIs(t, err, ErrOutcomeUnknown)
		require.Equal(t, store.Endpoint{}, none)
		require.Equal(t, signing.Secret{}, secret)
		require.Zero(t, time.Since(began))
	})
}

// Two that replay one event at once get a round each, however their reads fall.
func TestReplaysAtOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		s := b.sender(b.mem, Options{})
		ep := b.endpoint(&s.Tenant, host(1))
		event := b.send(&s.Tenant, "evt_1")
		faster := true
		racing := b.sender(&brokenStore{Store: b.mem, before: func(ctx context.Context, method string) error {
			if method == "Replay" && faster {
				faster = false
				_, err := s.Replay(ctx, event, ep.ID)
				return err
			}
			return nil
		}}, Options{})
		id, err := racing.Replay(t.Context(), event, ep.ID)
		require.NoError(t, err)
		require.Equal(t, 2, id.Round)
	})
}
