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

func TestDeliveryLog(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		require.Contains(w, w.get("deliveries").text(), "No deliveries yet")
		one := w.endpoint("https://one.example.com/hooks", "push", "pull")
		w.endpoint("https://two.example.com/hooks", "push")
		push := w.send(sender.Event{Type: "push", Refs: []string{"cus_1"}})
		w.receiver.Script(sendertest.Answer{Status: 503})
		pull := w.send(sender.Event{Type: "pull"})
		began := time.Now()
		time.Sleep(time.Hour)
		w.send(sender.Event{Type: "pull", ID: "later"})

		rows := func(query string) []string {
			w.Helper()
			return regexp.MustCompile(`evt_[0-9a-f]+</span>|later</span>`).FindAllString(w.get("deliveries?"+query).Body, -1)
		}
		clock := began.UTC().Add(time.Minute).Format(timeForm)
		for query, want := range map[string][]string{
			"":                                {"later", pull, push, push},
			"endpoint=" + one.ID:              {"later", pull, push},
			"state=delivered":                 {push, push},
			"state=exhausted":                 {pull},
			"state=pending":                   {"later"},
			"state=cancelled":                 nil,
			"type=pull":                       {"later", pull},
			"type=none":                       nil,
			"event=" + push:                   {push, push},
			"event=" + push + "&state=failed": nil,
			"ref=cus_1":                       {push, push},
			"to=" + clock:                     {pull, push, push},
			"from=" + clock + ":01":           {"later"},
			"type=push&endpoint=" + one.ID:    {push},
		} {
			var found []string
			for _, m := range rows(query) {
				found = append(found, strings.TrimSuffix(m, "</span>"))
			}
			require.Equal(w, want, found, query)
		}
		require.Contains(w, w.get("deliveries?type=none").text(), "Nothing in the log fits these filters.")
		require.Contains(w, w.get("deliveries?from=yesterday").text(), "“From” is not a date and time")
		require.Contains(w, w.get("deliveries?state=failed").text(), "There is no such state.")
		require.Equal(w, http.StatusBadRequest, w.do(http.MethodGet, "/"+desk.Segment(acmeTest)+"/deliveries?before=x", nil).Status)
		require.Contains(w, w.get("deliveries?state=pending").text(), "next retry in 60 s")
	})
}

// Pages of the log are complete, and a filter that lets little pass ends a page
// early instead of looking through everything.
func TestLogPages(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com", "push", "rare")
		w.send(sender.Event{Type: "rare"})
		for range lookRows/50 + 3 {
			var batch []sender.Event
			for range 50 {
				batch = append(batch, sender.Event{Type: "push"})
			}
			_, err := w.acme.SendBatch(w.Context(), batch)
			require.NoError(w, err)
		}
		synctest.Wait()
		next := regexp.MustCompile(`href="[^"]*/(?:deliveries|events)\?([^"]*)" rel="next">([^<]*)<`)
		a := w.get("deliveries")
		require.Equal(w, pageRows, strings.Count(a.Body, `<span class="badge delivered">`))
		require.Equal(w, "Older", next.FindStringSubmatch(a.Body)[2])
		older := w.get("deliveries?" + strings.ReplaceAll(next.FindStringSubmatch(a.Body)[1], "&amp;", "&"))
		require.Equal(w, pageRows, strings.Count(older.Body, `<span class="badge delivered">`))
		require.Contains(w, older.text(), "Newest")
		require.NotEqual(w, regexp.MustCompile(`evt_\w+`).FindString(a.Body), regexp.MustCompile(`evt_\w+`).FindString(older.Body))

		for _, path := range []string{"deliveries?type=rare", "deliveries?type=rare&endpoint=" + ep.ID, "events?type=rare"} {
			a = w.get(path)
			require.Contains(w, a.text(), "Nothing so far Looked through the newest part of the log.", path)
			m := next.FindStringSubmatch(a.Body)
			require.Equal(w, "Look further back", m[2])
			found := w.get(strings.SplitN(path, "?", 2)[0] + "?" + strings.ReplaceAll(m[1], "&amp;", "&"))
			require.Contains(w, found.text(), "rare evt_", path)
			require.NotContains(w, found.text(), "Look further back")
		}
	})
}

func TestDeliveryPage(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "push")
		w.receiver.Script(
			sendertest.Answer{Status: 500, Body: "deadlock", Header: http.Header{"X-Request-Id": {"abc"}}},
			sendertest.Answer{Fault: sendertest.Hang},
			sendertest.Answer{},
		)
		id := w.send(sender.Event{Type: "push", Data: map[string]int{"n": 1}})
		d := w.delivery(store.DeliveryQuery{})
		path := "deliveries/" + d.ID.String()
		text := w.get(path).text()
		for _, word := range []string{"push pending", "Why? Due at", "Next retry", "in 60 s", "1 failed HTTP 500 the receiver answered 500", "X-Request-Id abc", "deadlock", "POST https://example.com/hooks", `"n": 1`, "Cancel delivery", "Replay"} {
			require.Contains(w, text, word)
		}
		time.Sleep(3 * time.Minute)
		text = w.get(path).text()
		for _, word := range []string{"push delivered", "Why? Delivered at", "3 attempts", "3 delivered HTTP 200", "2 failed no answer", "No answer (timeout)", "10.0 s"} {
			require.Contains(w, text, word)
		}
		require.NotContains(w, text, "Cancel delivery")
		require.Equal(w, http.StatusConflict, w.post(path+"/cancel", nil).Status)

		// Replay gives a new delivery of the same event.
		replayed := w.follow("events/"+id+"/replay", url.Values{"endpoint": {ep.ID}})
		require.Contains(w, replayed.text(), "The event is being delivered once more.")
		synctest.Wait()
		again := w.delivery(store.DeliveryQuery{})
		require.Equal(w, 1, again.ID.Round)
		require.Equal(w, store.Delivered, again.State)

		w.receiver.Script(sendertest.Answer{Status: 500})
		w.send(sender.Event{Type: "push"})
		d = w.delivery(store.DeliveryQuery{})
		text = w.follow("deliveries/"+d.ID.String()+"/cancel", nil).text()
		require.Contains(w, text, "The delivery is cancelled.")
		require.Contains(w, text, "Cancelled: cancelled by ann@example.com.")
	})
}

func TestEventPages(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		require.Contains(w, w.get("events").text(), "No events yet")
		ep := w.endpoint("https://example.com/hooks", "pull")
		off, _, err := w.acme.CreateEndpoint(w.Context(), sender.EndpointSpec{URL: "https://off.example.com", EventTypes: []string{"*"}, Disabled: true, Reason: "moving"})
		require.NoError(w, err)
		id := w.send(sender.Event{Type: "push", Refs: []string{"cus_1"}})
		require.Contains(w, w.get("events?ref=cus_1").text(), id)
		require.NotContains(w, w.get("events?ref=cus_2").text(), id)
		require.Contains(w, w.get("events?type=push").text(), id)
		found := w.do(http.MethodGet, "/"+desk.Segment(acmeTest)+"/events?event="+id, nil)
		require.Equal(w, "../test~acme/events/"+id, found.Header.Get("Location"))

		text := w.get("events/" + id).text()
		require.Contains(w, text, "No endpoint got this event")
		require.Contains(w, w.get("events/"+id+"?why="+ep.ID).text(), "not selecting : The endpoint did not select push")
		require.Contains(w, w.get("events/"+id+"?why="+off.ID).text(), "disabled : The endpoint was disabled (moving)")
		require.Contains(w, w.get("events/"+id+"?why=ep_unknown").text(), "There is no such thing here.")

		// Any event to any enabled endpoint, selected or not.
		require.Contains(w, w.follow("events/"+id+"/replay", url.Values{"endpoint": {ep.ID}}).text(), "once more")
		synctest.Wait()
		require.Len(w, w.receiver.Requests(), 1)
		require.Contains(w, w.get("events/"+id).text(), "delivered https://example.com/hooks")
		require.Equal(w, http.StatusConflict, w.post("events/"+id+"/replay", url.Values{"endpoint": {off.ID}}).Status)
	})
}

func TestErasedEvent(t *testing.T) {
	inWorld(t, sender.Options{KeepPayloads: 80 * time.Hour, PollInterval: time.Minute}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "push")
		id := w.send(sender.Event{Type: "push", Data: "personal"})
		time.Sleep(100 * time.Hour)
		for _, path := range []string{"events/" + id, "deliveries/" + w.delivery(store.DeliveryQuery{}).ID.String()} {
			text := w.get(path).text()
			require.Contains(w, text, "Erased 2000-")
			require.NotContains(w, text, "personal")
			require.NotContains(w, text, "Deliver once more")
		}
		require.Equal(w, http.StatusConflict, w.do(http.MethodGet, "/"+desk.Segment(acmeTest)+"/events/"+id+"/body", nil).Status)
		require.Equal(w, http.StatusConflict, w.post("events/"+id+"/replay", url.Values{"endpoint": {ep.ID}}).Status)
	})
}

func TestRecover(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com/hooks", "push")
		w.receiver.Script(sendertest.Answer{Status: 500})
		for i := range 30 {
			w.send(sender.Event{Type: "push", ID: fmt.Sprintf("evt_%d", i)})
		}
		time.Sleep(time.Hour)
		w.receiver.Script(sendertest.Answer{})
		before := len(w.receiver.Requests())
		text := w.get("recover?count=1&endpoint=" + ep.ID).text()
		require.Contains(w, text, "30 deliveries 30 exhausted deliveries to replay 0 pending deliveries to make due now")
		require.Contains(w, text, "Recover 30 deliveries")
		require.Contains(w, w.get("recover?count=1&type=none").text(), "There is nothing to recover.")
		for query, problem := range map[string]string{
			"missed=1":          "Choose an endpoint",
			"rate=fast":         "not a whole number",
			"rate=-1":           "not a whole number",
			"from=x":            "not a date and time",
			"endpoint=ep_other": "no such thing",
		} {
			require.Contains(w, w.get("recover?count=1&"+query).text(), problem, query)
		}
		synctest.Wait()
		require.Len(w, w.receiver.Requests(), before, "counting sends nothing")

		// Slowly, to be watched and ended.
		page := w.follow("recover", url.Values{"endpoint": {ep.ID}, "rate": {"1"}, "expected": {"30"}})
		require.Contains(w, page.text(), "Recovery running")
		require.Contains(w, page.Body, `<progress max="30"`)
		require.Contains(w, page.Body, `data-refresh="1"`)
		time.Sleep(9500 * time.Millisecond)
		id := regexp.MustCompile(`recover/(rcv_\w+)/cancel`).FindStringSubmatch(page.Body)[1]
		text = w.get("recover/" + id + "?of=30").text()
		require.Contains(w, text, "Queued 10 of 30")
		require.Contains(w, w.follow("recover/"+id+"/cancel", nil).text(), "Recovery")
		synctest.Wait()
		text = w.get("recover/" + id).text()
		require.Contains(w, text, "Recovery cancelled")
		require.Contains(w, w.get("recover").text(), "ended early 10")
		time.Sleep(time.Hour)
		require.Len(w, w.receiver.Requests(), before+10)

		// Started again it goes on.
		page = w.follow("recover", url.Values{})
		synctest.Wait()
		require.Len(w, w.receiver.Requests(), before+30)
		id = regexp.MustCompile(`recover/(rcv_\w+)`).FindStringSubmatch(w.get("recover").Body)[1]
		text = w.get("recover/" + id).text()
		require.Contains(w, text, "Recovery queued")
		require.Contains(w, text, "the delivery log tells what became of them")
		require.NotContains(w, w.get("recover").Body, "badge delivered")
		require.Contains(w, text, "Queued 20")
		require.Equal(w, http.StatusOK, page.Status)
	})
}

// Close ends recoveries that run.
func TestClose(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.endpoint("https://example.com/hooks", "push")
		w.receiver.Script(sendertest.Answer{Status: 500})
		for range 5 {
			w.send(sender.Event{Type: "push"})
		}
		time.Sleep(time.Hour)
		w.follow("recover", url.Values{"rate": {"1"}})
		began := time.Now()
		w.pages.Close()
		require.Less(w, time.Since(began), 2*time.Second)
		require.Contains(w, w.get("recover").text(), "ended early")
		require.Equal(w, http.StatusInternalServerError, w.post("recover", nil).Status)
	})
}
