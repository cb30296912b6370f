package dashboard

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

func TestNew(t *testing.T) {
	hooks, err := sender.New(memory.New(), nil)
	require.NoError(t, err)
	allow := func(*http.Request) (Access, error) { return full(), nil }
	_, err = New(hooks, nil, nil)
	require.ErrorIs(t, err, ErrNoAuthorize)
	_, err = New(nil, allow, nil)
	require.ErrorIs(t, err, ErrNoSender)
	_, err = New(hooks, allow, &Options{TrustedOrigins: []string{"example.com"}})
	require.ErrorContains(t, err, "TrustedOrigins")
	pages, err := New(hooks, allow, nil)
	require.NoError(t, err)
	pages.Close()
	pages.Close()
}

func TestDenied(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		hooks := w.hooks
		wrong := errors.New("session expired")
		for name, c := range map[string]struct {
			access Access
			err    error
		}{
			"error":       {full(), wrong},
			"no accounts": {Access{Actor: "ann"}, nil},
		} {
			var told error
			seen := false
			authorize := func(*http.Request) (Access, error) { return c.access, c.err }
			pages, err := New(hooks, authorize, nil)
			require.NoError(w, err)
			own, err := New(hooks, authorize, &Options{Denied: func(w http.ResponseWriter, _ *http.Request, err error) {
				told, seen = err, true
				w.WriteHeader(http.StatusUnauthorized)
			}})
			require.NoError(w, err)
			for pattern := range pages.patterns() {
				r := requestOf(pattern, desk.Segment(acmeTest), "x", nil)
				a := serve(pages, r)
				require.Equal(w, http.StatusForbidden, a.Status, "%s: %s", name, pattern)
				require.Equal(w, "Forbidden\n", a.Body)
				told, seen = nil, false
				require.Equal(w, http.StatusUnauthorized, serve(own, r).Status)
				require.True(w, seen)
				require.Equal(w, c.err, told)
			}
		}
	})
}

// patterns are all routes, the first page included.
func (d *Dashboard) patterns() map[string]bool {
	list := map[string]bool{"GET /{$}": true}
	for pattern := range pages {
		list[pattern] = true
	}
	return list
}

// requestOf makes a request of a route with this account and id. Forms carry the
// id in every field that could name something.
func requestOf(pattern, account, id string, form url.Values) *http.Request {
	method, path, _ := strings.Cut(pattern, " ")
	path = strings.NewReplacer("{account}", account, "{id}", id, "{$}", "").Replace(path)
	var r *http.Request
	if method == http.MethodPost {
		r = httptest.NewRequest(method, path, strings.NewReader(form.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	} else {
		r = httptest.NewRequest(method, path+"?"+form.Encode(), nil)
	}
	return r
}

// things are one of each thing that has an id.
type things struct {
	scope              store.Scope
	endpoint, disabled string
	event              string
	delivery           store.DeliveryID
	recovery           string
}

// make fills a scope.
func (w *world) things(scope store.Scope) things {
	w.Helper()
	tenant, ctx := w.hooks.For(scope.Tenant, scope.Mode), w.Context()
	mine := things{scope: scope}
	host := strings.ReplaceAll(desk.Segment(scope), "~", ".")
	w.receiver.Script(sendertest.Answer{Status: 500, Body: "only for " + host})
	ep, _, err := tenant.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://" + host + ".example.com/hooks", EventTypes: []string{"*"}, NoTestEvent: true})
	require.NoError(w, err)
	off, _, err := tenant.CreateEndpoint(ctx, sender.EndpointSpec{URL: "https://off." + host + ".example.com", EventTypes: []string{"*"}, Disabled: true})
	require.NoError(w, err)
	receipt, err := tenant.Send(ctx, sender.Event{Type: "payment.succeeded", Data: "secret of " + host, Refs: []string{"ref." + host}})
	require.NoError(w, err)
	synctest.Wait()
	list, err := tenant.Deliveries(ctx, store.DeliveryQuery{})
	require.NoError(w, err)
	require.Len(w, list, 1)
	mine.endpoint, mine.disabled, mine.event, mine.delivery = ep.ID, off.ID, receipt.ID, list[0].ID
	mine.recovery, err = w.pages.office.Desk("ann", scope, desk.Replay).StartRecovery(ctx, sender.Recovery{Type: "none.such"})
	require.NoError(w, err)
	synctest.Wait()
	return mine
}

// state is all that a scope holds, to see that nothing of it has changed.
func (w *world) state(scope store.Scope) []any {
	w.Helper()
	tenant, ctx := w.hooks.For(scope.Tenant, scope.Mode), w.Context()
	endpoints, err := tenant.Endpoints(ctx, store.EndpointQuery{States: []store.EndpointState{store.Enabled, store.Disabled, store.Deleted}})
	require.NoError(w, err)
	events, err := tenant.Events(ctx, store.EventQuery{})
	require.NoError(w, err)
	deliveries, err := tenant.Deliveries(ctx, store.DeliveryQuery{})
	require.NoError(w, err)
	return []any{endpoints, events, deliveries}
}

// Every route, asked for what is another tenant's or the other mode's, must answer
// as if it did not exist, and do nothing.
func TestForeignThings(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		scopes := []store.Scope{acmeLive, {Tenant: "globex", Mode: store.Test}, {Mode: store.Test}, {Tenant: "ACME", Mode: store.Test}, {Tenant: "acme~", Mode: store.Test}}
		w.access = Access{Actor: "ann", Accounts: []Account{{Tenant: "acme", Mode: store.Test, Rights: AllRights}}}
		for _, scope := range scopes {
			theirs := w.things(scope)
			mark := strings.ReplaceAll(desk.Segment(scope), "~", ".")
			before, mine := w.state(scope), w.state(acmeTest)
			asked := 0
			ask := func(pattern, account, id string, form url.Values, missing bool) {
				w.Helper()
				asked++
				a := serve(w.pages, requestOf(pattern, account, id, form))
				if missing {
					require.Equal(w, http.StatusNotFound, a.Status, "%s %s %s %v: %s", pattern, account, id, form, a.Body)
				}
				for _, theirs := range []string{mark + ".example.com", "secret of " + mark, "only for " + mark, "ref." + mark + "\""} {
					require.NotContains(w, a.Body, theirs, "%s %s %s %v", pattern, account, id, form)
				}
			}
			ids := []string{theirs.endpoint, theirs.disabled, theirs.event, theirs.delivery.String(), theirs.recovery}
			for pattern := range pages {
				if !strings.Contains(pattern, "{account}") {
					continue
				}
				for _, id := range append(ids, own.endpoint, own.event, own.delivery.String()) {
					ask(pattern, desk.Segment(scope), id, url.Values{"endpoint": {own.endpoint}}, true)
				}
				// Under the own account, with their ids in the path and in every field.
				for _, id := range ids {
					for _, inForm := range ids {
						form := url.Values{"endpoint": {inForm}, "event": {inForm}, "why": {inForm}, "before": {theirs.delivery.String()}, "q": {mark}}
						ask(pattern, desk.Segment(acmeTest), id, form, strings.Contains(pattern, "{id}"))
					}
				}
			}
			// Their endpoint with what is one's own.
			replay := serve(w.pages, requestOf("POST /{account}/events/{id}/replay", desk.Segment(acmeTest), own.event, url.Values{"endpoint": {theirs.endpoint}}))
			require.Equal(w, http.StatusNotFound, replay.Status)
			start := serve(w.pages, requestOf("POST /{account}/recover", desk.Segment(acmeTest), "", url.Values{"endpoint": {theirs.endpoint}}))
			require.Equal(w, http.StatusNotFound, start.Status)
			require.Greater(w, asked, 500)
			require.Equal(w, before, w.state(scope), "nothing of theirs has changed")
			require.Equal(w, mine, w.state(acmeTest), "nor anything else")
		}
	})
}

// Who may only read gets every page that changes nothing, and no other.
func TestReadOnly(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		own := w.things(acmeTest)
		rights := map[string]Rights{
			"POST /{account}/endpoints": Manage, "GET /{account}/endpoints/new": Manage,
			"GET /{account}/endpoints/{id}/edit": Manage, "POST /{account}/endpoints/{id}/edit": Manage,
			"GET /{account}/endpoints/{id}/disable": Manage, "POST /{account}/endpoints/{id}/disable": Manage,
			"POST /{account}/endpoints/{id}/enable": Manage,
			"GET /{account}/endpoints/{id}/delete":  Manage, "POST /{account}/endpoints/{id}/delete": Manage,
			"POST /{account}/endpoints/{id}/test":    Manage,
			"GET /{account}/endpoints/{id}/rotate":   RotateSecrets,
			"POST /{account}/endpoints/{id}/rotate":  RotateSecrets,
			"POST /{account}/endpoints/{id}/revoke":  RotateSecrets,
			"POST /{account}/deliveries/{id}/cancel": Replay, "POST /{account}/events/{id}/replay": Replay,
			"POST /{account}/recover": Replay, "POST /{account}/recover/{id}/cancel": Replay,
		}
		before := w.state(acmeTest)
		for pattern := range pages {
			if strings.HasPrefix(pattern, "POST") {
				require.Contains(w, rights, pattern, "every change needs a right")
			}
			id := own.endpoint
			for part, other := range map[string]string{"/events/": own.event, "/deliveries/": own.delivery.String(), "/recover/": own.recovery} {
				if strings.Contains(pattern, part) {
					id = other
				}
			}
			for has := range AllRights + 1 {
				if has&rights[pattern] == rights[pattern] && rights[pattern] != 0 {
					continue
				}
				w.access.Accounts[1].Rights = has
				form := url.Values{"url": {"https://new.example.com"}, "all": {"1"}, "endpoint": {own.endpoint}}
				a := serve(w.pages, requestOf(pattern, desk.Segment(acmeTest), id, form))
				if rights[pattern] == 0 {
					require.Less(w, a.Status, 400, "%s: %s", pattern, a.Body)
					for pattern, needs := range rights {
						_, path, _ := strings.Cut(pattern, " ")
						if has&needs == 0 && strings.HasPrefix(pattern, "POST") && !strings.HasSuffix(path, "{account}/recover") && !strings.HasSuffix(path, "{account}/endpoints") {
							require.NotContains(w, a.Body, path[strings.LastIndex(path, "/"):]+`"><button`, "no button for what is not allowed")
						}
					}
					continue
				}
				require.Equal(w, http.StatusForbidden, a.Status, "%s with %b: %s", pattern, has, a.Body)
				require.Contains(w, a.text(), "You may look at this but not change it.")
			}
		}
		require.Equal(w, before, w.state(acmeTest))
	})
}

// A secret is in the answer to the POST that made it, which nobody keeps, and in no
// page.
func TestSecretsAreShownOnce(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		own := w.things(acmeTest)
		imported := signing.NewSecret()
		ep, _, err := w.acme.CreateEndpoint(w.Context(), sender.EndpointSpec{URL: "https://imported.example.com", EventTypes: []string{"*"}, Secret: imported})
		require.NoError(w, err)
		a := w.post("endpoints", url.Values{"url": {"https://new.example.com/hooks"}, "all": {"1"}})
		require.Equal(w, http.StatusOK, a.Status)
		require.Equal(w, 1, strings.Count(a.Body, "whsec_"))
		require.Contains(w, a.text(), "Webhook signing secret")
		require.Contains(w, a.text(), "It will not be shown again.")
		require.Equal(w, "no-store", a.Header.Get("Cache-Control"))
		require.NotContains(w, a.Body, imported.Reveal())
		synctest.Wait()

		d := w.delivery(store.DeliveryQuery{EndpointID: ep.ID})
		asked := 0
		for pattern := range w.pages.patterns() {
			if strings.HasPrefix(pattern, "POST") {
				continue
			}
			for _, id := range []string{ep.ID, own.endpoint, own.event, d.EventID, d.ID.String(), own.recovery} {
				a := serve(w.pages, requestOf(pattern, desk.Segment(acmeTest), id, url.Values{}))
				asked++
				require.NotContains(w, a.Body, "whsec_", "%s %s", pattern, id)
				require.NotContains(w, a.Body, imported.Reveal()[10:], "%s %s", pattern, id)
				require.Equal(w, "no-store", a.Header.Get("Cache-Control"), "payloads are nobody else's either")
			}
		}
		require.Greater(w, asked, 50)
	})
}

// A form of another site's does nothing.
func TestCrossOrigin(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		own := w.things(acmeTest)
		before := w.state(acmeTest)
		for pattern := range pages {
			for _, header := range []http.Header{
				{"Sec-Fetch-Site": {"cross-site"}},
				{"Sec-Fetch-Site": {"same-site"}},
				{"Origin": {"https://evil.example"}},
				{"Origin": {"null"}},
			} {
				r := requestOf(pattern, desk.Segment(acmeTest), own.endpoint, url.Values{"url": {"https://new.example.com"}, "all": {"1"}})
				r.Header.Del("Sec-Fetch-Site")
				for name, values := range header {
					r.Header[name] = values
				}
				a := serve(w.pages, r)
				if r.Method == http.MethodPost {
					require.Equal(w, http.StatusForbidden, a.Status, "%s %v", pattern, header)
				}
			}
			// Only the method of the pattern does it.
			r := requestOf(pattern, desk.Segment(acmeTest), own.endpoint, nil)
			if r.Method == http.MethodPost && pages["GET"+strings.TrimPrefix(pattern, "POST")].do == nil {
				r.Method = http.MethodGet
				require.Equal(w, http.StatusMethodNotAllowed, serve(w.pages, r).Status, pattern)
			}
		}
		require.Equal(w, before, w.state(acmeTest))

		trusting, err := New(w.hooks, w.pages.authorize, &Options{TrustedOrigins: []string{"https://admin.example.com"}})
		require.NoError(w, err)
		r := requestOf("POST /{account}/endpoints/{id}/disable", desk.Segment(acmeTest), own.endpoint, nil)
		r.Header = http.Header{"Origin": {"https://admin.example.com"}, "Content-Type": r.Header["Content-Type"]}
		require.Equal(w, http.StatusSeeOther, serve(trusting, r).Status)
	})
}

// What only the application sets is told too, of headers their names.
func TestHistoryTellsAllThatChanged(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com", "*")
		timeout := 7 * time.Second
		_, err := w.acme.EditEndpoint(w.Context(), ep.ID, sender.EndpointEdit{
			Timeout: &timeout, Headers: sender.Headers{"Authorization": sender.Value("Bearer of-a-secret")}, Metadata: map[string]string{"plan": "gold"},
		})
		require.NoError(w, err)
		page := w.get("endpoints/" + ep.ID)
		require.Contains(w, page.text(), "Timeout 7s Headers Authorization plan gold")
		require.Contains(w, page.text(), "Timeout: 7s Headers: Authorization Metadata: plan=gold")
		require.NotContains(w, page.Body, "of-a-secret")
	})
}

func TestActorIsInTheHistory(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com", "*")
		w.follow("endpoints/"+ep.ID+"/disable", url.Values{"reason": {"maintenance"}})
		history, err := w.acme.EndpointHistory(w.Context(), ep.ID)
		require.NoError(w, err)
		require.Len(w, history, 2)
		require.Equal(w, "ann@example.com", history[1].Actor)
		require.Equal(w, "maintenance", history[1].New.Reason)
		require.Contains(w, w.get("endpoints/"+ep.ID).text(), "disabled by ann@example.com")
	})
}
