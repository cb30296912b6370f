package browser

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// exhaust sends events that the customer's server refuses, until it works again.
func (w *world) exhaust(n int) {
	w.Helper()
	w.settled()
	w.receiver.Script(sendertest.Status(500))
	for range n {
		w.send("payment.failed", object{"amount": 1})
	}
	w.settled()
	w.receiver.Script(sendertest.Status(200))
}

func TestRecover(t *testing.T) {
	w := newWorld(t)
	w.endpoint("/hooks", "payment.*")
	w.exhaust(3)
	b := w.visit("recover")
	b.fill("combobox", "Event type", "payment.succeeded")
	b.follow("button", "Count")
	b.sees("There is nothing to recover.")
	b.fill("combobox", "Event type", "payment.failed")
	b.follow("button", "Count")
	b.sees("3 deliveries", "3 exhausted deliveries to replay")
	b.follow("button", "Recover 3 deliveries")
	b.in("h1").sees("queued") // the page fetches itself anew
	b.sees("3 of 3", "by ann@example.com")
	w.settled()
	list, err := w.live.Deliveries(t.Context(), store.DeliveryQuery{Type: "payment.failed", States: []store.State{store.Delivered}, Limit: 10})
	require.NoError(t, err)
	require.Len(t, list, 3)
	b.in(".crumb").follow("link", "Recover")
	b.in("section[aria-labelledby=runs]").sees("queued", "ann@example.com", "3")
}

// One a second leaves time to look at the progress and to stop it.
func TestRecoverySlowlyAndCancelled(t *testing.T) {
	w := newWorld(t)
	ep := w.endpoint("/hooks", "payment.*")
	w.exhaust(100)
	b := w.visit("recover")
	b.choose("Endpoint", ep.URL)
	b.fill("spinbutton", "At most per second optional", "1")
	b.follow("button", "Count")
	b.sees("100 deliveries")
	b.follow("button", "Recover 100 deliveries")
	b.in("h1").sees("running")
	b.has("progressbar", "Progress")
	taken := func() string { return value[string](b, "document.querySelector('.facts dd').innerText") }
	before := taken()
	w.until("the progress moves", func() bool { return taken() != before })
	b.follow("button", "Cancel recovery")
	b.in("h1").sees("cancelled")
	b.lacks("Cancel recovery")
	b.lacks("100 of 100")
}
