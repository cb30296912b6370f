package dashboard

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"strings"
	"time"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/store"
)

//go:embed assets/style.css assets/script.js
var assetFiles embed.FS

//go:embed templates/*.html
var templateFiles embed.FS

// assets are the files by the name that pages load them under. A name changes with
// the content, so that it can be cached for ever.
var assets = func() map[string][]byte {
	m := make(map[string][]byte)
	for _, file := range []string{"style.css", "script.js"} {
		content, err := fs.ReadFile(assetFiles, "assets/"+file)
		if err != nil {
			panic(err) // it is embedded
		}
		m[assetName(file, content)] = content
	}
	return m
}()

func assetName(file string, content []byte) string {
	sum := sha256.Sum256(content)
	base, ext, _ := strings.Cut(file, ".")
	return base + "-" + hex.EncodeToString(sum[:6]) + "." + ext
}

func serveAsset(w http.ResponseWriter, r *http.Request, name string) {
	content, found := assets[name]
	if !found || r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.NotFound(w, r)
		return
	}
	kind := "text/css; charset=utf-8"
	if strings.HasSuffix(name, ".js") {
		kind = "text/javascript; charset=utf-8"
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	_, _ = w.Write(content) // nobody is left to hear of an error
}

// maxShown is how much of a text a page shows, in bytes; the rest is to be
// downloaded.
const maxShown = 64 << 10

// page is what the frame around every page needs.
type page struct {
	Title string
	Nav   string // the entry of the navigation it belongs to
	// Refresh is in how many seconds the page is worth looking at again; 0: never.
	Refresh int
	// Overlay says that the page has a panel or dialog, and what is under it can't be
	// used.
	Overlay bool
}

// frame is the data of a template.
type frame struct {
	page
	v     *visit
	Root  string // relative path to the mount
	Base  string // relative path to the account, with a slash
	Body  any
	Style string
	Code  string
}

var templates = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp":    func(time.Time) string { return "" }, // each Dashboard has its own
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) },
	"ago":      ago,
	"due":      due,
	"past":     func(t time.Time) bool { return time.Until(t) <= 0 },
	"failing":  failing,
	"took":     tookText,
	"inert":    inert.Line,
	"count":    countText,
	"plural":   plural,
	"list":     func(v ...any) []any { return v },
	"percent":  percent,
	"minus":    func(a, b int) int { return a - b },
	"pageRows": func() int { return pageRows },
}).ParseFS(templateFiles, "templates/*.html"))

// render writes a page. It is built before anything is sent, so that an error does
// not leave half of one.
func (v *visit) render(status int, name string, p page, body any) {
	f := frame{page: p, v: v, Root: v.root(), Body: body}
	f.Base = f.Root + v.segment + "/"
	for name := range assets {
		if strings.HasSuffix(name, ".css") {
			f.Style = name
		} else {
			f.Code = name
		}
	}
	var buf bytes.Buffer
	if err := v.d.templates.ExecuteTemplate(&buf, name, f); err != nil {
		v.d.opts.Logger.Error("hookpost: a page of the dashboard can't be shown", "page", name, "error", err)
		http.Error(v.w, "Something went wrong", http.StatusInternalServerError)
		return
	}
	v.w.Header().Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(buf.Bytes()) // nobody is left to hear of an error
}

// In reports whether the page belongs to an account.
func (f frame) In() bool { return f.v.Desk != nil }

// Mode is the account's mode.
func (f frame) Mode() string { return f.v.account.Mode.String() }

// Account is what the account is called.
func (f frame) Account() string { return accountName(f.v.account) }

// Actor is who visits.
func (f frame) Actor() string { return f.v.access.Actor }

// CanManage, CanReplay and CanRotate report the visitor's rights.
func (f frame) CanManage() bool { return f.v.Desk != nil && f.v.Can(desk.Manage) }

// CanReplay reports whether they may replay.
func (f frame) CanReplay() bool { return f.v.Desk != nil && f.v.Can(desk.Replay) }

// CanRotate reports whether they may rotate secrets.
func (f frame) CanRotate() bool { return f.v.Desk != nil && f.v.Can(desk.RotateSecrets) }

// Modes are the links of the Test/Live switch: empty where the visitor has no
// account in that mode.
func (f frame) Modes() (list []modeLink) {
	for _, mode := range []store.Mode{store.Test, store.Live} {
		scope := store.Scope{Tenant: f.v.account.Tenant, Mode: mode}
		l := modeLink{Name: map[store.Mode]string{store.Test: "Test", store.Live: "Live"}[mode], Current: mode == f.v.account.Mode}
		if _, ok := f.v.access.Account(scope); ok {
			l.Href = f.Root + desk.Segment(scope) + "/endpoints"
		}
		list = append(list, l)
	}
	return list
}

type modeLink struct {
	Name    string
	Href    string
	Current bool
}

// Tenants is how many tenants the visitor can choose from.
func (f frame) Tenants() int {
	seen := map[string]bool{}
	for _, a := range f.v.access.Accounts {
		seen[a.Tenant] = true
	}
	return len(seen)
}

// HasTypes reports whether there is a catalogue of event types.
func (f frame) HasTypes() bool { return len(f.v.d.office.EventTypes()) > 0 }

// Zone is the name of the time zone.
func (f frame) Zone() string { return f.v.d.opts.Location.String() }

func accountName(a Account) string {
	if a.Name != "" {
		return a.Name
	}
	return a.Tenant
}

// stamp says a time to the second in the dashboard's zone.
func (d *Dashboard) stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.In(d.opts.Location).Format("2006-01-02 15:04:05 MST")
}

// ago says a time from now in words.
func ago(t time.Time) string {
	d := time.Since(t)
	form, near := "%s ago", "just now"
	if d < 0 {
		d, form, near = -d, "in %s", "now"
	}
	switch {
	case d < 2*time.Second:
		return near
	case d < 2*time.Minute:
		return fmt.Sprintf(form, fmt.Sprintf("%d s", int(d.Seconds())))
	case d < 2*time.Hour:
		return fmt.Sprintf(form, fmt.Sprintf("%d min", int(d.Minutes())))
	case d < 48*time.Hour:
		return fmt.Sprintf(form, fmt.Sprintf("%d h", int(d.Hours())))
	}
	return fmt.Sprintf(form, fmt.Sprintf("%d days", int(d.Hours()/24)))
}

// due says a time at which something is to happen, in words.
func due(t time.Time) string {
	if d := time.Since(t); d >= 2*time.Second {
		return "overdue by " + strings.TrimSuffix(ago(t), " ago")
	} else if d >= 0 {
		return "due now"
	}
	return ago(t)
}

// tookText says a duration to three digits or so.
func tookText(d time.Duration) string {
	switch {
	case d < time.Millisecond:
		return fmt.Sprintf("%.2f ms", float64(d)/float64(time.Millisecond))
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	}
	return fmt.Sprintf("%.1f s", d.Seconds())
}

// countText writes a number with commas between thousands.
func countText(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural is the number with its noun.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	if strings.HasSuffix(noun, "y") {
		return countText(n) + " " + strings.TrimSuffix(noun, "y") + "ies"
	}
	return countText(n) + " " + noun + "s"
}

// percent is a share in whole percent that says 100 and 0 only where it is exact.
func percent(part, whole int) string {
	if whole <= 0 {
		return ""
	}
	p := (100*part + whole/2) / whole
	if p == 100 && part < whole {
		p = 99
	}
	if p == 0 && part > 0 {
		p = 1
	}
	return fmt.Sprintf("%d %%", p)
}
