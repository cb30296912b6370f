package sender_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

func TestStatsTellHowDeliveriesStand(t *testing.T) {
	o := sender.Options{Schedule: retry.Steps(time.Hour), GiveUpAfter: 2 * time.Hour, KeepLog: 48 * time.Hour, KeepPayloads: 48 * time.Hour}
	inBubble(t, o, func(t *testing.T, w *world) {
		acme := w.For("acme", store.Live)
		began := time.Now()
		w.receiver("bad.example", sendertest.Answer{Status: 500})
		w.receiver("slow.example", sendertest.Answer{Delay: 5 * time.Second})
		good := w.endpoint(acme, "good.example", "good")
		bad := w.endpoint(acme, "bad.example", "bad")
		slow := w.endpoint(acme, "slow.example", "slow")
		w.endpoint(acme, "off.example", "off")
		w.endpoint(w.For("other", store.Live), "good.example", "*")

		stats, err := acme.Stats(t.Context())
		require.NoError(t, err)
		require.Zero(t, stats.Total.Pending())
		require.Len(t, stats.Endpoints, 4)

		for range 3 {
			w.send(acme, "good")
		}
		w.send(acme, "bad")
		w.send(acme, "slow")
		w.send(acme, "off")
		stats, err = acme.Stats(t.Context())
		require.NoError(t, err)
		by := make(map[string]sender.EndpointStats)
		for _, ep := range stats.Endpoints {
			by[ep.EndpointID] = ep
		}
		one := store.Count{N: 1}
		require.Equal(t, sender.Counters{Since: began, Delivered: 3}, by[good.ID].Here)
		require.Equal(t, one, by[bad.ID].Scheduled)
		require.Equal(t, sender.Counters{Since: began, Failed: 1}, by[bad.ID].Here)
		require.Equal(t, one, by[slow.ID].InFlight)
		require.Equal(t, store.Count{N: 2}, stats.Total.Pending())
		require.Equal(t, sender.Counters{Since: began, Delivered: 4, Failed: 1}, stats.Total.Here)
		require.Zero(t, stats.Total.OldestDue)

		w.pass(2 * time.Hour)
		ep, err := acme.EndpointStats(t.Context(), bad.ID, 0)
		require.NoError(t, err)
		require.Equal(t, one, ep.Exhausted)
		require.Zero(t, ep.Pending())
		require.Equal(t, sender.Counters{Since: began, Failed: 2, Exhausted: 1}, ep.Here)

		// After a day without results it begins anew, and says so; what is in the log
		// still counts.
		w.pass(25 * time.Hour)
		ep, err = acme.EndpointStats(t.Context(), bad.ID, 0)
		require.NoError(t, err)
		require.Equal(t, one, ep.Exhausted)
		require.Zero(t, ep.Here.Failed)
		require.WithinRange(t, ep.Here.Since, began.Add(24*time.Hour), time.Now())
	})
}

// Whether a test event reached its endpoint says nothing about how sending goes.
func TestStatsLeaveOutTestEvents(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		for host, answer := range map[string]sendertest.Answer{
			"accepts.example": sendertest.Status(204), "refuses.example": sendertest.Status(400), "dead.example": {Fault: sendertest.Close},
		} {
			w.receiver(host, answer)
			ep := w.endpoint(&w.Tenant, host, "none")
			_, err := w.SendTest(t.Context(), ep.ID)
			require.NoError(t, err)
			w.pass(time.Minute)
			stats, err := w.EndpointStats(t.Context(), ep.ID, 0)
			require.NoError(t, err)
			require.Zero(t, stats.Exhausted, host)
			require.Equal(t, sender.Counters{Since: stats.Here.Since}, stats.Here, host)
			activity, err := w.Activity(t.Context(), []string{ep.ID}, 100)
			require.NoError(t, err)
			require.Equal(t, 1, activity[0].Tests, host)
			require.Zero(t, activity[0].Attempts+activity[0].Delivered+activity[0].Exhausted, host)
			require.Equal(t, host == "refuses.example", activity[0].LastReachedOnly())
		}
	})
}

// How late sending is does not depend on endpoints that somebody has disabled.
func TestStatsOldestDueIsOfEnabledEndpoints(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{}) // not started
		off := w.endpoint(&w.Tenant, "off.example")
		w.send(&w.Tenant, "push")
		early := time.Now()
		time.Sleep(time.Minute)
		w.endpoint(&w.Tenant, "on.example")
		w.send(&w.Tenant, "push")
		late := time.Now()
		_, err := w.DisableEndpoint(t.Context(), off.ID, "")
		require.NoError(t, err)
		stats, err := w.Stats(t.Context())
		require.NoError(t, err)
		require.Equal(t, store.Count{N: 3}, stats.Total.Due)
		require.True(t, stats.Total.OldestDue.Equal(late))
		require.True(t, stats.Endpoints[0].OldestDue.Equal(early))
		require.Equal(t, store.Disabled, stats.Endpoints[0].State)

		events := make([]sender.Event, 150)
		for i := range events {
			events[i].Type = "push"
		}
		_, err = w.SendBatch(t.Context(), events)
		require.NoError(t, err)
		stats, err = w.Stats(t.Context())
		require.NoError(t, err)
		require.Equal(t, "52+", stats.Total.Pending().String())
		for upTo, want := range map[int]string{0: "50+", 20: "20+", 151: "151+", 152: "151", 10_000: "151"} {
			ep, err := w.EndpointStats(t.Context(), stats.Endpoints[1].EndpointID, upTo)
			require.NoError(t, err)
			require.Equal(t, want, ep.Due.String(), "%d", upTo)
		}
	})
}

func TestStatsOfNothing(t *testing.T) {
	s := newQuiet(t, &sender.Options{})
	for _, id := range []string{"", "ep_none"} {
		_, err := s.EndpointStats(t.Context(), id, 0)
		require.ErrorIs(t, err, store.ErrNotFound)
	}
	bad := s.For("a\x00", store.Live)
	_, err := bad.Stats(t.Context())
	require.ErrorIs(t, err, store.ErrInvalid)
	_, err = bad.EndpointStats(t.Context(), "ep_1", 0)
	require.ErrorIs(t, err, store.ErrInvalid)
}

func TestCountsSayWhereTheyStopped(t *testing.T) {
	exact, more := store.Count{N: 7}, store.Bounded(1000, 1000)
	require.Equal(t, "7", exact.String())
	require.Equal(t, "1000+", more.String())
	require.Equal(t, "1007+", exact.Plus(more).String())
	require.Equal(t, store.Count{N: 999}, store.Bounded(999, 1000))
}
