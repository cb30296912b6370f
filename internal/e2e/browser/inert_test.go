package browser

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// hostile is what would run, load or break something if a page took it for more
// than text.
const hostile = `"'>` + "`" + `</pre></title></textarea><script>alert(1)</script><img src=x onerror=alert(2)><svg onload=alert(3)>` +
	`<iframe srcdoc="<script>alert(4)</script>"></iframe><style>*{display:none}</style><a href="javascript:alert(5)">hostile-link</a>{{.Secret}}` +
	"\x00\x1b[31m\u202e\u2066\xff\xfe\x80"

// What events and receivers say is shown as text on every page it gets to.
func TestHostileTextIsInert(t *testing.T) {
	w := newWorld(t)
	w.receiver.Script(sendertest.Answer{
		Status: http.StatusInternalServerError, Body: hostile + strings.Repeat("x", 10_000),
		Header: http.Header{"Content-Type": {"text/html"}, "X-Hostile": {"<script>alert(6)</script>"}},
	})
	text := strings.ToValidUTF8(strings.ReplaceAll(hostile, "\x00", ""), "")
	ep, _, err := w.live.CreateEndpoint(t.Context(), sender.EndpointSpec{
		URL:        w.receiver.URL() + "/<script>alert(7)</script>?q='><img%20src=x%20onerror=alert(8)>",
		EventTypes: []string{"*"}, Description: text, Metadata: map[string]string{"<b>": text},
	})
	require.NoError(t, err)
	receipt, err := w.live.Send(t.Context(), sender.Event{Type: "payment.failed", Data: object{"note": text, "<script>alert(9)</script>": 1}, Refs: []string{"<b>ref</b>"}})
	require.NoError(t, err)
	w.settled()
	list, err := w.live.Deliveries(t.Context(), store.DeliveryQuery{EventID: receipt.ID, Limit: 1})
	require.NoError(t, err)
	_, err = w.live.DisableEndpoint(t.Context(), ep.ID, text)
	require.NoError(t, err)

	b := w.visit("endpoints")
	for _, path := range []string{
		"endpoints", "endpoints?q=" + "%3Cscript%3Ealert(1)%3C/script%3E", "endpoints/" + ep.ID, "endpoints/" + ep.ID + "/edit", "endpoints/" + ep.ID + "/delete",
		"deliveries", "deliveries?ref=%3Cscript%3Ealert(1)%3C/script%3E", "deliveries/" + list[0].ID.String(), "events", "events/" + receipt.ID + "?why=" + ep.ID, "recover?count=1",
	} {
		b.open("live~acme/" + path)
		require.Equal(t, 1, value[int](b, "document.querySelectorAll('script').length"), "%s: the page's own script alone", path)
		require.Zero(t, value[int](b, "document.querySelectorAll('img, iframe, style, [onload], [onerror], [href^=javascript]').length"), path)
		require.NotRegexp(t, "[\x00\x1b\u202e\u2066\ufffd]", b.text(), path)
	}
	b.open("live~acme/deliveries/" + list[0].ID.String())
	b.sees("<script>alert(1)</script>", "<img src=x onerror=alert(2)>", `\xff\xfe\x80`, "<script>alert(6)</script>")
	b.in("section[aria-labelledby=body]").sees("<script>alert(9)</script>")
}

// What the other tests rely on: a page that does run foreign code is noticed.
func TestErrorsInThePageAreHeard(t *testing.T) {
	w := newWorld(t)
	for what, code := range map[string]string{
		"Content Security Policy": `document.body.insertAdjacentHTML("beforeend", "<img src=x: onerror=alert(1)>")`,
		"console":                 `console.error("wrong")`,
		"exception":               `queueMicrotask(() => { throw new Error("wrong") })`,
		"dialog":                  `setTimeout(() => alert("wrong"))`,
		"status of 404":           `fetch("nothing").then(() => {})`,
	} {
		b := w.visit("endpoints")
		value[int](b, code+", 0")
		w.until("there is a fault: "+what, func() bool { return strings.Contains(strings.Join(b.faults(), "\n"), what) })
		b.forgive()
	}
}
