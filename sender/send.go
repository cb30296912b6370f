package sender

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

// maxStale bounds how often an event is matched anew because endpoints were
// changed just then.
const maxStale = 100

// Receipt says what became of an event that was sent.
type Receipt struct {
	// ID is the event's id. It is set whenever the event itself was acceptable,
	// on a context error too, so that sending again with it is safe.
	ID string
	// Duplicate says that the same event was stored before; nothing new happens.
	Duplicate bool
	// Deliveries is how many endpoints the event is for; 0 for a duplicate.
	Deliveries int
}

// Send stores an event and a delivery of it for every enabled endpoint that
// selects its type, in one commit, and returns after that commit. Concurrent
// Sends share commits. Deliveries start at once, or after the event's Delay, if this
// Sender is started, else with the next process that is.
//
// An event id is unique per tenant and mode. Sent again with the same type and
// data, the receipt says Duplicate; with other content the error is a
// store.ErrConflict.
//
// If ctx ends while the event waits for its commit, the error is the context's and the
// event is not stored. If ctx ends while the commit is under way, the error is an
// ErrOutcomeUnknown that also wraps the context's. Whatever ctx says, Send gives up after
// about 30 s: with a store.ErrBusy if no commit of the event has begun, the store did not tell
// the endpoints, or no connection of its pool became free, all with nothing stored; else
// with an ErrOutcomeUnknown. Inside the application's transaction, which may hold the only
// connection, use SendTx. If Options.MaxQueued events wait already, the error is
// ErrQueueFull at once.
func (t *Tenant) Send(ctx context.Context, e Event) (Receipt, error) {
	start := SendStart{Scope: t.scope, Events: 1, EventType: e.Type}
	ctx, began := t.sender.observe.sendStarted(ctx, start)
	m, err := t.prepare(ctx, &e)
	receipt := m.receipt()
	if err == nil {
		receipt, err = t.send(ctx, m)
	}
	t.sender.observe.sendDone(ctx, began, start, err, receipt)
	return receipt, err
}

// send stores one prepared event.
func (t *Tenant) send(ctx context.Context, m *member) (Receipt, error) {
	s := t.sender
	receipt := m.receipt()
	m.until = time.Now().Add(commitTimeout)
	for range maxStale {
		if err := s.decide(ctx, m); err != nil {
			return receipt, m.failed(err)
		}
		if s.enqueue.join(m) == 0 {
			m.err = m.failed(ErrQueueFull)
			m.done <- struct{}{}
		}
		if done, err := s.outcome(ctx, m, &receipt); done {
			return receipt, err
		}
	}
	return receipt, m.failed(errStale)
}

// errStale is what an event ends with that found other endpoints each time.
var errStale = fmt.Errorf("%w: endpoints changed each time the event was matched", store.ErrChanged)

// outcome waits for the end of a member and does what follows from it. It reports false
// if the event has to be matched anew.
func (s *Sender) outcome(ctx context.Context, m *member, receipt *Receipt) (bool, error) {
	var open bool
	if err := ctx.Err(); err != nil {
		open = s.enqueue.leave(m, err)
	} else {
		select {
		case <-m.done:
			open = m.left
		case <-ctx.Done():
			open = s.enqueue.leave(m, ctx.Err())
		}
	}
	if open {
		return true, fmt.Errorf("%w: %w", ErrOutcomeUnknown, cmp.Or(ctx.Err(), context.DeadlineExceeded))
	}
	return s.stored(m, receipt)
}

// SendBatch sends events, each of which succeeds or fails alone: the receipts are
// in the order of the events, and the error, if any is, is a *BatchError with one
// element per event, which is one of Send's. Events join the queue in portions of 1,024
// or 16 MiB, for each of which the 30 s of Send begin anew.
func (t *Tenant) SendBatch(ctx context.Context, events []Event) ([]Receipt, error) {
	start := SendStart{Scope: t.scope, Events: len(events), EventType: commonType(events)}
	ctx, began := t.sender.observe.sendStarted(ctx, start)
	receipts, err := t.sendBatch(ctx, events)
	t.sender.observe.sendDone(ctx, began, start, err, receipts...)
	return receipts, err
}

// commonType returns the type that all events have, or nothing.
func commonType(events []Event) string {
	for i := range events {
		if events[i].Type != events[0].Type {
			return ""
		}
	}
	if len(events) == 0 {
		return ""
	}
	return events[0].Type
}

func (t *Tenant) sendBatch(ctx context.Context, events []Event) ([]Receipt, error) {
	s := t.sender
	receipts := make([]Receipt, len(events))
	errs := make([]error, len(events))
	members := make([]*member, len(events))
	var open []int
	for i := range events {
		members[i], errs[i] = t.prepare(ctx, &events[i])
		receipts[i] = members[i].receipt()
		if errs[i] == nil {
			open = append(open, i)
		}
	}
	for try := 0; len(open) > 0 && try < maxStale; try++ {
		var again []int
		for len(open) > 0 {
			part := open[:s.enqueue.portion(members, open)]
			open = open[len(part):]
			again = append(again, s.sendPart(ctx, part, members, receipts, errs)...)
		}
		open = again
	}
	for _, i := range open {
		errs[i] = members[i].failed(errStale)
	}
	if slices.ContainsFunc(errs, func(err error) bool { return err != nil }) {
		return receipts, &BatchError{Errs: errs}
	}
	return receipts, nil
}

// sendPart stores the events of a batch that part lists, all of which can wait at once. It
// returns those that have to be matched anew.
func (s *Sender) sendPart(ctx context.Context, part []int, members []*member, receipts []Receipt, errs []error) (again []int) {
	until := time.Now().Add(commitTimeout)
	ready := make([]*member, 0, len(part))
	part = slices.DeleteFunc(slices.Clone(part), func(i int) bool {
		m := members[i]
		if m.until.IsZero() {
			m.until = until
		}
		if errs[i] = m.failed(s.decide(ctx, m)); errs[i] == nil {
			ready = append(ready, m)
		}
		return errs[i] != nil
	})
	for _, m := range ready[s.enqueue.join(ready...):] {
		m.err = m.failed(ErrQueueFull)
		m.done <- struct{}{}
	}
	for _, i := range part {
		var done bool
		if done, errs[i] = s.outcome(ctx, members[i], &receipts[i]); !done {
			again = append(again, i)
		}
	}
	return again
}

// SendTx stores an event in the application's own transaction: it is sent if and
// only if that commits. tx comes from the store's Tx or SQLTx method. After the
// commit, Wake starts the deliveries at once; without it they start at the next
// poll.
//
// An error about the event (ErrInvalidEvent, store.ErrConflict) leaves the
// transaction as it was. After any other error roll back.
func (t *Tenant) SendTx(ctx context.Context, tx store.Tx, e Event) (Receipt, error) {
	start := SendStart{Scope: t.scope, Events: 1, EventType: e.Type, InTx: true}
	ctx, began := t.sender.observe.sendStarted(ctx, start)
	receipt, err := t.sendTx(ctx, tx, e)
	t.sender.observe.sendDone(ctx, began, start, err, receipt)
	return receipt, err
}

func (t *Tenant) sendTx(ctx context.Context, tx store.Tx, e Event) (Receipt, error) {
	s := t.sender
	if tx == nil || tx.Store() != s.st.Store {
		return Receipt{}, ErrForeignTx
	}
	if t.err != nil {
		return Receipt{}, t.err
	}
	// The clock is read through the transaction as well. Asking the store would take
	// a second connection, for which transactions can wait that hold all of a pool.
	before := time.Now()
	read, failed := tx.EndpointSet(ctx, t.scope)
	s.clock.learn(read.Now, before, time.Now())
	m, err := t.member(ctx, &e)
	receipt := m.receipt()
	if err = cmp.Or(err, failed); err != nil {
		return receipt, err
	}
	s.match(m, s.cache.compile(t.scope, read), false)
	results, err := tx.Enqueue(ctx, []store.NewEvent{m.event})
	if err != nil {
		return receipt, err
	}
	m.result = results[0]
	if done, err := s.stored(m, &receipt); err != nil || done {
		return receipt, err
	}
	return receipt, fmt.Errorf("%w: the store called an endpoint set stale that it has just returned", store.ErrChanged)
}

// prepare checks an event and builds its request body. The member is nil if the
// event is not acceptable; with another error its id is set all the same.
func (t *Tenant) prepare(ctx context.Context, e *Event) (*member, error) {
	if t.err != nil {
		return nil, t.err
	}
	asked := t.sender.clock.ask(ctx, t.sender.st)
	m, err := t.member(ctx, e)
	return m, cmp.Or(err, asked, ctx.Err())
}

// member is prepare for when the store's time is known.
func (t *Tenant) member(ctx context.Context, e *Event) (*member, error) {
	s := t.sender
	if err := checkDelay(e.Delay); err != nil {
		return nil, err
	}
	ev, err := e.prepare(s.clock.at(time.Now()), randomEventID, s.cfg.MaxEnvelope, false)
	if err == nil && !s.cfg.catalogue.knows(e.Type) {
		err = badEvent("Type", "%q is not in Options.EventTypes", e.Type)
	}
	if err != nil {
		return nil, err
	}
	ev.Scope = t.scope
	ev.Trace = s.observe.traceOf(ctx)
	m := newMember(ev)
	m.event.Delay = e.Delay
	m.ownID = e.ID == ""
	return m, nil
}

// receipt is what is known before the event is stored.
func (m *member) receipt() Receipt {
	if m == nil {
		return Receipt{}
	}
	return Receipt{ID: m.event.ID}
}

func randomEventID() (string, error) { return newEventID(nil) }

// decide matches an event on the endpoints known here and takes slots for the
// deliveries that can start at once.
func (s *Sender) decide(ctx context.Context, m *member) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	set, err := s.cache.set(ctx, m.event.Scope, m.until)
	if err != nil {
		return err
	}
	if m.aimed() && !slices.ContainsFunc(set.members, func(e setMember) bool { return e.endpoint.Num == m.event.For[0].Endpoint }) {
		return fmt.Errorf("%w: or deleted, just now", store.ErrDisabled)
	}
	s.match(m, set, true)
	m.set = set
	return nil
}

// match lists the endpoints of a set that an event is for, unless it names its only
// endpoint already.
func (s *Sender) match(m *member, set *endpointSet, handOff bool) {
	m.event.SetVersion = set.version
	now := time.Now()
	if !m.aimed() {
		m.event.For = m.event.For[:0]
		for i := range set.members {
			if set.members[i].wants.matches(m.event.Type) {
				m.event.For = append(m.event.For, store.NewDelivery{Endpoint: set.members[i].endpoint.Num})
			}
		}
	}
	handOff = handOff && len(m.event.For) <= store.MaxFanOut && m.event.Delay == 0
	for i := range m.event.For {
		m.event.For[i].Lease = handOff && s.lanes.reserve(m.event.For[i].Endpoint, now)
	}
}

// stored does what follows from a store's answer: hands over what was stored
// leased, wakes the claims for the rest, gives unused slots back. It reports false
// if the event has to be matched anew.
func (s *Sender) stored(m *member, receipt *Receipt) (bool, error) {
	granted := m.err == nil && m.result.Leased && (m.result.Status == store.Stored || m.result.Status == store.Duplicate)
	// Fresh is also what this very Send stored when the first answer was lost.
	fresh := m.err == nil && (m.result.Status == store.Stored ||
		m.result.Status == store.Duplicate && m.repeated && (granted || m.ownID))
	wake := false
	for _, d := range m.event.For {
		switch {
		case d.Lease && granted:
			s.handOver(m, d.Endpoint)
		case d.Lease:
			s.lanes.unreserve(d.Endpoint, time.Now())
		case m.set != nil && fresh && len(m.event.For) <= store.MaxFanOut && m.event.Delay == 0:
			wake = s.lanes.stored(d.Endpoint, time.Now()) || wake
		}
	}
	if m.err != nil {
		return true, m.err
	}
	switch {
	case fresh:
		receipt.Deliveries = len(m.event.For)
		switch {
		case len(m.event.For) > store.MaxFanOut:
			s.upkeep.soon(&s.upkeep.fanOut)
		case wake:
			s.Wake()
		}
		if m.event.Delay > 0 {
			s.upkeep.retryIn(m.event.Delay)
		}
		return true, nil
	case m.result.Status == store.Duplicate:
		receipt.Duplicate = true
		return true, nil
	case m.result.Status == store.Conflict:
		return true, fmt.Errorf("%w: %s was sent with another type or other data", store.ErrConflict, m.event.ID)
	case m.result.Status == store.Stale:
		s.cache.forgetStale(m.event.Scope, m.event.SetVersion)
		return false, nil
	}
	return true, errors.New("sender: the store gave no status for an event")
}

// handOver starts a delivery that was stored leased to this Sender.
func (s *Sender) handOver(m *member, endpoint int64) {
	i, ok := slices.BinarySearchFunc(m.set.members, endpoint, func(a setMember, num int64) int {
		return cmp.Compare(a.endpoint.Num, num)
	})
	if !ok {
		s.lanes.unreserve(endpoint, time.Now())
		return
	}
	s.dispatch(&job{
		Claimed: store.Claimed{
			ID: store.DeliveryID{Event: m.result.Event, Endpoint: endpoint}, Token: 1, Scope: m.event.Scope,
			EventID: m.event.ID, EventType: m.event.Type, ContentType: m.event.ContentType, Body: m.event.Body, Trace: m.event.Trace,
			EndpointVersion: m.set.members[i].endpoint.Version, Attempt: 1,
		},
		endpoint:  s.cache.usable(m.set.members[i].endpoint),
		leasedAt:  m.begun,
		lease:     m.lease,
		handedOff: true,
	})
}
