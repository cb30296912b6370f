package dashboard

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// What events and receivers say is text on every page, whatever it says.
func TestHostileText(t *testing.T) {
	const script = `<script>alert(1)</script><img src=x onerror=alert(2)>"'</pre></textarea>`
	inWorld(t, sender.Options{MaxEnvelope: 32 << 20}, func(w *world) {
		evil := script + "\x00\x1b]0;title\x07\u202eevil\u2066\xff\xfe"
		w.access.Actor = "ann" + script
		w.access.Accounts[1].Name = "Acme" + script + "\u202e"
		w.receiver.Script(sendertest.Answer{
			Status: 500, Body: evil + strings.Repeat("x", 1<<20),
			Header: http.Header{"X-Evil": {script + "\u202e\xff"}, "Content-Type": {"text/html"}},
		})
		ctx := w.Context()
		ep, _, err := w.acme.CreateEndpoint(sender.WithActor(ctx, "eve"+script), sender.EndpointSpec{
			URL: "https://example.com/%3Cscript%3E?q=%22'", EventTypes: []string{"*"}, NoTestEvent: true,
			Description: script + "\u202e", Metadata: map[string]string{script: script},
		})
		require.NoError(w, err)
		ids := []string{
			w.send(sender.Event{Type: "a.text", Data: evil[:len(evil)-2], Refs: []string{script}}),
			w.send(sender.Event{Type: "b.raw", Body: []byte(evil), ContentType: "text/html"}),
			w.send(sender.Event{Type: "c.long", Body: []byte(strings.Repeat("<script>", 10<<17))}),
			w.send(sender.Event{Type: "d.json", Data: json.RawMessage(`{"a":"` + strings.Repeat("z", 10<<20) + `"}`)}),
		}
		_, err = w.acme.DisableEndpoint(sender.WithActor(ctx, script), ep.ID, script)
		require.NoError(w, err)

		paths := []string{"endpoints", "endpoints/" + ep.ID, "endpoints/" + ep.ID + "/edit", "endpoints/" + ep.ID + "/delete", "deliveries", "events", "endpoints?q=%3Cscript%3E%3Cb", "deliveries?type=%3Cscript%3E&ref=%22%3E%3Cscript%3E", "recover?count=1&type=%3Cscript%3E"}
		for _, id := range ids {
			d := w.delivery(store.DeliveryQuery{EventID: id})
			paths = append(paths, "events/"+id, "events/"+id+"?why=%3Cscript%3E", "deliveries/"+d.ID.String())
		}
		saw := false
		for _, path := range paths {
			a := w.get(path)
			require.Less(w, len(a.Body), 1<<20, "%s: a page stays small", path)
			require.NotContains(w, a.Body, "<script>", path)
			require.NotContains(w, a.Body, "<img", path)
			require.NotContains(w, a.Body, "onerror=alert(2)>\"", path)
			require.True(w, utf8.ValidString(a.Body), path)
			// What stands in a field has to come back as it is, and stays in the field.
			for _, r := range regexp.MustCompile(`value="[^"]*"`).ReplaceAllString(a.Body, "") {
				require.False(w, r != '\n' && r != '\t' && (unicode.IsControl(r) || r == '\u202e' || r == '\u2066'), "%s has a %q", path, r)
			}
			saw = saw || strings.Contains(a.Body, "&lt;script&gt;alert(1)&lt;/script&gt;")
		}
		require.True(w, saw)

		// The exact bytes are to be saved, not shown.
		a := w.get("events/" + ids[1] + "/body")
		require.Equal(w, evil, a.Body)
		require.Equal(w, "application/octet-stream", a.Header.Get("Content-Type"))
		require.Equal(w, `attachment; filename="`+ids[1]+`.json"`, a.Header.Get("Content-Disposition"))
		require.Contains(w, a.Header.Get("Content-Security-Policy"), "default-src 'none'")
		require.Contains(w, w.get("events/"+ids[3]).text(), "Download the exact 10,485,")
		// Nor does a form that has it.
		bad := w.post("endpoints", map[string][]string{"url": {script}, "description": {script + "\x00"}, "type": {script}, "types": {script}})
		require.Equal(w, http.StatusUnprocessableEntity, bad.Status)
		require.NotContains(w, bad.Body, "<script>")
		gone := w.do(http.MethodGet, "/"+desk.Segment(acmeTest)+"/deliveries/"+"%3Cscript%3E", nil)
		require.Equal(w, http.StatusNotFound, gone.Status)
		require.NotContains(w, gone.Body, "<script>")
	})
}
