package api

import (
	"bytes"
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/hookpost/hookpost/store"
)

// deliveryView is one event for one endpoint, through all its attempts.
type deliveryView struct {
	ID             store.DeliveryID `json:"id"`
	EventID        string           `json:"event_id"`
	EventType      string           `json:"event_type"`
	EndpointID     string           `json:"endpoint_id"`
	EndpointURL    string           `json:"endpoint_url"` // as it is now
	State          string           `json:"state"`
	ReachedOnly    bool             `json:"reached_only"`
	Reason         string           `json:"reason,omitempty"`
	InFlight       bool             `json:"in_flight"`
	LeasedAt       stamp            `json:"leased_at,omitzero"`
	Attempts       int              `json:"attempts"`
	Failures       int              `json:"failures"`
	LastStatus     int              `json:"last_status,omitempty"`
	CreatedAt      stamp            `json:"created_at"`
	FirstAttemptAt stamp            `json:"first_attempt_at,omitzero"`
	DueAt          stamp            `json:"due_at,omitzero"`
	FinishedAt     stamp            `json:"finished_at,omitzero"`
}

// viewDeliveries shows deliveries with the URLs of their endpoints.
func (c *call) viewDeliveries(list ...store.Delivery) ([]deliveryView, error) {
	endpoints, err := c.EndpointsOf(c.r.Context(), list)
	if err != nil {
		return nil, err
	}
	views := make([]deliveryView, len(list))
	for i, d := range list {
		views[i] = deliveryView{
			ID: d.ID, EventID: d.EventID, EventType: d.EventType, EndpointID: d.EndpointID, EndpointURL: endpoints[d.EndpointID].URL,
			State: d.State.String(), ReachedOnly: d.ReachedOnly(), Reason: d.Reason, InFlight: d.InFlight, LeasedAt: utc(d.LeasedAt), Attempts: d.Attempts, Failures: d.Failures,
			LastStatus: d.LastStatus, CreatedAt: utc(d.CreatedAt), FirstAttemptAt: utc(d.FirstAt), FinishedAt: utc(d.FinishedAt),
		}
		if d.State == store.Pending {
			views[i].DueAt = utc(d.DueAt)
		}
	}
	return views, nil
}

func (c *call) listDeliveries() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	q := store.DeliveryQuery{
		EndpointID: c.query.text("endpoint_id"), EventID: c.query.text("event_id"), Type: c.query.text("type"),
		Ref: c.query.text("ref"), Limit: limit,
	}
	if q.From, q.To, err = c.query.window(); err != nil {
		return err
	}
	if q.States, err = states(c.query, store.ParseState, "pending, delivered, exhausted, cancelled"); err != nil {
		return err
	}
	before, err := c.cursor("delivery")
	if err != nil {
		return err
	}
	if before != "" {
		if q.Before, err = store.ParseDeliveryID(before); err != nil {
			return wrongCursor()
		}
	}
	found, next, err := c.SearchDeliveries(c.r.Context(), q, lookRows)
	if err != nil {
		return err
	}
	l := list[deliveryView]{}
	if l.Data, err = c.viewDeliveries(found...); err != nil {
		return err
	}
	if next != (store.DeliveryID{}) {
		l.NextCursor = cursorOf("delivery", next.String())
	}
	return c.answer(http.StatusOK, l)
}

func (c *call) getDelivery() error {
	id, err := c.deliveryID()
	if err != nil {
		return err
	}
	v, err := c.delivery(id)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, v)
}

// delivery shows one delivery.
func (c *call) delivery(id store.DeliveryID) (v deliveryView, err error) {
	d, _, err := c.Delivery(c.r.Context(), id)
	if err != nil {
		return v, err
	}
	views, err := c.viewDeliveries(d)
	if err != nil {
		return v, err
	}
	return views[0], nil
}

// newDelivery answers with a delivery that the request has made, below a thing of
// the account's.
func (c *call) newDelivery(id store.DeliveryID) error {
	v, err := c.delivery(id)
	if err != nil {
		return err
	}
	return c.created(http.StatusAccepted, "../../deliveries/"+id.String(), v)
}

func (c *call) cancelDelivery() error {
	if err := c.body(nil); err != nil {
		return err
	}
	id, err := c.deliveryID()
	if err != nil {
		return err
	}
	if err := c.Cancel(c.r.Context(), id); err != nil {
		return err
	}
	return c.getDelivery()
}

// attemptView is one HTTP request. Request and response are told in the log of a
// delivery, not in an endpoint's activity.
type attemptView struct {
	N                    int          `json:"n"`
	StartedAt            stamp        `json:"started_at"`
	TookMS               float64      `json:"took_ms"`
	Outcome              string       `json:"outcome"`
	ReachedOnly          bool         `json:"reached_only"`
	URL                  string       `json:"url,omitempty"`
	Status               int          `json:"status,omitempty"`
	Class                string       `json:"class,omitempty"`
	Error                string       `json:"error,omitempty"`
	RequestHeaders       []headerView `json:"request_headers,omitempty"`
	ResponseHeaders      []headerView `json:"response_headers,omitempty"`
	ResponseBody         string       `json:"response_body,omitempty"`
	ResponseBodyEncoding string       `json:"response_body_encoding,omitempty"`
}

type headerView struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

func viewAttempt(a store.Attempt) attemptView {
	v := attemptView{
		N: a.N, StartedAt: utc(a.StartedAt), TookMS: float64(a.Took.Microseconds()) / 1000, Outcome: a.Outcome.String(),
		ReachedOnly: a.ReachedOnly(), URL: a.URL, Status: a.Status, Class: a.Class, Error: a.Error, ResponseHeaders: wireHeaders(a.ResponseHeader),
	}
	if len(a.ResponseBody) > 0 {
		v.ResponseBody, v.ResponseBodyEncoding = encoded(a.ResponseBody)
	}
	return v
}

// encoded writes bytes as text if that is what they are, else in base64, and says
// which.
func encoded(b []byte) (text, encoding string) {
	if utf8.Valid(b) {
		return string(b), "text"
	}
	return base64.StdEncoding.EncodeToString(b), "base64"
}

// wireHeaders splits a header in wire format.
func wireHeaders(b []byte) (list []headerView) {
	for line := range bytes.Lines(b) {
		name, value, _ := strings.Cut(string(bytes.TrimRight(line, "\r\n")), ":")
		if name != "" {
			list = append(list, headerView{name, strings.TrimSpace(value)})
		}
	}
	return list
}

// listAttempts lists the attempts of a delivery, newest first.
func (c *call) listAttempts() error {
	id, err := c.deliveryID()
	if err != nil {
		return err
	}
	ctx := c.r.Context()
	d, attempts, err := c.Delivery(ctx, id)
	if err != nil {
		return err
	}
	slices.Reverse(attempts)
	wanted, err := page(c, "attempt", attempts, func(a store.Attempt) string { return strconv.Itoa(a.N) })
	if err != nil {
		return err
	}
	ev, err := c.Event(ctx, d.EventID)
	if err != nil {
		return err
	}
	ep, err := c.Endpoint(ctx, d.EndpointID)
	if err != nil {
		return err
	}
	l := list[attemptView]{Data: []attemptView{}, NextCursor: wanted.NextCursor}
	for _, a := range wanted.Data {
		v := viewAttempt(a)
		for name, values := range c.RequestHeader(ep, ev, a) {
			for _, value := range values {
				v.RequestHeaders = append(v.RequestHeaders, headerView{name, value})
			}
		}
		slices.SortStableFunc(v.RequestHeaders, func(a, b headerView) int { return strings.Compare(a.Name, b.Name) })
		l.Data = append(l.Data, v)
	}
	return c.answer(http.StatusOK, l)
}
