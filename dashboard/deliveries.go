package dashboard

import (
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

const (
	// maxChoices is how many endpoints a form offers in a list; with more of them
	// their ids are typed in.
	maxChoices = 200
	// maxAttempts is how many of a delivery's attempts its page shows, the last ones.
	maxAttempts = 50
)

// deliveryLog is the page of the delivery log.
type deliveryLog struct {
	Filter    filter
	Rows      []deliveryRow
	Older     template.URL // query of the next page; empty: none
	Short     bool         // the page ends because enough was looked through
	Paged     bool         // not the first page
	Endpoints endpointChoice
	States    []string
	Types     []sender.EventType
	Done      string
}

type deliveryRow struct {
	store.Delivery
	URL      string
	endpoint store.Endpoint
}

// Next says what a pending delivery waits for, as far as a list knows. Of the time there
// is none if it waits for something else.
func (r deliveryRow) Next() (n struct {
	Text string
	At   time.Time
},
) {
	due := time.Until(r.DueAt)
	switch {
	case r.State != store.Pending:
	case r.InFlight:
		n.Text = "in flight"
	case r.endpoint.State == store.Disabled:
		n.Text = "endpoint disabled"
	case time.Until(r.endpoint.HoldUntil) > max(0, due):
		n.Text, n.At = "held, until", r.endpoint.HoldUntil
	case due <= 0:
		n.At = r.DueAt
	case r.Attempts == 0:
		n.Text, n.At = "to be sent", r.DueAt
	default:
		n.Text, n.At = "next retry", r.DueAt
	}
	return n
}

// filter is what the fields above a list say.
type filter struct {
	Endpoint, State, Type, Event, Ref, From, To string
	Wrong                                       string // what can't be understood
	from, to                                    time.Time
}

// Any reports whether there is a filter at all.
func (f filter) Any() bool {
	return f.Endpoint+f.State+f.Type+f.Event+f.Ref+f.From+f.To != ""
}

// Query is the filter as the query of a link.
func (f filter) Query() template.URL { return f.query("", "") }

// query is the same with one more field.
func (f filter) query(name, value string) template.URL {
	q := url.Values{}
	for _, field := range [][2]string{
		{"endpoint", f.Endpoint}, {"state", f.State}, {"type", f.Type}, {"event", f.Event}, {"ref", f.Ref}, {"from", f.From}, {"to", f.To}, {name, value},
	} {
		if field[1] != "" {
			q.Set(field[0], field[1])
		}
	}
	return template.URL(q.Encode())
}

// filter reads the fields of a query or form.
func (v *visit) filter(q url.Values) filter {
	get := func(name string) string { return strings.TrimSpace(q.Get(name)) }
	f := filter{
		Endpoint: get("endpoint"), State: get("state"), Type: get("type"), Event: get("event"), Ref: get("ref"),
		From: get("from"), To: get("to"),
	}
	var ok bool
	if f.from, ok = v.parseTime(f.From); !ok {
		f.Wrong, f.From = "“From” is not a date and time such as 2026-05-24T10:02.", "" // browsers don't show it either
	}
	if f.to, ok = v.parseTime(f.To); !ok {
		f.Wrong, f.To = "“To” is not a date and time such as 2026-05-24T10:02.", ""
	}
	if f.State != "" && !slices.Contains(stateNames, f.State) {
		f.Wrong = "There is no such state."
	}
	return f
}

var stateNames = []string{"pending", "delivered", "exhausted", "cancelled"}

// endpointChoice is a field that names an endpoint.
type endpointChoice struct {
	List  []store.Endpoint
	Typed bool // too many: the id is typed in
}

// endpointChoice offers endpoints in these states.
func (v *visit) endpointChoice(states ...store.EndpointState) (endpointChoice, error) {
	list, err := v.Endpoints(v.r.Context(), store.EndpointQuery{States: states, Limit: maxChoices + 1})
	if len(list) > maxChoices {
		return endpointChoice{Typed: true}, err
	}
	return endpointChoice{List: list}, err
}

func (v *visit) deliveryList() error {
	ctx, q := v.r.Context(), v.query
	l := deliveryLog{Filter: v.filter(q), States: stateNames, Types: v.d.office.EventTypes(), Done: done[q.Get("done")]}
	var err error
	if l.Endpoints, err = v.endpointChoice(store.Enabled, store.Disabled, store.Deleted); err != nil {
		return err
	}
	if l.Filter.Wrong == "" {
		f := l.Filter
		dq := store.DeliveryQuery{EventID: f.Event, EndpointID: f.Endpoint, Type: f.Type, Ref: f.Ref, From: f.from, To: f.to, Limit: pageRows}
		if f.State != "" {
			state, err := store.ParseState(f.State)
			if err != nil {
				return err
			}
			dq.States = []store.State{state}
		}
		if before := q.Get("before"); before != "" {
			if dq.Before, err = store.ParseDeliveryID(before); err != nil {
				return err
			}
			l.Paged = true
		}
		page, next, err := v.SearchDeliveries(ctx, dq, lookRows)
		if err != nil {
			return err
		}
		if l.Rows, err = v.withURLs(page); err != nil {
			return err
		}
		if next != (store.DeliveryID{}) {
			l.Older, l.Short = f.query("before", next.String()), len(page) < pageRows
		}
	}
	v.render(http.StatusOK, "deliveries.html", page{Title: "Delivery log", Nav: "deliveries"}, l)
	return nil
}

// withURLs adds the URLs of the endpoints as they are now.
func (v *visit) withURLs(list []store.Delivery) ([]deliveryRow, error) {
	endpoints, err := v.EndpointsOf(v.r.Context(), list)
	if err != nil {
		return nil, err
	}
	rows := make([]deliveryRow, len(list))
	for i, d := range list {
		rows[i] = deliveryRow{d, endpoints[d.EndpointID].URL, endpoints[d.EndpointID]}
	}
	return rows, nil
}

// deliveryView is the page of one delivery.
type deliveryView struct {
	store.Delivery
	Endpoint store.Endpoint
	Event    store.Event // without its body
	Body     inert.Shown
	Log      []attemptView // newest first
	Earlier  int           // attempts that are not shown
	Why      sender.Explanation
	Done     string
}

// attemptView is one attempt as it is shown.
type attemptView struct {
	store.Attempt
	Request  []headerLine
	Response []headerLine
	Body     inert.Shown
	Open     bool
}

type headerLine struct{ Name, Value string }

// Waits reports whether the delivery waits for an endpoint that is disabled.
func (d deliveryView) Waits() bool {
	return d.State == store.Pending && d.Endpoint.State == store.Disabled
}

func (v *visit) deliveryPage() error {
	id, err := v.deliveryID()
	if err != nil {
		return err
	}
	ctx := v.r.Context()
	d, attempts, err := v.Delivery(ctx, id)
	if err != nil {
		return err
	}
	view := deliveryView{Delivery: d, Done: done[v.query.Get("done")]}
	if view.Event, err = v.Event(ctx, d.EventID); err != nil {
		return err
	}
	if view.Why, err = v.ExplainDelivery(ctx, id); err != nil {
		return err
	}
	view.Endpoint = view.Why.Endpoint
	view.Body = inert.Text(view.Event.Body, maxShown)
	if n := len(attempts) - maxAttempts; n > 0 {
		attempts, view.Earlier = attempts[n:], n
	}
	for i, a := range slices.Backward(attempts) {
		av := attemptView{Attempt: a, Response: headerLines(a.ResponseHeader), Body: inert.Text(a.ResponseBody, maxShown), Open: i == len(attempts)-1}
		header := v.RequestHeader(view.Endpoint, view.Event, a)
		names := make([]string, 0, len(header))
		for name := range header {
			names = append(names, name)
		}
		slices.Sort(names)
		for _, name := range names {
			av.Request = append(av.Request, headerLine{name, strings.Join(header[name], ", ")})
		}
		view.Log = append(view.Log, av)
	}
	view.Event.Body = nil
	p := page{Title: fmt.Sprintf("Delivery of %s", d.EventType), Nav: "deliveries"}
	if d.State == store.Pending && !view.Waits() {
		switch until := time.Until(d.DueAt); {
		case d.InFlight || until.Abs() < 15*time.Second:
			p.Refresh = 2
		case until < 0:
			p.Refresh = 15
		}
	}
	v.render(http.StatusOK, "delivery.html", p, view)
	return nil
}

// headerLines splits a header in wire format.
func headerLines(b []byte) (lines []headerLine) {
	for line := range strings.Lines(string(b)) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
		if name != "" {
			lines = append(lines, headerLine{name, strings.TrimSpace(value)})
		}
	}
	return lines
}

func (v *visit) cancelDelivery() error {
	id, err := v.deliveryID()
	if err != nil {
		return err
	}
	if err := v.Cancel(v.r.Context(), id); err != nil {
		return err
	}
	return v.redirect("deliveries/%s?done=cancelled", id)
}
