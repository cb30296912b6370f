package dashboard

import (
	"html/template"
	"net/url"
	"strconv"

	"github.com/hookpost/hookpost/store"
)

// endpointRows is how many endpoints a page lists, and activityOf how many
// deliveries of each the rate is taken from.
const (
	endpointRows = 25
	activityOf   = 100
)

// listing is the list of endpoints, alone or under a panel.
type listing struct {
	Rows   []endpointRow
	Search string
	Paged  bool         // not the first page
	Next   template.URL // query of the next page; empty: none
	Done   string       // what has just been done
	Panel  any          // what lies over the list, if anything
}

type endpointRow struct {
	store.Endpoint
	store.Activity
}

// failing reports whether an endpoint's last attempts failed, more than now and
// then happens to everybody.
func failing(ep store.Endpoint) bool { return ep.State == store.Enabled && ep.Failures >= 3 }

// list reads the page of endpoints that the query asks for.
func (v *visit) list(query url.Values) (*listing, error) {
	after, _ := strconv.ParseInt(query.Get("after"), 10, 64) // else the first page
	l := &listing{Search: query.Get("q"), Paged: after > 0, Done: done[query.Get("done")]}
	ctx := v.r.Context()
	eps, err := v.Endpoints(ctx, store.EndpointQuery{Search: l.Search, After: after, Limit: endpointRows + 1})
	if err != nil {
		return nil, err
	}
	if len(eps) > endpointRows {
		eps = eps[:endpointRows]
		next := url.Values{"after": {strconv.FormatInt(eps[endpointRows-1].Num, 10)}}
		if l.Search != "" {
			next.Set("q", l.Search)
		}
		l.Next = template.URL(next.Encode())
	}
	ids := make([]string, len(eps))
	for i := range eps {
		ids[i] = eps[i].ID
	}
	activity, err := v.Activity(ctx, ids, activityOf)
	if err != nil {
		return nil, err
	}
	for i := range eps {
		l.Rows = append(l.Rows, endpointRow{eps[i], activity[i]})
	}
	return l, nil
}

// done are the words for what a redirect says has been done.
var done = map[string]string{
	"disabled":  "The endpoint is disabled. It gets no deliveries and no retries until you enable it.",
	"enabled":   "The endpoint is enabled. Deliveries that waited are resumed; events from the disabled time are not back-filled.",
	"deleted":   "The endpoint is deleted. Its pending deliveries are cancelled and its signing secret is invalid.",
	"saved":     "The changes are saved. The signing secret stays the same.",
	"revoked":   "The secret is revoked. Nothing is signed with it any more.",
	"cancelled": "The delivery is cancelled.",
	"replayed":  "The event is being delivered once more.",
}

func (v *visit) endpointList() error {
	l, err := v.list(v.query)
	if err != nil {
		return err
	}
	v.render(200, "endpoints.html", page{Title: "Webhooks", Nav: "endpoints"}, l)
	return nil
}

// confirmation is a question before a change.
type confirmation struct {
	store.Endpoint
	What    string // "disable" or "delete"
	Pending store.Count
}

// maxPending is as far as pending deliveries are counted.
const maxPending = 1000

func (v *visit) confirmDisable() error { return v.confirm("disable", "Disable webhook") }

func (v *visit) confirmDelete() error { return v.confirm("delete", "Delete webhook") }

func (v *visit) confirm(what, title string) error {
	ctx := v.r.Context()
	ep, err := v.Endpoint(ctx, v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if ep.State == store.Deleted {
		return store.ErrDeleted
	}
	stats, err := v.EndpointStats(ctx, ep.ID, maxPending)
	if err != nil {
		return err
	}
	pending := stats.Due.Plus(stats.Scheduled).Plus(stats.InFlight)
	v.render(200, "confirm.html", page{Title: title, Nav: "endpoints"}, confirmation{ep, what, pending})
	return nil
}

func (v *visit) disableEndpoint() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	if err := v.DisableEndpoint(v.r.Context(), v.r.PathValue("id"), form.Get("reason")); err != nil {
		return err
	}
	return v.redirect("endpoints?done=disabled")
}

func (v *visit) enableEndpoint() error {
	if err := v.EnableEndpoint(v.r.Context(), v.r.PathValue("id")); err != nil {
		return err
	}
	return v.redirect("endpoints?done=enabled")
}

func (v *visit) deleteEndpoint() error {
	if err := v.DeleteEndpoint(v.r.Context(), v.r.PathValue("id")); err != nil {
		return err
	}
	return v.redirect("endpoints?done=deleted")
}

func (v *visit) sendTest() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	id, err := v.SendTest(v.r.Context(), v.r.PathValue("id"), form.Get("type"))
	if err != nil {
		return err
	}
	return v.redirect("deliveries/%s", id)
}
