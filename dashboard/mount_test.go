package dashboard

import (
	"bytes"
	"html"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// at mounts handlers on a mux by pattern.
func at(pattern string, h http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(pattern, h)
	return mux
}

// router is one that is not the standard library's: it strips nothing and may tell its
// pattern.
func router(pattern string, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = pattern
		h.ServeHTTP(w, r)
	})
}

// slashless is middleware that removes the slash at the end of paths, inside or by
// redirects.
func slashless(redirects bool, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		short := strings.TrimSuffix(r.URL.Path, "/")
		switch {
		case short == "" || short == r.URL.Path:
			h.ServeHTTP(w, r)
		case redirects:
			http.Redirect(w, r, short, http.StatusMovedPermanently)
		default:
			h.ServeHTTP(w, withPath(r, short))
		}
	})
}

var mounts = []struct {
	name  string
	mount func(h http.Handler) http.Handler
	base  string // what a visitor asks for
	wrong bool
}{
	{"the root", func(h http.Handler) http.Handler { return h }, "/", false},
	{"the root of a mux", func(h http.Handler) http.Handler { return at("/", h) }, "/", false},
	{"an empty path", func(h http.Handler) http.Handler { return http.StripPrefix("/webhooks", h) }, "/webhooks", false},
	{"a path", func(h http.Handler) http.Handler { return at("/webhooks/", http.StripPrefix("/webhooks", h)) }, "/webhooks/", false},
	{"a path without its slash", func(h http.Handler) http.Handler { return at("/webhooks/", http.StripPrefix("/webhooks", h)) }, "/webhooks", false},
	{"a path on a host", func(h http.Handler) http.Handler {
		return at("example.com/webhooks/", http.StripPrefix("/webhooks", h))
	}, "/webhooks/", false},
	{"a deep path", func(h http.Handler) http.Handler { return at("/a/b/c/", http.StripPrefix("/a/b/c", h)) }, "/a/b/c/", false},
	{"an escaped path", func(h http.Handler) http.Handler { return at("/w%20e/", http.StripPrefix("/w e", h)) }, "/w%20e/", false},
	{"a path like an account", func(h http.Handler) http.Handler { return at("/live/", http.StripPrefix("/live", h)) }, "/live/", false},
	{"a path with a wildcard", func(h http.Handler) http.Handler {
		return at("/{tenant}/hooks/", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			http.StripPrefix("/"+r.PathValue("tenant")+"/hooks", h).ServeHTTP(w, r)
		}))
	}, "/acme/hooks/", false},
	{"a mux in a mux", func(h http.Handler) http.Handler {
		return at("/admin/", http.StripPrefix("/admin", at("/webhooks/", http.StripPrefix("/webhooks", h))))
	}, "/admin/webhooks/", false},
	{"chi", func(h http.Handler) http.Handler { return router("/webhooks/*", http.StripPrefix("/webhooks", h)) }, "/webhooks/", false},
	{"chi without the slash", func(h http.Handler) http.Handler { return router("/webhooks/*", http.StripPrefix("/webhooks", h)) }, "/webhooks", false},
	{"gorilla", func(h http.Handler) http.Handler { return router("", http.StripPrefix("/webhooks", h)) }, "/webhooks/", false},
	{"slashes removed inside", func(h http.Handler) http.Handler {
		return slashless(false, router("/webhooks/*", http.StripPrefix("/webhooks", h)))
	}, "/webhooks/", false},
	{"slashes removed by redirects", func(h http.Handler) http.Handler {
		return slashless(true, router("/webhooks/*", http.StripPrefix("/webhooks", h)))
	}, "/webhooks/", false},

	{"nothing stripped", func(h http.Handler) http.Handler { return at("/webhooks/", h) }, "/webhooks/", true},
	{"nothing stripped, a page", func(h http.Handler) http.Handler { return at("/webhooks/", h) }, "/webhooks/live~acme/endpoints", true},
	{"nothing stripped, deep", func(h http.Handler) http.Handler { return at("GET /a/webhooks/", h) }, "/a/webhooks/", true},
	{"nothing stripped, the rest", func(h http.Handler) http.Handler { return at("/webhooks/{rest...}", h) }, "/webhooks/live~acme/endpoints", true},
	{"nothing stripped, exact", func(h http.Handler) http.Handler { return at("/webhooks", h) }, "/webhooks", true},
	{"nothing stripped, a wildcard", func(h http.Handler) http.Handler { return at("/{tenant}/hooks/", h) }, "/acme/hooks/accounts", true},
	{"nothing stripped by chi", func(h http.Handler) http.Handler { return router("/webhooks/*", h) }, "/webhooks/", true},
	{"half stripped", func(h http.Handler) http.Handler {
		return at("/admin/", http.StripPrefix("/admin", at("/webhooks/", h)))
	}, "/admin/webhooks/", true},
	{"nothing stripped, escaped", func(h http.Handler) http.Handler { return at("/w%20e/", h) }, "/w%20e/accounts", true},
	{"with the slash", func(h http.Handler) http.Handler { return at("/webhooks/", http.StripPrefix("/webhooks/", h)) }, "/webhooks/", true},
	{"with the slash, a page", func(h http.Handler) http.Handler { return at("/webhooks/", http.StripPrefix("/webhooks/", h)) }, "/webhooks/live~acme/endpoints", true},
	{"with the slash, by gorilla", func(h http.Handler) http.Handler { return router("", http.StripPrefix("/webhooks/", h)) }, "/webhooks/", true},
	{"with the slash, by chi", func(h http.Handler) http.Handler { return router("/webhooks/*", http.StripPrefix("/webhooks/", h)) }, "/webhooks/", true},
	{"with the slash, escaped", func(h http.Handler) http.Handler { return at("/webhooks/", http.StripPrefix("/webhooks/", h)) }, "/webhooks/live~acme/endpoints/%2F", true},
	{"the root's slash", func(h http.Handler) http.Handler { return http.StripPrefix("/", h) }, "/", true},
}

// follow asks for a path and goes where it leads, a few times.
func follow(t *testing.T, h http.Handler, path string) (at *url.URL, a answer) {
	t.Helper()
	at, err := url.Parse("http://example.com" + path)
	require.NoError(t, err)
	for range 5 {
		a = serve(h, httptest.NewRequest(http.MethodGet, at.String(), nil))
		if a.Status/100 != 3 {
			return at, a
		}
		at, err = at.Parse(a.Header.Get("Location"))
		require.NoError(t, err)
	}
	t.Fatalf("%s redirects for ever", path)
	return at, a
}

// A handler that is mounted rightly works, wherever that is, and one that is mounted
// wrongly says so, and how it is mounted.
func TestMounts(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		var log bytes.Buffer
		for _, several := range []bool{false, true} {
			w.access = full()
			if several {
				w.access.Accounts = append(w.access.Accounts, Account{Tenant: "globex", Mode: store.Live})
			}
			for _, m := range mounts {
				log.Reset()
				pages, err := New(w.hooks, w.pages.authorize, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
				require.NoError(w, err)
				h := m.mount(pages)
				at, a := follow(w.T, h, m.base)
				if m.wrong {
					require.Equal(w, http.StatusInternalServerError, a.Status, "%s: %s", m.name, a.Body)
					require.Contains(w, a.Body, "mounted wrongly", m.name)
					require.Contains(w, a.Body, "http.Handle(", m.name)
					require.NotContains(w, a.Body, `/", pages))`, "%s: %s", m.name, a.Body)
					follow(w.T, h, m.base)
					require.Equal(w, 1, strings.Count(log.String(), "mounted wrongly"), m.name)
					continue
				}
				require.Equal(w, http.StatusOK, a.Status, "%s: %s", m.name, a.Body)
				require.Empty(w, log.String(), m.name)
				found := 0
				for _, link := range linkForm.FindAllStringSubmatch(a.Body, -1) {
					if !strings.HasPrefix(link[0], "action") {
						to, err := at.Parse(html.UnescapeString(link[1]))
						require.NoError(w, err)
						_, there := follow(w.T, h, to.RequestURI())
						require.Equal(w, http.StatusOK, there.Status, "%s: %s", m.name, to)
						found++
					}
				}
				require.Greater(w, found, 3, m.name)
				// A wrong address is a wrong address.
				nowhere, err := at.Parse("nothing/here")
				require.NoError(w, err)
				_, a = follow(w.T, h, nowhere.RequestURI())
				require.Equal(w, http.StatusNotFound, a.Status, "%s: %s", m.name, a.Body)
				require.NotContains(w, a.Body, "mounted wrongly", m.name)
			}
		}
	})
}

// Where no router tells its pattern, a path that nothing was stripped of may be wrong or
// not be there: the page says both.
func TestPerhapsMountedWrongly(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		for _, path := range []string{"/webhooks", "/webhooks/", "/webhooks/live~acme/endpoints", "/webhooks/assets/x.css", "/favicon.ico"} {
			for _, h := range []http.Handler{w.pages, at("/", w.pages), router("", w.pages)} {
				a := serve(h, httptest.NewRequest(http.MethodGet, path, nil))
				require.Equal(w, http.StatusNotFound, a.Status, path)
				require.Contains(w, a.text(), "There is no page at this address. If the dashboard is mounted below a path, that path must be stripped", path)
				prefix := "/" + strings.Split(path, "/")[1]
				require.Contains(w, a.text(), `http.Handle("`+prefix+`/", http.StripPrefix("`+prefix+`", pages))`)
			}
		}
		// It goes to nobody who is not let in, and no text of theirs gets into the code.
		a := serve(w.pages, httptest.NewRequest(http.MethodGet, "/%22%3Cscript%3E/", nil))
		require.Contains(w, a.text(), `http.Handle("/webhooks/", http.StripPrefix("/webhooks", pages))`)
		require.NotContains(w, a.Body, "<script>")
		a = serve(http.StripPrefix("/", w.pages), httptest.NewRequest(http.MethodGet, "/%1b%22"+strings.Repeat("x", 1<<16), nil))
		require.Equal(w, http.StatusInternalServerError, a.Status)
		require.Less(w, len(a.Body), 1000)
		require.NotContains(w, a.Body, "\x1b")
		w.access = Access{}
		require.Equal(w, http.StatusForbidden, w.do(http.MethodGet, "/webhooks/", nil).Status)
	})
}

// Requests that no server makes are answered too.
func TestOddPaths(t *testing.T) {
	inWorld(t, sender.Options{}, func(w *world) {
		for _, r := range []*http.Request{
			{URL: &url.URL{}},
			{URL: &url.URL{Path: "*"}, RequestURI: "*"},
			{URL: &url.URL{Path: "//"}},
			{URL: &url.URL{Path: "/"}, RequestURI: "http://example.com"},
			{URL: &url.URL{}, RequestURI: "http://example.com/webhooks?x"},
			{URL: &url.URL{Path: "/live~acme/endpoints", RawPath: "/live%7Eacme/endpoints"}, RequestURI: "/webhooks/live%7Eacme/endpoints", Pattern: "/webhooks/"},
			{URL: &url.URL{Path: "/x"}, RequestURI: "/%zz", Pattern: "/webhooks/"},
			{URL: &url.URL{Path: "/webhooks/x"}, RequestURI: "/webhooks/x", Pattern: "nonsense"},
		} {
			r.Method, r.Header, r.Body = http.MethodGet, http.Header{}, http.NoBody
			a := serve(w.pages, r)
			require.Less(w, a.Status, http.StatusInternalServerError, "%v: %s", r.URL, a.Body)
		}
	})
}
