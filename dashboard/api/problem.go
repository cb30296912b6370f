package api

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// kind is a kind of problem: the last part of its type, its status and its title.
type kind struct {
	name   string
	status int
	title  string
}

// problemTypes is what the type of every problem begins with; the table there lists
// them all.
const problemTypes = "https://github.com/hookpost/hookpost/blob/main/docs/api.md#"

// The kinds of problems.
var (
	malformed     = kind{"malformed", http.StatusBadRequest, "The request can't be read"}
	badQuery      = kind{"bad-query", http.StatusBadRequest, "A query parameter is not acceptable"}
	denied        = kind{"denied", http.StatusForbidden, "Not authorised"}
	crossOrigin   = kind{"cross-origin", http.StatusForbidden, "Sent from another site"}
	forbidden     = kind{"forbidden", http.StatusForbidden, "A right is missing"}
	notFound      = kind{"not-found", http.StatusNotFound, "Not found"}
	wrongMethod   = kind{"wrong-method", http.StatusMethodNotAllowed, "No such method here"}
	duplicateURL  = kind{"duplicate-url", http.StatusConflict, "Another endpoint has this URL"}
	deleted       = kind{"endpoint-deleted", http.StatusConflict, "The endpoint is deleted"}
	disabled      = kind{"endpoint-disabled", http.StatusConflict, "The endpoint is disabled"}
	erased        = kind{"event-erased", http.StatusConflict, "The event's payload is erased"}
	finished      = kind{"delivery-finished", http.StatusConflict, "The delivery is not pending any more"}
	currentSecret = kind{"current-secret", http.StatusConflict, "The secret is the current one"}
	changed       = kind{"endpoint-changed", http.StatusConflict, "The endpoint was changed meanwhile"}
	tooLarge      = kind{"too-large", http.StatusRequestEntityTooLarge, "The body is too large"}
	wrongType     = kind{"wrong-content-type", http.StatusUnsupportedMediaType, "The body is not JSON"}
	invalid       = kind{"invalid", http.StatusUnprocessableEntity, "A field is not acceptable"}
	wrongMount    = kind{"mounted-wrongly", http.StatusInternalServerError, "The handler is mounted wrongly"}
	internalError = kind{"internal", http.StatusInternalServerError, "Something went wrong"}
	busy          = kind{"busy", http.StatusServiceUnavailable, "Busy"}
)

// problem is an error as RFC 9457 writes it.
type problem struct {
	Type   string  `json:"type"`
	Title  string  `json:"title"`
	Status int     `json:"status"`
	Detail string  `json:"detail,omitempty"`
	Errors []fault `json:"errors,omitempty"`
}

// fault is what is wrong with one field or parameter, and what would be right.
type fault struct {
	Pointer   string `json:"pointer,omitempty"` // to a field of the body: "#/url"
	Parameter string `json:"parameter,omitempty"`
	Detail    string `json:"detail"`
}

func (p *problem) Error() string { return p.Title + ": " + p.Detail }

// problemOf returns a problem. Without a detail the faults say it.
func problemOf(k kind, detail string, faults ...fault) *problem {
	if detail == "" {
		var all []string
		for _, f := range faults {
			all = append(all, strings.TrimPrefix(strings.TrimPrefix(f.Pointer, "#"), "/")+f.Parameter+" "+f.Detail)
		}
		detail = strings.Join(all, "; ")
	}
	return &problem{Type: problemTypes + k.name, Title: k.title, Status: k.status, Detail: detail, Errors: faults}
}

// maxFaults is how many faults an answer tells, and maxName how much of a name that
// the caller made up, in bytes: an answer is not many times as large as its request.
const (
	maxFaults = 10
	maxName   = 100
)

// refused returns a problem of faults, or nil if there are none.
func refused(k kind, faults []fault) error {
	if len(faults) == 0 {
		return nil
	}
	p := problemOf(k, "", faults...)
	if len(faults) == maxFaults {
		p.Detail += "; there may be more"
	}
	return p
}

// fieldFault says what is wrong with a field of the body. One whose name is too long
// to be told is pointed at by the object.
func fieldFault(name, detail string) fault {
	if len(name) > maxName {
		return fault{Pointer: "#", Detail: fmt.Sprintf("has a field with a name of %d bytes, which %s", len(name), detail)}
	}
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(name) // RFC 6901
	return fault{Pointer: "#/" + url.PathEscape(escaped), Detail: detail}
}

// shortName is as much of a parameter's name as is told.
func shortName(name string) string {
	if len(name) <= maxName {
		return name
	}
	return name[:maxName] + "..."
}

// fields are the names of settings in Go, as the sender's errors give them, and here.
var fields = map[string]string{
	"URL": "url", "EventTypes": "event_types", "Description": "description", "Reason": "reason", "Type": "event_type",
}

// fail answers with an error.
func (c *call) fail(err error) {
	p := explain(err)
	switch p.Status {
	case http.StatusInternalServerError:
		if c.r.Context().Err() == nil {
			c.api.opts.Logger.Error("hookpost: an operation of the dashboard's API failed", "path", c.r.URL.Path, "error", err)
		}
	case http.StatusServiceUnavailable:
		c.w.Header().Set("Retry-After", "1")
	}
	c.refuse(p)
}

// refuse answers with a problem.
func (c *call) refuse(p *problem) {
	_ = c.write(p.Status, "application/problem+json", p) // it is made of strings, which can be marshalled
}

// explain says an error to the caller. What they can't help is not told.
func explain(err error) *problem {
	var p *problem
	if errors.As(err, &p) {
		return p
	}
	var badURL *sender.URLError
	var badEndpoint *sender.EndpointError
	var badEvent *sender.EventError
	switch {
	case errors.As(err, &badURL):
		return problemOf(invalid, "", fieldFault("url", badURL.Problem))
	case errors.Is(err, sender.ErrInvalidSelection):
		text := strings.TrimPrefix(err.Error(), sender.ErrInvalidSelection.Error()+": ")
		return problemOf(invalid, "", fieldFault("event_types", text))
	case errors.As(err, &badEndpoint):
		return ofField(badEndpoint.Field, badEndpoint.Problem)
	case errors.As(err, &badEvent):
		return ofField(badEvent.Field, badEvent.Problem)
	}
	i := slices.IndexFunc(known, func(k knownError) bool { return errors.Is(err, k.err) })
	if i < 0 {
		return problemOf(internalError, "the server could not do this; try again in a moment")
	}
	k := known[i]
	return problemOf(k.kind, k.detail, k.faults...)
}

func ofField(name, text string) *problem {
	if field, ok := fields[name]; ok {
		return problemOf(invalid, "", fieldFault(field, text))
	}
	return problemOf(invalid, name+" "+text)
}

// knownError says what an error means for the caller.
type knownError struct {
	err    error
	kind   kind
	detail string
	faults []fault
}

var known = []knownError{
	{store.ErrNotFound, notFound, "there is no such thing here; it may have been pruned from the log, or belong to another account or mode", nil},
	{desk.ErrForbidden, forbidden, "the caller may look at this but not do it", nil},
	{store.ErrDuplicateURL, duplicateURL, "", []fault{{Pointer: "#/url", Detail: "is that of another endpoint already; use a different one, or edit that endpoint"}}},
	{store.ErrDeleted, deleted, "the endpoint is deleted for good; create a new one", nil},
	{store.ErrDisabled, disabled, "the endpoint is disabled; enable it first", nil},
	{store.ErrErased, erased, "the event's payload was erased or pruned; it can't be sent again", nil},
	{store.ErrFinished, finished, "only a pending delivery can be cancelled", nil},
	{store.ErrChanged, changed, "somebody else is changing the endpoint; read it and try again", nil},
	{store.ErrBusy, busy, "the database, or a limit on work at once, is in the way; try again in a moment", nil},
	{sender.ErrQueueFull, busy, "too many events wait for the database; try again in a moment", nil},
	{store.ErrClosed, busy, "the server is stopping; try again in a moment", nil},
}
