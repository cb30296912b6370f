package dashboard

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

const (
	maxForm   = 512 << 10 // bytes of a form; a selection of 1000 event types has half of that
	maxPath   = 8 << 10   // bytes of a path; each slash is in every link of the page
	maxQuery  = 16 << 10  // bytes of a query
	maxFields = 4096      // of a form
	pageRows  = 50
	// lookRows bounds how much of the log a page looks through for what its filters
	// let pass.
	lookRows = 1000
)

// visit is one request of one visitor.
type visit struct {
	*desk.Desk // nil outside of accounts
	d          *Dashboard
	w          http.ResponseWriter
	r          *http.Request
	access     Access
	account    Account
	segment    string
	query      url.Values
}

// problem is an error with words for the visitor.
type problem struct {
	Status int
	Title  string
	Text   string
}

func (p *problem) Error() string { return p.Title + ": " + p.Text }

// fail answers with an error.
func (v *visit) fail(err error) {
	p := explain(err)
	if p.Status == http.StatusInternalServerError && v.r.Context().Err() == nil {
		v.d.opts.Logger.Error("hookpost: a page of the dashboard failed", "path", v.r.URL.Path, "error", err)
	}
	v.render(p.Status, "problem.html", page{Title: p.Title}, p)
}

// explain says an error to the visitor. What they can't help is not told.
func explain(err error) *problem {
	var p *problem
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &tooLarge):
		return &problem{http.StatusRequestEntityTooLarge, "Too much", "The form is larger than 512 KiB."}
	case errors.Is(err, store.ErrNotFound):
		return &problem{http.StatusNotFound, "Not found", "There is no such thing here. It may have been pruned from the log, or belong to another account or mode."}
	case errors.Is(err, desk.ErrForbidden):
		return &problem{http.StatusForbidden, "Not allowed", "You may look at this but not change it."}
	case errors.Is(err, store.ErrDeleted):
		return &problem{http.StatusConflict, "Deleted", "The endpoint is deleted."}
	case errors.Is(err, store.ErrDisabled):
		return &problem{http.StatusConflict, "Disabled", "The endpoint is disabled. Enable it first."}
	case errors.Is(err, store.ErrErased):
		return &problem{http.StatusConflict, "Erased", "The event's payload was erased; it can't be sent again."}
	case errors.Is(err, store.ErrFinished):
		return &problem{http.StatusConflict, "Finished", "The delivery is not pending any more."}
	case errors.Is(err, store.ErrBusy), errors.Is(err, sender.ErrQueueFull):
		return &problem{http.StatusServiceUnavailable, "Busy", "The database, or a limit on work at once, is in the way. Try again in a moment."}
	case errors.Is(err, store.ErrInvalid), errors.Is(err, sender.ErrInvalidEvent), errors.Is(err, sender.ErrInvalidEndpoint):
		return &problem{http.StatusBadRequest, "Not acceptable", reason(err)}
	}
	return &problem{http.StatusInternalServerError, "Something went wrong", "The server could not do this. Try again in a moment."}
}

// reason is an error of the sender's without the package's name.
func reason(err error) string {
	text := err.Error()
	for _, prefix := range []string{"sender: ", "store: "} {
		text = strings.TrimPrefix(text, prefix)
	}
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}

// root is the relative path from the page to the handler's mount.
func (v *visit) root() string {
	depth := strings.Count(v.r.URL.EscapedPath(), "/") - 1
	if depth <= 0 {
		return "./"
	}
	return strings.Repeat("../", depth)
}

// redirect goes to a path below the account after a change. A relative address
// works whatever prefix was stripped.
func (v *visit) redirect(format string, args ...any) error {
	to := v.root() + v.segment + "/" + fmt.Sprintf(format, args...)
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

// readQuery reads the query. It may hold what is shown again, so that it is bounded.
func (v *visit) readQuery() (url.Values, error) {
	raw := v.r.URL.RawQuery
	if len(raw) > maxQuery {
		return nil, &problem{http.StatusRequestURITooLong, "Too much", "The address is longer than 16 KiB."}
	}
	q, _ := url.ParseQuery(raw) // what can't be read is left out
	return q, nil
}

// form reads the fields of a POST.
func (v *visit) form() (url.Values, error) {
	unreadable := &problem{http.StatusBadRequest, "Not acceptable", "The form can't be read."}
	if v.r.PostForm == nil { // the AuthorizeFunc has not read it
		b, err := io.ReadAll(v.r.Body)
		if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
			return nil, err
		}
		if err != nil {
			return nil, unreadable
		}
		if bytes.Count(b, []byte("&")) >= maxFields {
			return nil, tooManyFields
		}
		v.r.Body = io.NopCloser(bytes.NewReader(b))
	}
	if err := v.r.ParseForm(); err != nil {
		return nil, unreadable
	}
	n := 0
	for _, values := range v.r.PostForm {
		n += len(values)
	}
	if n > maxFields {
		return nil, tooManyFields
	}
	return v.r.PostForm, nil
}

var tooManyFields = &problem{http.StatusRequestEntityTooLarge, "Too much", fmt.Sprintf("The form has more than %d fields.", maxFields)}

// deliveryID is the one in the path.
func (v *visit) deliveryID() (store.DeliveryID, error) {
	id, err := store.ParseDeliveryID(v.r.PathValue("id"))
	if err != nil {
		return id, fmt.Errorf("%w: no such delivery", store.ErrNotFound)
	}
	return id, nil
}

// timeForm is that of datetime-local fields.
const timeForm = "2006-01-02T15:04"

// parseTime reads a datetime-local field, with or without seconds, in the
// dashboard's zone.
func (v *visit) parseTime(text string) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	for _, form := range []string{timeForm, timeForm + ":05"} {
		if t, err := time.ParseInLocation(form, text, v.d.opts.Location); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// start sends the visitor to their first account, or to the choice of accounts. It
// leads past the mount itself, whose slash at the end a router may add or remove.
func (v *visit) start() error {
	first := v.access.Accounts[0]
	to := desk.Segment(store.Scope{Tenant: first.Tenant, Mode: first.Mode}) + "/endpoints"
	for _, a := range v.access.Accounts {
		if a.Tenant != first.Tenant {
			to = "accounts"
		}
	}
	v.w.Header().Set("Location", desk.MountOf(v.r, isOwn).Folder()+to)
	v.w.WriteHeader(http.StatusSeeOther)
	return nil
}

func (v *visit) home() error { return v.redirect("endpoints") }
