package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

func TestPicked(t *testing.T) {
	for name, c := range map[string]struct {
		form url.Values
		want []string
	}{
		"nothing":               {url.Values{}, nil},
		"all":                   {url.Values{"all": {"1"}, "type": {"payout.paid"}}, []string{"*"}},
		"types":                 {url.Values{"type": {"payout.paid", "payment.failed"}}, []string{"payment.failed", "payout.paid"}},
		"a group":               {url.Values{"group": {"recommended:Payments"}}, []string{"payment.succeeded", "payment.failed"}},
		"the other section":     {url.Values{"group": {"advanced:Payments"}}, []string{"payment.disputed"}},
		"group and its types":   {url.Values{"group": {"recommended:Payments"}, "type": {"payment.failed"}}, []string{"payment.succeeded", "payment.failed"}},
		"unknown group":         {url.Values{"group": {"recommended:Nothing", "Payments"}}, nil},
		"kept from before":      {url.Values{"type": {"later.*", "payout.paid", "later.*", " "}}, []string{"payout.paid", "later.*"}},
		"what is not asked for": {url.Values{"types": {"payout.paid"}}, nil},
	} {
		require.Equal(t, c.want, picked(catalogue, c.form), name)
	}
	require.Equal(t, []string{"a.b", "c.*", "d"}, picked(nil, url.Values{"types": {"a.b\r\n c.*, d\n\na.b"}, "type": {"x"}}))
	require.Equal(t, []string{"*"}, picked(nil, url.Values{"types": {"a.b"}, "all": {"1"}}))
}

func TestPickerSections(t *testing.T) {
	p := newPicker(catalogue, []string{"payment.disputed", "later.*", "gone"})
	require.Len(t, p.Recommended, 2)
	require.Equal(t, []string{"Payments", "Customers"}, []string{p.Recommended[0].Resource, p.Recommended[1].Resource})
	require.Len(t, p.Recommended[0].Types, 2)
	require.Equal(t, []string{"Payments", "Payouts"}, []string{p.Advanced[0].Resource, p.Advanced[1].Resource}, "a resource can be in both")
	require.Equal(t, 1, p.Advanced[0].Picked())
	require.True(t, p.HasAdvanced())
	require.False(t, newPicker(catalogue, []string{"payment.failed"}).HasAdvanced())
	require.Equal(t, []string{"later.*", "gone"}, p.Others)
	require.False(t, p.All)
	require.True(t, newPicker(catalogue, []string{"*"}).All)
	free := newPicker(nil, []string{"a", "b.*"})
	require.True(t, free.Free)
	require.Equal(t, "a\nb.*", free.Text)
}

// What the document of the first seed describes, from the empty list to deletion.
func TestEndpointLifecycle(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		text := w.get("endpoints").text()
		require.Contains(w, text, "No webhook endpoints in test mode")
		require.Contains(w, text, "Create webhook endpoint")
		require.NotContains(w, text, "Add endpoint")

		panel := w.get("endpoints/new")
		for _, word := range []string{"Endpoint URL", "Select events to listen to", "All events", "Recommended", "Payments", "Select all", "payment.succeeded", "Advanced", "Payouts", "Add endpoint", "Cancel"} {
			require.Contains(w, panel.text(), word)
		}
		require.Less(w, strings.Index(panel.Body, "payment.failed"), strings.Index(panel.Body, "Advanced"))
		require.Less(w, strings.Index(panel.Body, "Advanced"), strings.Index(panel.Body, "payment.disputed"))

		// Inline errors keep what was entered.
		for _, c := range []struct {
			form url.Values
			want []string
		}{
			{url.Values{}, []string{"Enter the URL of your endpoint", "Select at least one event."}},
			{url.Values{"url": {"example.com/hooks"}, "type": {"payout.paid"}}, []string{"This URL is not absolute; begin with https://."}},
			{url.Values{"url": {"ftp://example.com"}, "type": {"payout.paid"}}, []string{"only http and https are possible"}},
			{url.Values{"url": {"https://example.com:5432/hooks"}, "type": {"payout.paid"}}, []string{"This URL can't be called: port 5432 is usually PostgreSQL."}},
			{url.Values{"url": {"https://example.com"}, "type": {"payout.gone"}}, []string{`Element`, "payout.gone"}[1:]},
			{url.Values{"url": {"https://example.com"}, "all": {"1"}, "description": {strings.Repeat("x", 1001)}}, []string{"The description has 1001 bytes, more than 1000."}},
		} {
			a := w.post("endpoints", c.form)
			require.Equal(w, http.StatusUnprocessableEntity, a.Status)
			for _, want := range c.want {
				require.Contains(w, a.text(), want)
			}
			require.Contains(w, a.Body, `role="alert"`)
			if u := c.form.Get("url"); u != "" {
				require.Contains(w, a.Body, `value="`+u+`"`)
			}
			if c.form.Get("type") == "payout.paid" {
				require.Regexp(w, `value="payout.paid" checked`, a.Body)
			}
		}
		require.Contains(w, w.get("endpoints").text(), "No webhook endpoints")

		form := url.Values{"url": {" https://Example.com/hooks "}, "description": {"Books"}, "group": {"recommended:Payments"}, "type": {"payout.paid"}}
		a := w.post("endpoints", form)
		require.Equal(w, http.StatusOK, a.Status)
		for _, word := range []string{"Webhook signing secret", "https://example.com/hooks", "Copy it now.", "Done"} {
			require.Contains(w, a.text(), word)
		}
		secret := regexp.MustCompile(`whsec_[A-Za-z0-9+/=]+`).FindString(strings.ReplaceAll(a.Body, "&#43;", "+"))
		require.Len(w, secret, len("whsec_")+44)
		synctest.Wait()
		eps, err := w.acme.Endpoints(w.Context(), store.EndpointQuery{})
		require.NoError(w, err)
		require.Len(w, eps, 1)
		ep := eps[0]
		require.Equal(w, []string{"payment.succeeded", "payment.failed", "payout.paid"}, ep.EventTypes)
		require.Len(w, w.receiver.Requests(), 1, "a test event came at once")

		a = w.post("endpoints", form)
		require.Equal(w, http.StatusUnprocessableEntity, a.Status)
		require.Contains(w, a.text(), "Another endpoint has this URL already.")

		w.send(sender.Event{Type: "payment.failed"})
		list := w.get("endpoints").text()
		for _, word := range []string{"Add endpoint", "https://example.com/hooks", "Books", "payment.succeeded and 2 others", "Enabled", "100 %", "Edit webhook", "Disable webhook", "Delete webhook"} {
			require.Contains(w, list, word)
		}
		require.NotContains(w, w.do(http.MethodGet, "/"+desk.Segment(acmeLive)+"/endpoints", nil).text(), "example.com/hooks", "live mode has a list of its own")

		edit := w.get("endpoints/" + ep.ID + "/edit")
		require.Contains(w, edit.Body, `value="https://example.com/hooks"`)
		require.Regexp(w, `value="payout.paid" checked`, edit.Body)
		require.NotRegexp(w, `name="group"[^>]*checked`, edit.Body, "unticking one event must do without the script")
		require.Contains(w, w.follow("endpoints/"+ep.ID+"/edit", url.Values{"url": {"https://example.com/new"}, "type": {"payment.disputed"}}).text(), "The changes are saved.")
		now, err := w.acme.Endpoint(w.Context(), ep.ID)
		require.NoError(w, err)
		require.Equal(w, "https://example.com/new", now.URL)
		require.Equal(w, []string{"payment.disputed"}, now.EventTypes)
		require.Equal(w, ep.Secrets[0].ID, now.Secrets[0].ID, "the secret stays")

		require.Contains(w, w.get("endpoints/"+ep.ID+"/disable").text(), "Disable webhook?")
		text = w.follow("endpoints/"+ep.ID+"/disable", url.Values{"reason": {"debugging a handler"}}).text()
		require.Contains(w, text, "The endpoint is disabled.")
		require.Contains(w, text, "Disabled debugging a handler")
		require.Contains(w, text, "Enable webhook")
		require.Contains(w, w.follow("endpoints/"+ep.ID+"/enable", nil).text(), "not back-filled")

		page := w.get("endpoints/" + ep.ID).text()
		for _, word := range []string{"Health", "Success rate 100 %", "History", "enabled by ann@example.com", "URL: https://example.com/new, before: https://example.com/hooks", "Reason: debugging a handler", "created by ann@example.com", ep.Secrets[0].Fingerprint} {
			require.Contains(w, page, word)
		}

		require.Contains(w, w.get("endpoints/"+ep.ID+"/delete").text(), "Delete webhook?")
		text = w.follow("endpoints/"+ep.ID+"/delete", nil).text()
		require.Contains(w, text, "The endpoint is deleted.")
		require.Contains(w, text, "No webhook endpoints in test mode")
		require.Contains(w, w.get("endpoints/"+ep.ID).text(), "Deleted", "its page stays")
		require.Equal(w, http.StatusConflict, w.post("endpoints/"+ep.ID+"/enable", nil).Status)
		require.Equal(w, http.StatusConflict, w.do(http.MethodGet, "/"+desk.Segment(acmeTest)+"/endpoints/"+ep.ID+"/edit", nil).Status)
	})
}

func TestSendTestEvent(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "payment.failed")
		w.receiver.Script(sendertest.Answer{Status: 401, Body: "Invalid signature"})
		page := w.follow("endpoints/"+ep.ID+"/test", url.Values{"type": {""}})
		require.Equal(w, http.StatusOK, page.Status)
		synctest.Wait()
		d := w.delivery(store.DeliveryQuery{})
		require.Equal(w, "webhook.test", d.EventType)
		require.Contains(w, w.get("deliveries/"+d.ID.String()).text(), "reached only HTTP 401 the receiver answered 401 Unauthorized")
		require.Contains(w, w.get("deliveries/"+d.ID.String()).text(), "Invalid signature")

		w.follow("endpoints/"+ep.ID+"/test", url.Values{"type": {"payment.succeeded"}})
		synctest.Wait()
		d = w.delivery(store.DeliveryQuery{Type: "payment.succeeded"})
		text := w.get("deliveries/" + d.ID.String()).text()
		require.Contains(w, text, `"amount": 5000`)
		require.Contains(w, text, "failed HTTP 401 the receiver answered 401")
		require.Contains(w, text, "Invalid signature")
		require.Contains(w, text, "Webhook-Id "+d.EventID)
		require.Contains(w, text, "Webhook-Signature "+sender.SignatureNotKept)
		require.Equal(w, http.StatusBadRequest, w.post("endpoints/"+ep.ID+"/test", url.Values{"type": {"push"}}).Status)
	})
}

// Of many endpoints a page shows some, and the search finds any.
func TestEndpointPagesAndSearch(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		for i := range 60 {
			w.endpoint(fmt.Sprintf("https://example.com/hooks/%03d", i), "push")
		}
		var seen []string
		path := "endpoints"
		for range 3 {
			a := w.get(path)
			seen = append(seen, regexp.MustCompile(`hooks/\d\d\d</a>`).FindAllString(a.Body, -1)...)
			next := regexp.MustCompile(`endpoints\?(after=\d+)" rel="next"`).FindStringSubmatch(a.Body)
			if next == nil {
				break
			}
			path = "endpoints?" + next[1]
		}
		require.Len(w, seen, 60)
		require.NotContains(w, w.get("endpoints").text(), "First page")
		require.Contains(w, w.get(path).text(), "First page")
		text := w.get("endpoints?q=HOOKS/059").text()
		require.Contains(w, text, "https://example.com/hooks/059")
		require.NotContains(w, text, "hooks/058")
		require.Contains(w, w.get("endpoints?q=nothing").text(), "No endpoint found")
		a := w.get("endpoints?after=1000") // they were deleted meanwhile
		require.Contains(w, a.text(), "No more endpoints First page")
		require.NotContains(w, a.text(), "No endpoint found")
	})
}

// The script is comfort: the page that waits says so without it.
func TestPagesThatChangeSoon(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.endpoint("https://example.com/hooks", "push")
		w.receiver.Script(sendertest.Answer{Status: 500})
		w.send(sender.Event{Type: "push"})
		d := w.delivery(store.DeliveryQuery{})
		require.NotContains(w, w.get("deliveries/"+d.ID.String()).Body, "refresh", "a minute is too long to wait")
		time.Sleep(50 * time.Second)
		a := w.get("deliveries/" + d.ID.String())
		require.Contains(w, a.Body, `<noscript><meta http-equiv="refresh" content="2"></noscript>`)
		require.Contains(w, a.Body, `data-refresh="2"`)
	})
}
