package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

var deliveryCommands = []command{
	{name: "deliveries", short: "list the delivery log, newest first", prepare: listDeliveries},
	{name: "deliveries show", args: "DELIVERY", short: "show a delivery and its attempts", prepare: showDelivery},
	{name: "deliveries cancel", args: "DELIVERY", short: "end a pending delivery", prepare: cancelDelivery},
}

// deliveryJSON is a delivery for programs.
type deliveryJSON struct {
	ID         string `json:"id"`
	EventID    string `json:"event_id"`
	EventType  string `json:"event_type"`
	EndpointID string `json:"endpoint_id"`
	State      string `json:"state"` // pending, delivered, exhausted, cancelled
	// ReachedOnly: a test event was answered, but not with 2xx. Its state is delivered.
	ReachedOnly bool   `json:"reached_only,omitempty"`
	Reason      string `json:"reason,omitempty"`
	InFlight    bool   `json:"in_flight,omitempty"`
	Attempts    int    `json:"attempts"`
	LastStatus  int    `json:"last_status,omitempty"`
	CreatedAt   stamp  `json:"created_at"`
	FirstAt     stamp  `json:"first_at,omitzero"`
	DueAt       stamp  `json:"due_at,omitzero"` // while pending
	FinishedAt  stamp  `json:"finished_at,omitzero"`
}

func newDelivery(d *store.Delivery) deliveryJSON {
	v := deliveryJSON{
		ID: d.ID.String(), EventID: d.EventID, EventType: d.EventType, EndpointID: d.EndpointID,
		State: d.State.String(), ReachedOnly: d.ReachedOnly(), Reason: d.Reason, InFlight: d.InFlight, Attempts: d.Attempts, LastStatus: d.LastStatus,
		CreatedAt: utc(d.CreatedAt), FirstAt: utc(d.FirstAt), FinishedAt: utc(d.FinishedAt),
	}
	if d.State == store.Pending {
		v.DueAt = utc(d.DueAt)
	}
	return v
}

// attemptJSON is an attempt for programs.
type attemptJSON struct {
	N              int     `json:"n"`
	StartedAt      stamp   `json:"started_at"`
	TookMillis     float64 `json:"took_ms"`
	Outcome        string  `json:"outcome"`                // delivered, failed, unknown
	ReachedOnly    bool    `json:"reached_only,omitempty"` // as of the delivery
	URL            string  `json:"url,omitempty"`
	Status         int     `json:"status,omitempty"`
	Class          string  `json:"class,omitempty"`
	Error          string  `json:"error,omitempty"`
	ResponseBody   string  `json:"response_body,omitempty"`
	ResponseBase64 []byte  `json:"response_body_base64,omitempty"` // instead, if it is not UTF-8
}

func newAttempt(a *store.Attempt) attemptJSON {
	body := newBody(a.ResponseBody)
	return attemptJSON{
		N: a.N, StartedAt: utc(a.StartedAt), TookMillis: float64(a.Took.Microseconds()) / 1000, Outcome: a.Outcome.String(),
		ReachedOnly: a.ReachedOnly(), URL: a.URL, Status: a.Status, Class: a.Class, Error: a.Error, ResponseBody: body.Body, ResponseBase64: body.Base64,
	}
}

func listDeliveries(c *call) func(context.Context) error {
	src := c.storeFlags()
	q := store.DeliveryQuery{Limit: 20}
	textFlag(c.flags, &q.EndpointID, "endpoint", "only those of this `ENDPOINT`")
	textFlag(c.flags, &q.EventID, "event", "only those of this `EVENT`")
	textFlag(c.flags, &q.Type, "type", "only events of this `TYPE`")
	textFlag(c.flags, &q.Ref, "ref", "only events with this `REFERENCE`")
	valueFlag(c.flags, &q.States, "state", "only these `STATES`: pending, delivered, exhausted, cancelled; comma-separated", parseStates)
	c.rangeFlags(&q.From, &q.To)
	valueFlag(c.flags, &q.Limit, "limit", "at most `N`, up to 1000 (20)", count(1, 1000))
	valueFlag(c.flags, &q.Before, "before", "go on behind this `DELIVERY`, the last of the page before", parseDelivery)
	return func(ctx context.Context) error {
		if err := checkRange(q.From, q.To); err != nil {
			return err
		}
		return src.use(ctx, c, nil, func(t *sender.Tenant) error {
			page, err := t.Deliveries(ctx, q)
			if err != nil {
				return err
			}
			next := ""
			if len(page) == q.Limit {
				next = page[len(page)-1].ID.String()
			}
			return c.printDeliveries(page, next, src)
		})
	}
}

// rangeFlags declares the bounds of the time when events were stored.
func (c *call) rangeFlags(from, to *time.Time) {
	valueFlag(c.flags, from, "from", "only events stored at this `TIME` or later: RFC 3339, a date, or how long ago (90m, 7d)", parseTime)
	valueFlag(c.flags, to, "to", "only events stored before this `TIME`", parseTime)
}

func checkRange(from, to time.Time) error {
	if !from.IsZero() && !to.IsZero() && !from.Before(to) {
		return badInput("--from %s is not before --to %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
	}
	return nil
}

func parseStates(s string) ([]store.State, error) {
	var states []store.State
	for part := range strings.SplitSeq(s, ",") {
		state, err := store.ParseState(strings.TrimSpace(part))
		if err != nil {
			return nil, errors.New("want pending, delivered, exhausted or cancelled, separated by commas")
		}
		states = append(states, state)
	}
	return states, nil
}

func parseDelivery(s string) (store.DeliveryID, error) {
	id, err := store.ParseDeliveryID(s)
	if err != nil {
		return id, errors.New("want a delivery such as dlv_12_3_0")
	}
	return id, nil
}

// deliveryArg reads an argument that names a delivery.
func deliveryArg(s string) (store.DeliveryID, error) {
	id, err := parseDelivery(s)
	if err != nil {
		return id, badInput("%.80q: %v", s, err)
	}
	return id, nil
}

func (c *call) printDeliveries(page []store.Delivery, next string, src *storeSource) error {
	if c.json {
		list := []deliveryJSON{}
		for i := range page {
			list = append(list, newDelivery(&page[i]))
		}
		return c.out.json(struct {
			Deliveries []deliveryJSON `json:"deliveries"`
			Next       string         `json:"next,omitempty"` // for --before
		}{list, next})
	}
	if len(page) == 0 {
		fmt.Fprintf(c.stderr, "No such deliveries in %s.\n", src.whose())
		return nil
	}
	var rows [][]string
	for i := range page {
		d := &page[i]
		rows = append(rows, []string{d.ID.String(), stateWord(d), d.EventType, strconv.Itoa(d.Attempts), statusText(d.LastStatus), when(d), d.EventID, d.EndpointID})
	}
	c.out.table([]string{"DELIVERY", "STATE", "TYPE", "ATTEMPTS", "LAST", "WHEN (UTC)", "EVENT", "ENDPOINT"}, rows)
	c.printNext("--before", next)
	return nil
}

// stateWord is the state, and "reached" for a test event that was not accepted.
func stateWord(d *store.Delivery) string {
	if d.ReachedOnly() {
		return "reached"
	}
	return d.State.String()
}

// stateText is the same with the answer.
func stateText(d *store.Delivery) string {
	if d.ReachedOnly() {
		return fmt.Sprintf("reached, answered %d", d.LastStatus)
	}
	return d.State.String()
}

func outcomeWord(a *store.Attempt) string {
	if a.ReachedOnly() {
		return "reached"
	}
	return a.Outcome.String()
}

// when says what comes next, or when it ended.
func when(d *store.Delivery) string {
	switch {
	case d.State != store.Pending:
		return clock(d.FinishedAt)
	case d.InFlight:
		return "under way"
	}
	if time.Until(d.DueAt) < -overdueAfter {
		return "overdue since " + clock(d.DueAt)
	}
	return "due " + clock(d.DueAt)
}

// overdueAfter leaves room for clocks that differ and for what is about to be sent.
const overdueAfter = 2 * time.Second

func statusText(status int) string {
	if status == 0 {
		return ""
	}
	return strconv.Itoa(status)
}

func showDelivery(c *call) func(context.Context) error {
	src := c.storeFlags()
	return func(ctx context.Context) error {
		id, err := deliveryArg(c.args[0])
		if err != nil {
			return err
		}
		return src.use(ctx, c, nil, func(t *sender.Tenant) error {
			d, attempts, err := t.Delivery(ctx, id)
			if err != nil {
				return src.missing(err, "delivery", c.args[0])
			}
			event, err := t.Event(ctx, d.EventID)
			if err != nil {
				return src.missing(err, "event", d.EventID)
			}
			why, err := t.ExplainDelivery(ctx, id)
			if err != nil {
				return err
			}
			return c.printDelivery(&d, &event, attempts, &why)
		})
	}
}

func (c *call) printDelivery(d *store.Delivery, e *store.Event, attempts []store.Attempt, why *sender.Explanation) error {
	if c.json {
		list := []attemptJSON{}
		for i := range attempts {
			list = append(list, newAttempt(&attempts[i]))
		}
		return c.out.json(struct {
			deliveryJSON
			bodyJSON               // none once erased
			Refs     []string      `json:"refs,omitempty"`
			ErasedAt stamp         `json:"erased_at,omitzero"`
			Why      whyJSON       `json:"explanation"`
			Log      []attemptJSON `json:"attempt_log"`
		}{newDelivery(d), newBody(e.Body), e.Refs, utc(e.ErasedAt), newWhy(why), list})
	}
	c.out.facts([][2]string{
		{"delivery", d.ID.String()},
		{"event", d.EventID},
		{"type", d.EventType},
		{"endpoint", d.EndpointID},
		{"references", strings.Join(e.Refs, ", ")},
		{"state", stateText(d)},
		{"reason", d.Reason},
		{"when", when(d)},
		{"why", why.Text},
		{"created", clock(d.CreatedAt)},
		{"erased", clock(e.ErasedAt)},
	})
	if len(e.Body) > 0 {
		fmt.Fprintln(c.out)
		c.out.payload(inert.Lines(e.Body, maxPrinted), "")
	}
	if len(attempts) == 0 {
		return nil
	}
	fmt.Fprintln(c.out)
	var rows [][]string
	for i := range attempts {
		a := &attempts[i]
		answer := a.Class
		if a.Status != 0 {
			answer = strings.TrimSpace(fmt.Sprint(a.Status, " ", http.StatusText(a.Status)))
		}
		rows = append(rows, []string{strconv.Itoa(a.N), clock(a.StartedAt), millis(a.Took), outcomeWord(a), answer, a.Error, string(a.ResponseBody)})
	}
	c.out.table([]string{"ATTEMPT", "STARTED (UTC)", "TOOK", "OUTCOME", "ANSWER", "PROBLEM", "BODY"}, rows)
	return nil
}

func cancelDelivery(c *call) func(context.Context) error {
	src := c.storeFlags()
	var reason string
	anyTextFlag(c.flags, &reason, "reason", "a `TEXT` for the log: why")
	return func(ctx context.Context) error {
		id, err := deliveryArg(c.args[0])
		if err != nil {
			return err
		}
		return src.use(ctx, c, nil, func(t *sender.Tenant) error {
			err := t.Cancel(ctx, id, reason)
			if errors.Is(err, store.ErrFinished) {
				return refused("%s is not pending any more; hookpost deliveries show %s", id, id)
			}
			if err != nil {
				return src.missing(err, "delivery", c.args[0])
			}
			d, _, err := t.Delivery(ctx, id)
			if err != nil {
				return err
			}
			if c.json {
				return c.out.json(newDelivery(&d))
			}
			fmt.Fprintf(c.out, "%s is %s.\n", id, d.State)
			return nil
		})
	}
}
