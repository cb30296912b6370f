package sender_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/verifier"
)

// The behaviours of the two systems that hookpost implements: XPay's endpoints,
// modes and secrets, Xtopay's payload, retries, log and replay.

const day = 24 * time.Hour

// retryTable is Xtopay's table of delays after the previous attempt, continued by
// the last of them until 72 hours are over.
var retryTable = []time.Duration{
	5 * time.Minute, 30 * time.Minute, 2 * time.Hour, 5 * time.Hour, 10 * time.Hour,
	10 * time.Hour, 10 * time.Hour, 10 * time.Hour, 10 * time.Hour, 10 * time.Hour,
}

func TestRetryTable(t *testing.T) {
	for name, tc := range map[string]struct {
		answer sendertest.Answer
		took   time.Duration
		status int
		class  string
	}{
		"500 at once":       {sendertest.Status(500), 0, 500, sender.ClassStatus},
		"connection closed": {sendertest.Answer{Fault: sendertest.Close}, 0, 0, sender.ClassClosed},
		"never answers":     {sendertest.Answer{Fault: sendertest.Hang}, 10 * time.Second, 0, sender.ClassTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sender.Options{DisableAfter: -1}, func(t *testing.T, w *world) {
				receiver := w.receiver("shop.example", tc.answer)
				ep := w.endpoint(&w.Tenant, "shop.example")
				start := time.Now()
				id := w.send(&w.Tenant, "payment.succeeded")

				want := []time.Duration{0}
				var at time.Duration
				for _, delay := range retryTable {
					at += tc.took + delay // the delay counts from the attempt's end
					want = append(want, at)
				}
				w.pass(72 * time.Hour)
				require.Equal(t, want, offsets(start, receiver.Requests()))

				d := w.delivery(&w.Tenant, id, ep)
				require.Equal(t, store.Exhausted, d.State)
				require.Contains(t, d.Reason, "72h")
				require.Equal(t, len(want), d.Attempts)
				require.Equal(t, tc.status, d.LastStatus)
				for i, a := range w.attempts(&w.Tenant, id, ep) {
					require.Equal(t, i+1, a.N)
					require.Equal(t, store.AttemptFailed, a.Outcome)
					require.Equal(t, tc.class, a.Class)
					require.Equal(t, tc.status, a.Status)
					require.Equal(t, "https://shop.example/hook", a.URL)
					require.Equal(t, tc.took, a.Took.Round(time.Millisecond))
					require.Equal(t, want[i], a.StartedAt.Sub(start).Round(time.Millisecond))
				}

				w.pass(12 * time.Hour)
				require.Equal(t, len(want), receiver.Count(), "nothing is sent after giving up")
			})
		})
	}
}

func TestRetryUntilDelivered(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(503), sendertest.Status(204))
		ep := w.endpoint(&w.Tenant, "shop.example")
		start := time.Now()
		id := w.send(&w.Tenant, "payment.succeeded")
		w.pass(6 * time.Hour)
		require.Equal(t, []time.Duration{0, 5 * time.Minute, 35 * time.Minute}, offsets(start, receiver.Requests()))
		d := w.delivery(&w.Tenant, id, ep)
		require.Equal(t, store.Delivered, d.State)
		require.Equal(t, 3, d.Attempts)
		require.Equal(t, 204, d.LastStatus)
		require.Empty(t, d.Reason)
		require.Equal(t, []string{id, id, id}, ids(t, receiver.Requests()))
	})
}

func TestDeliveredMeans2xxWithin10Seconds(t *testing.T) {
	answers := map[string]struct {
		answer    sendertest.Answer
		delivered bool
	}{
		"9.9 s":    {sendertest.Answer{Delay: 9900 * time.Millisecond}, true},
		"10.1 s":   {sendertest.Answer{Delay: 10100 * time.Millisecond}, false},
		"redirect": {sendertest.Answer{Status: 302, Header: http.Header{"Location": {"https://other.example/"}}}, false},
	}
	for status := range 600 {
		switch status {
		case 200, 201, 202, 204, 226, 299:
			answers[fmt.Sprint(status)] = struct {
				answer    sendertest.Answer
				delivered bool
			}{sendertest.Status(status), true}
		case 300, 301, 303, 304, 307, 308, 400, 401, 403, 404, 408, 410, 418, 429, 500, 502, 503, 504, 599:
			answers[fmt.Sprint(status)] = struct {
				answer    sendertest.Answer
				delivered bool
			}{sendertest.Status(status), false}
		}
	}
	for name, tc := range answers {
		t.Run(name, func(t *testing.T) {
			inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
				receiver := w.receiver("shop.example", tc.answer)
				other := w.receiver("other.example")
				ep := w.endpoint(&w.Tenant, "shop.example")
				id := w.send(&w.Tenant, "payment.succeeded")
				w.pass(time.Minute)
				attempts := w.attempts(&w.Tenant, id, ep)
				require.Len(t, attempts, 1)
				require.Equal(t, 1, receiver.Count())
				require.Zero(t, other.Count(), "redirects are not followed")
				if tc.delivered {
					require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
					require.Equal(t, store.AttemptDelivered, attempts[0].Outcome)
				} else {
					require.NotEqual(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
					require.Equal(t, store.AttemptFailed, attempts[0].Outcome)
					require.NotEmpty(t, attempts[0].Error)
				}
			})
		})
	}
}

// The request is the one that the Xtopay page shows.
func TestPayload(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		w.endpoint(&w.Tenant, "shop.example")
		const data = `{"id":"pay_xyz789","amount":5000,"currency":"GHS","status":"succeeded",` +
			`"customer":{"id":"cus_abc123","email":"ama@example.com"},"metadata":{"order_id":"ord_001"}}`
		_, err := w.Send(t.Context(), sender.Event{
			ID: "evt_a1b2c3d4", Type: "payment.succeeded", Data: json.RawMessage(data),
			CreatedAt: time.Date(2026, 5, 24, 12, 2, 14, 0, time.FixedZone("", 2*3600)),
		})
		require.NoError(t, err)
		w.pass(0)
		require.Equal(t, 1, receiver.Count())
		r := receiver.Requests()[0]
		require.Equal(t, "POST", r.Method)
		require.Equal(t, "https://shop.example/hook", r.URL)
		require.Equal(t, "application/json", r.Header.Get("Content-Type"))
		require.Regexp(t, `^hookpost/\S+$`, r.Header.Get("User-Agent"))
		require.Equal(t, `{"id":"evt_a1b2c3d4","type":"payment.succeeded","created_at":"2026-05-24T10:02:14.000000Z","data":`+data+`}`, string(r.Body))
	})
}

// constructEvent(body, signature) of the Xtopay page, with its header.
func TestConstructEventWithXtopaySignature(t *testing.T) {
	inBubble(t, sender.Options{Schemes: []signing.Scheme{signing.Timestamped("X-Xtopay-Signature")}}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500), sendertest.Status(200))
		ep, secret := w.endpointAndSecret(&w.Tenant, "shop.example", "payment.succeeded")
		_, otherSecret := w.endpointAndSecret(&w.Tenant, "other.example", "customer.created")
		id := w.send(&w.Tenant, "payment.succeeded")
		w.pass(5 * time.Minute)
		require.Equal(t, 2, receiver.Count())
		for i, r := range receiver.Requests() {
			signature := r.Header.Get("x-xtopay-signature")
			require.NotEmpty(t, signature)
			require.Empty(t, r.Header.Get("webhook-signature"))
			at := r.At.Unix()
			require.Contains(t, signature, fmt.Sprintf("t=%d,", at), "attempt %d is signed afresh", i+1)
		}
		last := receiver.Requests()[1]
		signature := last.Header.Get("x-xtopay-signature")
		event, err := verifier.ConstructEvent(last.Body, signature, secret.Reveal())
		require.NoError(t, err)
		require.Equal(t, id, event.ID)
		require.Equal(t, "payment.succeeded", event.Type)

		_, err = verifier.ConstructEvent(append([]byte(" "), last.Body...), signature, secret.Reveal())
		require.ErrorIs(t, err, signing.ErrNoMatch)
		_, err = verifier.ConstructEvent(last.Body, signature, otherSecret.Reveal())
		require.ErrorIs(t, err, signing.ErrNoMatch, "every endpoint has its own secret")
		first := receiver.Requests()[0]
		w.pass(time.Second)
		_, err = verifier.ConstructEvent(first.Body, first.Header.Get("x-xtopay-signature"), secret.Reveal())
		require.ErrorIs(t, err, signing.ErrTooOld)
		require.Equal(t, store.Delivered, w.delivery(&w.Tenant, id, ep).State)
	})
}

// An existing header can stay beside the standard ones.
func TestSeveralSchemesAtOnce(t *testing.T) {
	inBubble(t, sender.Options{Schemes: []signing.Scheme{signing.Standard, signing.Timestamped("X-Xtopay-Signature")}}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example")
		_, secret := w.endpointAndSecret(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "payment.succeeded")
		r := receiver.Requests()[0]
		_, err := verifier.ConstructEvent(r.Body, r.Header.Get("X-Xtopay-Signature"), secret.Reveal())
		require.NoError(t, err)
		v, err := verifier.New(secret.Reveal(), nil)
		require.NoError(t, err)
		event, err := v.ConstructEvent(r.Body, r.Header)
		require.NoError(t, err)
		require.Equal(t, id, event.ID)
		require.Equal(t, id, r.Header.Get("webhook-id"))
	})
}

func TestTestEventOnCreation(t *testing.T) {
	for name, answer := range map[string]sendertest.Answer{
		"reached":         sendertest.Status(200),
		"reached, 401":    sendertest.Status(401),
		"reached, 410":    sendertest.Status(410),
		"reached, 500":    sendertest.Status(500),
		"reached, 503":    {Status: 503, Header: http.Header{"Retry-After": {"3600"}}},
		"never answers":   {Fault: sendertest.Hang},
		"closes":          {Fault: sendertest.Close},
		"slower than 10s": {Delay: 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			reached := strings.HasPrefix(name, "reached")
			hooks := sender.Hooks{
				EndpointDisabled:  func(_ context.Context, ep store.Endpoint) { t.Errorf("%s was disabled", ep.ID) },
				DeliveryExhausted: func(_ context.Context, d sender.Exhaustion) { t.Errorf("%s was exhausted", d.EventID) },
			}
			inBubble(t, sender.Options{Hooks: hooks}, func(t *testing.T, w *world) {
				receiver := w.receiver("shop.example", answer)
				ep, secret, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{
					URL: "https://shop.example/hook", EventTypes: []string{"payment.succeeded"},
				})
				require.NoError(t, err)
				w.pass(12 * time.Second)
				require.Equal(t, 1, receiver.Count())
				r := receiver.Requests()[0]
				e := decode(t, r)
				require.Equal(t, "webhook.test", e.Type)
				require.Contains(t, string(e.Data), ep.ID)
				v, err := verifier.New(secret.Reveal(), nil)
				require.NoError(t, err)
				_, err = v.ConstructEvent(r.Body, r.Header)
				require.NoError(t, err, "it is signed")

				d := w.delivery(&w.Tenant, e.ID, ep)
				if reached {
					require.Equal(t, store.Delivered, d.State, "any answer means reached")
				} else {
					require.Equal(t, store.Exhausted, d.State)
					require.Contains(t, d.Reason, "not reached")
				}
				w.pass(6 * time.Hour)
				require.Equal(t, 1, receiver.Count(), "it is not repeated")
				now := w.current(&w.Tenant, ep)
				require.Equal(t, store.Enabled, now.State)
				require.Equal(t, store.Health{}, now.Health, "it says nothing about health")
			})
		})
	}
}

func TestDisabledEndpoint(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		other := w.receiver("other.example")
		ep := w.endpoint(&w.Tenant, "shop.example")
		w.endpoint(&w.Tenant, "other.example")
		before := w.send(&w.Tenant, "payment.succeeded")
		require.Equal(t, 1, receiver.Count())

		disabled, err := w.DisableEndpoint(t.Context(), ep.ID, "debugging")
		require.NoError(t, err)
		require.Equal(t, store.Disabled, disabled.State)
		require.Equal(t, "debugging", disabled.Reason)
		receipt, err := w.Send(t.Context(), sender.Event{Type: "payment.succeeded"})
		require.NoError(t, err)
		require.Equal(t, 1, receipt.Deliveries, "only the other one")
		w.pass(6 * time.Hour)
		require.Equal(t, 1, receiver.Count(), "no events, no retries")
		require.Equal(t, 2, other.Count())
		require.Equal(t, store.Pending, w.delivery(&w.Tenant, before, ep).State)

		listed, err := w.Endpoints(t.Context(), store.EndpointQuery{})
		require.NoError(t, err)
		require.Len(t, listed, 2, "a disabled endpoint stays in the list")

		receiver.Script(sendertest.Status(200))
		enabled, err := w.EnableEndpoint(t.Context(), ep.ID)
		require.NoError(t, err)
		require.Equal(t, store.Enabled, enabled.State)
		require.Empty(t, enabled.Reason)
		w.pass(2 * time.Second)
		require.Equal(t, []string{before, before}, ids(t, receiver.Requests()), "what waited goes, what fired meanwhile is not back-filled")
		after := w.send(&w.Tenant, "payment.succeeded")
		w.pass(day)
		require.Equal(t, []string{before, before, after}, ids(t, receiver.Requests()))
	})
}

func TestDeletedEndpoint(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Status(500))
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "payment.succeeded")
		require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))

		require.Equal(t, store.Cancelled, w.delivery(&w.Tenant, id, ep).State)
		w.pass(12 * time.Hour)
		require.Equal(t, 1, receiver.Count(), "pending deliveries stop")
		require.Equal(t, store.Cancelled, w.delivery(&w.Tenant, id, ep).State)
		require.Len(t, w.attempts(&w.Tenant, id, ep), 1, "the log stays readable")
		gone := w.current(&w.Tenant, ep)
		require.Equal(t, store.Deleted, gone.State)
		require.Empty(t, gone.Secrets)

		listed, err := w.Endpoints(t.Context(), store.EndpointQuery{})
		require.NoError(t, err)
		require.Empty(t, listed)

		again := w.endpoint(&w.Tenant, "shop.example")
		require.NotEqual(t, ep.ID, again.ID, "the URL is free")
		receiver.Script(sendertest.Status(200))
		w.pass(6 * time.Hour)
		require.Equal(t, 1, receiver.Count(), "the new one inherits nothing")

		for _, err := range []error{
			w.DeleteEndpoint(t.Context(), ep.ID),
			second(w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{Description: ptr("x")})),
			second(w.DisableEndpoint(t.Context(), ep.ID, "")),
			second(w.EnableEndpoint(t.Context(), ep.ID)),
			second(w.SendTest(t.Context(), ep.ID)),
			second(w.Replay(t.Context(), id, ep.ID)),
		} {
			require.ErrorIs(t, err, store.ErrDeleted)
		}
	})
}

// second returns the error of a call with another result.
func second[T any](_ T, err error) error { return err }

func TestOneEndpointPerURL(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.endpoint(&w.Tenant, "shop.example")
		_, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://shop.example/hook", EventTypes: []string{"*"}})
		require.ErrorIs(t, err, store.ErrDuplicateURL)
		listed, err := w.Endpoints(t.Context(), store.EndpointQuery{})
		require.NoError(t, err)
		require.Len(t, listed, 1)
	})
}

func TestAtLeastOneEventSelected(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		for _, none := range [][]string{nil, {}} {
			_, _, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://shop.example/hook", EventTypes: none})
			require.ErrorIs(t, err, sender.ErrInvalidSelection)
		}
		requireEmpty(t, &w.Tenant)
		ep := w.endpoint(&w.Tenant, "shop.example")
		_, err := w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{EventTypes: []string{}})
		require.ErrorIs(t, err, sender.ErrInvalidSelection)
		require.Equal(t, ep.EventTypes, w.current(&w.Tenant, ep).EventTypes)
	})
}

func TestSubscribeToAllIncludesFutureTypes(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		all, some := w.receiver("all.example"), w.receiver("some.example")
		w.endpoint(&w.Tenant, "all.example", "*")
		w.endpoint(&w.Tenant, "some.example", "payment.*", "customer.created")
		for _, eventType := range []string{"payment.succeeded", "payment.refund.created", "payment", "customer.created", "customer.deleted", "invented.later"} {
			w.send(&w.Tenant, eventType)
		}
		require.Equal(t, 6, all.Count())
		var got []string
		for _, r := range some.Requests() {
			got = append(got, decode(t, r).Type)
		}
		require.Equal(t, []string{"payment.succeeded", "payment.refund.created", "customer.created"}, got)
	})
}

func TestSecretIsShownOnce(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		w.receiver("shop.example", sendertest.Status(401), sendertest.Answer{Status: 410, Body: "gone"})
		ep, secret, err := w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://shop.example/hook", EventTypes: []string{"*"}})
		require.NoError(t, err)
		text := secret.Reveal()
		require.Regexp(t, `^whsec_`, text)
		raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(text, "whsec_"))
		require.NoError(t, err)
		require.Len(t, raw, 32)

		id := w.send(&w.Tenant, "payment.succeeded")
		everything := []any{ep, secret, &secret, w.Sender, &w.Tenant}
		see := func(v any, err error) {
			require.NoError(t, err)
			everything = append(everything, v)
		}
		see(w.Endpoint(t.Context(), ep.ID))
		see(w.EnableEndpoint(t.Context(), ep.ID)) // the 410 disabled it
		see(w.EditEndpoint(t.Context(), ep.ID, sender.EndpointEdit{URL: ptr("https://shop.example/other")}))
		see(w.DisableEndpoint(t.Context(), ep.ID, "why not"))
		see(w.EnableEndpoint(t.Context(), ep.ID))
		see(w.Endpoints(t.Context(), store.EndpointQuery{}))
		see(w.EndpointHistory(t.Context(), ep.ID))
		see(w.Explain(t.Context(), id, ep.ID))
		see(w.Event(t.Context(), id))
		see(w.Events(t.Context(), store.EventQuery{}))
		see(w.Deliveries(t.Context(), store.DeliveryQuery{}))
		see(w.attempts(&w.Tenant, id, ep), nil)
		see(w.Recover(t.Context(), sender.Recovery{DryRun: true}))
		_, _, err = w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://shop.example/other", EventTypes: []string{"*"}, Secret: secret})
		require.ErrorIs(t, err, store.ErrDuplicateURL)
		everything = append(everything, err)
		_, _, err = w.CreateEndpoint(t.Context(), sender.EndpointSpec{URL: "https://x.example", EventTypes: []string{"*"}, MoreSecrets: []signing.Secret{secret}})
		require.ErrorIs(t, err, sender.ErrInvalidEndpoint)
		everything = append(everything, err)

		requireHidden := func(shown string) {
			t.Helper()
			for _, form := range []string{text, strings.TrimPrefix(text, "whsec_"), base64.StdEncoding.EncodeToString([]byte(text)), string(raw)} {
				require.NotContains(t, shown, form)
			}
		}
		for _, v := range everything {
			if _, isSender := v.(*sender.Sender); !isSender { // %v of a whole Sender races with its goroutines
				if _, isTenant := v.(*sender.Tenant); !isTenant {
					requireHidden(fmt.Sprintf("%v\n%+v\n%#v\n%s\n%q", v, v, v, v, v))
				}
			}
			if b, err := json.Marshal(v); err == nil {
				requireHidden(string(b))
			}
		}
		requireHidden(w.log.String())
		require.NoError(t, w.DeleteEndpoint(t.Context(), ep.ID))
		see(w.Endpoint(t.Context(), ep.ID))
		requireHidden(fmt.Sprintf("%#v", everything[len(everything)-1]))
	})
}

func TestTestAndLiveDoNotMix(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		ctx := t.Context()
		receiver := w.receiver("shop.example")
		live, test, stranger := w.For("acme", store.Live), w.For("acme", store.Test), w.For("other", store.Live)
		liveEp, liveSecret := w.endpointAndSecret(live, "shop.example")
		testEp, testSecret := w.endpointAndSecret(test, "shop.example") // the URL is free in the other mode
		require.NotEqual(t, liveEp.ID, testEp.ID)
		require.False(t, liveSecret.Equal(testSecret))
		w.endpoint(stranger, "stranger.example")

		for _, tenant := range []*sender.Tenant{live, test} {
			receipt, err := tenant.Send(ctx, sender.Event{ID: "evt_1", Type: "payment.succeeded", Data: tenant.Scope().Mode.String()})
			require.NoError(t, err)
			require.False(t, receipt.Duplicate, "an id is taken only in its own mode")
			require.Equal(t, 1, receipt.Deliveries)
		}
		w.pass(0)
		require.Equal(t, 2, receiver.Count())
		require.Zero(t, w.receiver("stranger.example").Count())
		for _, r := range receiver.Requests() {
			secret := liveSecret
			if string(decode(t, r).Data) == `"test"` {
				secret = testSecret
			}
			v, err := verifier.New(secret.Reveal(), nil)
			require.NoError(t, err)
			_, err = v.ConstructEvent(r.Body, r.Header)
			require.NoError(t, err)
		}

		receipt, err := live.Send(ctx, sender.Event{ID: "evt_live_only", Type: "payment.succeeded"})
		require.NoError(t, err)
		w.pass(0)
		for _, blind := range []*sender.Tenant{test, stranger, &w.Tenant} {
			for _, err := range []error{
				second(blind.Endpoint(ctx, liveEp.ID)),
				second(blind.EditEndpoint(ctx, liveEp.ID, sender.EndpointEdit{Description: ptr("x")})),
				second(blind.DisableEndpoint(ctx, liveEp.ID, "")),
				second(blind.EnableEndpoint(ctx, liveEp.ID)),
				second(blind.EndpointHistory(ctx, liveEp.ID)),
				second(blind.SendTest(ctx, liveEp.ID)),
				blind.DeleteEndpoint(ctx, liveEp.ID),
				second(blind.Event(ctx, receipt.ID)),
				second(blind.Explain(ctx, receipt.ID, liveEp.ID)),
				second(blind.Explain(ctx, receipt.ID, testEp.ID)),
				second(blind.Replay(ctx, receipt.ID, liveEp.ID)),
				second(blind.Replay(ctx, receipt.ID, testEp.ID)),
				blind.Cancel(ctx, w.delivery(live, receipt.ID, liveEp).ID, ""),
			} {
				require.ErrorIs(t, err, store.ErrNotFound)
			}
			_, _, err = blind.Delivery(ctx, w.delivery(live, receipt.ID, liveEp).ID)
			require.ErrorIs(t, err, store.ErrNotFound)
			events, err := blind.Events(ctx, store.EventQuery{})
			require.NoError(t, err)
			for _, e := range events {
				require.Equal(t, blind.Scope(), e.Scope)
			}
			deliveries, err := blind.Deliveries(ctx, store.DeliveryQuery{})
			require.NoError(t, err)
			for _, d := range deliveries {
				require.Equal(t, blind.Scope(), d.Scope)
			}
			endpoints, err := blind.Endpoints(ctx, store.EndpointQuery{})
			require.NoError(t, err)
			for _, ep := range endpoints {
				require.Equal(t, blind.Scope(), ep.Scope)
			}
		}
		require.Equal(t, liveEp.Version, w.current(live, liveEp).Version, "nobody touched it")
	})
}

func TestModeOfKey(t *testing.T) {
	for key, want := range map[string]store.Mode{
		"sk_test_4eC39Hq": store.Test, "sk_live_4eC39Hq": store.Live, "pk_test_a_b": store.Test, "rk_live_": store.Live,
		"": 0, "sk": 0, "sk_test": 0, "sk_Live_x": 0, "sk_prod_x": 0, "test_sk_x": 0, "__": 0,
	} {
		mode, err := sender.ModeOfKey(key)
		require.Equal(t, want, mode, key)
		if want == 0 {
			require.ErrorIs(t, err, store.ErrInvalid, key)
		} else {
			require.NoError(t, err, key)
		}
	}
	_, err := sender.ModeOfKey("sk_4eC39HqLyjWDarjtT1zdp7dc")
	require.NotContains(t, err.Error(), "4eC39", "a key is a secret")
}

// "Failed deliveries are visible in the delivery log. You can manually replay any
// event from there."
func TestFailedDeliveriesAreInTheLogAndReplayed(t *testing.T) {
	inBubble(t, sender.Options{}, func(t *testing.T, w *world) {
		receiver := w.receiver("shop.example", sendertest.Answer{Status: 500, Body: "database is down", Header: http.Header{"X-Trace": {"abc"}}})
		ep := w.endpoint(&w.Tenant, "shop.example")
		id := w.send(&w.Tenant, "payment.succeeded")
		w.pass(73 * time.Hour)

		failed, err := w.Deliveries(t.Context(), store.DeliveryQuery{States: []store.State{store.Exhausted}})
		require.NoError(t, err)
		require.Len(t, failed, 1)
		require.Equal(t, id, failed[0].EventID)
		attempts := w.attempts(&w.Tenant, id, ep)
		require.Equal(t, "database is down", string(attempts[0].ResponseBody))
		require.Contains(t, string(attempts[0].ResponseHeader), "X-Trace: abc")

		receiver.Script(sendertest.Status(200))
		n := receiver.Count()
		again, err := w.Replay(t.Context(), id, ep.ID)
		require.NoError(t, err)
		w.pass(0)
		require.Equal(t, n+1, receiver.Count())
		require.Equal(t, receiver.Requests()[0].Body, receiver.Requests()[n].Body, "the same event, byte for byte")
		d, attempts, err := w.Delivery(t.Context(), again)
		require.NoError(t, err)
		require.Equal(t, store.Delivered, d.State)
		require.Len(t, attempts, 1)
	})
}
