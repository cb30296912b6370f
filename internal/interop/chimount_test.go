package interop

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/memory"
)

// The pages under chi, which strips nothing by itself and has middleware for slashes.
func TestDashboardUnderChi(t *testing.T) {
	hooks, err := sender.New(memory.New(), nil)
	require.NoError(t, err)
	pages, err := dashboard.New(hooks, func(*http.Request) (dashboard.Access, error) {
		return dashboard.Access{Accounts: []dashboard.Account{{Tenant: "acme", Mode: store.Live}}}, nil
	}, &dashboard.Options{Logger: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer pages.Close()
	for name, c := range map[string]struct {
		handler http.Handler
		slashes func(http.Handler) http.Handler
		status  int
	}{
		"stripped":               {http.StripPrefix("/admin/webhooks", pages), nil, http.StatusOK},
		"stripped, redirects":    {http.StripPrefix("/admin/webhooks", pages), middleware.RedirectSlashes, http.StatusOK},
		"stripped, no slashes":   {http.StripPrefix("/admin/webhooks", pages), middleware.StripSlashes, http.StatusOK},
		"not stripped":           {pages, nil, http.StatusInternalServerError},
		"stripped with a slash":  {http.StripPrefix("/admin/webhooks/", pages), nil, http.StatusInternalServerError},
		"half stripped, by hand": {http.StripPrefix("/admin", pages), nil, http.StatusInternalServerError},
	} {
		r := chi.NewRouter()
		if c.slashes != nil {
			r.Use(c.slashes)
		}
		r.Route("/admin", func(r chi.Router) { r.Mount("/webhooks", c.handler) })
		server := httptest.NewServer(r)
		for _, path := range []string{"/admin/webhooks/", "/admin/webhooks", "/admin/webhooks/live~acme/endpoints"} {
			if name == "stripped with a slash" && path == "/admin/webhooks" {
				continue // StripPrefix says itself that there is nothing
			}
			resp, err := server.Client().Get(server.URL + path) // which follows ten redirects
			require.NoError(t, err, "%s: %s", name, path)
			require.NoError(t, resp.Body.Close())
			require.Equal(t, c.status, resp.StatusCode, "%s: %s", name, path)
		}
		server.Close()
	}
}
