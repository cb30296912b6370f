package dashboard

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

var (
	linkForm    = regexp.MustCompile(`(?:href|src|action)="([^"]*)"`)
	inlineForm  = regexp.MustCompile(`(?i)<style|<script(?: [^>]*)?>[^<]|\sstyle=|\son[a-z]+="|javascript:`)
	controlForm = regexp.MustCompile(`<(?:input|select|textarea)\b[^>]*>`)
	idForm      = regexp.MustCompile(`\bid="([^"]*)"`)
)

// Every page is reached by links alone, wherever the handler is mounted, and has
// nothing that the policy forbids.
func TestEveryLinkLeadsSomewhere(t *testing.T) {
	for _, prefix := range []string{"", "/webhooks", "/a/b~c/d"} {
		t.Run("mounted at "+prefix, func(t *testing.T) {
			inWorld(t, sender.Options{EventTypes: catalogue}, func(w *world) {
				w.things(acmeTest)
				w.things(acmeLive)
				w.things(store.Scope{Tenant: "Böse & <b>", Mode: store.Live})
				w.access.Accounts = append(w.access.Accounts, Account{Tenant: "Böse & <b>", Mode: store.Live, Rights: AllRights})
				mux := http.NewServeMux()
				mux.Handle(prefix+"/", http.StripPrefix(prefix, w.pages))
				seen := map[string]bool{}
				hit := map[string]bool{}
				queue := []string{prefix + "/"}
				for len(queue) > 0 {
					at := queue[0]
					queue = queue[1:]
					if seen[at] {
						continue
					}
					seen[at] = true
					require.Less(t, len(seen), 500)
					r := httptest.NewRequest(http.MethodGet, at, nil)
					a := serve(mux, r)
					from := r.URL
					if a.Status == http.StatusSeeOther {
						to, err := from.Parse(a.Header.Get("Location"))
						require.NoError(t, err)
						queue = append(queue, to.RequestURI())
						continue
					}
					require.Equal(t, http.StatusOK, a.Status, "%s: %s", at, a.Body)
					require.Equal(t, contentPolicy, a.Header.Get("Content-Security-Policy"))
					require.Equal(t, "nosniff", a.Header.Get("X-Content-Type-Options"))
					if !strings.HasPrefix(a.Header.Get("Content-Type"), "text/html") {
						continue
					}
					_, pattern := w.pages.mux.Handler(httptest.NewRequest(http.MethodGet, strings.TrimPrefix(at, prefix), nil))
					hit[pattern] = true
					checkPage(t, at, a.Body)
					for _, m := range linkForm.FindAllStringSubmatch(a.Body, -1) {
						to, err := from.Parse(html.UnescapeString(m[1]))
						require.NoError(t, err, m[1])
						require.Empty(t, to.Host, "%s links to %s", at, m[1])
						require.True(t, strings.HasPrefix(to.EscapedPath(), prefix+"/"), "%s links to %s, outside of %s", at, m[1], prefix)
						if strings.HasPrefix(m[0], "action") {
							_, post := w.pages.mux.Handler(httptest.NewRequest(http.MethodPost, strings.TrimPrefix(to.Path, prefix), nil))
							_, get := w.pages.mux.Handler(httptest.NewRequest(http.MethodGet, strings.TrimPrefix(to.Path, prefix), nil))
							require.NotEmpty(t, post+get, "%s has a form for %s", at, to)
							continue
						}
						queue = append(queue, to.RequestURI())
					}
				}
				for pattern := range pages {
					if strings.HasPrefix(pattern, "GET") && !strings.HasSuffix(pattern, "/{$}") && !strings.HasSuffix(pattern, "{account}") {
						require.True(t, hit[pattern] || strings.HasSuffix(pattern, "/body"), "no link leads to %s", pattern)
					}
				}
			})
		})
	}
}

// checkPage refuses what the policy would, fields without a label and ids that are
// there twice.
func checkPage(t *testing.T, at, body string) {
	t.Helper()
	require.Empty(t, inlineForm.FindString(body), at)
	ids := map[string]bool{}
	for _, m := range idForm.FindAllStringSubmatch(body, -1) {
		require.False(t, ids[m[1]], "%s has the id %s twice", at, m[1])
		ids[m[1]] = true
	}
	require.Equal(t, 1, strings.Count(body, "<h1"), at)
	for _, i := range controlForm.FindAllStringIndex(body, -1) {
		tag := body[i[0]:i[1]]
		if strings.Contains(tag, `type="hidden"`) || strings.Contains(tag, `type="checkbox"`) && strings.HasSuffix(strings.TrimSpace(body[:i[0]]), ">") && strings.Contains(body[max(0, i[0]-80):i[0]], "<label") {
			continue
		}
		id := idForm.FindStringSubmatch(tag)
		require.NotNil(t, id, "%s: %s has no label", at, tag)
		require.Contains(t, body, `for="`+id[1]+`"`, "%s: %s has no label", at, tag)
	}
}

func TestMountedWithoutASlash(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		r := httptest.NewRequest(http.MethodGet, "/admin/webhooks?x=1", nil)
		a := serve(http.StripPrefix("/admin/webhooks", w.pages), r)
		require.Equal(w, http.StatusSeeOther, a.Status)
		to, err := r.URL.Parse(a.Header.Get("Location"))
		require.NoError(w, err)
		require.Equal(w, "/admin/webhooks/live~acme/endpoints", to.Path)

		// Nothing that the mux would clean away, to an address without the prefix.
		for _, path := range []string{"//test~acme/endpoints", "/test~acme/../live~acme/endpoints", "/test~acme//endpoints", "/test~acme/./endpoints"} {
			a := serve(w.pages, &http.Request{Method: http.MethodGet, URL: &url.URL{Path: path}, Header: http.Header{}})
			require.Equal(w, http.StatusNotFound, a.Status, path)
		}
		require.Equal(w, http.StatusNotFound, w.do(http.MethodGet, "/assets/other.css", nil).Status)
		require.Equal(w, http.StatusNotFound, w.do(http.MethodGet, "/nobody", nil).Status)
		require.Equal(w, http.StatusNotFound, w.do(http.MethodGet, "/test~acme/nothing", nil).Status)
	})
}

func TestAssets(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		w.access = Access{} // they are the same for everybody
		kinds := map[string]bool{}
		for name := range assets {
			a := w.do(http.MethodGet, "/assets/"+name, nil)
			require.Equal(w, http.StatusOK, a.Status)
			require.Contains(w, a.Header.Get("Cache-Control"), "immutable")
			kinds[a.Header.Get("Content-Type")] = true
			require.NotContains(w, a.Body, "://", "nothing is loaded from elsewhere")
		}
		require.Equal(w, map[string]bool{"text/css; charset=utf-8": true, "text/javascript; charset=utf-8": true}, kinds)
	})
}

// One tenant leads to its endpoints, several to a choice.
func TestStart(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		a := w.do(http.MethodGet, "/", nil)
		require.Equal(w, "./live~acme/endpoints", a.Header.Get("Location"))
		w.access.Accounts = append(w.access.Accounts, Account{Tenant: "globex", Mode: store.Test, Name: "Globex"}, Account{Mode: store.Live})
		a = w.do(http.MethodGet, "/", nil)
		require.Equal(w, "./accounts", a.Header.Get("Location"))
		text := w.do(http.MethodGet, "/accounts", nil).text()
		require.Contains(w, text, "Acme Ltd acme live test Globex globex test (no name) live")
		text = w.do(http.MethodGet, "/accounts?q=GLO", nil).text()
		require.Contains(w, text, "Globex")
		require.NotContains(w, text, "Acme")
	})
}
