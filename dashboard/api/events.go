package api

import (
	"fmt"
	"net/http"
	"strconv"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// eventView is an event, in lists without its body.
type eventView struct {
	ID           string   `json:"id"`
	Type         string   `json:"type"`
	CreatedAt    stamp    `json:"created_at"`
	StoredAt     stamp    `json:"stored_at"`
	ContentType  string   `json:"content_type"`
	Refs         []string `json:"refs"`
	ErasedAt     stamp    `json:"erased_at,omitzero"`
	Body         *string  `json:"body,omitempty"`
	BodyEncoding string   `json:"body_encoding,omitempty"`
}

func viewEvent(ev store.Event) eventView {
	v := eventView{
		ID: ev.ID, Type: ev.Type, CreatedAt: utc(ev.CreatedAt), StoredAt: utc(ev.StoredAt),
		ContentType: ev.ContentType, Refs: append([]string{}, ev.Refs...), ErasedAt: utc(ev.ErasedAt),
	}
	if ev.Body != nil {
		var text string
		text, v.BodyEncoding = encoded(ev.Body)
		v.Body = &text
	}
	return v
}

func (c *call) listEvents() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	q := store.EventQuery{Type: c.query.text("type"), Ref: c.query.text("ref"), Limit: limit}
	if q.From, q.To, err = c.query.window(); err != nil {
		return err
	}
	if q.Before, err = c.numberCursor("event"); err != nil {
		return err
	}
	found, next, err := c.SearchEvents(c.r.Context(), q, lookRows)
	if err != nil {
		return err
	}
	l := list[eventView]{Data: []eventView{}}
	for _, ev := range found {
		l.Data = append(l.Data, viewEvent(ev))
	}
	if next > 0 {
		l.NextCursor = cursorOf("event", strconv.FormatInt(next, 10))
	}
	return c.answer(http.StatusOK, l)
}

func (c *call) getEvent() error {
	ev, err := c.Event(c.r.Context(), c.id())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewEvent(ev))
}

// eventBody is the exact bytes that are sent, to be saved and never to be shown.
func (c *call) eventBody() error {
	ev, err := c.Event(c.r.Context(), c.id())
	if err != nil {
		return err
	}
	if ev.Body == nil {
		return store.ErrErased
	}
	h := c.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", ev.ID+".json"))
	h.Set("Content-Length", strconv.Itoa(len(ev.Body)))
	_, _ = c.w.Write(ev.Body) // nobody is left to hear of an error
	return nil
}

// explanationView says why an event arrived at an endpoint or not.
type explanationView struct {
	Why         string        `json:"why"`
	Wait        string        `json:"wait,omitempty"`
	Text        string        `json:"text"`
	OverdueMS   int64         `json:"overdue_ms,omitempty"`
	LastFailure *attemptView  `json:"last_failure,omitempty"`
	Delivery    *deliveryView `json:"delivery,omitempty"`
}

func (c *call) explainEvent() error {
	endpoint := c.query.text("endpoint_id")
	if endpoint == "" {
		return paramFault("endpoint_id", "is missing; it is the id of the endpoint to explain the event for")
	}
	why, err := c.Explain(c.r.Context(), c.id(), endpoint)
	if err != nil {
		return err
	}
	return c.explanation(why)
}

// explainDelivery explains one delivery, whatever others there are of its event.
func (c *call) explainDelivery() error {
	id, err := c.deliveryID()
	if err != nil {
		return err
	}
	why, err := c.ExplainDelivery(c.r.Context(), id)
	if err != nil {
		return err
	}
	return c.explanation(why)
}

func (c *call) explanation(why sender.Explanation) error {
	v := explanationView{
		Why: snake(string(why.Why)), Wait: snake(string(why.Wait)), Text: why.Text, OverdueMS: why.Overdue.Milliseconds(),
	}
	if why.Last != nil {
		last := viewAttempt(*why.Last)
		v.LastFailure = &last
	}
	if why.Delivery != nil {
		views, err := c.viewDeliveries(*why.Delivery)
		if err != nil {
			return err
		}
		v.Delivery = &views[0]
	}
	return c.answer(http.StatusOK, v)
}

func (c *call) replayEvent() error {
	var endpoint string
	if err := c.body(content{"endpoint_id": &endpoint}, "endpoint_id"); err != nil {
		return err
	}
	id, err := c.Replay(c.r.Context(), c.id(), endpoint)
	if err != nil {
		return err
	}
	return c.newDelivery(id)
}
