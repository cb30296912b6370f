package api

import (
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"path"
	"sync"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
)

// ErrNoAuthorize says that New was given no function that authorises requests.
var ErrNoAuthorize = errors.New("api: New needs an AuthorizeFunc; without one everybody could read and change everything")

// ErrNoSender says that New was given no Sender.
var ErrNoSender = errors.New("api: New needs a Sender")

// Options configures an API. The zero value of every field means its default.
type Options struct {
	// Denied answers requests that were not authorised, with the error of the
	// AuthorizeFunc, nil if it granted no account. Default: a 403 problem without the
	// error.
	Denied func(w http.ResponseWriter, r *http.Request, err error)
	// TrustedOrigins may make changes from browsers besides the handler's own origin,
	// such as "https://admin.example.com" in front of a proxy that changes the Host
	// header.
	TrustedOrigins []string
	// Logger hears of requests that failed for reasons of the server's. Default
	// slog.Default().
	Logger *slog.Logger
}

// API is the handler of all operations. It is safe for concurrent use.
type API struct {
	office    *desk.Office
	authorize dashboard.AuthorizeFunc
	opts      Options
	origins   *http.CrossOriginProtection
	mux       *http.ServeMux

	wrongMount sync.Once // is logged
}

// New returns the operations on a Sender, started or not. The errors are ErrNoSender,
// ErrNoAuthorize and those of Options.TrustedOrigins.
//
// Recoveries belong to the handler that started them: those of the pages are not
// listed here, nor the other way round.
func New(hooks *sender.Sender, authorize dashboard.AuthorizeFunc, o *Options) (*API, error) {
	switch {
	case hooks == nil:
		return nil, ErrNoSender
	case authorize == nil:
		return nil, ErrNoAuthorize
	}
	a := &API{office: desk.NewOffice(hooks), authorize: authorize, origins: http.NewCrossOriginProtection()}
	if o != nil {
		a.opts = *o
	}
	for _, origin := range a.opts.TrustedOrigins {
		if err := a.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("api: Options.TrustedOrigins: %w", err)
		}
	}
	a.opts.Logger = cmp.Or(a.opts.Logger, slog.Default())
	a.mux = a.routes()
	return a, nil
}

// Close ends the recoveries that were started here and waits for them. Their work so
// far stays; the handler goes on answering.
func (a *API) Close() { a.office.Close() }

//go:embed openapi.json
var openAPI []byte

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	mount := desk.MountOf(r, isOwn)
	if mount.Wrong {
		a.wrongMount.Do(func() {
			a.opts.Logger.Error("hookpost: the dashboard's API can't be used", "error", mount.Problem())
		})
		(&call{api: a, w: w, r: r}).refuse(problemOf(wrongMount, mount.Problem()+": "+mount.Help("operations")))
		return
	}
	if err := a.origins.Check(r); err != nil {
		(&call{api: a, w: w, r: r}).fail(problemOf(crossOrigin, "the request was sent from a page of another site"))
		return
	}
	if clean := path.Clean(r.URL.Path); clean != r.URL.Path {
		a.serve(w, r, nil) // the mux would redirect to a path without the prefix
		return
	}
	a.mux.ServeHTTP(w, r)
}

// isOwn reports whether there are paths that begin with a segment.
func isOwn(segment string) bool {
	return segment == "accounts" || segment == "event-types" || segment == "openapi.json"
}

// routes lets the mux find the methods of a path.
func (a *API) routes() *http.ServeMux {
	methods := map[string]map[string]operation{}
	for _, op := range operations {
		if methods[op.path] == nil {
			methods[op.path] = map[string]operation{}
		}
		methods[op.path][op.method] = op
	}
	mux := http.NewServeMux()
	for path, ops := range methods {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, ops) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { a.serve(w, r, nil) })
	mux.HandleFunc("GET /openapi.json", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(openAPI) // nobody is left to hear of an error
	})
	return mux
}

// serve authorises a request and carries out the operation of its method; without
// operations there is no such path.
func (a *API) serve(w http.ResponseWriter, r *http.Request, ops map[string]operation) {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody) // for the AuthorizeFunc too
	c := &call{api: a, w: w, r: r}
	var err error
	if c.access, err = a.authorize(r); err != nil || len(c.access.Accounts) == 0 {
		if a.opts.Denied != nil {
			a.opts.Denied(w, r, err)
			return
		}
		c.fail(problemOf(denied, "the request is not authorised"))
		return
	}
	if err := c.run(ops); err != nil {
		c.fail(err)
	}
}
