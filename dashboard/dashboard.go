package dashboard

import (
	"cmp"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// ErrNoAuthorize says that New was given no function that authorises requests.
var ErrNoAuthorize = errors.New("dashboard: New needs an AuthorizeFunc; without one everybody could read and change everything")

// ErrNoSender says that New was given no Sender.
var ErrNoSender = errors.New("dashboard: New needs a Sender")

// Options configures a Dashboard. The zero value of every field means its default.
type Options struct {
	// Denied answers requests that were not authorised, with the error of the
	// AuthorizeFunc, nil if it granted no account. Default: 403 without the error.
	Denied func(w http.ResponseWriter, r *http.Request, err error)
	// TrustedOrigins may send forms besides the handler's own origin, such as
	// "https://admin.example.com" in front of a proxy that changes the Host header.
	TrustedOrigins []string
	// Location is the time zone of all times. Default: UTC.
	Location *time.Location
	// Logger hears of requests that failed for reasons of the server's. Default
	// slog.Default().
	Logger *slog.Logger
}

// Dashboard is the handler of all pages. It is safe for concurrent use.
type Dashboard struct {
	office    *desk.Office
	authorize AuthorizeFunc
	opts      Options
	origins   *http.CrossOriginProtection
	mux       *http.ServeMux
	templates *template.Template

	wrongMount sync.Once // is logged
}

// New returns the pages for a Sender, started or not. The errors are ErrNoSender,
// ErrNoAuthorize and those of Options.TrustedOrigins.
func New(hooks *sender.Sender, authorize AuthorizeFunc, o *Options) (*Dashboard, error) {
	switch {
	case hooks == nil:
		return nil, ErrNoSender
	case authorize == nil:
		return nil, ErrNoAuthorize
	}
	d := &Dashboard{office: desk.NewOffice(hooks), authorize: authorize, origins: http.NewCrossOriginProtection()}
	if o != nil {
		d.opts = *o
	}
	for _, origin := range d.opts.TrustedOrigins {
		if err := d.origins.AddTrustedOrigin(origin); err != nil {
			return nil, fmt.Errorf("dashboard: Options.TrustedOrigins: %w", err)
		}
	}
	if d.opts.Denied == nil {
		d.opts.Denied = func(w http.ResponseWriter, _ *http.Request, _ error) {
			http.Error(w, "Forbidden", http.StatusForbidden)
		}
	}
	d.opts.Location = cmp.Or(d.opts.Location, time.UTC)
	d.opts.Logger = cmp.Or(d.opts.Logger, slog.Default())
	d.mux = d.routes()
	var err error
	if d.templates, err = templates.Clone(); err != nil {
		return nil, fmt.Errorf("dashboard: %w", err)
	}
	d.templates.Funcs(template.FuncMap{"stamp": d.stamp})
	return d, nil
}

// Close ends the recoveries that were started on the pages and waits for them.
// Their work so far stays; the pages go on answering.
func (d *Dashboard) Close() { d.office.Close() }

// routes are the pages. All but the assets belong to one account, the first
// segment of the path; see desk.Segment.
func (d *Dashboard) routes() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, route := range pages {
		mux.Handle(pattern, d.visitor(route))
	}
	mux.Handle("GET /{$}", d.visitor(route{0, (*visit).start}))
	return mux
}

// route is a page, or what a form does, with the right that it needs besides reading.
type route struct {
	right Rights
	do    func(*visit) error
}

// pages are the routes below an account.
var pages = map[string]route{
	"GET /accounts": {0, (*visit).accounts},

	"GET /{account}":                         {0, (*visit).home},
	"GET /{account}/{$}":                     {0, (*visit).home},
	"GET /{account}/endpoints":               {0, (*visit).endpointList},
	"POST /{account}/endpoints":              {Manage, (*visit).createEndpoint},
	"GET /{account}/endpoints/new":           {Manage, (*visit).newEndpoint},
	"GET /{account}/endpoints/{id}":          {0, (*visit).endpointPage},
	"GET /{account}/endpoints/{id}/edit":     {Manage, (*visit).editEndpoint},
	"POST /{account}/endpoints/{id}/edit":    {Manage, (*visit).saveEndpoint},
	"GET /{account}/endpoints/{id}/disable":  {Manage, (*visit).confirmDisable},
	"POST /{account}/endpoints/{id}/disable": {Manage, (*visit).disableEndpoint},
	"POST /{account}/endpoints/{id}/enable":  {Manage, (*visit).enableEndpoint},
	"GET /{account}/endpoints/{id}/delete":   {Manage, (*visit).confirmDelete},
	"POST /{account}/endpoints/{id}/delete":  {Manage, (*visit).deleteEndpoint},
	"POST /{account}/endpoints/{id}/test":    {Manage, (*visit).sendTest},
	"GET /{account}/endpoints/{id}/rotate":   {RotateSecrets, (*visit).confirmRotate},
	"POST /{account}/endpoints/{id}/rotate":  {RotateSecrets, (*visit).rotateSecret},
	"POST /{account}/endpoints/{id}/revoke":  {RotateSecrets, (*visit).revokeSecret},

	"GET /{account}/deliveries":              {0, (*visit).deliveryList},
	"GET /{account}/deliveries/{id}":         {0, (*visit).deliveryPage},
	"POST /{account}/deliveries/{id}/cancel": {Replay, (*visit).cancelDelivery},

	"GET /{account}/events":              {0, (*visit).eventList},
	"GET /{account}/events/{id}":         {0, (*visit).eventPage},
	"GET /{account}/events/{id}/body":    {0, (*visit).eventBody},
	"POST /{account}/events/{id}/replay": {Replay, (*visit).replayEvent},

	"GET /{account}/recover":              {0, (*visit).recoverForm},
	"POST /{account}/recover":             {Replay, (*visit).startRecovery},
	"GET /{account}/recover/{id}":         {0, (*visit).recoveryPage},
	"POST /{account}/recover/{id}/cancel": {Replay, (*visit).cancelRecovery},

	"GET /{account}/types": {0, (*visit).typeList},
}

// contentPolicy allows the handler's own style sheet, script and forms, and nothing
// else.
const contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// ServeHTTP implements [http.Handler].
func (d *Dashboard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", contentPolicy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if name, ok := strings.CutPrefix(r.URL.Path, "/assets/"); ok {
		serveAsset(w, r, name)
		return
	}
	mount := desk.MountOf(r, isOwn)
	switch {
	case mount.Wrong:
		d.wrongMount.Do(func() { d.opts.Logger.Error("hookpost: the dashboard can't be shown", "error", mount.Problem()) })
		text := fmt.Sprintf("This dashboard can't be shown: %s:\n\n\t%s", mount.Problem(), mount.Help("pages"))
		http.Error(w, text, http.StatusInternalServerError)
		return
	case len(r.URL.EscapedPath()) > maxPath:
		http.Error(w, "URI Too Long", http.StatusRequestURITooLong)
		return
	case mount.Doubtful:
		d.visitor(route{0, func(*visit) error { return noSuchPage(mount) }}).ServeHTTP(w, r)
		return
	case r.URL.Path == "":
		r = withPath(r, "/")
	}
	if err := d.origins.Check(r); err != nil {
		http.Error(w, "Forbidden: the form was sent from another site", http.StatusForbidden)
		return
	}
	if clean := path.Clean(r.URL.Path); clean != r.URL.Path && clean+"/" != r.URL.Path {
		http.NotFound(w, r) // the mux would redirect to a path without the prefix
		return
	}
	d.mux.ServeHTTP(w, r)
}

// isOwn reports whether the pages have paths that begin with a segment.
func isOwn(segment string) bool {
	_, isAccount := desk.ParseSegment(segment)
	return isAccount || segment == "accounts" || segment == "assets"
}

// noSuchPage is what a path gets that is none of the pages', and has not been stripped
// of anything.
func noSuchPage(mount desk.Mount) error {
	return &problem{
		http.StatusNotFound, "Not found",
		"There is no page at this address. If the dashboard is mounted below a path, that path must be stripped, without the slash at its end: " + mount.Help("pages"),
	}
}

// withPath is a request for another path.
func withPath(r *http.Request, path string) *http.Request {
	to := *r.URL
	to.Path, to.RawPath = path, ""
	again := *r
	again.URL = &to
	return &again
}

// visitor authorises a request and lets a page answer it. The body, which is bounded
// for the AuthorizeFunc too, is read by the page: once the visitor may send it.
func (d *Dashboard) visitor(page route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		access, err := d.authorize(r)
		if err != nil || len(access.Accounts) == 0 {
			d.opts.Denied(w, r, err)
			return
		}
		v := &visit{d: d, w: w, r: r, access: access}
		if err := v.enter(page.right); err != nil {
			v.fail(err)
			return
		}
		if err := page.do(v); err != nil {
			v.fail(err)
		}
	})
}

// enter finds the account that the path names, checks the visitor's right there and
// reads the query. An account that they have not been granted is not found.
func (v *visit) enter(right Rights) (err error) {
	segment := v.r.PathValue("account")
	if segment == "" {
		v.query, err = v.readQuery()
		return err
	}
	scope, ok := desk.ParseSegment(segment)
	if !ok {
		return fmt.Errorf("%w: no such page", store.ErrNotFound)
	}
	if v.account, ok = v.access.Account(scope); !ok {
		return fmt.Errorf("%w: no such page", store.ErrNotFound)
	}
	v.segment = segment
	v.Desk = v.d.office.Desk(v.access.Actor, scope, desk.Right(v.account.Rights))
	if v.account.Rights&right != right {
		return desk.ErrForbidden
	}
	v.query, err = v.readQuery()
	return err
}
