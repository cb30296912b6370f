package browser

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
)

func TestDeliveryLogFilters(t *testing.T) {
	w := newWorld(t)
	apples, pears := w.endpoint("/apples", "payment.*"), w.endpoint("/pears", "customer.*")
	event := w.send("payment.succeeded", object{"amount": 1}, "order_1")
	w.send("customer.created", object{"id": "cus_1"}, "order_2")
	w.settled()
	w.receiver.Script(sendertest.Status(500))
	w.send("payment.failed", object{"amount": 2}, "order_1")
	w.settled()

	b := w.visit("deliveries")
	table := b.in("table")
	table.sees("payment.succeeded", "payment.failed", "customer.created", "/apples", "/pears")

	b.choose("State", "exhausted")
	b.follow("button", "Filter")
	table.sees("payment.failed", "500")
	table.lacks("payment.succeeded")
	b.follow("link", "Clear")

	b.choose("Endpoint", pears.URL)
	b.follow("button", "Filter")
	table.sees("customer.created")
	table.lacks(apples.URL)
	b.follow("link", "Clear")

	b.fill("combobox", "Event type", "payment.succeeded")
	b.follow("button", "Filter")
	table.sees("payment.succeeded")
	table.lacks("payment.failed")
	b.follow("link", "Clear")

	b.click("DisclosureTriangle", "More filters")
	b.fill("textbox", "Reference", "order_1")
	b.follow("button", "Filter")
	table.sees("payment.succeeded", "payment.failed")
	table.lacks("customer.created")
	b.follow("link", "Clear")

	b.click("DisclosureTriangle", "More filters")
	b.fill("textbox", "Event id", event)
	b.follow("button", "Filter")
	table.sees("payment.succeeded")
	require.Equal(t, 1, value[int](b, "document.querySelectorAll('tbody tr').length"))
	b.follow("link", "Clear")

	b.click("DisclosureTriangle", "More filters")
	b.when("To (UTC)", "01012020", "1200AM")
	b.follow("button", "Filter")
	require.Contains(t, b.address(), "to=2020-01-01T00%3A00")
	b.sees("No delivery found", "Nothing in the log fits these filters.")
}

// From the log to an attempt, a replay that arrives, and the event.
func TestAttemptAndReplay(t *testing.T) {
	w := newWorld(t)
	ep := w.endpoint("/hooks", "payment.*")
	w.settled()
	w.receiver.Script(sendertest.Answer{Status: 500, Body: `{"error":"deadlock detected"}`})
	id := w.send("payment.failed", object{"amount": 5000}, "order_1")
	w.settled()

	b := w.visit("deliveries?state=exhausted")
	b.follow("link", "payment.failed")
	b.sees("2 attempts", "Why?", `"amount": 5000`, "HTTP 500", `"error": "deadlock detected"`, "Webhook-Id", id, "order_1")
	first := b.in("#attempt-1")
	first.lacks("deadlock")
	first.click("DisclosureTriangle", "")
	first.sees("deadlock detected", "POST "+ep.URL)

	w.receiver.Script(sendertest.Status(204))
	b.follow("button", "Replay")
	b.sees("The event is being delivered once more.")
	b.in("h1").sees("delivered") // the page fetches itself anew
	b.sees("replay 1", "HTTP 204", "1 attempt")
	last := w.receiver.Requests()[w.receiver.Count()-1]
	require.Equal(t, id, last.Header.Get("webhook-id"))

	b.follow("link", id)
	b.sees("order_1", "exhausted", "delivered")
	b.in("section[aria-labelledby=replay]").follow("button", "Replay")
	b.in("h1").sees("delivered")
	b.sees("replay 2")
}

func TestWhy(t *testing.T) {
	w := newWorld(t)
	w.endpoint("/payments", "payment.*")
	other := w.endpoint("/customers", "customer.*")
	id := w.send("payment.succeeded", object{"amount": 1})
	w.settled()
	b := w.visit("events")
	b.in("tbody tr:has(a[href$='"+id+"'])").follow("link", "payment.succeeded")
	why := b.in("section[aria-labelledby=why]")
	why.choose("Did it reach this endpoint, and why not?", other.URL)
	why.follow("button", "Explain")
	why.sees("did not select payment.succeeded")
	why.choose("Did it reach this endpoint, and why not?", w.receiver.URL()+"/payments")
	why.follow("button", "Explain")
	why.sees("delivered")
	why.follow("link", "The delivery")
	b.sees("payment.succeeded", "HTTP 200")
}

func TestCancelPendingDelivery(t *testing.T) {
	w := newWorld(t, func(o *sender.Options, _ *dashboard.Access) { o.Schedule = retry.Steps(time.Hour) })
	w.endpoint("/hooks", "payment.*")
	w.settled()
	w.receiver.Script(sendertest.Status(500))
	w.send("payment.failed", object{"amount": 1})
	w.receiver.Wait(2)
	b := w.visit("deliveries?type=payment.failed")
	b.follow("link", "payment.failed")
	b.in("h1").sees("pending")
	b.sees("Next retry")
	b.follow("button", "Cancel delivery")
	b.sees("The delivery is cancelled.")
	b.in("h1").sees("cancelled")
}
