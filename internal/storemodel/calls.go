package storemodel

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/hookpost/hookpost/store"
)

const (
	owner     = 7
	leaseTime = 9 * time.Minute
	many      = 1000
)

// next chooses a call.
func (m *model) next() *call {
	calls := []struct {
		weight int
		make   func() *call
	}{
		{4, m.createEndpoint},
		{8, m.updateEndpoint},
		{24, m.enqueue},
		{14, m.claim},
		{24, m.settle},
		{6, m.promote},
		{6, m.takeOver},
		{2, m.expire},
		{2, m.cancelDeleted},
		{1, m.disableFailing},
		{1, m.prune},
		{4, m.replay},
		{4, m.cancel},
		{2, m.recover},
		{3, m.backFill},
		{2, m.erase},
		{2, m.reseal},
		{6, m.transaction},
	}
	total := 0
	for _, c := range calls {
		total += c.weight
	}
	n := m.rand.IntN(total)
	for _, c := range calls {
		if n -= c.weight; n < 0 {
			return c.make()
		}
	}
	panic("storemodel: weights")
}

// plain is a call that needs to know nothing.
func plain(method, about string, do func(ctx context.Context, s *side) (string, error)) *call {
	return &call{method: method, about: about, prepare: func(_ context.Context, s *side) (func(context.Context) (string, error), error) {
		return func(ctx context.Context) (string, error) { return do(ctx, s) }, nil
	}}
}

// repeatable is a plain call that may be repeated as it is.
func repeatable(method, about string, do func(ctx context.Context, s *side) (string, error)) *call {
	c := plain(method, about, do)
	c.again = c
	return c
}

func count(n int, err error) (string, error) { return strconv.Itoa(n), err }

// sum adds counts.
func sum(a, b string) string {
	x, _ := strconv.Atoi(a)
	y, _ := strconv.Atoi(b)
	return strconv.Itoa(x + y)
}

func (m *model) number() int {
	m.made++
	return m.made
}

func (m *model) oneOf(list []string, none string) string {
	if len(list) == 0 {
		return none
	}
	return list[m.rand.IntN(len(list))]
}

func (m *model) likely(percent int) bool { return m.rand.IntN(100) < percent }

func (m *model) endpoint() string { return m.oneOf(m.eps, "ep_none") }

func (m *model) event() string { return m.oneOf(m.evs, "evt_none") }

func secret(n int) store.Sealed {
	return store.Sealed{Secrets: []store.SealedSecret{{
		SealedValue: store.SealedValue{ID: fmt.Sprintf("sec_%d", n), KeyID: "k1", Sealed: fmt.Appendf(nil, "secret%d", n)}, Fingerprint: "abcd",
	}}}
}

func (m *model) createEndpoint() *call {
	n := m.number()
	id := fmt.Sprintf("ep_%d", n)
	key := "https://example.com/" + id
	if m.likely(20) && len(m.eps) > 0 {
		key = "https://example.com/" + m.endpoint()
	}
	m.eps = append(m.eps, id)
	ep := store.Endpoint{
		Scope: scope, ID: id, URLKey: key, Sealed: secret(n),
		Config: store.Config{URL: key, EventTypes: []string{"*"}, State: store.Enabled},
	}
	p := store.ChangeParams{Action: store.Created, Actor: "ann", Op: fmt.Sprintf("op_%d", n)}
	return repeatable("CreateEndpoint", id+" at "+key, func(ctx context.Context, s *side) (string, error) {
		got, err := s.st.CreateEndpoint(ctx, ep, p)
		if err != nil {
			return "", err
		}
		s.endpoints.add(id, got.Num)
		return endpointText(&got), nil
	})
}

func (m *model) updateEndpoint() *call {
	id, n, stale := m.endpoint(), m.number(), m.likely(10)
	about, change, action := "edit", func(ep *store.Endpoint) { ep.Description = fmt.Sprint("edit ", n) }, store.Edited
	switch m.rand.IntN(10) {
	case 0, 1:
		about, change, action = "rotate", func(ep *store.Endpoint) { ep.Sealed = secret(n) }, store.SecretRotated
	case 2, 3:
		about, change, action = "disable", func(ep *store.Endpoint) { ep.State, ep.Reason = store.Disabled, "why" }, store.WasDisabled
	case 4, 5, 6:
		about, change, action = "enable", func(ep *store.Endpoint) { ep.State, ep.Reason = store.Enabled, "" }, store.WasEnabled
	case 7:
		if m.likely(50) {
			about, change, action = "delete", func(ep *store.Endpoint) { ep.State = store.Deleted }, store.WasDeleted
		}
	}
	c := &call{
		method: "UpdateEndpoint", about: fmt.Sprint(about, " ", id, " stale ", stale),
		prepare: func(ctx context.Context, s *side) (func(context.Context) (string, error), error) {
			ep, err := s.st.Endpoint(ctx, scope, id)
			if err != nil && answer(err) == nil {
				return nil, err
			}
			ep.Scope, ep.ID = scope, id
			change(&ep)
			if err != nil {
				ep.State = store.Enabled
			}
			if stale {
				ep.Version--
			}
			return func(ctx context.Context) (string, error) {
				got, err := s.st.UpdateEndpoint(ctx, ep, store.ChangeParams{Action: action, Actor: "bob", Op: fmt.Sprintf("op_%d", n)})
				return endpointText(&got), err
			}, nil
		},
	}
	c.again = c
	return c
}

// draft is an event to be stored.
type draft struct {
	id, body string
	refs     []string
	for_     int64 // which endpoints of the set, in bits
	lease    bool
	delay    time.Duration
	stale    bool
}

func (m *model) draft() draft {
	d := draft{id: fmt.Sprintf("evt_%d", m.number()), for_: m.rand.Int64(), lease: m.likely(40)}
	if m.likely(15) {
		d.id = m.event()
	} else {
		m.evs = append(m.evs, d.id)
	}
	d.body = fmt.Sprintf(`{"of":%q}`, d.id)
	switch {
	case m.likely(5):
		d.body = `{"other":"content"}`
	case m.likely(5):
		d.stale = true
	}
	if m.likely(20) {
		d.delay = 5 * time.Minute
	}
	if m.likely(30) {
		d.refs = []string{fmt.Sprintf("user_%d", m.rand.IntN(4))}
	}
	return d
}

// drafts are some, each id once.
func (m *model) drafts() (list []draft, about string) {
	for range 1 + m.rand.IntN(4) {
		d := m.draft()
		if !slices.ContainsFunc(list, func(o draft) bool { return o.id == d.id }) {
			list = append(list, d)
			about += fmt.Sprintf(" %s(lease %v, delay %v, stale %v)", d.id, d.lease, d.delay, d.stale)
		}
	}
	return list, about
}

func (d *draft) event(set *store.EndpointSet) store.NewEvent {
	ev := store.NewEvent{Event: store.Event{
		Scope: scope, ID: d.id, Type: "a.b", CreatedAt: begun, ContentType: "application/json", Body: []byte(d.body),
		Hash: sha256.Sum256([]byte(d.body)), Refs: d.refs, SetVersion: set.Version,
	}, Delay: d.delay}
	if d.stale {
		ev.SetVersion--
	}
	for i := range set.Endpoints {
		if d.for_>>(i%60)&1 == 1 {
			ev.For = append(ev.For, store.NewDelivery{Endpoint: set.Endpoints[i].Num, Lease: d.lease})
		}
	}
	return ev
}

// enqueued notes what became of events, and which leases are held.
func (s *side) enqueued(evs []store.NewEvent, results []store.Enqueued) string {
	var b strings.Builder
	for i, r := range results {
		fmt.Fprintf(&b, "%s %d leased %v; ", evs[i].ID, r.Status, r.Leased)
		if r.Event == 0 {
			continue
		}
		s.events.add(evs[i].ID, r.Event)
		for _, d := range evs[i].For {
			if r.Leased && d.Lease {
				s.tokens[lease{delivery{evs[i].ID, s.endpoints.id[d.Endpoint], 0}, 1}] = 1
			}
		}
	}
	return b.String()
}

func (m *model) enqueue() *call {
	list, about := m.drafts()
	enqueue := func(repeat bool) *call {
		return &call{method: "Enqueue", about: about, prepare: func(ctx context.Context, s *side) (func(context.Context) (string, error), error) {
			set, err := s.st.EndpointSet(ctx, scope)
			if err != nil {
				return nil, err
			}
			p := store.EnqueueParams{Owner: owner, Lease: leaseTime, Repeat: repeat}
			for i := range list {
				p.Events = append(p.Events, list[i].event(&set))
			}
			return func(ctx context.Context) (string, error) {
				results, err := s.st.Enqueue(ctx, p)
				return s.enqueued(p.Events, results), err
			}, nil
		}}
	}
	c := enqueue(false)
	c.again = enqueue(true)
	return c
}

func (m *model) transaction() *call {
	list, about := m.drafts()
	commit := m.likely(60)
	erase := ""
	if m.likely(15) {
		erase = m.event()
	}
	c := plain("Tx", fmt.Sprint(about, " erase ", erase, " commit ", commit), func(ctx context.Context, s *side) (string, error) {
		if m.subject.Begin == nil {
			return "", nil
		}
		tx, err := s.begin()
		if err != nil {
			return "", err
		}
		result, err := s.inTx(ctx, tx, list, erase)
		if err != nil && answer(err) == nil || !commit {
			if e := tx.Rollback(); e != nil {
				return "", e
			}
			return "", err
		}
		if e := tx.Commit(); e != nil {
			return "", e
		}
		return result, err
	})
	c.whole = true
	return c
}

func (s *side) inTx(ctx context.Context, tx Tx, list []draft, erase string) (string, error) {
	set, err := tx.EndpointSet(ctx, scope)
	if err != nil {
		return "", err
	}
	var evs []store.NewEvent
	for i := range list {
		evs = append(evs, list[i].event(&set))
		evs[i].SetVersion = set.Version
	}
	results, err := tx.Enqueue(ctx, evs)
	if err != nil {
		return "", err
	}
	text := ""
	for i, r := range results {
		text += fmt.Sprintf("%s %d; ", evs[i].ID, r.Status)
	}
	if erase == "" {
		return text, nil
	}
	erased, err := tx.Erase(ctx, scope, store.EraseParams{EventID: erase})
	return fmt.Sprintf("%s erased %d, cancelled %d", text, erased.Events, erased.Cancelled), err
}

func (m *model) claim() *call {
	closed := m.rand.Int64() & m.rand.Int64() // a quarter of the endpoints
	return plain("Claim", "", func(ctx context.Context, s *side) (string, error) {
		p := store.ClaimParams{Owner: owner, Lease: leaseTime, Limit: many, DefaultRoom: many, Room: make(map[int64]int), Window: 72*time.Hour + time.Minute}
		for i, id := range m.eps {
			if num, known := s.endpoints.num[id]; known && closed>>(i%60)&1 == 1 {
				p.Room[num] = 0
			}
		}
		got, err := s.st.Claim(ctx, p)
		if err != nil {
			return "", err
		}
		var lines []string
		for i := range got.Deliveries {
			c := &got.Deliveries[i]
			s.events.add(c.EventID, c.ID.Event)
			l := lease{s.delivery(c.ID), c.Attempt}
			s.tokens[l] = c.Token
			lines = append(lines, fmt.Sprintf("%v %s erased %v version %d failures %d unknown %d elapsed %s",
				l, c.Body, c.Erased, c.EndpointVersion, c.Failures, c.Unknown, span(c.Elapsed)))
		}
		slices.Sort(lines)
		return fmt.Sprintf("[%s]", strings.Join(lines, "; ")), nil
	})
}

// settle reports on some leases, standing or not.
func (m *model) settle() *call {
	held := sorted(m.tested, m.ideal)
	m.rand.Shuffle(len(held), func(i, k int) { held[i], held[k] = held[k], held[i] })
	var leases []lease
	var batch []store.Settlement
	about, size, forget := "", 1+m.rand.IntN(6), m.likely(80)
	for _, l := range held {
		if len(batch) == size {
			break
		}
		if slices.ContainsFunc(leases, func(o lease) bool { return o.delivery == l.delivery }) {
			continue
		}
		leases = append(leases, l)
		batch = append(batch, m.settlement(l))
		if batch[len(batch)-1].Attempt == nil {
			m.vague[l.delivery] = true // what the log keeps if the lease does not stand any more
		}
		about += fmt.Sprintf(" %v %d", l, batch[len(batch)-1].Verdict)
	}
	c := repeatable("Settle", about, func(ctx context.Context, s *side) (string, error) {
		own := slices.Clone(batch)
		for i := range own {
			own[i].ID, own[i].Token = s.id(leases[i].delivery), s.tokens[leases[i]]
		}
		results, err := s.st.Settle(ctx, own)
		if err != nil {
			return "", err
		}
		var b strings.Builder
		for i, r := range results {
			fmt.Fprintf(&b, "%v accepted %v %v disabled %v recovered %v since %s; ", leases[i], r.Accepted, r.State, r.Disabled, r.Recovered, at(r.FailingSince))
		}
		for i, l := range leases {
			if forget || batch[i].Attempt == nil { // else the attempt that was not made could be reported
				delete(s.tokens, l)
			}
		}
		return b.String(), nil
	})
	c.parts = true
	return c
}

func (m *model) settlement(l lease) store.Settlement {
	s := store.Settlement{Verdict: store.Deliver, Ago: 2 * time.Minute, Quiet: m.likely(10)}
	attempt := &store.Attempt{N: l.attempt, Took: time.Second, URL: "https://example.com", Status: 200}
	switch n := m.rand.IntN(10); {
	case n < 5:
	case n < 8:
		s.Verdict = store.Retry
		if m.likely(70) {
			s.Delay = 5 * time.Minute
		}
	case n < 9:
		s.Verdict, s.Reason = store.Exhaust, "given up"
	default:
		s.Verdict = store.Release
		return s
	}
	if s.Verdict != store.Deliver {
		attempt.Status, attempt.Class, attempt.Error = 500, "status", "500"
		attempt.ResponseBody = []byte("no")
		if m.likely(15) {
			s.Hold = 3 * time.Minute
		}
		if m.likely(10) {
			return s // decided without asking the receiver
		}
	}
	s.Attempt = attempt
	return s
}

func (m *model) promote() *call {
	c := repeatable("Promote", "", func(ctx context.Context, s *side) (string, error) {
		p, err := s.st.Promote(ctx, many)
		return count(p.Moved, err)
	})
	c.unseen = true
	return c
}

func (m *model) takeOver() *call {
	return repeatable("TakeOver", "", func(ctx context.Context, s *side) (string, error) { return count(s.st.TakeOver(ctx, many)) })
}

func (m *model) expire() *call {
	return repeatable("Expire", "", func(ctx context.Context, s *side) (string, error) {
		return count(s.st.Expire(ctx, 72*time.Hour+time.Minute, many))
	})
}

func (m *model) cancelDeleted() *call {
	c := repeatable("CancelDeleted", "", func(ctx context.Context, s *side) (string, error) { return count(s.st.CancelDeleted(ctx, many)) })
	c.unseen = true
	return c
}

func (m *model) disableFailing() *call {
	return plain("DisableFailing", "", func(ctx context.Context, s *side) (string, error) {
		list, err := s.st.DisableFailing(ctx, store.FailingRule{For: time.Hour + time.Minute, Reason: "failing"}, many)
		slices.SortFunc(list, func(a, b store.Endpoint) int { return cmp.Compare(a.ID, b.ID) })
		text := ""
		for i := range list {
			text += endpointText(&list[i]) + "; "
		}
		return text, err
	})
}

func (m *model) prune() *call {
	days := func() time.Duration { return time.Duration(m.rand.IntN(6))*24*time.Hour + time.Minute }
	r := store.Retention{Payloads: days(), Responses: days(), Log: days() + 5*24*time.Hour}
	return repeatable("Prune", fmt.Sprintf("%+v", r), func(ctx context.Context, s *side) (string, error) {
		return count(s.st.Prune(ctx, r, many))
	})
}

func (m *model) replay() *call {
	event, endpoint, round := m.event(), m.endpoint(), 0
	replay := func(repeat bool) *call {
		return &call{method: "Replay", about: event + " " + endpoint, prepare: func(ctx context.Context, s *side) (func(context.Context) (string, error), error) {
			if round == 0 { // the same for both sides, and again
				page, err := s.st.Deliveries(ctx, scope, store.DeliveryQuery{EventID: event, EndpointID: endpoint})
				if err != nil {
					return nil, err
				}
				for round = 1; slices.ContainsFunc(page, func(d store.Delivery) bool { return d.ID.Round >= round }); {
					round++
				}
			}
			return func(ctx context.Context) (string, error) {
				id, err := s.st.Replay(ctx, scope, event, endpoint, store.ReplayParams{Round: round, Repeat: repeat})
				return strconv.Itoa(id.Round), err
			}, nil
		}}
	}
	c := replay(false)
	c.again = replay(true)
	return c
}

func (m *model) cancel() *call {
	d := delivery{m.event(), m.endpoint(), m.rand.IntN(10) / 8}
	return plain("Cancel", d.String(), func(ctx context.Context, s *side) (string, error) {
		return "", s.st.Cancel(ctx, scope, s.id(d), "by hand")
	})
}

func (m *model) recover() *call {
	p := store.RecoverParams{Limit: many}
	if m.likely(70) {
		p.EndpointID = m.endpoint()
	}
	c := plain("Recover", p.EndpointID, func(ctx context.Context, s *side) (string, error) {
		r, err := s.st.Recover(ctx, scope, p)
		return fmt.Sprintf("replayed %d, hastened %d, done %v", r.Replayed, r.Hastened, r.Done), err
	})
	c.again = c
	return c
}

func (m *model) backFill() *call {
	endpoint, events := m.endpoint(), []string{m.event(), m.event(), m.event()}
	return repeatable("BackFill", fmt.Sprint(endpoint, events), func(ctx context.Context, s *side) (string, error) {
		var nums []int64
		for _, id := range events {
			if num, known := s.events.num[id]; known && !slices.Contains(nums, num) {
				nums = append(nums, num)
			}
		}
		return count(s.st.BackFill(ctx, scope, endpoint, nums))
	})
}

func (m *model) erase() *call {
	p := store.EraseParams{EventID: m.event(), Limit: many}
	if m.likely(40) {
		p.EventID, p.Ref = "", fmt.Sprintf("user_%d", m.rand.IntN(4))
	}
	return repeatable("Erase", p.EventID+p.Ref, func(ctx context.Context, s *side) (string, error) {
		r, err := s.st.Erase(ctx, scope, p)
		return fmt.Sprintf("erased %d, cancelled %d, done %v", r.Events, r.Cancelled, r.Done), err
	})
}

func (m *model) reseal() *call {
	id, n := m.endpoint(), m.number()
	c := &call{method: "Reseal", about: id, prepare: func(ctx context.Context, s *side) (func(context.Context) (string, error), error) {
		ep, err := s.st.Endpoint(ctx, scope, id)
		if err != nil && answer(err) == nil {
			return nil, err
		}
		r := store.Resealed{EndpointKey: store.EndpointKey{Scope: scope, Num: ep.Num}}
		for _, v := range ep.SealedValues() {
			r.Values = append(r.Values, store.SealedValue{ID: v.ID, KeyID: "k2", Sealed: fmt.Appendf(nil, "resealed%d", n)})
		}
		return func(ctx context.Context) (string, error) {
			return count(s.st.Reseal(ctx, []store.Resealed{r}))
		}, nil
	}}
	return c
}
