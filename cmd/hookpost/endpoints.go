package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

var endpointCommands = []command{
	{name: "endpoints", short: "list endpoints", prepare: listEndpoints},
	{name: "endpoints show", args: "ENDPOINT", short: "show one endpoint", prepare: showEndpoint},
	{name: "endpoints create", args: "URL", short: "register an endpoint and show its secret, this one time", long: createText, prepare: createEndpoint},
	{name: "endpoints edit", args: "ENDPOINT", short: "change an endpoint; its secret stays", long: editText, prepare: editEndpoint},
	{name: "endpoints disable", args: "ENDPOINT", short: "stop deliveries and retries", prepare: disableEndpoint},
	{name: "endpoints enable", args: "ENDPOINT", short: "resume deliveries", prepare: enableEndpoint},
	{name: "endpoints delete", args: "ENDPOINT", short: "end an endpoint for good; its log stays", prepare: deleteEndpoint},
	{name: "endpoints test", args: "ENDPOINT", short: "queue a webhook.test event for one endpoint", prepare: testEndpoint},
	{name: "endpoints history", args: "ENDPOINT", short: "list the changes of an endpoint", prepare: endpointHistory},
}

const (
	createText = `
The secret is printed only here. It is sealed with the application's keys
(HOOKPOST_KEYS), so that only the application can use it. With --secret-file or
--secret-env the endpoint keeps a secret that its receiver has already.

An enabled endpoint is sent a webhook.test event by the application.`

	editText = `
What has no flag stays. Pending deliveries go to the new URL.`

	eventsUsage   = "the event `TYPES` it wants: payment.succeeded, payment.*, or '*' for all; comma-separated"
	scheduleUsage = "the `NAME` of a retry schedule of the application's (its default)"
	allowUsage    = "accept URLs with these addresses, as the application's Egress does: a `PREFIX` such as 10.0.0.0/8; may be repeated"
)

// An endpointFlags is what can be said about an endpoint.
type endpointFlags struct {
	events      []string
	description string
	schedule    string
	schemes     []signing.Scheme
	allow       []netip.Prefix
	actor       string
}

func (c *call) endpointFlags() *endpointFlags {
	e := &endpointFlags{}
	valueFlag(c.flags, &e.events, "events", eventsUsage, parseList)
	anyTextFlag(c.flags, &e.description, "description", "a `TEXT` for people")
	anyTextFlag(c.flags, &e.schedule, "schedule", scheduleUsage)
	listFlag(c.flags, &e.schemes, "scheme", schemeUsage+"; may be repeated (default: what the application signs with)", parseScheme)
	listFlag(c.flags, &e.allow, "allow", allowUsage, parsePrefix)
	actorFlag(c, &e.actor)
	return e
}

func actorFlag(c *call, p *string) {
	textFlag(c.flags, p, "actor", "`WHO` does it, for the endpoint's history (the system's user)")
}

func parseList(s string) ([]string, error) {
	list := strings.Split(s, ",")
	for i := range list {
		if list[i] = strings.TrimSpace(list[i]); list[i] == "" {
			return nil, errors.New("want names, separated by commas")
		}
	}
	return list, nil
}

// options are those of a Sender that accepts what the flags or the endpoint say:
// which schemes and schedules there are, and its lease, is known to the application
// only.
func (e *endpointFlags) options(ep *store.Endpoint) *sender.Options {
	o := &sender.Options{Schedules: map[string]retry.Schedule{}, Lease: 2 * store.MaxTimeout} // which suits every timeout
	o.HTTP.Egress.Allow = e.allow
	schemes, schedule := e.schemes, e.schedule
	if ep != nil {
		if len(schemes) == 0 {
			schemes = schemesNamed(ep.Schemes)
		}
		if schedule == "" {
			schedule = ep.Schedule
		}
	}
	o.Schemes = schemes
	if schedule != "" {
		o.Schedules[schedule] = retry.Default // only its name is looked at
	}
	return o
}

func schemeNames(schemes []signing.Scheme) []string {
	var names []string
	for _, s := range schemes {
		names = append(names, s.Name())
	}
	return names
}

func listEndpoints(c *call) func(context.Context) error {
	src := c.storeFlags()
	var all bool
	limit := 100
	var after string
	boolFlag(c.flags, &all, "deleted", "list deleted ones too")
	valueFlag(c.flags, &limit, "limit", "at most `N`, up to 1000 (100)", count(1, 1000))
	textFlag(c.flags, &after, "after", "go on behind this `ENDPOINT`, the last of the page before")
	return func(ctx context.Context) error {
		return src.use(ctx, c, nil, func(t *sender.Tenant) error {
			q := store.EndpointQuery{Limit: limit + 1}
			if limit == 1000 {
				q.Limit = limit
			}
			if all {
				q.States = []store.EndpointState{store.Enabled, store.Disabled, store.Deleted}
			}
			if after != "" {
				ep, err := t.Endpoint(ctx, after)
				if err != nil {
					return src.missing(err, "endpoint", after)
				}
				q.After = ep.Num
			}
			eps, err := t.Endpoints(ctx, q)
			if err != nil {
				return err
			}
			next := ""
			if len(eps) > limit || len(eps) == 1000 {
				eps = eps[:limit]
				next = eps[limit-1].ID
			}
			return c.printEndpoints(eps, next, src)
		})
	}
}

func showEndpoint(c *call) func(context.Context) error {
	src := c.storeFlags()
	return func(ctx context.Context) error {
		return src.use(ctx, c, nil, func(t *sender.Tenant) error {
			ep, err := t.Endpoint(ctx, c.args[0])
			if err != nil {
				return src.missing(err, "endpoint", c.args[0])
			}
			return c.printEndpoint(&ep)
		})
	}
}

func createEndpoint(c *call) func(context.Context) error {
	src := c.storeFlags()
	e := c.endpointFlags()
	keys := c.keyFlags()
	secret := c.secretFlags()
	c.flags.Lookup("secret-env").Usage = "keep an existing secret, from this `VARIABLE`: one a line, newest first"
	c.flags.Lookup("secret-file").Usage = "keep an existing secret, from this `FILE`; - is the standard input"
	var disabled, noTest bool
	boolFlag(c.flags, &disabled, "disabled", "create it disabled")
	boolFlag(c.flags, &noTest, "no-test-event", "queue no webhook.test event")
	return func(ctx context.Context) error {
		spec := sender.EndpointSpec{
			URL: c.args[0], EventTypes: e.events, Description: e.description, Schedule: e.schedule, Schemes: schemeNames(e.schemes),
			Disabled: disabled, NoTestEvent: noTest,
		}
		if len(e.events) == 0 {
			return badInput("--events is missing; name event types such as payment.succeeded,payment.*, or '*' for all")
		}
		if secret.given() {
			secrets, err := c.secrets(ctx, secret)
			if err != nil {
				return err
			}
			spec.Secret, spec.MoreSecrets = secrets[0], secrets[1:]
		}
		o := e.options(nil)
		if err := c.keyring(ctx, keys, o); err != nil {
			return err
		}
		return src.use(ctx, c, o, func(t *sender.Tenant) error {
			ep, made, err := t.CreateEndpoint(asActor(ctx, e.actor), spec)
			if errors.Is(err, store.ErrDuplicateURL) {
				return refused("another endpoint in %s has this URL", src.whose())
			}
			if err != nil {
				return err
			}
			if secret.given() {
				made = signing.Secret{} // the user has it
			}
			err = c.printCreated(&ep, made)
			if c.out.err != nil && !made.IsZero() {
				return trouble("%s is registered, but its secret could not be printed (%v); hookpost endpoints delete %s, and create it again", ep.ID, c.out.err, ep.ID)
			}
			return err
		})
	}
}

func editEndpoint(c *call) func(context.Context) error {
	src := c.storeFlags()
	e := c.endpointFlags()
	var url string
	textFlag(c.flags, &url, "url", "the new `URL`")
	return func(ctx context.Context) error {
		edit := sender.EndpointEdit{EventTypes: e.events, Schemes: schemeNames(e.schemes)}
		if url != "" {
			edit.URL = &url
		}
		if c.given("description") {
			edit.Description = &e.description
		}
		if c.given("schedule") {
			edit.Schedule = &e.schedule
		}
		if edit.URL == nil && edit.EventTypes == nil && edit.Schemes == nil && edit.Description == nil && edit.Schedule == nil {
			return badInput("nothing to change; give --url, --events, --description, --schedule or --scheme")
		}
		var before store.Endpoint
		err := src.use(ctx, c, nil, func(t *sender.Tenant) (err error) {
			before, err = t.Endpoint(ctx, c.args[0])
			return src.missing(err, "endpoint", c.args[0])
		})
		if err != nil {
			return err
		}
		o := e.options(&before)
		return src.use(ctx, c, o, func(t *sender.Tenant) error {
			ep, err := t.EditEndpoint(asActor(ctx, e.actor), c.args[0], edit)
			if errors.Is(err, store.ErrDuplicateURL) {
				return refused("another endpoint in %s has this URL", src.whose())
			}
			if err != nil {
				return src.missing(err, "endpoint", c.args[0])
			}
			return c.printEndpoint(&ep)
		})
	}
}

// changing is what enable, disable, delete and test have in common.
func changing(c *call, change func(context.Context, *sender.Tenant, string) error) func(context.Context) error {
	src := c.storeFlags()
	var who string
	actorFlag(c, &who)
	return func(ctx context.Context) error {
		return src.use(ctx, c, nil, func(t *sender.Tenant) error {
			return src.missing(change(asActor(ctx, who), t, c.args[0]), "endpoint", c.args[0])
		})
	}
}

func disableEndpoint(c *call) func(context.Context) error {
	var reason string
	anyTextFlag(c.flags, &reason, "reason", "a `TEXT` for the log: why")
	return changing(c, func(ctx context.Context, t *sender.Tenant, id string) error {
		ep, err := t.DisableEndpoint(ctx, id, reason)
		return c.changed(&ep, err, "is disabled; pending deliveries wait, and their time runs on")
	})
}

func enableEndpoint(c *call) func(context.Context) error {
	return changing(c, func(ctx context.Context, t *sender.Tenant, id string) error {
		ep, err := t.EnableEndpoint(ctx, id)
		return c.changed(&ep, err, "is enabled; hookpost recover --missed sends what it missed meanwhile")
	})
}

func deleteEndpoint(c *call) func(context.Context) error {
	return changing(c, func(ctx context.Context, t *sender.Tenant, id string) error {
		stats, err := t.EndpointStats(ctx, id, maxPending)
		if err == nil || errors.Is(err, store.ErrNotFound) { // deleted already, or never there
			err = t.DeleteEndpoint(ctx, id)
		}
		if err != nil {
			return err
		}
		ep, err := t.Endpoint(ctx, id)
		return c.changed(&ep, err, "is deleted"+cancelled(stats.Due.Plus(stats.Scheduled).Plus(stats.InFlight)))
	})
}

// maxPending is as far as pending deliveries are counted.
const maxPending = 1000

// cancelled says how many pending deliveries end with an endpoint.
func cancelled(pending store.Count) string {
	switch {
	case pending.N == 0:
		return ""
	case pending.More:
		return fmt.Sprintf("; at least %d pending deliveries are cancelled", pending.N)
	case pending.N == 1:
		return "; 1 pending delivery is cancelled"
	}
	return fmt.Sprintf("; %d pending deliveries are cancelled", pending.N)
}

// changed says what has become of an endpoint.
func (c *call) changed(ep *store.Endpoint, err error, news string) error {
	switch {
	case errors.Is(err, store.ErrDeleted):
		return refused("the endpoint is deleted")
	case err != nil:
		return err
	case c.json:
		return c.out.json(newEndpoint(ep))
	}
	fmt.Fprintf(c.out, "%s %s.\n", ep.ID, news)
	return nil
}

func testEndpoint(c *call) func(context.Context) error {
	return changing(c, func(ctx context.Context, t *sender.Tenant, id string) error {
		r, err := t.SendTest(ctx, id)
		switch {
		case errors.Is(err, store.ErrDisabled):
			return refused("the endpoint is disabled; hookpost endpoints enable %s", id)
		case errors.Is(err, store.ErrDeleted):
			return refused("the endpoint is deleted")
		case err != nil:
			return err
		case c.json:
			return c.out.json(receiptJSON{r.ID, r.Duplicate, r.Deliveries})
		}
		fmt.Fprintf(c.out, "%s is queued; the application sends it. What became of it: hookpost explain %s %s\n", r.ID, r.ID, id)
		return nil
	})
}

func endpointHistory(c *call) func(context.Context) error {
	src := c.storeFlags()
	return func(ctx context.Context) error {
		return src.use(ctx, c, nil, func(t *sender.Tenant) error {
			changes, err := t.EndpointHistory(ctx, c.args[0])
			if err != nil {
				return src.missing(err, "endpoint", c.args[0])
			}
			return c.printHistory(changes)
		})
	}
}
