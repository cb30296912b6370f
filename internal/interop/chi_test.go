package interop

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/verifiertest"
)

// The places where chi takes middleware.
func TestMiddlewareUnderChi(t *testing.T) {
	routers := map[string]func(v *verifier.Verifier, handler http.HandlerFunc) http.Handler{
		"Use": func(v *verifier.Verifier, handler http.HandlerFunc) http.Handler {
			r := chi.NewRouter()
			r.Use(middleware.Recoverer, middleware.RequestID, v.Middleware)
			r.Post("/hooks/{tenant}", handler)
			return r
		},
		"With": func(v *verifier.Verifier, handler http.HandlerFunc) http.Handler {
			r := chi.NewRouter()
			r.With(v.Middleware).Post("/hooks/{tenant}", handler)
			return r
		},
		"Group": func(v *verifier.Verifier, handler http.HandlerFunc) http.Handler {
			r := chi.NewRouter()
			r.Group(func(r chi.Router) {
				r.Use(v.Middleware)
				r.Post("/hooks/{tenant}", handler)
			})
			return r
		},
		"Route": func(v *verifier.Verifier, handler http.HandlerFunc) http.Handler {
			r := chi.NewRouter()
			r.Route("/hooks", func(r chi.Router) {
				r.Use(middleware.AllowContentType("application/json"), v.Middleware)
				r.Post("/{tenant}", handler)
			})
			return r
		},
		"Mount": func(v *verifier.Verifier, handler http.HandlerFunc) http.Handler {
			hooks := chi.NewRouter()
			hooks.Post("/{tenant}", handler)
			r := chi.NewRouter()
			r.Mount("/hooks", v.Middleware(hooks))
			return r
		},
	}
	for name, route := range routers {
		t.Run(name, func(t *testing.T) {
			secret := newSecret()
			v, err := verifier.New(secret, nil)
			require.NoError(t, err)
			var got []verifier.Event
			router := route(v, func(w http.ResponseWriter, r *http.Request) {
				require.Equal(t, "acme", chi.URLParam(r, "tenant"))
				event, ok := verifier.FromContext(r.Context())
				require.True(t, ok)
				got = append(got, event)
				w.WriteHeader(http.StatusNoContent)
			})
			serve := func(fault verifiertest.Fault, target string) int {
				r := verifiertest.NewRequest(t, secret, verifier.Event{ID: "evt_1"}, &verifiertest.Options{Target: target, Fault: fault})
				answer := httptest.NewRecorder()
				router.ServeHTTP(answer, r)
				return answer.Code
			}
			require.Equal(t, http.StatusNoContent, serve("", "/hooks/acme"))
			require.Len(t, got, 1)
			require.Equal(t, "evt_1", got[0].ID)
			for _, fault := range verifiertest.Faults(nil) {
				require.Equal(t, http.StatusBadRequest, serve(fault, "/hooks/acme"), fault)
			}
			require.Equal(t, http.StatusNotFound, serve("", "/elsewhere"))
			require.Len(t, got, 1)
		})
	}
}
