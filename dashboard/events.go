package dashboard

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strconv"

	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// eventLog is the page that lists events, those that matched no endpoint among
// them.
type eventLog struct {
	Filter filter
	Rows   []store.Event
	Older  template.URL // query of the next page; empty: none
	Short  bool         // the page ends because enough was looked through
	Paged  bool         // not the first page
	Types  []sender.EventType
}

func (v *visit) eventList() error {
	ctx, q := v.r.Context(), v.query
	l := eventLog{Filter: v.filter(q), Types: v.d.office.EventTypes()}
	f := l.Filter
	switch before, _ := strconv.ParseInt(q.Get("before"), 10, 64); {
	case f.Wrong != "":
	case f.Event != "":
		return v.redirect("events/%s", url.PathEscape(f.Event))
	default:
		page, next, err := v.SearchEvents(ctx, store.EventQuery{Type: f.Type, Ref: f.Ref, From: f.from, To: f.to, Before: before, Limit: pageRows}, lookRows)
		if err != nil {
			return err
		}
		l.Rows, l.Paged = page, before > 0
		if next > 0 {
			l.Older, l.Short = f.query("before", strconv.FormatInt(next, 10)), len(page) < pageRows
		}
	}
	v.render(http.StatusOK, "events.html", page{Title: "Events", Nav: "events"}, l)
	return nil
}

// eventView is the page of one event.
type eventView struct {
	store.Event
	Body       inert.Shown
	Deliveries []deliveryRow
	More       bool           // there are more deliveries
	Targets    endpointChoice // to replay to
	All        endpointChoice // to ask about
	Asked      string         // id of the endpoint that was asked about
	Why        *sender.Explanation
	WhyError   string
}

func (v *visit) eventPage() error {
	ctx := v.r.Context()
	ev, err := v.Event(ctx, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	view := eventView{Event: ev, Body: inert.Text(ev.Body, maxShown), Asked: v.query.Get("why")}
	view.Event.Body = nil
	list, err := v.Deliveries(ctx, store.DeliveryQuery{EventID: ev.ID, Limit: pageRows + 1})
	if err != nil {
		return err
	}
	if len(list) > pageRows {
		list, view.More = list[:pageRows], true
	}
	if view.Deliveries, err = v.withURLs(list); err != nil {
		return err
	}
	if view.All, err = v.endpointChoice(store.Enabled, store.Disabled, store.Deleted); err != nil {
		return err
	}
	view.Targets.Typed = view.All.Typed
	for _, ep := range view.All.List {
		if ep.State == store.Enabled {
			view.Targets.List = append(view.Targets.List, ep)
		}
	}
	if view.Asked != "" {
		why, err := v.Explain(ctx, ev.ID, view.Asked)
		if err != nil {
			view.WhyError = explain(err).Text
		} else {
			view.Why = &why
		}
	}
	v.render(http.StatusOK, "event.html", page{Title: ev.ID, Nav: "events"}, view)
	return nil
}

// eventBody is the exact bytes that are sent, to be saved and never to be shown.
func (v *visit) eventBody() error {
	ev, err := v.Event(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if ev.Body == nil {
		return store.ErrErased
	}
	h := v.w.Header()
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", ev.ID+".json"))
	h.Set("Content-Length", strconv.Itoa(len(ev.Body)))
	_, _ = v.w.Write(ev.Body) // nobody is left to hear of an error
	return nil
}

func (v *visit) replayEvent() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	id, err := v.Replay(v.r.Context(), v.r.PathValue("id"), form.Get("endpoint"))
	if err != nil {
		return err
	}
	return v.redirect("deliveries/%s?done=replayed", id)
}
