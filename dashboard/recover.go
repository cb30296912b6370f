package dashboard

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
)

// recoverView is the form of a recovery, and once it was asked for, what it would
// queue.
type recoverView struct {
	Filter    filter
	Missed    bool
	Rate      string
	Endpoints endpointChoice
	Types     []sender.EventType
	Asked     bool
	Count     sender.RecoverReport
	Complete  bool // all was counted
	Problem   string
	Running   []desk.Recovery
}

// Total is what the recovery would queue.
func (r recoverView) Total() int { return r.Count.Replayed + r.Count.Hastened + r.Count.Missed }

// recovery reads the fields of a recovery.
func (v *visit) recovery(q url.Values) (recoverView, sender.Recovery) {
	view := recoverView{Filter: v.filter(q), Missed: q.Get("missed") != "", Rate: q.Get("rate"), Types: v.d.office.EventTypes()}
	r := sender.Recovery{
		EndpointID: view.Filter.Endpoint, Type: view.Filter.Type, From: view.Filter.from, To: view.Filter.to, Missed: view.Missed,
	}
	view.Problem = view.Filter.Wrong
	if view.Missed && r.EndpointID == "" {
		view.Problem = "Choose an endpoint to send what it missed while it was disabled."
	}
	if view.Rate != "" {
		var err error
		if r.Rate, err = strconv.Atoi(view.Rate); err != nil || r.Rate < 1 {
			view.Problem = "The rate is not a whole number of deliveries per second."
		}
	}
	return view, r
}

func (v *visit) recoverForm() error {
	view, r := v.recovery(v.query)
	view.Asked = v.query.Has("count")
	if view.Asked && !v.Can(desk.Replay) {
		return desk.ErrForbidden
	}
	view.Running = v.Recoveries()
	var err error
	if view.Endpoints, err = v.endpointChoice(); err != nil {
		return err
	}
	if view.Asked && view.Problem == "" {
		if view.Count, view.Complete, err = v.Count(v.r.Context(), r); err != nil {
			view.Problem = explain(err).Text
		}
	}
	v.render(http.StatusOK, "recover.html", page{Title: "Recover", Nav: "recover"}, view)
	return nil
}

func (v *visit) startRecovery() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	view, r := v.recovery(form)
	if view.Problem != "" {
		return &problem{http.StatusBadRequest, "Not acceptable", view.Problem}
	}
	id, err := v.StartRecovery(v.r.Context(), r)
	if err != nil {
		return err
	}
	expected, _ := strconv.Atoi(form.Get("expected")) // else no bar
	return v.redirect("recover/%s?of=%d", id, expected)
}

// recoveryView is the progress of a recovery.
type recoveryView struct {
	desk.Recovery
	Expected int // as counted before; 0: unknown
	Problem  string
}

// Query finds its deliveries in the log, in which they are among others.
func (r recoveryView) Query() template.URL {
	return filter{Endpoint: r.What.EndpointID, Type: r.What.Type}.Query()
}

// Cancelled reports whether somebody ended it.
func (r recoveryView) Cancelled() bool { return errors.Is(r.Err, context.Canceled) }

func (v *visit) recoveryPage() error {
	r, err := v.Recovery(v.r.PathValue("id"))
	if err != nil {
		return err
	}
	view := recoveryView{Recovery: r}
	view.Expected, _ = strconv.Atoi(v.query.Get("of")) // else no bar
	if r.Err != nil && !view.Cancelled() {
		view.Problem = explain(r.Err).Text
	}
	p := page{Title: "Recovery", Nav: "recover"}
	if r.Running() {
		p.Refresh = 1
	}
	v.render(http.StatusOK, "recovery.html", p, view)
	return nil
}

func (v *visit) cancelRecovery() error {
	id := v.r.PathValue("id")
	if err := v.CancelRecovery(v.r.Context(), id); err != nil {
		return err
	}
	return v.redirect("recover/%s", url.PathEscape(id))
}
