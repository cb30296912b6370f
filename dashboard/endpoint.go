package dashboard

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// chartOf is how many deliveries of an endpoint its chart tells about, latestRows how
// many its page lists, and maxHistory how many of its changes.
const (
	chartOf    = 200
	latestRows = 10
	maxHistory = 100
)

// endpointView is the page of one endpoint.
type endpointView struct {
	store.Endpoint
	Activity store.Activity
	Chart    chart
	Latest   []store.Delivery
	History  []historyLine // newest first
	Earlier  int           // changes that are not shown
	Examples []sender.EventType
	Done     string
}

// Held reports whether the receiver's pause is not over.
func (e endpointView) Held() bool { return time.Until(e.HoldUntil) > 0 }

// Succeeded is the last success that is known. Health has it within a minute; one of the
// latest deliveries can be newer.
func (e endpointView) Succeeded() time.Time {
	last := e.LastSuccess
	for _, d := range e.Latest {
		if d.State == store.Delivered && !store.Reserved(d.EventType) && d.FinishedAt.After(last) {
			last = d.FinishedAt
		}
	}
	return last
}

// Exact reports whether no success is newer: all deliveries are among the latest.
func (e endpointView) Exact() bool { return e.Succeeded().IsZero() || len(e.Latest) < latestRows }

// Deleted reports whether it is.
func (e endpointView) Deleted() bool { return e.State == store.Deleted }

// historyLine is one change of an endpoint.
type historyLine struct {
	store.Change
	Details []string
}

func (v *visit) endpointPage() error {
	ctx, id := v.r.Context(), v.r.PathValue("id")
	ep, err := v.Endpoint(ctx, id)
	if err != nil {
		return err
	}
	view := endpointView{Endpoint: ep, Examples: v.d.office.EventTypes(), Done: done[v.query.Get("done")]}
	activity, err := v.Activity(ctx, []string{id}, activityOf)
	if err != nil {
		return err
	}
	view.Activity = activity[0]
	attempts, err := v.RecentAttempts(ctx, id, chartOf)
	if err != nil {
		return err
	}
	view.Chart = newChart(attempts, v.d.opts.Location)
	if view.Latest, err = v.Deliveries(ctx, store.DeliveryQuery{EndpointID: id, Limit: latestRows}); err != nil {
		return err
	}
	changes, err := v.EndpointHistory(ctx, id)
	if err != nil {
		return err
	}
	if n := len(changes) - maxHistory; n > 0 {
		changes, view.Earlier = changes[n:], n
	}
	for _, c := range slices.Backward(changes) {
		view.History = append(view.History, historyLine{c, differences(c)})
	}
	v.render(200, "endpoint.html", page{Title: ep.URL, Nav: "endpoints"}, view)
	return nil
}

// differences says in words what a change changed.
func differences(c store.Change) []string {
	if c.Old.State == 0 { // the first line
		return []string{"Events: " + strings.Join(c.New.EventTypes, ", ")}
	}
	var list []string
	say := func(what, from, to string) {
		switch {
		case from == to:
		case from == "":
			list = append(list, fmt.Sprintf("%s: %s", what, to))
		case to == "":
			list = append(list, fmt.Sprintf("%s removed; it was %s", what, from))
		default:
			list = append(list, fmt.Sprintf("%s: %s, before: %s", what, to, from))
		}
	}
	say("URL", c.Old.URL, c.New.URL)
	say("Events", strings.Join(c.Old.EventTypes, ", "), strings.Join(c.New.EventTypes, ", "))
	if c.New.Reason != "" {
		say("Reason", "", c.New.Reason)
	}
	say("Description", c.Old.Description, c.New.Description)
	say("Schedule", c.Old.Schedule, c.New.Schedule)
	say("Signature schemes", strings.Join(c.Old.Schemes, ", "), strings.Join(c.New.Schemes, ", "))
	say("Timeout", timeout(c.Old.Timeout), timeout(c.New.Timeout))
	say("Headers", strings.Join(c.Old.Headers, ", "), strings.Join(c.New.Headers, ", "))
	say("Metadata", metadata(c.Old.Metadata), metadata(c.New.Metadata))
	return list
}

func timeout(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func metadata(m map[string]string) string {
	var list []string
	for k, v := range m {
		list = append(list, k+"="+v)
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}
