package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// configJSON is what an endpoint's history records, for programs.
type configJSON struct {
	URL           string            `json:"url"`
	EventTypes    []string          `json:"event_types"`
	State         string            `json:"state"` // enabled, disabled, deleted
	Reason        string            `json:"reason,omitempty"`
	Description   string            `json:"description,omitempty"`
	Schedule      string            `json:"schedule,omitempty"`
	Schemes       []string          `json:"schemes,omitempty"`
	TimeoutMillis int64             `json:"timeout_ms,omitempty"`
	Headers       []string          `json:"headers,omitempty"` // their names
	Metadata      map[string]string `json:"metadata,omitempty"`
}

func newConfig(c *store.Config) configJSON {
	return configJSON{
		URL: c.URL, EventTypes: c.EventTypes, State: c.State.String(), Reason: c.Reason, Description: c.Description,
		Schedule: c.Schedule, Schemes: c.Schemes, TimeoutMillis: c.Timeout.Milliseconds(), Headers: c.Headers, Metadata: c.Metadata,
	}
}

// endpointJSON is an endpoint for programs.
type endpointJSON struct {
	ID     string `json:"id"`
	Tenant string `json:"tenant"`
	Mode   string `json:"mode"`
	configJSON
	Secrets      []secretJSON `json:"secrets"`
	CreatedAt    stamp        `json:"created_at"`
	ChangedAt    stamp        `json:"changed_at"`
	Failures     int          `json:"failures"` // in a row
	FailingSince stamp        `json:"failing_since,omitzero"`
	LastFailure  stamp        `json:"last_failure,omitzero"`
	LastSuccess  stamp        `json:"last_success,omitzero"`
	HoldUntil    stamp        `json:"hold_until,omitzero"`
}

type secretJSON struct {
	Fingerprint string `json:"fingerprint"`
	Key         string `json:"key"` // that seals it
	ExpiresAt   stamp  `json:"expires_at,omitzero"`
}

func newEndpoint(ep *store.Endpoint) endpointJSON {
	v := endpointJSON{
		ID: ep.ID, Tenant: ep.Tenant, Mode: ep.Mode.String(), configJSON: newConfig(&ep.Config), Secrets: []secretJSON{},
		CreatedAt: utc(ep.CreatedAt), ChangedAt: utc(ep.ChangedAt),
		Failures: ep.Failures, FailingSince: utc(ep.FailingSince), LastFailure: utc(ep.LastFailure),
		LastSuccess: utc(ep.LastSuccess), HoldUntil: utc(ep.HoldUntil),
	}
	for _, s := range ep.Secrets {
		v.Secrets = append(v.Secrets, secretJSON{s.Fingerprint, s.KeyID, utc(s.ExpiresAt)})
	}
	return v
}

func (c *call) printEndpoints(eps []store.Endpoint, next string, src *storeSource) error {
	if c.json {
		list := []endpointJSON{}
		for i := range eps {
			list = append(list, newEndpoint(&eps[i]))
		}
		return c.out.json(struct {
			Endpoints []endpointJSON `json:"endpoints"`
			Next      string         `json:"next,omitempty"` // for --after
		}{list, next})
	}
	if len(eps) == 0 {
		fmt.Fprintf(c.stderr, "No endpoints in %s.\n", src.whose())
		return nil
	}
	var rows [][]string
	for i := range eps {
		ep := &eps[i]
		rows = append(rows, []string{ep.ID, ep.State.String(), health(ep), strings.Join(ep.EventTypes, ", "), ep.URL})
	}
	c.out.table([]string{"ENDPOINT", "STATE", "HEALTH", "EVENTS", "URL"}, rows)
	c.printNext("--after", next)
	return nil
}

// printNext says how to see the next page.
func (c *call) printNext(flag, next string) {
	if next != "" {
		fmt.Fprintf(c.stderr, "There may be more: %s %s\n", flag, next)
	}
}

// durationText prints a duration for people; nothing for none.
func durationText(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

// health sums an endpoint's attempts up.
func health(ep *store.Endpoint) string {
	switch {
	case ep.Failures > 0:
		return fmt.Sprintf("%s since %s", plural(ep.Failures, "failure"), clock(ep.FailingSince))
	case !ep.LastSuccess.IsZero():
		return "ok"
	}
	return ""
}

func (c *call) printEndpoint(ep *store.Endpoint) error {
	if c.json {
		return c.out.json(newEndpoint(ep))
	}
	facts := [][2]string{
		{"endpoint", ep.ID},
		{"tenant", ep.Tenant},
		{"mode", ep.Mode.String()},
		{"URL", ep.URL},
		{"events", strings.Join(ep.EventTypes, ", ")},
		{"state", ep.State.String()},
		{"reason", ep.Reason},
		{"description", ep.Description},
		{"schedule", ep.Schedule},
		{"schemes", strings.Join(ep.Schemes, ", ")},
		{"timeout", durationText(ep.Timeout)},
		{"headers", strings.Join(ep.Headers, ", ")},
	}
	for _, name := range slices.Sorted(maps.Keys(ep.Metadata)) {
		facts = append(facts, [2]string{"metadata", name + "=" + ep.Metadata[name]})
	}
	for _, s := range ep.Secrets {
		text := "fingerprint " + s.Fingerprint + ", sealed with key " + s.KeyID
		if !s.ExpiresAt.IsZero() {
			text += ", " + pastOr(s.ExpiresAt, "expired ", "until ") + clock(s.ExpiresAt)
		}
		facts = append(facts, [2]string{"secret", text})
	}
	facts = append(facts, [][2]string{
		{"created", clock(ep.CreatedAt)},
		{"changed", clock(ep.ChangedAt)},
		{"health", health(ep)},
		{"last success", sinceMinute(ep.LastSuccess)},
		{"last failure", clock(ep.LastFailure)},
		{pastOr(ep.HoldUntil, "was held until", "held until"), clock(ep.HoldUntil)},
	}...)
	c.out.facts(facts)
	return nil
}

// printCreated shows a new endpoint, and its secret unless that is zero.
func (c *call) printCreated(ep *store.Endpoint, secret signing.Secret) error {
	if c.json {
		return c.out.json(struct {
			endpointJSON
			Secret string `json:"secret,omitempty"`
		}{newEndpoint(ep), secret.Reveal()})
	}
	if err := c.printEndpoint(ep); err != nil || secret.IsZero() {
		return err
	}
	fmt.Fprintf(c.out, "\nThe signing secret, for the receiver; it is not shown again:\n%s\n", secret.Reveal())
	return nil
}

// changeJSON is one line of an endpoint's history.
type changeJSON struct {
	At      stamp       `json:"at"`
	Action  string      `json:"action"`
	Actor   string      `json:"actor,omitempty"`
	Version int64       `json:"version"`
	Old     *configJSON `json:"old,omitempty"` // none in the first line
	New     configJSON  `json:"new"`
}

func newChange(ch *store.Change) changeJSON {
	v := changeJSON{At: utc(ch.At), Action: string(ch.Action), Actor: ch.Actor, Version: ch.Version, New: newConfig(&ch.New)}
	if ch.Old.State != 0 {
		old := newConfig(&ch.Old)
		v.Old = &old
	}
	return v
}

func (c *call) printHistory(changes []store.Change) error {
	if c.json {
		list := []changeJSON{}
		for i := range changes {
			list = append(list, newChange(&changes[i]))
		}
		return c.out.json(map[string]any{"changes": list})
	}
	var rows [][]string
	for i := range changes {
		ch := &changes[i]
		rows = append(rows, []string{clock(ch.At), string(ch.Action), ch.Actor, difference(ch)})
	}
	c.out.table([]string{"WHEN (UTC)", "ACTION", "WHO", "WHAT"}, rows)
	return nil
}

// difference says what a change has changed.
func difference(ch *store.Change) string {
	var parts []string
	add := func(name, before, after string) {
		if before != after {
			parts = append(parts, name+" "+strconv.Quote(after))
		}
	}
	add("URL", ch.Old.URL, ch.New.URL)
	add("events", strings.Join(ch.Old.EventTypes, ", "), strings.Join(ch.New.EventTypes, ", "))
	add("reason", ch.Old.Reason, ch.New.Reason)
	add("schedule", ch.Old.Schedule, ch.New.Schedule)
	add("schemes", strings.Join(ch.Old.Schemes, ", "), strings.Join(ch.New.Schemes, ", "))
	add("timeout", durationText(ch.Old.Timeout), durationText(ch.New.Timeout))
	add("headers", strings.Join(ch.Old.Headers, ", "), strings.Join(ch.New.Headers, ", "))
	add("description", ch.Old.Description, ch.New.Description)
	if !maps.Equal(ch.Old.Metadata, ch.New.Metadata) {
		parts = append(parts, "metadata")
	}
	return strings.Join(parts, ", ")
}

// sinceMinute is a time that may be a minute older than the truth.
func sinceMinute(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return clock(t) + ", recorded once a minute"
}

// pastOr chooses a word for a time that has passed or one that is to come.
func pastOr(t time.Time, past, toCome string) string {
	if time.Until(t) <= 0 {
		return past
	}
	return toCome
}
