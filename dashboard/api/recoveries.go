package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
)

// recoveryView is a recovery that runs, or ran, in this process.
type recoveryView struct {
	ID         string    `json:"id"`
	State      string    `json:"state"` // "running", "queued", "cancelled", "failed"
	Error      string    `json:"error,omitempty"`
	Actor      string    `json:"actor,omitempty"`
	EndpointID string    `json:"endpoint_id,omitempty"`
	Type       string    `json:"type,omitempty"`
	From       stamp     `json:"from,omitzero"`
	To         stamp     `json:"to,omitzero"`
	Missed     bool      `json:"missed"`
	Rate       int       `json:"rate,omitempty"`
	BeganAt    stamp     `json:"began_at"`
	EndedAt    stamp     `json:"ended_at,omitzero"`
	Queued     countView `json:"queued"`
}

// countView is what a recovery has queued, or would.
type countView struct {
	Replayed int `json:"replayed"`
	Hastened int `json:"hastened"`
	Missed   int `json:"missed"`
	Total    int `json:"total"`
}

// dryRunView is a count, which may have ended early.
type dryRunView struct {
	countView
	Complete bool `json:"complete"`
}

func viewCount(r sender.RecoverReport) countView {
	return countView{r.Replayed, r.Hastened, r.Missed, r.Replayed + r.Hastened + r.Missed}
}

func viewRecovery(r desk.Recovery) recoveryView {
	v := recoveryView{
		ID: r.ID, State: "queued", Actor: r.Actor, EndpointID: r.What.EndpointID, Type: r.What.Type,
		From: utc(r.What.From), To: utc(r.What.To), Missed: r.What.Missed, Rate: r.What.Rate,
		BeganAt: utc(r.Began), EndedAt: utc(r.Ended), Queued: viewCount(r.Done),
	}
	switch {
	case r.Running():
		v.State = "running"
	case errors.Is(r.Err, context.Canceled):
		v.State = "cancelled"
	case r.Err != nil:
		v.State, v.Error = "failed", explain(r.Err).Detail
	}
	return v
}

// recovery reads what to recover from the body.
func (c *call) recovery() (r sender.Recovery, err error) {
	var rate *int
	var endpoint, eventType *string
	if err := c.body(content{
		"endpoint_id": &endpoint, "type": &eventType, "from": &r.From, "to": &r.To, "missed": &r.Missed, "rate": &rate,
	}); err != nil {
		return r, err
	}
	for name, text := range map[string]*string{"endpoint_id": endpoint, "type": eventType} {
		if text != nil && *text == "" { // a variable that was not set must not recover everything
			return r, problemOf(invalid, "", fieldFault(name, "is empty; leave the field out to select everything"))
		}
	}
	if endpoint != nil {
		r.EndpointID = *endpoint
	}
	if eventType != nil {
		r.Type = *eventType
	}
	if rate != nil {
		if r.Rate = *rate; r.Rate < 1 {
			return r, problemOf(invalid, "", fieldFault("rate", "is not above 0; leave it out for no cap"))
		}
	}
	if r.Missed && r.EndpointID == "" {
		return r, problemOf(invalid, "", fieldFault("missed", "is about what one endpoint missed while it was disabled; it needs endpoint_id"))
	}
	return r, nil
}

func (c *call) countRecovery() error {
	r, err := c.recovery()
	if err != nil {
		return err
	}
	report, complete, err := c.Count(c.r.Context(), r)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, dryRunView{viewCount(report), complete})
}

func (c *call) startRecovery() error {
	r, err := c.recovery()
	if err != nil {
		return err
	}
	id, err := c.StartRecovery(c.r.Context(), r)
	if err != nil {
		return err
	}
	started, err := c.Recovery(id)
	if err != nil {
		return err
	}
	return c.created(http.StatusAccepted, "recoveries/"+id, viewRecovery(started))
}

func (c *call) listRecoveries() error {
	all := []recoveryView{}
	for _, r := range c.Recoveries() {
		all = append(all, viewRecovery(r))
	}
	l, err := page(c, "recovery", all, func(v recoveryView) string { return v.ID })
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, l)
}

func (c *call) getRecovery() error {
	r, err := c.Recovery(c.id())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewRecovery(r))
}

func (c *call) cancelRecovery() error {
	if err := c.body(nil); err != nil {
		return err
	}
	if err := c.CancelRecovery(c.r.Context(), c.id()); err != nil {
		return err
	}
	return c.getRecovery()
}
