package api

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/sender"
)

// A handler that is mounted rightly works, wherever that is, and one that is mounted
// wrongly says so, and how it is mounted.
func TestMounts(t *testing.T) {
	at := func(pattern string, h http.Handler) http.Handler {
		mux := http.NewServeMux()
		mux.Handle(pattern, h)
		return mux
	}
	chi := func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Pattern = "/webhooks/api/*"
			h.ServeHTTP(w, r)
		})
	}
	inWorld(t, sender.Options{}, func(w *world) {
		for name, c := range map[string]struct {
			mount func(h http.Handler) http.Handler
			base  string
			wrong bool
		}{
			"the root":  {func(h http.Handler) http.Handler { return h }, "", false},
			"a path":    {func(h http.Handler) http.Handler { return at("/webhooks/api/", http.StripPrefix("/webhooks/api", h)) }, "/webhooks/api", false},
			"chi":       {func(h http.Handler) http.Handler { return chi(http.StripPrefix("/webhooks/api", h)) }, "/webhooks/api", false},
			"gorilla":   {func(h http.Handler) http.Handler { return http.StripPrefix("/webhooks/api", h) }, "/webhooks/api", false},
			"one's own": {func(h http.Handler) http.Handler { return at("/accounts/", http.StripPrefix("/accounts", h)) }, "/accounts", false},
			"a mux in a mux": {func(h http.Handler) http.Handler {
				return at("/webhooks/", http.StripPrefix("/webhooks", at("/api/", http.StripPrefix("/api", h))))
			}, "/webhooks/api", false},
			"nothing stripped":        {func(h http.Handler) http.Handler { return at("/webhooks/api/", h) }, "/webhooks/api", true},
			"nothing stripped by chi": {chi, "/webhooks/api", true},
			"half stripped": {func(h http.Handler) http.Handler {
				return at("/webhooks/", http.StripPrefix("/webhooks", at("/api/", h)))
			}, "/webhooks/api", true},
			"with the slash": {func(h http.Handler) http.Handler {
				return at("/webhooks/api/", http.StripPrefix("/webhooks/api/", h))
			}, "/webhooks/api", true},
			"with the slash, by gorilla": {func(h http.Handler) http.Handler { return http.StripPrefix("/webhooks/api/", h) }, "/webhooks/api", true},
		} {
			var log bytes.Buffer
			operations, err := New(w.hooks, w.api.authorize, &Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
			require.NoError(w, err)
			h := c.mount(operations)
			for _, path := range []string{"/accounts", "/accounts/test~acme/endpoints", "/openapi.json"} {
				a := serve(h, httptest.NewRequest(http.MethodGet, c.base+path, nil))
				if !c.wrong {
					require.Equal(w, http.StatusOK, a.Status, "%s: %s", name, a.Body)
					continue
				}
				p := a.problem(w)
				require.Equal(w, problemTypes+"mounted-wrongly", p.Type, name)
				require.Contains(w, p.Detail, `http.Handle("/webhooks/api/", http.StripPrefix("/webhooks/api", operations))`, name)
			}
			require.Equal(w, c.wrong, strings.Contains(log.String(), "mounted wrongly"), name)
			if !c.wrong {
				a := serve(h, httptest.NewRequest(http.MethodGet, c.base+"/nothing/here", nil))
				require.Equal(w, problemTypes+"not-found", a.problem(w).Type, name)
				require.Equal(w, c.base == "", strings.Contains(a.Body, "StripPrefix"), name)
			}
		}
		// Without a pattern it may be either; who is not let in is told nothing.
		p := w.do("GET", "/webhooks/api/accounts", "").problem(w)
		require.Equal(w, problemTypes+"not-found", p.Type)
		require.Contains(w, p.Detail, `http.StripPrefix("/webhooks/api", operations)`)
		w.access = dashboard.Access{}
		require.Equal(w, problemTypes+"denied", w.do("GET", "/webhooks/api/accounts", "").problem(w).Type)
	})
}
