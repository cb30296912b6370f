package dashboard

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
)

// A URL can be checked before the events are picked: what was picked stays, and nothing
// is created or changed.
func TestCheckURL(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		taken := w.endpoint("https://taken.example.com/hooks", "*")
		own := w.endpoint("https://own.example.com/hooks", "payment.failed")
		before := w.state(acmeTest)
		for _, c := range []struct{ path, url, want string }{
			{"endpoints", "https://new.example.com", "This URL can be used."},
			{"endpoints", "example.com/hooks", "This URL is not absolute; begin with https://."},
			{"endpoints", "https://TAKEN.example.com:443/hooks", "Another endpoint has this URL already."},
			{"endpoints", "", "Enter the URL of your endpoint"},
			{"endpoints/" + own.ID + "/edit", own.URL, "This URL can be used."},
			{"endpoints/" + own.ID + "/edit", taken.URL, "Another endpoint has this URL already."},
			{"endpoints/" + own.ID + "/edit", "https://10.0.0.1/", "This URL can't be called"},
		} {
			for _, types := range [][]string{nil, {"payout.paid"}} {
				a := w.post(c.path, url.Values{"check": {"1"}, "url": {c.url}, "type": types})
				require.Equal(w, http.StatusOK, a.Status, "%s: %s", c.url, a.Body)
				require.Contains(w, a.text(), c.want, c.url)
				require.NotContains(w, a.text(), "Select at least one event.", c.url)
				require.Contains(w, a.Body, `value="`+c.url+`"`)
				require.Equal(w, len(types) > 0, strings.Contains(a.Body, `value="payout.paid" checked`))
				require.Equal(w, c.want != "This URL can be used.", strings.Contains(a.Body, `aria-invalid="true"`), c.url)
			}
		}
		require.Equal(w, before, w.state(acmeTest))
		require.Equal(w, http.StatusNotFound, w.post("endpoints/ep_unknown/edit", url.Values{"check": {"1"}, "url": {"https://x.example.com"}}).Status)
		w.access.Accounts[1].Rights = AllRights &^ Manage
		require.Equal(w, http.StatusForbidden, w.post("endpoints", url.Values{"check": {"1"}, "url": {"https://x.example.com"}}).Status)
	})
}

// Recommended groups stand first and open, the choice of all events last.
func TestPickerOrder(t *testing.T) {
	inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
		body := w.get("endpoints/new").Body
		at := func(text string) int {
			w.Helper()
			i := strings.Index(body, text)
			require.GreaterOrEqual(w, i, 0, text)
			return i
		}
		require.IsIncreasing(w, []int{at("Recommended</h3>"), at(`value="payment.failed"`), at("Advanced</summary>"), at(`value="payout.paid"`), at(`name="all"`)})
		groups := strings.Split(body, `<details class="group"`)[1:]
		require.Len(w, groups, 4)
		for i, g := range groups {
			require.Equal(w, i < 2, strings.HasPrefix(g, " open"), "group %d", i)
		}
	})
}

// Who deletes or disables an endpoint reads how many deliveries that stops.
func TestPendingIsCounted(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		ep := w.endpoint("https://example.com", "push")
		page := func(what string) string { return w.get("endpoints/" + ep.ID + "/" + what).text() }
		require.NotContains(w, page("delete"), "pending")
		w.receiver.Script(sendertest.Status(500))
		w.send(sender.Event{Type: "push"})
		require.Contains(w, page("delete"), "1 pending delivery is cancelled.")
		require.Contains(w, page("disable"), "1 pending delivery is kept, and the time for retries runs on.")
		for i := range 24 {
			w.send(sender.Event{Type: "push", ID: fmt.Sprint("evt_", i)})
		}
		time.Sleep(time.Second)
		require.Contains(w, page("delete"), "25 pending deliveries are cancelled.")
		require.Contains(w, page("disable"), "25 pending deliveries are kept")
		for i := range 3 * maxPending {
			_, err := w.acme.Send(w.Context(), sender.Event{Type: "push", ID: fmt.Sprint("more_", i)})
			require.NoError(w, err)
		}
		require.Contains(w, page("delete"), "At least ")
		require.Contains(w, page("delete"), "pending deliveries are cancelled.")
	})
}
