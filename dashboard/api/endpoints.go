package api

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// configView is the part of an endpoint that its history records.
type configView struct {
	URL         string            `json:"url"`
	EventTypes  []string          `json:"event_types"`
	State       string            `json:"state"`
	Reason      string            `json:"reason,omitempty"`
	Description string            `json:"description,omitempty"`
	Schedule    string            `json:"schedule,omitempty"`
	Schemes     []string          `json:"schemes,omitempty"`
	TimeoutMS   int64             `json:"timeout_ms,omitempty"`
	Headers     []string          `json:"headers,omitempty"` // their names
	Metadata    map[string]string `json:"metadata,omitempty"`
}

// endpointView is an endpoint.
type endpointView struct {
	ID string `json:"id"`
	configView
	Secrets   []secretView `json:"secrets"` // newest first
	Version   int64        `json:"version"`
	CreatedAt stamp        `json:"created_at"`
	ChangedAt stamp        `json:"changed_at"`
	EnabledAt stamp        `json:"enabled_at,omitzero"`
	Health    healthView   `json:"health"`
}

// secretView says which signing secret it is, and not what.
type secretView struct {
	ID          string `json:"id"`
	Fingerprint string `json:"fingerprint"`
	ExpiresAt   stamp  `json:"expires_at,omitzero"`
}

type healthView struct {
	Failures      int   `json:"failures"` // attempts in a row
	FailingSince  stamp `json:"failing_since,omitzero"`
	LastFailureAt stamp `json:"last_failure_at,omitzero"`
	LastSuccessAt stamp `json:"last_success_at,omitzero"`
	HoldUntil     stamp `json:"hold_until,omitzero"`
}

func viewConfig(c store.Config) configView {
	return configView{
		URL: c.URL, EventTypes: c.EventTypes, State: c.State.String(), Reason: c.Reason,
		Description: c.Description, Schedule: c.Schedule, Schemes: c.Schemes,
		TimeoutMS: c.Timeout.Milliseconds(), Headers: c.Headers, Metadata: c.Metadata,
	}
}

func viewEndpoint(ep store.Endpoint) endpointView {
	v := endpointView{
		ID: ep.ID, configView: viewConfig(ep.Config), Secrets: []secretView{}, Version: ep.Version,
		CreatedAt: utc(ep.CreatedAt), ChangedAt: utc(ep.ChangedAt), EnabledAt: utc(ep.EnabledAt),
		Health: healthView{
			Failures: ep.Failures, FailingSince: utc(ep.FailingSince), LastFailureAt: utc(ep.LastFailure),
			LastSuccessAt: utc(ep.LastSuccess), HoldUntil: utc(ep.HoldUntil),
		},
	}
	for _, s := range ep.Secrets {
		v.Secrets = append(v.Secrets, secretView{s.ID, s.Fingerprint, utc(s.ExpiresAt)})
	}
	return v
}

func (c *call) listEndpoints() error {
	limit, err := c.limit()
	if err != nil {
		return err
	}
	q := store.EndpointQuery{Search: c.query.text("search"), Limit: limit + 1}
	if q.After, err = c.numberCursor("endpoint"); err != nil {
		return err
	}
	parse := func(name string) (s store.EndpointState, err error) { return s, s.UnmarshalText([]byte(name)) }
	if q.States, err = states(c.query, parse, "enabled, disabled, deleted"); err != nil {
		return err
	}
	eps, err := c.Endpoints(c.r.Context(), q)
	if err != nil {
		return err
	}
	l := list[endpointView]{Data: []endpointView{}}
	if len(eps) > limit {
		eps = eps[:limit]
		l.NextCursor = cursorOf("endpoint", strconv.FormatInt(eps[limit-1].Num, 10))
	}
	for _, ep := range eps {
		l.Data = append(l.Data, viewEndpoint(ep))
	}
	return c.answer(http.StatusOK, l)
}

func (c *call) createEndpoint() error {
	var spec sender.EndpointSpec
	test := true
	if err := c.body(content{
		"url": &spec.URL, "event_types": &spec.EventTypes, "description": &spec.Description,
		"disabled": &spec.Disabled, "reason": &spec.Reason, "test_event": &test,
	}, "url", "event_types"); err != nil {
		return err
	}
	spec.NoTestEvent = !test
	if spec.Reason != "" && !spec.Disabled {
		return problemOf(invalid, "", fieldFault("reason", `says why the endpoint is disabled; it needs "disabled": true`))
	}
	ep, secret, err := c.CreateEndpoint(c.r.Context(), spec)
	if err != nil {
		return err
	}
	v, err := viewWithSecret(ep, secret)
	if err != nil {
		return err
	}
	return c.created(http.StatusCreated, "endpoints/"+ep.ID, v)
}

func (c *call) getEndpoint() error {
	ep, err := c.Endpoint(c.r.Context(), c.id())
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewEndpoint(ep))
}

func (c *call) editEndpoint() error {
	var edit sender.EndpointEdit
	if err := c.body(content{"url": &edit.URL, "event_types": &edit.EventTypes, "description": &edit.Description}); err != nil {
		return err
	}
	ep, err := c.EditEndpoint(c.r.Context(), c.id(), edit)
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, viewEndpoint(ep))
}

func (c *call) deleteEndpoint() error {
	if err := c.DeleteEndpoint(c.r.Context(), c.id()); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusNoContent)
	return nil
}

func (c *call) disableEndpoint() error {
	var reason string
	if err := c.body(content{"reason": &reason}); err != nil {
		return err
	}
	if err := c.DisableEndpoint(c.r.Context(), c.id(), reason); err != nil {
		return err
	}
	return c.getEndpoint()
}

func (c *call) enableEndpoint() error {
	if err := c.body(nil); err != nil {
		return err
	}
	if err := c.EnableEndpoint(c.r.Context(), c.id()); err != nil {
		return err
	}
	return c.getEndpoint()
}

// sendTest answers with the delivery, the attempts of which tell the receiver's
// answer.
func (c *call) sendTest() error {
	var eventType string
	if err := c.body(content{"event_type": &eventType}); err != nil {
		return err
	}
	id, err := c.SendTest(c.r.Context(), c.id(), eventType)
	if err != nil {
		return err
	}
	return c.newDelivery(id)
}

// changeView is a line of an endpoint's history.
type changeView struct {
	Version int64       `json:"version"`
	At      stamp       `json:"at"`
	Action  string      `json:"action"`
	Actor   string      `json:"actor,omitempty"`
	Old     *configView `json:"old,omitempty"`
	New     configView  `json:"new"`
}

func (c *call) endpointHistory() error {
	changes, err := c.EndpointHistory(c.r.Context(), c.id())
	if err != nil {
		return err
	}
	all := []changeView{}
	for _, ch := range slices.Backward(changes) {
		v := changeView{
			Version: ch.Version, At: utc(ch.At), Action: snake(string(ch.Action)), Actor: ch.Actor, New: viewConfig(ch.New),
		}
		if ch.Old.State != 0 {
			old := viewConfig(ch.Old)
			v.Old = &old
		}
		all = append(all, v)
	}
	l, err := page(c, "change", all, func(v changeView) string { return strconv.FormatInt(v.Version, 10) })
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, l)
}

// snake writes words as one name.
func snake(words string) string { return strings.NewReplacer(" ", "_", "-", "_").Replace(words) }

// activityView sums up the newest deliveries of an endpoint.
type activityView struct {
	Deliveries     int           `json:"deliveries"`
	Tests          int           `json:"tests"`
	Delivered      int           `json:"delivered"`
	Exhausted      int           `json:"exhausted"`
	Attempts       int           `json:"attempts"`
	LastDelivery   *lastView     `json:"last_delivery,omitempty"`
	RecentAttempts []attemptView `json:"recent_attempts"` // in order of their start
}

type lastView struct {
	ID          store.DeliveryID `json:"id"`
	State       string           `json:"state"`
	ReachedOnly bool             `json:"reached_only"`
	LastStatus  int              `json:"last_status,omitempty"`
	CreatedAt   stamp            `json:"created_at"`
}

// defaultNewest and maxNewest are how many deliveries an activity is taken from.
const (
	defaultNewest = 100
	maxNewest     = 200
)

func (c *call) endpointActivity() error {
	newest, err := c.query.number("newest", defaultNewest, maxNewest)
	if err != nil {
		return err
	}
	ctx, id := c.r.Context(), c.id()
	attempts, err := c.RecentAttempts(ctx, id, newest)
	if err != nil {
		return err
	}
	sums, err := c.Activity(ctx, []string{id}, newest)
	if err != nil {
		return err
	}
	sum := sums[0]
	v := activityView{
		Deliveries: sum.Deliveries, Tests: sum.Tests, Delivered: sum.Delivered, Exhausted: sum.Exhausted, Attempts: sum.Attempts,
		RecentAttempts: []attemptView{},
	}
	if sum.Deliveries > 0 {
		v.LastDelivery = &lastView{sum.Last, sum.LastState.String(), sum.LastReachedOnly(), sum.LastStatus, utc(sum.LastAt)}
	}
	for _, a := range attempts {
		v.RecentAttempts = append(v.RecentAttempts, viewAttempt(a))
	}
	return c.answer(http.StatusOK, v)
}
