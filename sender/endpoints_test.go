package sender_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
	"github.com/hookpost/hookpost/store/memory"
	"github.com/hookpost/hookpost/verifier"
)

func TestCreateEndpoint(t *testing.T) {
	inBubble(t, sender.Options{Schedules: map[string]retry.Schedule{"fast": retry.Steps(time.Second)}}, func(t *testing.T, w *world) {
		spec := sender.EndpointSpec{
			URL: "HTTPS://Shop.Example:443/Hook?token=1", EventTypes: []string{"payment.*", "customer.created"},
			Description: "the shop", Metadata: map[string]string{"team": "payments"}, Schedule: "fast",
			Schemes: []string{signing.Standard.Name()}, NoTestEvent: true,
		}
		ep, secret, err := w.For("acme", store.Test).CreateEndpoint(t.Context(), spec)
		require.NoError(t, err)
		require.False(t, secret.IsZero())
		require.Regexp(t, `^ep_[0-9a-f-]+$`, ep.ID)
		require.Equal(t, store.Scope{Tenant: "acme", Mode: store.Test}, ep.Scope)
		require.Equal(t, store.Config{
			URL: "https://shop.example/Hook?token=1", EventTypes: []string{"payment.*", "customer.created"}, State: store.Enabled,
			Description: "the shop", Metadata: map[string]string{"team": "payments"}, Schedule: "fast", Schemes: []string{"standard"},
		}, ep.Config)
		require.Equal(t, int64(1), ep.Version)
		require.Equal(t, time.Now().UTC(), ep.CreatedAt.UTC())
		require.Len(t, ep.Secrets, 1)
		require.Nil(t, ep.Secrets[0].Sealed)

		// What the caller holds is not what the endpoint is.
		spec.EventTypes[0], spec.Metadata["team"] = "x", "y"
		ep.EventTypes[0], ep.Metadata["team"] = "x", "y"
		now := w.current(w.For("acme", store.Test), ep)
		require.Equal(t, []string{"payment.*", "customer.created"}, now.EventTypes)
		require.Equal(t, "payments", now.Metadata["team"])
		w.pass(time.Minute)
		require.Zero(t, w.receiver("shop.example").Count(), "NoTestEvent")
	})
}

// An endpoint chooses its schedule and its schemes by name.
func TestEndpointsOwnScheduleAndSchemes(t *testing.T) {
	xtopay := signing.Timestamped("X-Xtopay-Signature")
	o := sender.Options{
		Schemes:   []signing.Scheme{signing.Standard, xtopay},
		Schedules: map[string]retry.Schedule{"fast": retry.Steps(time.Second, 2*time.Second), "once": retry.None},
	}
	inBubble(t, o, func(t *testing.T, w *world) {
		fast, once := w.receiver("fast.example", sendertest.Status(500)), w.receiver("once.example", sendertest.Status(500))
		fastEp, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://fast.example", EventTypes: []string{"*"}, Schedule: "fast", Schemes: []string{xtopay.Name()}, NoTestEvent: true,
		})
		require.NoError(t, err)
		onceEp, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
			URL: "https://once.example", EventTypes: []string{"*"}, Schedule: "once", Schemes: []string{"standard"}, NoTestEvent: true,
		})
		require.NoError(t, err)
		start := time.Now()
		id := w.send(&w.Tenant, "push")
		w.pass(time.Hour)
		require.Equal(t, []time.Duration{0, time.Second, 3 * time.Second}, offsets(start, fast.Requests()))
		require.Equal(t, 1, once.Count())
		require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, fastEp).State)
		require.Contains(t, w.delivery(&w.Tenant, id, onceEp).Reason, "schedule ended")
		require.NotEmpty(t, fast.Requests()[0].Header.Get("X-Xtopay-Signature"))
		require.Empty(t, fast.Requests()[0].Header.Get("Webhook-Signature"))
		require.Empty(t, once.Requests()[0].Header.Get("X-Xtopay-Signature"))
		require.NotEmpty(t, once.Requests()[0].Header.Get("Webhook-Signature"))

		// Back to the default schedule and to all schemes.
		_, err = w.EditEndpoint(t.Context(), onceEp.ID, sender.EndpointEdit{Schedule: ptr(""), Schemes: []string{}})
		require.NoError(t, err)
		w.send(&w.Tenant, "push")
		w.pass(5 * time.Minute)
		require.Equal(t, 3, once.Count())
		require.NotEmpty(t, once.Requests()[2].Header.Get("X-Xtopay-Signature"))
		require.NotEmpty(t, once.Requests()[2].Header.Get("Webhook-Signature"))
	})
}

func TestImportEndpoint(t *testing.T) {
	key, err := keyring.GenerateKey("k1")
	require.NoError(t, err)
	ring, err := keyring.New(key)
	require.NoError(t, err)
	inBubble(t, sender.Options{
		Schemes: []signing.Scheme{signing.Standard, signing.Timestamped("X-Xtopay-Signature")}, Keyring: ring,
	}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		opaque, err := signing.ParseSecret("an opaque secret of another system")
		require.NoError(t, err)
		older, err := signing.ParseSecret("the one before it, still accepted")
		require.NoError(t, err)
		spec := sender.EndpointSpec{
			URL: "https://shop.example/hook", EventTypes: []string{"*"}, Secret: opaque, MoreSecrets: []signing.Secret{older},
			Schemes: []string{"timestamped:X-Xtopay-Signature"}, Disabled: true, Reason: "moved here disabled",
		}
		ep, secret, err := w.CreateEndpoint(t.Context(), spec)
		require.NoError(t, err)
		require.True(t, secret.Equal(opaque))
		require.Equal(t, store.Disabled, ep.State)
		require.Equal(t, "moved here disabled", ep.Reason)
		require.Len(t, ep.Secrets, 2)
		history, err := w.EndpointHistory(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, store.Imported, history[0].Action)
		w.send(&w.Tenant, "push")
		w.pass(time.Minute)
		require.Zero(t, receiver.Count(), "neither a test event nor any other")

		_, err = w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		id := w.send(&w.Tenant, "push")
		require.Equal(t, []string{id}, ids(t, receiver.Requests()))
		r := receiver.Requests()[0]
		for _, s := range []signing.Secret{opaque, older} {
			_, err = verifier.ConstructEvent(r.Body, r.Header.Get("X-Xtopay-Signature"), s.Reveal())
			require.NoError(t, err, "receivers keep what they have")
		}

		// A secret that a scheme can't use is refused before anything is stored.
		spec.URL, spec.Schemes = "https://other.example/hook", nil
		_, _, err = w.CreateEndpoint(t.Context(), spec)
		require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
		require.NotContains(t, err.Error(), opaque.Reveal())
		listed, err := w.Endpoints(t.Context(), store.EndpointQuery{})
		require.NoError(t, err)
		require.Len(t, listed, 1)
		for _, schemes := range [][]string{{}, {"standard"}} { // none means all of them
			_, err = w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Schemes: schemes})
			require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
			require.ErrorContains(t, err, "Schemes")
			require.NotContains(t, err.Error(), opaque.Reveal())
		}
		_, err = w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Schemes: ep.Schemes})
		require.NoError(t, err)
	})
}

func TestEditKeepsTheSecretAndMovesPendingDeliveries(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		before, after := w.receiver("old.example", sendertest.Status(500)), w.receiver("new.example")
		ep, secret := w.endpointAndSecret(&w.Tenant, "old.example", "payment.*")
		id := w.send(&w.Tenant, "payment.succeeded")
		edited, err := w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{
			URL: ptr("https://new.example/hook"), EventTypes: []string{"customer.created"}, // deselected or not
		})
		require.NoError(t, err)
		require.Equal(t, ep.ID, edited.ID)
		require.Equal(t, "https://new.example/hook", edited.URL)
		require.Equal(t, ep.Secrets, edited.Secrets)
		w.pass(5 * time.Minute)
		require.Equal(t, 1, before.Count())
		require.Equal(t, []string{id}, ids(t, after.Requests()))
		v, err := verifier.New(secret.Reveal(), nil)
		require.NoError(t, err)
		_, err = v.ConstructEvent(after.Requests()[0].Body, after.Requests()[0].Header)
		require.NoError(t, err, "the secret stays")
		attempts := w.attempts(&w.Tenant, id, ep)
		require.Equal(t, "https://old.example/hook", attempts[0].URL)
		require.Equal(t, "https://new.example/hook", attempts[1].URL)

		w.send(&w.Tenant, "payment.succeeded")
		created := w.send(&w.Tenant, "customer.created")
		require.Equal(t, []string{id, created}, ids(t, after.Requests()), "new events follow the new selection")
		w.endpoint(&w.Tenant, "old.example") // its URL is free
		_, err = w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: ptr("https://old.example/hook")})
		require.ErrorIs(t, err, store.ErrDuplicateURL)
		_, err = w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: ptr("https://new.example/hook"), Description: ptr("same URL")})
		require.NoError(t, err, "its own URL is no duplicate")
	})
}

// An edit changes what it names and nothing else.
func TestEditOneFieldAtATime(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ep := w.endpoint(&w.Tenant, "shop.example", "push")
		want := ep.Config
		edit := func(e sender.EndpointEdit) {
			t.Helper()
			got, err := w.EditEndpoint(t.Context(), ep.ID, e)
			require.NoError(t, err)
			require.Equal(t, want, got.Config)
			require.Equal(t, want, w.current(&w.Tenant, ep).Config)
		}
		want.Description = "text"
		edit(sender.EndpointEdit{Description: ptr("text")})
		want.Metadata = map[string]string{"a": "b"}
		edit(sender.EndpointEdit{Metadata: map[string]string{"a": "b"}})
		want.EventTypes = []string{"*"}
		edit(sender.EndpointEdit{EventTypes: []string{"*"}})
		want.URL = "https://shop.example/moved"
		edit(sender.EndpointEdit{URL: ptr("https://shop.example/moved")})
		want.Schemes = []string{"standard"}
		edit(sender.EndpointEdit{Schemes: []string{"standard"}})
		want.Description = ""
		edit(sender.EndpointEdit{Description: ptr("")})
		edit(sender.EndpointEdit{})
	})
}

// Rules that became stricter do not stand in the way of an edit of something else.
func TestEditDoesNotJudgeAnUnchangedURL(t *testing.T) {
	for _, raw := range []string{
		"http://shop.example/hook", "https://shop.example:5432/hook", "https://10.1.2.3/hook", "https://localhost:3000/hook", "https://127.0.0.1:22/hook",
		"https://shop.example:22/f\u00fcr?a=1",
	} {
		t.Run(raw, func(t *testing.T) {
			st := memory.New()
			everything := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
			lenient := newQuietOn(t, st, &sender.Options{HTTP: sender.HTTPOptions{Egress: sender.Egress{Allow: everything, Ports: []uint16{80, 443, 3000, 5432, 22}}}})
			strict := newQuietOn(t, st, &sender.Options{RequireHTTPS: true})
			spec := sender.EndpointSpec{URL: raw, EventTypes: []string{"*"}, NoTestEvent: true}
			ep, _, err := lenient.CreateEndpoint(t.Context(), spec)
			require.NoError(t, err)
			_, _, err = strict.For("other", store.Live).CreateEndpoint(t.Context(), spec)
			require.ErrorIs(t, err, sender.ErrInvalidURL)

			for _, edit := range []sender.EndpointEdit{
				{Description: ptr("text")},
				{EventTypes: []string{"push"}},
				{URL: &ep.URL, Description: ptr("as a form sends it")},
				{URL: &raw, Description: ptr("as it was given once")},
				{URL: ptr(strings.Replace(strings.Replace(ep.URL, "http", "HTTP", 1), "shop.example", "Shop.Example", 1)), Description: ptr("in another spelling")},
			} {
				edited, err := strict.EditEndpoint(t.Context(), ep.ID, edit)
				require.NoError(t, err)
				require.Equal(t, ep.URL, edited.URL)
				require.Equal(t, ep.URLKey, edited.URLKey)
				if edit.Description != nil {
					require.Equal(t, *edit.Description, edited.Description)
				}
			}
			_, err = strict.DisableEndpoint(t.Context(), ep.ID, "")
			require.NoError(t, err)
			_, err = strict.EnableEndpoint(t.Context(), ep.ID)
			require.NoError(t, err)

			_, err = strict.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: ptr(ep.URL + "x")})
			require.ErrorIs(t, err, sender.ErrInvalidURL, "another URL is judged")
			moved, err := strict.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: ptr("https://shop.example/hook")})
			require.NoError(t, err)
			_, err = strict.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: &ep.URL})
			require.ErrorIs(t, err, sender.ErrInvalidURL, "and so is the way back from %s", moved.URL)
		})
	}
}

// The sender's other processes learn of a change within a second; here it counts
// at once. An attempt under way finishes.
func TestDisableWhileAnAttemptIsUnderWay(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Answer{Delay: 5 * time.Second})
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		require.True(t, w.delivery(&w.Tenant, id, ep).InFlight)
		_, err := w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		w.pass(5 * time.Second)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
		require.Equal(t, 1, receiver.Count())
	})
}

func TestDisableInAnotherProcess(t *testing.T) {
	inBubble(t, sender.Options{PollInterval: time.Second}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		other := w.another(sender.Options{PollInterval: time.Second}) // not started: a console, say
		_, err := other.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		receipt, err := w.Send(t.Context(), sender.Event{Type: "push"})
		require.NoError(t, err)
		require.Zero(t, receipt.Deliveries, "a stale cache stores nothing")
		w.pass(time.Hour)
		require.Equal(t, 1, receiver.Count())

		_, err = other.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		receiver.Script(sendertest.Status(200))
		w.pass(2 * time.Second)
		require.Equal(t, []string{id, id}, ids(t, receiver.Requests()))
	})
}

func TestWindowEndsWhileDisabled(t *testing.T) {
	inBubble(t, sender.Options{PollInterval: time.Minute}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		old := w.send(&w.Tenant, "push")
		w.pass(60 * time.Hour)
		young := w.send(&w.Tenant, "push")
		_, err := w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		n := receiver.Count()
		w.pass(13 * time.Hour) // 73 hours after the first attempt of the old one
		d := w.delivery(&w.Tenant, old, ep)
		require.Equal(t, store.Exhausted, d.State)
		require.Contains(t, d.Reason, "disabled")
		require.Equal(t, store.Pending, w.delivery(&w.Tenant, young, ep).State)
		require.Equal(t, n, receiver.Count())

		receiver.Script(sendertest.Status(200))
		_, err = w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		w.pass(12 * time.Hour)
		require.Equal(t, n+1, receiver.Count())
		require.Equal(t, young, decode(t, receiver.Requests()[n]).ID)
		require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, old, ep).State)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, young, ep).State)
	})
}

// Nothing ran when the window ended: what is enabled afterwards is exhausted
// without an attempt, if it ended before the endpoint was enabled.
func TestWindowEndsWhileDisabledAndNothingRuns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newWorld(t, sender.Options{})
		receiver := w.receiver("shop.example")
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "push")
		_, err := w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		w.pass(73 * time.Hour)
		_, err = w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.NoError(t, w.Start(t.Context()))
		w.pass(time.Minute)
		require.Zero(t, receiver.Count())
		require.Equal(t, store.Exhausted, w.delivery(&w.Tenant, id, ep).State)
	})
}

// A retry that is overdue because no worker ran gets one attempt.
func TestOverdueBecauseNothingRan(t *testing.T) {
	for name, answer := range map[string]sendertest.Answer{"delivered": sendertest.Status(200), "exhausted": sendertest.Status(500)} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				w := newWorld(t, sender.Options{})
				receiver := w.receiver("shop.example", sendertest.Status(500), answer)
				ep := w.endpoint(&w.Tenant, "shop.example")
				require.NoError(t, w.Start(t.Context()))
				id := w.send(&w.Tenant, "push")
				require.NoError(t, w.Stop(t.Context()))
				w.pass(100 * time.Hour)
				require.Equal(t, 1, receiver.Count())
				require.NoError(t, w.another(sender.Options{}).Start(t.Context()))
				w.pass(time.Minute)
				require.Equal(t, 2, receiver.Count())
				require.Equal(t, name, w.delivery(&w.Tenant, id, ep).State.String())
			})
		})
	}
}

func TestDisableTwiceAndEnableTwice(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ep := w.endpoint(&w.Tenant, "shop.example")
		for range 2 {
			got, err := w.DisableEndpoint(t.Context(), ep.ID, "first")
			require.NoError(t, err)
			require.Equal(t, int64(2), got.Version)
			got, err = w.DisableEndpoint(t.Context(), ep.ID, "second")
			require.NoError(t, err)
			require.Equal(t, "first", got.Reason)
		}
		for range 2 {
			got, err := w.EnableEndpoint(t.Context(), ep.ID)
			require.NoError(t, err)
			require.Equal(t, int64(3), got.Version)
		}
	})
}

func TestDisabledEndpointKeepsItsURL(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ep := w.endpoint(&w.Tenant, "shop.example")
		_, err := w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		for _, same := range []string{
			"https://shop.example/hook", "HTTPS://SHOP.EXAMPLE/hook", "https://shop.example:443/hook", "https://shop.example./hook",
		} {
			_, _, err = w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: same, EventTypes: []string{"*"}})
			require.ErrorIs(t, err, store.ErrDuplicateURL, same)
		}
		for _, different := range []string{
			"http://shop.example/hook", "https://shop.example/Hook", "https://shop.example/hook/", "https://shop.example/hook?a=1",
			"https://shop.example:8443/hook", "https://www.shop.example/hook", "https://bücher.example", "https://shop.example",
		} {
			_, _, err = w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: different, EventTypes: []string{"*"}})
			require.NoError(t, err, different)
		}
		for _, same := range []string{"https://xn--bcher-kva.example/", "https://BÜCHER.example:443", "https://shop.example/"} {
			_, _, err = w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: same, EventTypes: []string{"*"}})
			require.ErrorIs(t, err, store.ErrDuplicateURL, same)
		}
	})
}

func TestEndpointPages(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		var want []string
		for i := range 7 {
			want = append(want, w.endpoint(&w.Tenant, fmt.Sprintf("shop%d.example", i)).ID)
		}
		var got []string
		q := store.EndpointQuery{Limit: 3}
		for {
			page, err := w.Endpoints(t.Context(), q)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			require.LessOrEqual(t, len(page), 3)
			for _, ep := range page {
				got = append(got, ep.ID)
			}
			q.After = page[len(page)-1].Num
		}
		require.Equal(t, want, got, "oldest first, each once")

		_, err := w.DisableEndpoint(t.Context(), want[1], "")
		require.NoError(t, err)
		require.NoError(t, w.DeleteEndpoint(t.Context(), want[2]))
		for state, n := range map[store.EndpointState]int{store.Enabled: 5, store.Disabled: 1, store.Deleted: 1} {
			page, err := w.Endpoints(t.Context(), store.EndpointQuery{States: []store.EndpointState{state}})
			require.NoError(t, err)
			require.Len(t, page, n, state)
		}
	})
}

func TestEndpointHistory(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.receiver("moved.example", sendertest.Status(410))
		start := time.Now()
		by := func(actor string) context.Context { return sender.WithActor(t.Context(), actor) }
		ep, _, err := w.CreateEndpoint(by("ama"), sender.EndpointSpec{URL: "https://shop.example/hook", EventTypes: []string{"push"}, NoTestEvent: true})
		require.NoError(t, err)
		w.pass(time.Hour)
		_, err = w.EditEndpoint(by("kofi"), ep.ID, sender.EndpointEdit{URL: ptr("https://moved.example/hook")})
		require.NoError(t, err)
		_, err = w.DisableEndpoint(by("yaa"), ep.ID, "debugging")
		require.NoError(t, err)
		_, err = w.DisableEndpoint(by("nobody"), ep.ID, "again")
		require.NoError(t, err)
		_, err = w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		w.send(&w.Tenant, "push") // 410
		_, err = w.EditEndpoint(by("mallory"), ep.ID, sender.EndpointEdit{URL: ptr("not a URL")})
		require.Error(t, err)
		require.NoError(t, w.DeleteEndpoint(by("ama"), ep.ID))

		history, err := w.EndpointHistory(t.Context(), ep.ID)
		require.NoError(t, err)
		type line struct {
			action store.Action
			actor  string
			state  store.EndpointState
			url    string
			reason string
		}
		var got []line
		for i, c := range history {
			require.Equal(t, ep.ID, c.EndpointID)
			require.Equal(t, int64(i+1), c.Version)
			if i == 0 {
				require.Zero(t, c.Old)
				require.Equal(t, start.UTC(), c.At.UTC())
			} else {
				require.Equal(t, history[i-1].New, c.Old)
				require.Equal(t, time.Hour, c.At.Sub(start).Round(time.Second))
			}
			// Who disabled it by itself is the store's word.
			if c.Action == store.WasDisabled && c.New.Reason != "debugging" {
				c.Actor = "*"
			}
			got = append(got, line{c.Action, c.Actor, c.New.State, c.New.URL, c.New.Reason})
		}
		const old, moved = "https://shop.example/hook", "https://moved.example/hook"
		require.Equal(t, []line{
			{store.Created, "ama", store.Enabled, old, ""},
			{store.Edited, "kofi", store.Enabled, moved, ""},
			{store.WasDisabled, "yaa", store.Disabled, moved, "debugging"},
			{store.WasEnabled, "", store.Enabled, moved, ""},
			{store.WasDisabled, "*", store.Disabled, moved, "the receiver answered 410 Gone"},
			{store.WasDeleted, "ama", store.Deleted, moved, got[len(got)-1].reason},
		}, got)
		_, err = w.EndpointHistory(t.Context(), "ep_nobody")
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestSendTest(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver, other := w.receiver("shop.example"), w.receiver("other.example")
		ep := w.endpoint(&w.Tenant, "shop.example", "payment.succeeded")
		w.endpoint(&w.Tenant, "other.example", "*")
		for n := range 3 {
			receipt, err := w.SendTest(t.Context(), ep.ID)
			require.NoError(t, err)
			require.Equal(t, 1, receipt.Deliveries)
			w.pass(0)
			require.Equal(t, n+1, receiver.Count())
			require.Equal(t, store.Delivered, w.delivery(&w.Tenant, receipt.ID, ep).State)
		}
		require.Zero(t, other.Count(), "it is for one endpoint")
		_, err := w.SendTest(t.Context(), "ep_nobody")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = w.DisableEndpoint(t.Context(), ep.ID, "")
		require.NoError(t, err)
		_, err = w.SendTest(t.Context(), ep.ID)
		require.ErrorIs(t, err, store.ErrDisabled)
		require.Equal(t, 3, receiver.Count())
	})
}

// In test mode loopback is accepted at registration; attempts there fail as
// blocked unless the operator allows the prefix. In live mode it is refused.
func TestLoopbackURL(t *testing.T) {
	for name, tc := range map[string]struct {
		allow    bool
		liveGood bool
	}{"denied": {false, false}, "allowed": {true, true}} {
		t.Run(name, func(t *testing.T) {
			receiver := sendertest.NewReceiver(t)
			o := &sender.Options{}
			if tc.allow {
				o.HTTP.Egress.Allow = sendertest.Loopback()
			}
			s := startReal(t, o)
			for _, url := range []string{receiver.URL(), "http://localhost:8080/hook", "http://[::1]:8080/hook"} {
				_, _, err := s.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: url, EventTypes: []string{"*"}, NoTestEvent: true})
				if tc.liveGood {
					require.NoError(t, err, url)
				} else {
					require.ErrorIs(t, err, sender.ErrInvalidURL, url)
				}
			}
			test := s.For("", store.Test)
			ep, _, err := test.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: receiver.URL(), EventTypes: []string{"*"}, NoTestEvent: true})
			require.NoError(t, err)
			receipt, err := test.Send(t.Context(), sender.Event{Type: "push"})
			require.NoError(t, err)
			require.NoError(t, s.Stop(t.Context()))
			deliveries, err := test.Deliveries(t.Context(), store.DeliveryQuery{EventID: receipt.ID, EndpointID: ep.ID})
			require.NoError(t, err)
			require.Len(t, deliveries, 1)
			_, attempts, err := test.Delivery(t.Context(), deliveries[0].ID)
			require.NoError(t, err)
			require.Len(t, attempts, 1)
			if tc.allow {
				require.Equal(t, store.Delivered, deliveries[0].State)
				require.Equal(t, 1, receiver.Count())
			} else {
				require.Equal(t, sender.ClassBlocked, attempts[0].Class)
				require.Contains(t, attempts[0].Error, "tunnel")
				require.Zero(t, receiver.Count())
			}
		})
	}
}
