package api

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// From creation to deletion, with what each step answers.
func TestEndpointLifecycle(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		a := w.do("POST", account+"/endpoints", `{"url": "https://Example.com/hooks", "event_types": ["payment.*"], "disabled": true, "reason": "not yet"}`)
		require.Equal(w, http.StatusCreated, a.Status)
		ep := decode(w, a)["endpoint"].(map[string]any)
		id := ep["id"].(string)
		require.Equal(w, "endpoints/"+id, a.Header.Get("Location"))
		require.Equal(w, []any{"https://example.com/hooks", "disabled", "not yet"}, []any{ep["url"], ep["state"], ep["reason"]})
		require.Empty(w, w.receiver.Requests())

		path := account + "/endpoints/" + id
		require.Equal(w, problemTypes+"endpoint-disabled", w.do("POST", path+"/test", "").problem(w).Type)
		require.Equal(w, "enabled", w.must("POST", path+"/enable", "")["state"])
		edited := w.must("PATCH", path, `{"event_types": ["*"]}`)
		require.Equal(w, []any{"*"}, edited["event_types"])
		require.Equal(w, "https://example.com/hooks", edited["url"])
		require.Equal(w, ep["secrets"], edited["secrets"], "the secret stays")

		a = w.do("POST", path+"/test", `{"event_type": "payout.paid"}`)
		require.Equal(w, http.StatusAccepted, a.Status)
		d := decode(w, a)
		from := &url.URL{Path: path + "/test"}
		to, err := from.Parse(a.Header.Get("Location"))
		require.NoError(w, err)
		require.Equal(w, account+"/deliveries/"+d["id"].(string), to.Path)
		synctest.Wait()
		require.Equal(w, "delivered", w.must("GET", to.Path, "")["state"])
		require.Contains(w, string(w.receiver.Requests()[0].Body), `{"<b>": 1e2}`)

		require.Equal(w, http.StatusNoContent, w.do("DELETE", path, "").Status)
		gone := w.must("GET", path, "")
		require.Equal(w, "deleted", gone["state"])
		require.Empty(w, gone["secrets"])
		for _, op := range []string{"POST /enable", "POST /disable", "POST /test", "PATCH "} {
			method, sub, _ := strings.Cut(op, " ")
			require.Equal(w, problemTypes+"endpoint-deleted", w.do(method, path+sub, "{}").problem(w).Type, op)
		}
		require.Empty(w, data(w.must("GET", account+"/endpoints", "")))
		require.Len(w, data(w.must("GET", account+"/endpoints?state=deleted&state=enabled", "")), 1)

		var actions []string
		for _, line := range data(w.must("GET", path+"/history", "")) {
			actions = append(actions, line["action"].(string))
			require.Equal(w, line["action"] != "created", line["old"] != nil)
			require.Equal(w, "ann@example.com", line["actor"])
		}
		require.Equal(w, []string{"deleted", "edited", "enabled", "created"}, actions)
	})
}

// What was sent and answered, as text or in base64, in full.
func TestAttempts(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.receiver.Script(
			sendertest.Answer{Status: 503, Header: http.Header{"X-Why": {"tired"}}, Body: "<script>no</script>"},
			sendertest.Answer{Status: 500, Body: "\xff\x00"},
			sendertest.Answer{Fault: sendertest.Close},
		)
		ep := w.endpoint("https://one.example.com", "*")
		event := w.send(sender.Event{Type: "payment.failed", Data: "x"})
		delivery := data(w.must("GET", account+"/deliveries", ""))[0]
		require.Equal(w, "pending", delivery["state"])
		require.NotEmpty(w, delivery["due_at"])
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		path := account + "/deliveries/" + delivery["id"].(string)
		delivery = w.must("GET", path, "")
		require.Equal(w, []any{"exhausted", "https://one.example.com", nil}, []any{delivery["state"], delivery["endpoint_url"], delivery["due_at"]})
		require.Equal(w, problemTypes+"delivery-finished", w.do("POST", path+"/cancel", "").problem(w).Type)

		got := data(w.must("GET", path+"/attempts", ""))
		require.Len(w, got, 3)
		require.Equal(w, []any{float64(3), "failed", "closed", nil}, []any{got[0]["n"], got[0]["outcome"], got[0]["class"], got[0]["status"]})
		require.Equal(w, []any{"base64", base64.StdEncoding.EncodeToString([]byte("\xff\x00"))}, []any{got[1]["response_body_encoding"], got[1]["response_body"]})
		first := got[2]
		require.Equal(w, []any{"text", "<script>no</script>", float64(503)}, []any{first["response_body_encoding"], first["response_body"], first["status"]})
		require.Contains(w, first["response_headers"], map[string]any{"name": "X-Why", "value": "tired"})
		require.Contains(w, first["request_headers"], map[string]any{"name": "Webhook-Id", "value": event})
		require.Contains(w, first["request_headers"], map[string]any{"name": "Webhook-Signature", "value": sender.SignatureNotKept})

		activity := w.must("GET", account+"/endpoints/"+ep.ID+"/activity?newest=10", "")
		require.Equal(w, []any{1.0, 0.0, 1.0, 3.0}, []any{activity["deliveries"], activity["delivered"], activity["exhausted"], activity["attempts"]})
		require.Equal(w, delivery["id"], activity["last_delivery"].(map[string]any)["id"])
		require.Len(w, activity["recent_attempts"], 3)
		require.Equal(w, 3.0, w.must("GET", account+"/endpoints/"+ep.ID, "")["health"].(map[string]any)["failures"])
		none := w.endpoint("https://none.example.com", "other")
		require.Nil(w, w.must("GET", account+"/endpoints/"+none.ID+"/activity", "")["last_delivery"])

		why := w.must("GET", account+"/events/"+event+"/explain?endpoint_id="+none.ID, "")
		require.Equal(w, []any{"absent", nil}, []any{why["why"], why["delivery"]})
		other := w.send(sender.Event{Type: "payment.failed"})
		require.Equal(w, "not_selecting", w.must("GET", account+"/events/"+other+"/explain?endpoint_id="+none.ID, "")["why"])
		why = w.must("GET", account+"/events/"+event+"/explain?endpoint_id="+ep.ID, "")
		require.Equal(w, []any{"exhausted", delivery["id"]}, []any{why["why"], why["delivery"].(map[string]any)["id"]})
	})
}

// A test event that was not accepted can be told from one that was.
func TestReachedOnly(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://one.example.com", "push")
		path := account + "/endpoints/" + ep.ID
		for _, status := range []int{204, 400, 302, 503} {
			w.receiver.Script(sendertest.Answer{Status: status, Body: "body"})
			id := w.must("POST", path+"/test", "")["id"].(string)
			synctest.Wait()
			d := w.must("GET", account+"/deliveries/"+id, "")
			only := status != 204
			require.Equal(w, []any{"delivered", only, float64(status)}, []any{d["state"], d["reached_only"], d["last_status"]})
			require.Equal(w, only, data(w.must("GET", account+"/deliveries", ""))[0]["reached_only"])
			a := data(w.must("GET", account+"/deliveries/"+id+"/attempts", ""))[0]
			require.Equal(w, []any{"delivered", only}, []any{a["outcome"], a["reached_only"]})
			require.Equal(w, only, a["response_body"] == "body")
			activity := w.must("GET", path+"/activity", "")
			last := activity["last_delivery"].(map[string]any)
			require.Equal(w, []any{id, only, float64(status)}, []any{last["id"], last["reached_only"], last["last_status"]})
			require.Equal(w, []any{activity["deliveries"], 0.0, 0.0}, []any{activity["tests"], activity["attempts"], activity["delivered"]})
			why := w.must("GET", account+"/events/"+d["event_id"].(string)+"/explain?endpoint_id="+ep.ID, "")
			require.Equal(w, map[bool]string{true: "reached", false: "delivered"}[only], why["why"])
		}
	})
}

// The event and the delivery both say why a pending delivery waits.
func TestExplainPending(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.receiver.Script(sendertest.Answer{Status: 503, Body: "busy"}, sendertest.Answer{Fault: sendertest.Hang})
		ep := w.endpoint("https://one.example.com", "*")
		event := w.send(sender.Event{Type: "push"})
		id := data(w.must("GET", account+"/deliveries", ""))[0]["id"].(string)
		both := func() map[string]any {
			w.Helper()
			x := w.must("GET", account+"/events/"+event+"/explain?endpoint_id="+ep.ID, "")
			require.Equal(w, x, w.must("GET", account+"/deliveries/"+id+"/explain", ""))
			require.Equal(w, "pending", x["why"])
			return x
		}
		x := both()
		require.Equal(w, "retry", x["wait"])
		require.Equal(w, "Due at 2000-01-01 00:01:00 UTC, after 1 attempt so far. Attempt 1 failed at 2000-01-01 00:00:00 UTC: the receiver answered 503 Service Unavailable.", x["text"])
		require.Nil(w, x["overdue_ms"])
		last := x["last_failure"].(map[string]any)
		require.Equal(w, []any{1.0, 503.0, "status", nil}, []any{last["n"], last["status"], last["class"], last["response_body"]})

		time.Sleep(time.Minute + time.Second)
		x = both()
		require.Equal(w, "in_flight", x["wait"])
		require.Equal(w, "2000-01-01T00:01:00.000000Z", x["delivery"].(map[string]any)["leased_at"])

		require.NoError(w, w.hooks.Stop(w.Context()))
		synctest.Wait()
		time.Sleep(time.Hour)
		x = both()
		require.Equal(w, "untaken", x["wait"])
		require.InDelta(w, 59*60*1000, x["overdue_ms"], 15_000)
		require.Equal(w, "timeout", x["last_failure"].(map[string]any)["class"])
		require.Equal(w, problemTypes+"not-found", w.do("GET", account+"/deliveries/dlv_9_9_0/explain", "").problem(w).Type)
	})
}

func TestEvents(t *testing.T) {
	inWorld(t, sender.Options{KeepPayloads: 80 * time.Hour, PollInterval: time.Minute}, func(w *world) {
		w.endpoint("https://one.example.com", "*")
		text := w.send(sender.Event{Type: "payment.failed", Data: "<b>", Refs: []string{"pay_1"}})
		raw := w.send(sender.Event{Type: "raw", Body: []byte("\x00\xff"), ContentType: "application/octet-stream"})
		empty := w.send(sender.Event{Type: "raw", Body: []byte{}, ContentType: "text/plain"})

		ev := w.must("GET", account+"/events/"+text, "")
		require.Equal(w, "text", ev["body_encoding"])
		require.Contains(w, ev["body"], `"data":"<b>"`)
		require.Equal(w, []any{"pay_1"}, ev["refs"])
		a := w.do("GET", account+"/events/"+text+"/body", "")
		require.Equal(w, ev["body"], a.Body)
		require.Equal(w, `attachment; filename="`+text+`.json"`, a.Header.Get("Content-Disposition"))

		ev = w.must("GET", account+"/events/"+raw, "")
		require.Equal(w, []any{"base64", base64.StdEncoding.EncodeToString([]byte("\x00\xff"))}, []any{ev["body_encoding"], ev["body"]})
		require.Equal(w, "\x00\xff", w.do("GET", account+"/events/"+raw+"/body", "").Body)
		require.Equal(w, "", w.must("GET", account+"/events/"+empty, "")["body"])

		for query, want := range map[string][]string{
			"":                          {empty, raw, text},
			"type=raw":                  {empty, raw},
			"ref=pay_1":                 {text},
			"from=2000-01-01T00:00:01Z": {},
			"to=2000-01-01T00:00:01Z":   {empty, raw, text},
			"from=2000-01-01T02:00:00%2B02:00&type=payment.failed": {text},
		} {
			ids := []string{}
			for _, ev := range data(w.must("GET", account+"/events?"+query, "")) {
				ids = append(ids, ev["id"].(string))
				require.NotContains(w, ev, "body")
			}
			require.Equal(w, want, ids, query)
		}

		time.Sleep(100 * time.Hour)
		synctest.Wait()
		ev = w.must("GET", account+"/events/"+text, "")
		require.NotEmpty(w, ev["erased_at"])
		require.NotContains(w, ev, "body")
		require.Equal(w, problemTypes+"event-erased", w.do("GET", account+"/events/"+text+"/body", "").problem(w).Type)
	})
}

func TestDeliveryFilters(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		one := w.endpoint("https://one.example.com", "*")
		two := w.endpoint("https://two.example.com", "b")
		a := w.send(sender.Event{Type: "a", Refs: []string{"r"}})
		time.Sleep(time.Hour)
		w.receiver.Script(sendertest.Status(500))
		b := w.send(sender.Event{Type: "b"})
		for query, want := range map[string]int{
			"":                                  3,
			"endpoint_id=" + one.ID:             2,
			"endpoint_id=" + two.ID:             1,
			"event_id=" + b:                     2,
			"event_id=" + a + "&state=pending":  0,
			"state=delivered&state=pending":     3,
			"type=b":                            2,
			"ref=r":                             1,
			"from=2000-01-01T00:30:00Z":         2,
			"to=2000-01-01T00:30:00Z":           1,
			"state=cancelled&state=exhausted":   0,
			"endpoint_id=" + two.ID + "&type=a": 0,
		} {
			require.Len(w, data(w.must("GET", account+"/deliveries?"+query, "")), want, query)
		}
	})
}

// Pages of one element each, put together, are the list, whatever it is a list of.
func TestPages(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.receiver.Script(sendertest.Status(500))
		ep := w.endpoint("https://one.example.com", "*")
		w.endpoint("https://two.example.com", "*")
		w.endpoint("https://three.example.com", "*")
		path := account + "/endpoints/" + ep.ID
		w.must("POST", path+"/disable", "")
		w.must("POST", path+"/enable", "")
		for i := range 3 {
			w.send(sender.Event{Type: fmt.Sprintf("type.%d", i)})
			w.must("POST", account+"/recoveries", `{"type": "none"}`)
			w.access.Accounts = append(w.access.Accounts, dashboard.Account{Tenant: fmt.Sprint(i), Mode: store.Live})
			time.Sleep(time.Minute)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		newest := data(w.must("GET", account+"/deliveries", ""))[0]["id"].(string)
		for _, path := range []string{
			"/accounts", account + "/endpoints", path + "/history", account + "/events", account + "/deliveries",
			account + "/deliveries/" + newest + "/attempts", account + "/recoveries",
		} {
			all := w.must("GET", path, "")
			require.NotContains(w, all, "next_cursor", path)
			require.GreaterOrEqual(w, len(data(all)), 3, path)
			var joined []map[string]any
			for query := "?limit=1"; ; {
				page := w.must("GET", path+query, "")
				require.LessOrEqual(w, len(data(page)), 1)
				joined = append(joined, data(page)...)
				next, more := page["next_cursor"].(string)
				if !more {
					break
				}
				query = "?limit=1&cursor=" + next
			}
			require.Equal(w, data(all), joined, path)
		}
	})
}

func TestReplayAndCancel(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.receiver.Script(sendertest.Status(500))
		event := w.send(sender.Event{Type: "a"})
		ep := w.endpoint("https://one.example.com", "*") // created later
		a := w.do("POST", account+"/events/"+event+"/replay", `{"endpoint_id": "`+ep.ID+`"}`)
		require.Equal(w, http.StatusAccepted, a.Status)
		id := decode(w, a)["id"].(string)
		require.Equal(w, "../../deliveries/"+id, a.Header.Get("Location"))
		synctest.Wait()
		cancelled := w.must("POST", account+"/deliveries/"+id+"/cancel", "")
		require.Equal(w, []any{"cancelled", "cancelled by ann@example.com"}, []any{cancelled["state"], cancelled["reason"]})
		w.must("POST", account+"/endpoints/"+ep.ID+"/disable", "")
		require.Equal(w, problemTypes+"endpoint-disabled", w.do("POST", account+"/events/"+event+"/replay", `{"endpoint_id": "`+ep.ID+`"}`).problem(w).Type)
	})
}

func TestRecoveries(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.receiver.Script(sendertest.Status(500))
		ep := w.endpoint("https://one.example.com", "*")
		for range 30 {
			w.send(sender.Event{Type: "a"})
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		for _, what := range []string{`{"endpoint_id": ""}`, `{"type": ""}`, `{"endpoint_id": "\u0000"}`, // which would select everything
			`{"from": "9999-12-31T23:59:59-23:59"}`, `{"to": "0000-01-01T00:00:00+23:59"}`} { // which can't be told again
			for _, path := range []string{"/recoveries/dry-run", "/recoveries"} {
				require.Equal(w, problemTypes+"invalid", w.do("POST", account+path, what).problem(w).Type, what)
			}
		}
		what := `{"endpoint_id": "` + ep.ID + `", "type": "a", "from": "2000-01-01T00:00:00Z", "rate": 1}`
		count := w.must("POST", account+"/recoveries/dry-run", what)
		require.Equal(w, map[string]any{"replayed": 30.0, "hastened": 0.0, "missed": 0.0, "total": 30.0, "complete": true}, count)
		a := w.do("POST", account+"/recoveries", what)
		require.Equal(w, http.StatusAccepted, a.Status)
		path := account + "/" + a.Header.Get("Location")
		time.Sleep(3500 * time.Millisecond)
		r := w.must("GET", path, "")
		require.Equal(w, []any{"running", ep.ID, "a", 1.0, "2000-01-01T00:00:00.000000Z", "ann@example.com"}, []any{r["state"], r["endpoint_id"], r["type"], r["rate"], r["from"], r["actor"]})
		require.Equal(w, 4.0, r["queued"].(map[string]any)["total"])
		w.must("POST", path+"/cancel", "")
		synctest.Wait()
		r = w.must("GET", path, "")
		require.Equal(w, "cancelled", r["state"])
		require.Equal(w, 4.0, r["queued"].(map[string]any)["total"])
		require.NotEmpty(w, r["ended_at"])

		path = account + "/recoveries/" + w.must("POST", account+"/recoveries", "{}")["id"].(string)
		synctest.Wait()
		r = w.must("GET", path, "")
		require.Equal(w, "queued", r["state"])
		require.Equal(w, 30.0, r["queued"].(map[string]any)["total"], "the rest, and what was replayed before is hastened")

		for range 4 { // as many as an account can have at once
			w.must("POST", account+"/recoveries", `{"rate": 1}`)
		}
		busy := func() {
			a := w.do("POST", account+"/recoveries", "{}")
			require.Equal(w, problemTypes+"busy", a.problem(w).Type)
			require.Equal(w, "1", a.Header.Get("Retry-After"))
		}
		busy()
		w.api.Close()
		busy()
		require.Equal(w, "cancelled", data(w.must("GET", account+"/recoveries", ""))[0]["state"])
	})
}

func TestEventTypes(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		got := data(w.must("GET", "/event-types", ""))
		require.Len(w, got, 4)
		require.Equal(w, map[string]any{
			"name": "payment.succeeded", "resource": "Payments", "description": "A payment went through.", "recommended": true, "example": map[string]any{"amount": 5000.0},
		}, got[0])
		require.Equal(w, map[string]any{"name": "payment.failed", "resource": "payment", "recommended": false, "example": nil}, got[1])
		require.Equal(w, map[string]any{"<b>": 100.0}, got[2]["example"])
		require.Equal(w, []any{1.0}, got[3]["example"])
	})
	inWorld(t, sender.Options{}, func(w *world) {
		require.Empty(w, data(w.must("GET", "/event-types", "")))
	})
}
