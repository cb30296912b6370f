package api

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// world is an API on a started Sender whose requests never reach a network. Every
// answer is held against openapi.json.
type world struct {
	*testing.T
	doc      *document
	hooks    *sender.Sender
	acme     *sender.Tenant // whom the caller belongs to, in test mode
	receiver *sendertest.Transport
	api      *API
	access   dashboard.Access
	done     map[string]bool // ids of the operations that succeeded
}

var (
	acmeTest = store.Scope{Tenant: "acme", Mode: store.Test}
	acmeLive = store.Scope{Tenant: "acme", Mode: store.Live}
)

// account is the path of the caller's account in test mode.
const account = "/accounts/test~acme"

var catalogue = []sender.EventType{
	{Name: "payment.succeeded", Resource: "Payments", Description: "A payment went through.", Recommended: true, Example: map[string]int{"amount": 5000}},
	{Name: "payment.failed"},
	{Name: "payout.paid", Resource: "Payouts", Example: json.RawMessage(`{"<b>": 1e2}`)},
	{Name: "payout.failed", Example: []byte(`[1]`)},
}

// inWorld runs f in a bubble of fake time.
func inWorld(t *testing.T, o sender.Options, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, doc: readDocument(t), receiver: sendertest.NewTransport(), done: map[string]bool{}}
		w.access = dashboard.Access{Actor: "ann@example.com", Accounts: []dashboard.Account{
			{Tenant: "acme", Mode: store.Live, Name: "Acme Ltd", Rights: dashboard.AllRights},
			{Tenant: "acme", Mode: store.Test, Name: "Acme Ltd", Rights: dashboard.AllRights},
		}}
		o.HTTP.WrapTransport = w.receiver.Wrap
		o.Schedule = retry.Steps(time.Minute, time.Minute)
		o.Logger = slog.New(slog.DiscardHandler)
		var err error
		w.hooks, err = sender.New(memory.New(), &o)
		require.NoError(t, err)
		require.NoError(t, w.hooks.Start(t.Context()))
		w.acme = w.hooks.For("acme", store.Test)
		w.api, err = New(w.hooks, func(*http.Request) (dashboard.Access, error) { return w.access, nil }, &Options{Logger: o.Logger})
		require.NoError(t, err)
		defer func() {
			w.api.Close()
			require.NoError(t, w.hooks.Stop(t.Context()))
		}()
		f(w)
	})
}

// answer is what a request got.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// problem reads an answer that must be one.
func (a answer) problem(t testing.TB) (p problem) {
	t.Helper()
	require.Equal(t, "application/problem+json", a.Header.Get("Content-Type"), a.Body)
	require.NoError(t, json.Unmarshal([]byte(a.Body), &p))
	require.Equal(t, a.Status, p.Status)
	return p
}

// request makes one as a program does that is no browser.
func request(method, path, body string) *http.Request {
	var from io.Reader
	if body != "" {
		from = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, from)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	return r
}

func serve(h http.Handler, r *http.Request) answer {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Result().Header, rec.Body.String()}
}

// do makes a request and holds the answer against openapi.json.
func (w *world) do(method, path, body string) answer {
	w.Helper()
	return w.serve(request(method, path, body))
}

func (w *world) serve(r *http.Request) answer {
	w.Helper()
	_, pattern := w.api.mux.Handler(r)
	a := serve(w.api, r)
	w.doc.check(w, r.Method, pattern, a)
	if op := w.doc.Paths[pattern].operation(r.Method); op != nil && a.Status < 300 {
		w.done[op.ID] = true
	}
	return a
}

// must makes a request that succeeds and returns what it answered.
func (w *world) must(method, path, body string) map[string]any {
	w.Helper()
	a := w.do(method, path, body)
	require.Less(w, a.Status, 300, "%s %s: %s", method, path, a.Body)
	return decode(w, a)
}

func decode(t testing.TB, a answer) (v map[string]any) {
	t.Helper()
	if a.Body != "" {
		require.NoError(t, json.Unmarshal([]byte(a.Body), &v), a.Body)
	}
	return v
}

// data returns the elements of a page.
func data(page map[string]any) (list []map[string]any) {
	for _, v := range page["data"].([]any) {
		list = append(list, v.(map[string]any))
	}
	return list
}

// endpoint registers one that gets no test event.
func (w *world) endpoint(rawURL string, types ...string) store.Endpoint {
	w.Helper()
	ep, _, err := w.acme.CreateEndpoint(w.Context(), sender.EndpointSpec{URL: rawURL, EventTypes: types, NoTestEvent: true})
	require.NoError(w, err)
	return ep
}

// send sends an event and waits until the first attempts are over.
func (w *world) send(e sender.Event) string {
	w.Helper()
	receipt, err := w.acme.Send(w.Context(), e)
	require.NoError(w, err)
	synctest.Wait()
	return receipt.ID
}

// things are one of each thing that has an id.
type things struct {
	endpoint, disabled, event, delivery, recovery, secret string
}

// things fills a scope.
func (w *world) things(scope store.Scope) things {
	w.Helper()
	tenant, ctx := w.hooks.For(scope.Tenant, scope.Mode), w.Context()
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
	recovery, err := w.api.office.Desk("ann", scope, desk.Replay).StartRecovery(ctx, sender.Recovery{Type: "none.such"})
	require.NoError(w, err)
	synctest.Wait()
	return things{ep.ID, off.ID, receipt.ID, list[0].ID.String(), recovery, ep.Secrets[0].ID}
}

// pathOf fills in the path of an operation with what of things it is about.
func (x things) pathOf(path, account string) string {
	id := x.endpoint
	for part, other := range map[string]string{"/events/": x.event, "/deliveries/": x.delivery, "/recoveries/": x.recovery} {
		if strings.Contains(path, part) {
			id = other
		}
	}
	return strings.NewReplacer("{account}", account, "{id}", id, "{secret}", x.secret).Replace(path)
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
