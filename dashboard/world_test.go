package dashboard

import (
	"encoding/json"
	"html"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// world is a Dashboard on a started Sender whose requests never reach a network.
type world struct {
	*testing.T
	hooks    *sender.Sender
	acme     *sender.Tenant // whom the visitor belongs to, in test mode
	receiver *sendertest.Transport
	pages    *Dashboard
	access   Access
}

var (
	acmeTest = store.Scope{Tenant: "acme", Mode: store.Test}
	acmeLive = store.Scope{Tenant: "acme", Mode: store.Live}
)

// full is what the visitor has unless a test says otherwise.
func full() Access {
	return Access{Actor: "ann@example.com", Accounts: []Account{
		{Tenant: "acme", Mode: store.Live, Name: "Acme Ltd", Rights: AllRights},
		{Tenant: "acme", Mode: store.Test, Name: "Acme Ltd", Rights: AllRights},
	}}
}

var catalogue = []sender.EventType{
	{Name: "payment.succeeded", Resource: "Payments", Description: "A payment went through.", Recommended: true, Example: map[string]int{"amount": 5000}},
	{Name: "payment.failed", Resource: "Payments", Recommended: true},
	{Name: "payment.disputed", Resource: "Payments"},
	{Name: "customer.created", Resource: "Customers", Recommended: true},
	{Name: "payout.paid", Resource: "Payouts", Example: json.RawMessage(`{"<b>": 1e2}`)},
}

// inWorld runs f in a bubble of fake time.
func inWorld(t *testing.T, o sender.Options, f func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, receiver: sendertest.NewTransport(), access: full()}
		o.HTTP.WrapTransport = w.receiver.Wrap
		if o.Schedule == nil {
			o.Schedule = retry.Steps(time.Minute, time.Minute)
		}
		o.Logger = slog.New(slog.DiscardHandler)
		var err error
		w.hooks, err = sender.New(memory.New(), &o)
		require.NoError(t, err)
		require.NoError(t, w.hooks.Start(t.Context()))
		w.acme = w.hooks.For("acme", store.Test)
		w.pages, err = New(w.hooks, func(*http.Request) (Access, error) { return w.access, nil }, &Options{Logger: o.Logger})
		require.NoError(t, err)
		defer func() {
			w.pages.Close()
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

// do makes a request as a browser does from a page of the handler's own.
func (w *world) do(method, path string, form url.Values) answer {
	w.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, path, body)
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}
	return serve(w.pages, r)
}

func serve(h http.Handler, r *http.Request) answer {
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return answer{rec.Code, rec.Result().Header, rec.Body.String()}
}

// get returns a page of the account, which must be there.
func (w *world) get(path string) answer {
	w.Helper()
	a := w.do(http.MethodGet, "/"+desk.Segment(acmeTest)+"/"+path, nil)
	require.Equal(w, http.StatusOK, a.Status, "%s: %s", path, a.Body)
	return a
}

// post sends a form of the account's.
func (w *world) post(path string, form url.Values) answer {
	w.Helper()
	return w.do(http.MethodPost, "/"+desk.Segment(acmeTest)+"/"+path, form)
}

// follow sends a form that must redirect and returns the page it leads to.
func (w *world) follow(path string, form url.Values) answer {
	w.Helper()
	a := w.post(path, form)
	require.Equal(w, http.StatusSeeOther, a.Status, "%s: %s", path, a.Body)
	from := &url.URL{Path: "/" + desk.Segment(acmeTest) + "/" + path}
	to, err := from.Parse(a.Header.Get("Location"))
	require.NoError(w, err)
	return w.do(http.MethodGet, to.String(), nil)
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

// delivery returns the newest delivery that a query finds.
func (w *world) delivery(q store.DeliveryQuery) store.Delivery {
	w.Helper()
	list, err := w.acme.Deliveries(w.Context(), q)
	require.NoError(w, err)
	require.NotEmpty(w, list)
	return list[0]
}

var (
	tagForm   = regexp.MustCompile(`<[^>]*>`)
	spaceForm = regexp.MustCompile(`\s+`)
)

// text is what a page says, without its tags.
func (a answer) text() string {
	return strings.TrimSpace(spaceForm.ReplaceAllString(html.UnescapeString(tagForm.ReplaceAllString(a.Body, " ")), " "))
}

// ofEndpoint selects the deliveries of an endpoint.
func ofEndpoint(ep store.Endpoint) store.DeliveryQuery { return store.DeliveryQuery{EndpointID: ep.ID} }
