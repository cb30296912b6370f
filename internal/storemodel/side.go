package storemodel

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

// scope is where everything happens.
var scope = store.Scope{Tenant: "acme", Mode: store.Live}

// side is the store under test or the one that it is compared with, and what ids and
// leases are to it.
type side struct {
	st        store.Store
	begin     func() (Tx, error)
	events    names
	endpoints names
	tokens    map[lease]int64
}

// names are the numbers of a store with the ids that they stand for.
type names struct {
	num map[string]int64
	id  map[int64]string
}

func newNames() names { return names{make(map[string]int64), make(map[int64]string)} }

func (n *names) add(id string, num int64) { n.num[id], n.id[num] = num, id }

// delivery names one as both stores know it.
type delivery struct {
	event, endpoint string
	round           int
}

func (d delivery) String() string { return fmt.Sprintf("%s>%s/%d", d.event, d.endpoint, d.round) }

// lease is one under which an attempt is made.
type lease struct {
	delivery
	attempt int
}

func (l lease) String() string { return fmt.Sprintf("%v#%d", l.delivery, l.attempt) }

func newSide(st store.Store, begin func() (Tx, error)) *side {
	return &side{st: st, begin: begin, events: newNames(), endpoints: newNames(), tokens: make(map[lease]int64)}
}

func (s *side) id(d delivery) store.DeliveryID {
	return store.DeliveryID{Event: s.events.num[d.event], Endpoint: s.endpoints.num[d.endpoint], Round: d.round}
}

func (s *side) delivery(id store.DeliveryID) delivery {
	return delivery{s.events.id[id.Event], s.endpoints.id[id.Endpoint], id.Round}
}

// learn reads the numbers of what there is.
func (s *side) learn(ctx context.Context) ([]store.Endpoint, []store.Event, error) {
	eps, err := s.st.ListEndpoints(ctx, scope, store.EndpointQuery{States: []store.EndpointState{store.Enabled, store.Disabled, store.Deleted}, Limit: 1000})
	if err != nil {
		return nil, nil, err
	}
	for i := range eps {
		s.endpoints.add(eps[i].ID, eps[i].Num)
	}
	evs, err := s.st.Events(ctx, scope, store.EventQuery{Limit: 1000})
	if err != nil {
		return nil, nil, err
	}
	for i := range evs {
		s.events.add(evs[i].ID, evs[i].Num)
	}
	return eps, evs, nil
}

// begun is what the clocks show first.
var begun = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// at is a time as it is compared: to the minute.
func at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return span(t.Sub(begun))
}

func span(d time.Duration) string { return d.Round(time.Minute).String() }

// dump writes down all that the contract lets be seen. Of the deliveries in vague, it
// leaves open whether the log has attempts that nobody reported on.
func (s *side) dump(ctx context.Context, vague map[delivery]bool) ([]string, error) {
	eps, evs, err := s.learn(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	set, err := s.st.EndpointSet(ctx, scope)
	if err != nil {
		return nil, err
	}
	for i := range set.Endpoints {
		add("set %s version %d", set.Endpoints[i].ID, set.Endpoints[i].Version)
	}
	for i := range eps {
		ep := &eps[i]
		add("%s", endpointText(ep))
		history, err := s.st.EndpointHistory(ctx, scope, ep.ID)
		if err != nil {
			return nil, err
		}
		for _, c := range history {
			add("%s change %d: %s by %q at %s, %v to %v", ep.ID, c.Version, c.Action, c.Actor, at(c.At), c.Old, c.New)
		}
	}
	for i := range evs {
		ev, err := s.st.Event(ctx, scope, evs[i].ID)
		if err != nil {
			return nil, err
		}
		add("%s %s stored %s erased %s body %s refs %q", ev.ID, ev.Type, at(ev.StoredAt), at(ev.ErasedAt), ev.Body, ev.Refs)
	}
	ds, err := s.st.Deliveries(ctx, scope, store.DeliveryQuery{Limit: 1000})
	if err != nil {
		return nil, err
	}
	for i := range ds {
		d := &ds[i]
		name := s.delivery(d.ID)
		failures := d.Failures
		if d.State != store.Pending {
			failures = 0 // what the last one counts is not in the contract
		}
		due := d.DueAt
		if d.State != store.Pending || d.InFlight {
			due = time.Time{}
		}
		add("%v %v %q in flight %v attempts %d failures %d status %d created %s first %s due %s finished %s", name, d.State, d.Reason,
			d.InFlight, d.Attempts, failures, d.LastStatus, at(d.CreatedAt), at(d.FirstAt), at(due), at(d.FinishedAt))
		log, err := s.st.Attempts(ctx, scope, d.ID)
		if err != nil {
			return nil, err
		}
		for _, a := range log {
			if vague[name] && a.Outcome == store.AttemptUnknown {
				continue
			}
			add("%v attempt %d %v at %s status %d %s answer %s", name, a.N, a.Outcome, at(a.StartedAt), a.Status, a.Class, a.ResponseBody)
		}
	}
	backlogs, err := s.st.Backlogs(ctx, scope, store.BacklogQuery{Limit: 1000, Bound: 1000})
	if err != nil {
		return nil, err
	}
	for _, b := range backlogs {
		add("backlog of %s: %v due, %v scheduled, %v in flight, %v exhausted", b.EndpointID, b.Due, b.Scheduled, b.InFlight, b.Exhausted)
	}
	slices.Sort(out)
	return out, nil
}

func endpointText(ep *store.Endpoint) string {
	var sealed []string
	for _, v := range ep.SealedValues() {
		sealed = append(sealed, v.ID+"="+v.KeyID+":"+string(v.Sealed))
	}
	return fmt.Sprintf("%s %v version %d url %s %q failing since %s last failure %s failures %d last success %s hold %s enabled %s sealed %s",
		ep.ID, ep.State, ep.Version, ep.URLKey, ep.Description, at(ep.FailingSince), at(ep.LastFailure), ep.Failures,
		at(ep.LastSuccess), at(ep.HoldUntil), at(ep.EnabledAt), strings.Join(sealed, " "))
}

// differences says in what two dumps differ.
func differences(got, want []string) string {
	var b strings.Builder
	for _, line := range got {
		if !slices.Contains(want, line) {
			fmt.Fprintf(&b, "has      %s\n", line)
		}
	}
	for _, line := range want {
		if !slices.Contains(got, line) {
			fmt.Fprintf(&b, "lacks    %s\n", line)
		}
	}
	return b.String()
}

// sorted returns the leases whose tokens both sides know.
func sorted(a, b *side) []lease {
	var both []lease
	for l := range maps.Keys(a.tokens) {
		if _, known := b.tokens[l]; known {
			both = append(both, l)
		}
	}
	slices.SortFunc(both, func(x, y lease) int { return strings.Compare(x.String(), y.String()) })
	return both
}
