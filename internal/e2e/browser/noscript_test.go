package browser

import (
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// All works without JavaScript.
func TestWithoutJavaScript(t *testing.T) {
	w := newWorld(t)
	b := w.blank()
	call(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.open("live~acme/endpoints")
	b.follow("link", "Create webhook endpoint")
	panel := b.in("[role=dialog]")
	panel.fill("textbox", "Endpoint URL", w.receiver.URL()+"/hooks")
	payments := b.in(recommended + ":has([value='payment.failed'])")
	payments.click("checkbox", "Select all")
	require.False(t, payments.checked("payment.failed A payment was declined."), "no script runs")
	panel.follow("button", "Add endpoint")
	dialog := b.in("[role=dialog]")
	require.Regexp(t, "^whsec_", dialog.content("Signing secret"))
	require.Empty(t, dialog.all("button", "Copy"), "what can't work is not shown")
	dialog.follow("link", "Done")
	ep := w.only()
	require.ElementsMatch(t, []string{"payment.succeeded", "payment.failed"}, ep.EventTypes, "the group was ticked as a whole")

	b.click("DisclosureTriangle", "Actions for "+ep.URL)
	b.follow("link", "Edit webhook")
	panel.fill("textbox", "Endpoint URL", "nonsense")
	panel.follow("button", "Check the URL")
	b.in("#url-error").sees("http")
	panel.fill("textbox", "Endpoint URL", ep.URL)
	panel.fill("textbox", "Description optional", "Orders")
	panel.follow("button", "Save changes")
	b.sees("The changes are saved", "Orders")
	b.follow("link", "Disable webhook")
	b.follow("button", "Disable webhook")
	b.sees("The endpoint is disabled.")
	b.click("DisclosureTriangle", "Actions for "+ep.URL)
	b.follow("button", "Enable webhook")
	b.sees("The endpoint is enabled.")

	w.settled()
	w.receiver.Script(sendertest.Answer{Status: 500, Body: "no"}, sendertest.Answer{Status: 500, Body: "no"}, sendertest.Status(200))
	w.send("payment.failed", object{"amount": 1})
	w.settled()
	b.open("live~acme/deliveries")
	b.choose("State", "exhausted")
	b.follow("button", "Filter")
	b.follow("link", "payment.failed")
	b.sees("HTTP 500")
	b.follow("button", "Replay")
	b.in("h1").sees("delivered") // the browser is told to load the page anew
	b.sees("replay 1")

	w.exhaust(2)
	b.open("live~acme/recover")
	b.follow("button", "Count")
	b.follow("button", "Recover 2 deliveries")
	b.in("h1").sees("queued")
	b.sees("2 of 2")

	b.open("live~acme/endpoints/" + ep.ID)
	b.follow("button", "Send test event")
	b.sees("webhook.test")
	b.in("h1").sees("delivered")
	b.open("live~acme/endpoints/" + ep.ID)
	b.follow("link", "Delete webhook")
	b.follow("button", "Delete webhook")
	b.sees("No webhook endpoints in live mode")
	list, err := w.live.Endpoints(t.Context(), store.EndpointQuery{Limit: 1})
	require.NoError(t, err)
	require.Empty(t, list)
}
