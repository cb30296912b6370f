package sender_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// What attempts tell of an endpoint stands in its record.
func TestHealthInTheRecord(t *testing.T) {
	inBubble(t, sender.Options{Schedule: retry.None}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(200), sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		require.Zero(t, w.current(&w.Tenant, ep).Health)

		first := time.Now()
		w.send(&w.Tenant, "push")
		h := w.current(&w.Tenant, ep).Health
		require.WithinDuration(t, first, h.LastSuccess, time.Second)
		require.Zero(t, h.Failures)

		w.pass(time.Hour)
		failing := time.Now()
		for range 3 {
			w.send(&w.Tenant, "push")
			w.pass(time.Hour)
		}
		h = w.current(&w.Tenant, ep).Health
		require.Equal(t, 3, h.Failures)
		require.WithinDuration(t, failing, h.FailingSince, time.Second)
		require.WithinDuration(t, failing.Add(2*time.Hour), h.LastFailure, time.Second)
		require.WithinDuration(t, first, h.LastSuccess, time.Second)

		receiver.Script(sendertest.Status(200))
		last := time.Now()
		w.send(&w.Tenant, "push")
		h = w.current(&w.Tenant, ep).Health
		require.Zero(t, h.Failures)
		require.Zero(t, h.FailingSince)
		require.WithinDuration(t, last, h.LastSuccess, time.Second)
	})
}

// Why an endpoint was disabled is seen wherever somebody
// may look: its record, its history, the hook, the log, and the explanation of what
// it did not get.
func TestWhyAnEndpointWasDisabledIsVisible(t *testing.T) {
	for name, tc := range map[string]struct {
		status int
		reason string
	}{
		"410":     {410, "the receiver answered 410 Gone"},
		"failing": {500, "no success for 12h0m0s"},
	} {
		t.Run(name, func(t *testing.T) {
			var told []store.Endpoint
			o := sender.Options{Schedule: retry.None, DisableAfter: 12 * time.Hour, Hooks: sender.Hooks{
				EndpointDisabled: func(_ context.Context, ep store.Endpoint) { told = append(told, ep) },
			}}
			inBubble(t, o, func(t *testing.T, w *world) {
				receiver := w.receiver("shop.example", sendertest.Status(200), sendertest.Status(tc.status))
				ep := w.endpoint(&w.Tenant, "shop.example")
				w.endpoint(&w.Tenant, "other.example")
				for range 15 {
					w.send(&w.Tenant, "push")
					w.pass(time.Hour)
				}
				now := w.current(&w.Tenant, ep)
				require.Equal(t, store.Disabled, now.State)
				require.Equal(t, tc.reason, now.Reason)
				require.NotZero(t, now.Failures)
				require.NotZero(t, now.FailingSince)
				require.NotZero(t, now.LastSuccess)

				require.Len(t, told, 1)
				require.Equal(t, tc.reason, told[0].Reason)

				history, err := w.EndpointHistory(t.Context(), ep.ID)
				require.NoError(t, err)
				last := history[len(history)-1]
				require.Equal(t, store.WasDisabled, last.Action)
				require.Equal(t, tc.reason, last.New.Reason)

				log := w.log.String()
				require.Contains(t, log, tc.reason)
				if tc.status != 410 { // which one answer decides
					for _, attr := range []string{"failing_since=2000-01-01", "failures=", "last_success=2000-01-01"} {
						require.Contains(t, log, attr)
					}
				}

				missed := w.send(&w.Tenant, "push")
				x, err := w.Explain(t.Context(), missed, ep.ID)
				require.NoError(t, err)
				require.Equal(t, sender.WhyDisabled, x.Why)
				require.Contains(t, x.Text, tc.reason)

				receiver.Script(sendertest.Status(200))
				enabled, err := w.EnableEndpoint(t.Context(), ep.ID)
				require.NoError(t, err)
				require.Empty(t, enabled.Reason)
				id := w.send(&w.Tenant, "push")
				require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
			})
		})
	}
}
