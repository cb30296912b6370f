package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/store"
)

// call is one request of one caller.
type call struct {
	*desk.Desk // nil outside of accounts
	api        *API
	w          http.ResponseWriter
	r          *http.Request
	access     dashboard.Access
	query      query
}

// run carries out one of the operations on a path.
func (c *call) run(ops map[string]operation) error {
	if ops == nil {
		return noSuchPath(desk.MountOf(c.r, isOwn))
	}
	method := c.r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	op, ok := ops[method]
	if !ok {
		allowed := strings.Join(slices.Sorted(maps.Keys(ops)), ", ")
		c.w.Header().Set("Allow", allowed)
		return problemOf(wrongMethod, "the methods of this path are "+allowed)
	}
	if err := c.enter(); err != nil {
		return err
	}
	if op.right != 0 && !c.Can(op.right) { // before the body is read
		return desk.ErrForbidden
	}
	if !store.IsText(c.id()) {
		return store.ErrNotFound // a database would call the question wrong
	}
	if err := c.readQuery(op.query); err != nil {
		return err
	}
	return op.do(c)
}

// noSuchPath is what a path gets that is none of the operations'.
func noSuchPath(mount desk.Mount) error {
	detail := "there is no such path; openapi.json lists those there are"
	if mount.Doubtful {
		detail += "; if the handler is mounted below a path, that path must be stripped, without the slash at its end: " + mount.Help("operations")
	}
	return problemOf(notFound, detail)
}

// enter finds the account that the path names. One that the caller has not been
// granted is not found.
func (c *call) enter() error {
	segment := c.r.PathValue("account")
	if segment == "" {
		return nil
	}
	scope, ok := desk.ParseSegment(segment)
	if !ok {
		return problemOf(notFound, "there is no such account")
	}
	account, ok := c.access.Account(scope)
	if !ok {
		return problemOf(notFound, "there is no such account")
	}
	c.Desk = c.api.office.Desk(c.access.Actor, scope, desk.Right(account.Rights))
	return nil
}

// id is the one in the path.
func (c *call) id() string { return c.r.PathValue("id") }

// deliveryID is the one in the path.
func (c *call) deliveryID() (store.DeliveryID, error) {
	id, err := store.ParseDeliveryID(c.id())
	if err != nil {
		return id, problemOf(notFound, "there is no such delivery")
	}
	return id, nil
}

// answer writes a result. It is built before anything is sent, so that an error does
// not leave half of one.
func (c *call) answer(status int, body any) error {
	return c.write(status, "application/json", body)
}

// created answers with something new and where it is, relative to the request.
func (c *call) created(status int, at string, body any) error {
	c.w.Header().Set("Location", at)
	return c.answer(status, body)
}

func (c *call) write(status int, contentType string, body any) error {
	b, err := json.Marshal(body)
	if err != nil {
		return err
	}
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(status)
	_, _ = c.w.Write(append(b, '\n')) // nobody is left to hear of an error
	return nil
}

// list is a page of something.
type list[T any] struct {
	Data       []T    `json:"data"`
	NextCursor string `json:"next_cursor,omitempty"`
}

// page cuts a page out of a list that is complete. position is what a cursor says
// about an element; the page begins after the one at the cursor.
func page[T any](c *call, kind string, all []T, position func(T) string) (list[T], error) {
	limit, err := c.limit()
	if err != nil {
		return list[T]{}, err
	}
	after, err := c.cursor(kind)
	if err != nil {
		return list[T]{}, err
	}
	if after != "" {
		i := slices.IndexFunc(all, func(t T) bool { return position(t) == after })
		all = all[i+1:] // from the start if it is gone
	}
	l := list[T]{Data: all[:min(limit, len(all))]}
	if len(all) > limit {
		l.NextCursor = cursorOf(kind, position(all[limit-1]))
	}
	return l, nil
}
