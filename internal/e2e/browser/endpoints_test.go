package browser

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/verifier"
)

const (
	recommended = ".choices > .group"
	advanced    = ".advanced > .group"
)

func TestCreateEndpointWithThePicker(t *testing.T) {
	w := newWorld(t)
	b := w.visit("endpoints")
	b.sees("No webhook endpoints in live mode")
	b.follow("link", "Create webhook endpoint")
	panel := b.in("[role=dialog]")
	panel.sees("Select events to listen to", "Recommended", "Advanced")
	require.Equal(t, "url", value[string](b, "document.activeElement.id"), "the first field has the focus")

	// Payments are in both sections, and Advanced is closed at first.
	panel.lacks("Payouts")
	panel.click("DisclosureTriangle", "Advanced")
	panel.sees("Payouts")
	require.Equal(t, 2, value[int](b, "[...document.querySelectorAll('.group-name')].filter((e) => e.innerText === 'Payments').length"))

	// Select all follows its boxes and the other way round.
	payments := b.in(recommended + ":has([value='payment.failed'])")
	payments.click("checkbox", "Select all") // recommended groups are open
	payments.sees("2 of 2 events")
	require.True(t, payments.checked("payment.succeeded A payment went through."))
	payments.click("checkbox", "payment.failed A payment was declined.")
	payments.sees("1 of 2 events")
	require.False(t, payments.checked("Select all"))
	more := b.in(advanced + ":has([value='payment.disputed'])")
	more.click("DisclosureTriangle", "Payments 2 events")
	more.click("checkbox", "Select all")
	more.sees("2 of 2 events")

	panel.fill("textbox", "Endpoint URL", w.receiver.URL()+"/hooks")
	panel.fill("textbox", "Description optional", "Orders")
	panel.follow("button", "Add endpoint")
	b.sees("Webhook signing secret", "It will not be shown again")
	list, err := w.live.Endpoints(t.Context(), store.EndpointQuery{Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, w.receiver.URL()+"/hooks", list[0].URL)
	require.Equal(t, "Orders", list[0].Description)
	require.ElementsMatch(t, []string{"payment.succeeded", "payment.disputed", "payment.expired"}, list[0].EventTypes)
}

func TestMistakesAreShownAtTheirFields(t *testing.T) {
	w := newWorld(t)
	w.endpoint("/taken", "*")
	b := w.visit("endpoints/new")
	panel := b.in("[role=dialog]")
	panel.follow("button", "Add endpoint")
	b.in("#url-error").sees("")
	b.in("#types-error").sees("elect")

	panel.fill("textbox", "Endpoint URL", "not a url")
	panel.click("checkbox", "All events those added later too")
	panel.follow("button", "Add endpoint")
	b.in("#url-error").sees("space")
	b.in(".picker").lacks("Select at least")
	require.Equal(t, "not a url", panel.content("Endpoint URL"), "what was typed is kept")
	require.True(t, panel.checked("All events those added later too"))

	panel.fill("textbox", "Endpoint URL", w.receiver.URL()+"/taken")
	panel.follow("button", "Add endpoint")
	b.in("#url-error").sees("already")
	panel.fill("textbox", "Endpoint URL", w.receiver.URL()+"/free")
	panel.follow("button", "Add endpoint")
	b.sees("Webhook signing secret")
}

// A URL that can't be used is told when it has been entered.
func TestURLIsCheckedEarly(t *testing.T) {
	w := newWorld(t)
	w.endpoint("/taken", "*")
	b := w.visit("endpoints/new")
	panel := b.in("[role=dialog]")
	for _, c := range []struct{ url, problem string }{
		{"example.com", "begin with https://"},
		{w.receiver.URL() + "/taken", "already"},
	} {
		panel.fill("textbox", "Endpoint URL", c.url)
		b.press(kb.Tab)
		b.in("#url-error").sees(c.problem)
		require.Equal(t, "true", value[string](b, "document.getElementById('url').getAttribute('aria-invalid')"))
		panel.lacks("Select at least one event")
	}
	panel.fill("textbox", "Endpoint URL", w.receiver.URL()+"/free")
	b.press(kb.Tab)
	require.Eventually(t, func() bool { return value[bool](b, "!document.getElementById('url-error')") }, patience, 20*time.Millisecond)
	require.False(t, value[bool](b, "document.getElementById('url').hasAttribute('aria-invalid')"))
	w.only() // nothing was created
}

// The whole secret is seen, on narrow screens too.
func TestSecretFitsItsField(t *testing.T) {
	w := newWorld(t)
	for i, width := range []int64{1280, 360} {
		b := w.visit("endpoints/new")
		b.screen(width, "light")
		b.fill("textbox", "Endpoint URL", fmt.Sprint(w.receiver.URL(), "/", i))
		b.click("checkbox", "All events those added later too")
		b.follow("button", "Add endpoint")
		require.True(t, value[bool](b, "((f) => f.scrollWidth <= f.clientWidth && f.scrollHeight <= f.clientHeight)(document.getElementById('secret'))"), "%d wide", width)
	}
}

func TestSecretIsShownOnceAndCopied(t *testing.T) {
	w := newWorld(t)
	b := w.visit("endpoints/new")
	b.fill("textbox", "Endpoint URL", w.receiver.URL()+"/hooks")
	b.click("checkbox", "All events those added later too")
	b.follow("button", "Add endpoint")
	dialog := b.in("[role=dialog]")
	secret := dialog.content("Signing secret")
	require.Regexp(t, `^whsec_\S{30,}$`, secret)
	require.Equal(t, "secret", value[string](b, "document.activeElement.id"))

	b.allowClipboard()
	dialog.click("button", "Copy")
	dialog.has("button", "Copied")
	require.Equal(t, secret, b.clipboard())

	dialog.follow("link", "Done")
	b.sees("Enabled")
	for _, page := range []string{"endpoints", "endpoints/" + w.only().ID, "endpoints/" + w.only().ID + "/edit"} {
		b.open("live~acme/" + page)
		require.NotContains(t, value[string](b, "document.documentElement.outerHTML"), secret)
	}
	b.has("dialog", "Edit webhook")

	w.send("payment.succeeded", object{"amount": 5000})
	got := w.receiver.Wait(2)[1] // the first says that the endpoint is registered
	check, err := verifier.New(secret, nil)
	require.NoError(t, err)
	_, err = check.ConstructEvent(got.Body, got.Header)
	require.NoError(t, err, "it is the secret that requests are signed with")
}

// Everything that a row's menu offers.
func TestEditDisableEnableDelete(t *testing.T) {
	w := newWorld(t)
	ep := w.endpoint("/hooks", "payment.succeeded")
	b := w.visit("endpoints")
	menu := func() part {
		b.click("DisclosureTriangle", "Actions for "+ep.URL)
		return b.in(".menu-items")
	}

	menu().has("link", "Edit webhook")
	b.press(kb.Escape)
	require.False(t, value[bool](b, "document.querySelector('.menu').open"), "Escape closes the menu")

	menu().follow("link", "Edit webhook")
	panel := b.in("[role=dialog]")
	payments := b.in(recommended + ":has([value='payment.failed'])")
	require.True(t, payments.checked("payment.succeeded A payment went through."))
	payments.click("checkbox", "payment.failed A payment was declined.")
	panel.fill("textbox", "Description optional", "Orders")
	panel.follow("button", "Save changes")
	b.sees("The changes are saved", "payment.failed", "Orders", "by ann@example.com")
	require.ElementsMatch(t, []string{"payment.succeeded", "payment.failed"}, w.only().EventTypes)

	b.open("live~acme/endpoints")
	menu().follow("link", "Disable webhook")
	b.sees("Disable webhook?", ep.URL)
	b.fill("textbox", "Reason optional, shown in the list", "moving house")
	b.follow("button", "Disable webhook")
	b.sees("The endpoint is disabled.", "Disabled", "moving house")
	require.Equal(t, store.Disabled, w.only().State)

	menu().follow("button", "Enable webhook")
	b.sees("The endpoint is enabled.")
	require.Equal(t, store.Enabled, w.only().State)

	menu().follow("link", "Delete webhook")
	b.sees("Delete webhook?", "becomes invalid")
	b.follow("link", "Cancel")
	require.Equal(t, store.Enabled, w.only().State)
	b.follow("link", "Delete webhook")
	b.follow("button", "Delete webhook")
	b.sees("The endpoint is deleted.", "No webhook endpoints in live mode")
	list, err := w.live.Endpoints(t.Context(), store.EndpointQuery{Limit: 10})
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestSendTestEventAndSeeItsAnswer(t *testing.T) {
	w := newWorld(t)
	ep := w.endpoint("/hooks", "*")
	b := w.visit("endpoints/" + ep.ID)
	b.follow("button", "Send test event")
	b.sees("webhook.test", "HTTP 200", "delivered")

	w.receiver.Script(sendertest.Answer{Status: 503, Body: "down for repairs"})
	b.open("live~acme/endpoints/" + ep.ID)
	b.choose("Event", "payment.failed")
	b.follow("button", "Send test event")
	b.sees("payment.failed", "exhausted", "HTTP 503", "down for repairs")
	require.Contains(t, string(w.receiver.Wait(3)[2].Body), `"amount":5000`)
}

func TestSwitchBetweenTestAndLive(t *testing.T) {
	w := newWorld(t)
	w.endpoint("/live-hooks", "*")
	b := w.visit("endpoints")
	b.sees("/live-hooks")
	b.lacks("Test mode")
	b.follow("link", "Test")
	b.sees("Test mode: nothing here reaches live endpoints.", "No webhook endpoints in test mode")
	b.lacks("/live-hooks")
	b.follow("link", "Live")
	b.sees("/live-hooks")
}

func TestSearchEndpoints(t *testing.T) {
	w := newWorld(t)
	w.endpoint("/apples", "*")
	w.endpoint("/pears", "*")
	b := w.visit("endpoints")
	b.fill("searchbox", "Search endpoints", "pear")
	b.follow("button", "Search")
	b.sees("/pears")
	b.lacks("/apples")
	b.fill("searchbox", "Search endpoints", "plums")
	b.follow("button", "Search")
	b.sees("No endpoint found")
	b.follow("link", "Clear")
	b.sees("/apples", "/pears")
}

// On a telephone, what the list has in columns stands in cards.
func TestNarrowScreen(t *testing.T) {
	w := newWorld(t)
	b := w.blank()
	b.screen(360, "dark")
	b.open("live~acme/endpoints")
	b.follow("link", "Create webhook endpoint")
	panel := b.in("[role=dialog]")
	panel.fill("textbox", "Endpoint URL", w.receiver.URL()+"/a/rather/long/path/"+strings.Repeat("x", 200))
	panel.click("DisclosureTriangle", "Advanced")
	payouts := b.in(advanced + ":has([value='payout.paid'])")
	payouts.click("DisclosureTriangle", "Payouts 1 event")
	payouts.click("checkbox", "Select all")
	panel.follow("button", "Add endpoint")
	b.follow("link", "Done")
	b.click("DisclosureTriangle", "Actions for "+w.only().URL)
	b.follow("link", "Disable webhook")
	b.follow("button", "Disable webhook")
	b.sees("The endpoint is disabled.")
	b.follow("link", "Event types") // the last of the navigation can be reached
	require.Zero(t, value[int](b, "document.documentElement.scrollWidth - document.documentElement.clientWidth"))
}
