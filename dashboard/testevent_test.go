package dashboard

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
)

// A test event that the receiver did not accept looks nowhere like a success.
func TestTestEventsThatAreNotAccepted(t *testing.T) {
	for name, tc := range map[string]struct {
		answer sendertest.Answer
		badge  string // of the delivery
		why    string
		chart  string
	}{
		"accepted": {
			sendertest.Answer{Status: 202}, `<span class="badge delivered">delivered</span>`, "Why? Delivered at", "1 delivered, 0 failed",
		},
		"refused": {
			sendertest.Answer{Status: 400, Body: "no signature", Header: http.Header{"X-Request-Id": {"abc"}}},
			`<span class="badge reached">reached, answered 400</span>`,
			"but the test event was not accepted: the receiver answered 400 Bad Request.", "0 delivered, 0 failed, 1 reached only",
		},
		"broken": {
			sendertest.Answer{Status: 500},
			`<span class="badge reached">reached, answered 500</span>`,
			"the receiver answered 500 Internal Server Error.", "0 delivered, 0 failed, 1 reached only",
		},
		"redirected": {
			sendertest.Answer{Status: 301},
			`<span class="badge reached">reached, answered 301</span>`,
			"the endpoint needs the final URL.", "0 delivered, 0 failed, 1 reached only",
		},
		"not reached": {
			sendertest.Answer{Fault: sendertest.Close}, `<span class="badge exhausted">exhausted</span>`, "not reached: ", "0 delivered, 1 failed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, sender.Options{}, func(w *world) {
				ep := w.endpoint("https://example.com/hooks", "push")
				w.receiver.Script(tc.answer)
				sent := w.follow("endpoints/"+ep.ID+"/test", nil)
				require.Equal(w, http.StatusOK, sent.Status)
				synctest.Wait()
				id := w.delivery(ofEndpoint(ep)).ID.String()
				accepted := tc.answer.Status == 202
				for _, path := range []string{"deliveries", "deliveries/" + id, "endpoints/" + ep.ID, "events/" + w.delivery(ofEndpoint(ep)).EventID} {
					page := w.get(path)
					require.Contains(w, page.Body, tc.badge, path)
					if !accepted {
						require.NotContains(w, page.Body, `badge delivered`, path)
						require.NotContains(w, page.Body, `class="notice why delivered"`, path)
					}
				}
				page := w.get("deliveries/" + id)
				require.Contains(w, page.text(), tc.why)
				if tc.answer.Body != "" {
					require.Contains(w, page.text(), "X-Request-Id abc")
					require.Contains(w, page.text(), tc.answer.Body)
					require.Contains(w, page.Body, `class="notice why reached"`)
				}
				page = w.get("endpoints/" + ep.ID)
				require.Contains(w, page.text(), "Success rate Nothing but test events attempted yet")
				require.Contains(w, page.text(), tc.chart)
				list := w.get("endpoints").text()
				require.NotContains(w, list, " %")
				if tc.answer.Status > 299 {
					require.Contains(w, page.Body, `<rect class="reached"`)
					require.NotContains(w, list, "delivered")
					require.Contains(w, list, "reached, answered")
				}

				// They do not blur the rate of what is real either.
				w.receiver.Script(sendertest.Answer{})
				w.send(sender.Event{Type: "push"})
				w.receiver.Script(sendertest.Answer{Status: 500})
				w.send(sender.Event{Type: "push"})
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Contains(w, w.get("endpoints/"+ep.ID).text(), "Success rate 25 % of 4 attempts of the newest 2 deliveries, test events aside")
				require.Contains(w, w.get("endpoints").text(), "25 %")
			})
		})
	}
}
