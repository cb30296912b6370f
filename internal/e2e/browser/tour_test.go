package browser

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/page"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// customers are servers by their host, 200 where there is none. No request leaves
// the process.
type customers map[string]func() (status int, body string)

func (c customers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := http.StatusOK, ""
	if answer, ok := c[r.URL.Hostname()]; ok {
		status, body = answer()
	}
	time.Sleep(20 * time.Millisecond) // as a network would take, for the charts
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}, "Server": {"nginx"}}, Body: io.NopCloser(strings.NewReader(body)),
	}, nil
}

// newTour is a world with something to see on every page.
func newTour(t *testing.T) *world {
	t.Helper()
	var calls atomic.Int64
	servers := customers{
		"warehouse.example": func() (int, string) {
			if calls.Add(1)%4 == 0 {
				return 503, `{"error":"deadlock detected","hint":"try again"}`
			}
			return 200, ""
		},
		"integrations.a-company-with-a-rather-long-name.example": func() (int, string) {
			return 404, "<!doctype html><script>alert('not run')</script><h1>No such page</h1>\x00\x1b[31m"
		},
		"staging.example": func() (int, string) { return 500, "<h1>Internal Server Error</h1>" },
	}
	w := newWorld(t, func(o *sender.Options, a *dashboard.Access) {
		o.HTTP.WrapTransport = func(http.RoundTripper) http.RoundTripper { return servers }
		o.Schedule = retry.Steps(time.Millisecond, time.Millisecond)
		o.Schedules = map[string]retry.Schedule{"hourly": retry.Steps(time.Hour)}
		a.Accounts = append(a.Accounts, dashboard.Account{Tenant: "globex", Name: "Globex Corporation", Mode: store.Live})
	})
	w.customer(sender.EndpointSpec{URL: "https://shop.example/webhooks", EventTypes: []string{"*"}, Description: "The shop"})
	w.customer(sender.EndpointSpec{URL: "https://warehouse.example/hooks/payments", EventTypes: []string{"payment.succeeded", "payment.failed", "payment.expired"}, Description: "Packs what was paid"})
	old := w.customer(sender.EndpointSpec{URL: "https://old.example/webhooks.php", EventTypes: []string{"payment.succeeded", "payment.failed"}, Description: "Until the move"})
	w.settled()
	_, err := w.live.DisableEndpoint(t.Context(), old.ID, "moved to the new shop")
	require.NoError(t, err)
	w.customer(sender.EndpointSpec{URL: "https://staging.example/hooks", EventTypes: []string{"payment.disputed"}, Schedule: "hourly"})
	w.customer(sender.EndpointSpec{
		URL:        "https://integrations.a-company-with-a-rather-long-name.example/mailing-list-of-the-marketing-department/webhooks/handler",
		EventTypes: []string{"customer.created"}, Metadata: map[string]string{"team": "marketing"},
	})
	for i := range 25 {
		w.customer(sender.EndpointSpec{URL: fmt.Sprintf("https://partner-%d.example/hooks", i), EventTypes: []string{"payout.paid"}})
	}
	for i := range 16 {
		for j, eventType := range []string{"payment.succeeded", "payment.failed", "customer.created", "payment.expired"} {
			w.send(eventType, object{"id": fmt.Sprintf("pay_%d", 4*i+j), "amount": 5000, "currency": "GHS", "note": "<b>paid</b>"}, fmt.Sprintf("order_%d", i), fmt.Sprintf("cus_%d", j))
		}
	}
	w.send("payment.disputed", object{"id": "pay_1", "amount": 5000}, "order_1")
	w.until("all but the dispute are settled", func() bool {
		list, err := w.live.Deliveries(t.Context(), store.DeliveryQuery{States: []store.State{store.Pending}, Limit: 3})
		require.NoError(t, err)
		return len(list) == 1 && !list[0].InFlight && list[0].Attempts > 0
	})
	return w
}

func (w *world) customer(spec sender.EndpointSpec) store.Endpoint {
	w.Helper()
	ep, _, err := w.live.CreateEndpoint(sender.WithActor(w.Context(), "ann@example.com"), spec)
	require.NoError(w, err)
	return ep
}

// delivery is the newest one of a type in a state.
func (w *world) delivery(eventType string, state store.State) store.Delivery {
	w.Helper()
	list, err := w.live.Deliveries(w.Context(), store.DeliveryQuery{Type: eventType, States: []store.State{state}, Limit: 1})
	require.NoError(w, err)
	require.Len(w, list, 1, "%s %s", eventType, state)
	return list[0]
}

// Every kind of page, on a wide and a narrow screen, in light and dark: axe-core
// finds nothing serious, and the narrow one need not be scrolled sideways.
func TestEveryPageIsAccessible(t *testing.T) {
	if raceEnabled {
		t.Skip("one page after the other")
	}
	source := needAxe(t)
	w := newTour(t)
	good, bad, waiting := w.delivery("payment.succeeded", store.Delivered), w.delivery("customer.created", store.Exhausted), w.delivery("payment.disputed", store.Pending)
	old, err := w.live.Endpoints(t.Context(), store.EndpointQuery{Search: "old.example", Limit: 1})
	require.NoError(t, err)
	refused, err := w.live.Deliveries(t.Context(), store.DeliveryQuery{Type: "webhook.test", EndpointID: bad.EndpointID})
	require.NoError(t, err)
	b := w.blank()
	b.expect("status of 404") // the page that says so
	at := func(path string) func() { return func() { b.open("live~acme/" + path) } }
	for _, stop := range []struct {
		name string
		goTo func()
	}{
		{"accounts", func() { b.open("accounts") }},
		{"no endpoints", func() { b.open("test~acme/endpoints") }},
		{"endpoints", at("endpoints")},
		{"endpoint menu", func() {
			at("endpoints")()
			b.click("DisclosureTriangle", "Actions for https://warehouse.example/hooks/payments")
		}},
		{"endpoint not found", at("endpoints?q=nothing")},
		{"add endpoint", at("endpoints/new")},
		{"mistakes", func() { b.in("[role=dialog]").follow("button", "Add endpoint") }},
		{"all groups open", func() {
			at("endpoints/new")()
			value[int](b, "document.querySelectorAll('details').forEach((d) => { d.open = true }), 0")
			b.in(recommended+":has([value='payment.failed'])").click("checkbox", "Select all")
		}},
		{"secret", func() {
			at("endpoints/new")()
			b.fill("textbox", "Endpoint URL", fmt.Sprintf("https://new.example/hooks/%d", b.loads.Load()))
			b.click("checkbox", "All events those added later too")
			b.in("[role=dialog]").follow("button", "Add endpoint")
		}},
		{"endpoint", at("endpoints/" + w.delivery("payment.failed", store.Delivered).EndpointID)},
		{"endpoint failing", at("endpoints/" + bad.EndpointID)},
		{"endpoint disabled", at("endpoints/" + old[0].ID)},
		{"edit", at("endpoints/" + bad.EndpointID + "/edit")},
		{"disable", at("endpoints/" + waiting.EndpointID + "/disable")},
		{"delete", at("endpoints/" + bad.EndpointID + "/delete")},
		{"deliveries", at("deliveries")},
		{"deliveries filtered", at("deliveries?state=exhausted&ref=order_1&from=2020-01-01T00:00")},
		{"no deliveries", func() { b.open("test~acme/deliveries") }},
		{"wrong filter", at("deliveries?from=yesterday")},
		{"delivered", at("deliveries/" + good.ID.String())},
		{"exhausted", at("deliveries/" + bad.ID.String())},
		{"pending", at("deliveries/" + waiting.ID.String())},
		{"reached only", at("deliveries/" + refused[0].ID.String())},
		{"tests", at("deliveries?type=webhook.test")},
		{"events", at("events")},
		{"event", at("events/" + bad.EventID + "?why=" + bad.EndpointID)},
		{"recover", at("recover")},
		{"recover counted", at("recover?count=1")},
		{"recovery", func() {
			at("recover?count=1&rate=1")()
			b.follow("button", "Recover "+value[string](b, "document.querySelector('#found').innerText"))
			b.in("h1").sees("running")
		}},
		{"recoveries", func() {
			b.follow("button", "Cancel recovery")
			b.in("h1").sees("cancelled")
			at("recover")()
		}},
		{"types", func() {
			at("types")()
			b.in("details").click("DisclosureTriangle", "")
		}},
		{"not found", at("endpoints/ep_nothing")},
	} {
		b.screen(1280, "light")
		stop.goTo()
		world := b.prepareAxe(source)
		for _, width := range []int64{1280, 360} {
			for _, scheme := range []string{"light", "dark"} {
				b.screen(width, scheme)
				b.picture(fmt.Sprintf("%s %d %s", stop.name, width, scheme))
				if (width == 1280) == (scheme == "light") { // two of the four show it all
					require.Empty(t, b.violations(world), "%s, %d wide, %s", stop.name, width, scheme)
				}
			}
			scrolled := value[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth")
			require.Zero(t, scrolled, "%s, %d wide: so many pixels are beside the screen", stop.name, width)
		}
	}
}

// picture keeps a picture of the whole page, if HOOKPOST_SCREENSHOTS names a folder.
func (b *tab) picture(name string) {
	b.w.Helper()
	dir := os.Getenv("HOOKPOST_SCREENSHOTS")
	if dir == "" {
		return
	}
	require.NoError(b.w, os.MkdirAll(dir, 0o755))
	beyond := !value[bool](b, "!!document.querySelector('.overlay')")
	shot := call(b, page.CaptureScreenshot, page.CaptureScreenshotParams{CaptureBeyondViewport: &beyond, Clip: b.extent(beyond)})
	require.NoError(b.w, os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, " ", "-")+".png"), shot.Data, 0o644))
}

// extent is the size of the whole page, or of the screen.
func (b *tab) extent(whole bool) *page.Viewport {
	b.w.Helper()
	size := value[[2]float64](b, "[document.documentElement.clientWidth, document.documentElement.scrollHeight]")
	if !whole {
		size[1] = 800
	}
	return &page.Viewport{Width: size[0], Height: size[1], Scale: 1}
}
