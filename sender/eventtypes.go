package sender

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// EventType is an entry of the catalogue of what an application sends. See
// Options.EventTypes.
type EventType struct {
	// Name is the type, such as "payment.succeeded". Required.
	Name string
	// Resource is the group that people find it in, such as "Payments". Default: the
	// part of Name before the first full stop.
	Resource string
	// Description says in a sentence when it is sent.
	Description string
	// Recommended puts it in front: one that most integrations want first.
	Recommended bool
	// Example is what the data of such an event may look like, as Event.Data. It
	// documents the type, and SendExample sends it. Default: null.
	Example any
}

// catalogue is Options.EventTypes with its defaults filled in.
type catalogue struct {
	types  []EventType
	byName map[string]int
}

// newCatalogue checks the types. Their examples must be acceptable as data.
func newCatalogue(types []EventType, maxEnvelope int) (catalogue, error) {
	c := catalogue{types: slices.Clone(types), byName: make(map[string]int, len(types))}
	for i := range c.types {
		t := &c.types[i]
		e := Event{ID: "evt_example", Type: t.Name, Data: t.Example}
		if _, err := e.prepare(exampleTime, randomEventID, maxEnvelope, false); err != nil {
			return catalogue{}, fmt.Errorf("%w: EventTypes: element %d: %w", ErrInvalidOptions, i, err)
		}
		if _, twice := c.byName[t.Name]; twice {
			return catalogue{}, fmt.Errorf("%w: EventTypes names %q twice", ErrInvalidOptions, t.Name)
		}
		c.byName[t.Name] = i
		if t.Resource == "" {
			t.Resource, _, _ = strings.Cut(t.Name, ".")
		}
	}
	return c, nil
}

// knows reports whether events of that type can be sent.
func (c *catalogue) knows(eventType string) bool {
	_, found := c.byName[eventType]
	return found || len(c.types) == 0
}

// check refuses exact types that the catalogue lacks, those kept from before aside.
func (c *catalogue) check(selection, kept []string) error {
	for _, p := range selection {
		if p == "*" || strings.HasSuffix(p, ".*") || c.knows(p) || slices.Contains(kept, p) {
			continue
		}
		return fmt.Errorf("%w: %.140q is not among the types that are sent", ErrInvalidSelection, p)
	}
	return nil
}

// EventTypes returns Options.EventTypes, in their order, each with its Resource.
func (s *Sender) EventTypes() []EventType { return slices.Clone(s.cfg.catalogue.types) }

// SendExample sends one enabled endpoint an event of a type in Options.EventTypes
// with its Example as data, whatever the endpoint selects. The event is like any
// other: signed, retried and logged, so that the receiver's handling of it can be
// tried. Its one reference is "webhook.example", by which the log finds it.
//
// Errors: store.ErrNotFound, store.ErrDisabled, store.ErrDeleted, and
// ErrInvalidEvent for a type that is not in the catalogue.
func (t *Tenant) SendExample(ctx context.Context, endpointID, eventType string) (Receipt, error) {
	if t.err != nil {
		return Receipt{}, t.err
	}
	c := &t.sender.cfg.catalogue
	i, found := c.byName[eventType]
	if !found {
		return Receipt{}, badEvent("Type", "%.140q is not in Options.EventTypes", eventType)
	}
	ep, err := t.sender.st.Endpoint(ctx, t.scope, endpointID)
	if err != nil {
		return Receipt{}, err
	}
	if ep.State != store.Enabled {
		return Receipt{}, fmt.Errorf("%w: %s", stateError(ep.State), endpointID)
	}
	m, err := t.prepare(ctx, &Event{Type: eventType, Data: c.types[i].Example, Refs: []string{exampleRef}})
	if err != nil {
		return m.receipt(), err
	}
	m.example = true
	m.event.For = []store.NewDelivery{{Endpoint: ep.Num}}
	return t.send(ctx, m)
}

// exampleRef marks examples in the log: they are for nobody else.
const exampleRef = "webhook.example"

// exampleTime is the time of the examples that are only checked.
var exampleTime = time.Unix(0, 0).UTC()
