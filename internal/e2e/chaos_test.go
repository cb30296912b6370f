//go:build unix

package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/e2e/setup"
	"github.com/hookpost/hookpost/internal/pgproxy"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// Everything at once, in an order that a seed decides: three workers send and deliver,
// an application sends in transactions of which it rolls some back, endpoints come, go
// and change, and meanwhile workers are killed and stopped and, on PostgreSQL, their
// connections cut, frozen and slowed down, and the server crashes. Whatever was
// acknowledged or committed arrives, whatever was rolled back does not, and the log has
// every request.
func TestChaos(t *testing.T) {
	onEachStore(t, func(t *testing.T, kind string) {
		tr := newTrial(t, kind, func(c *setup.Config) { c.Patient, c.MaxInFlight = true, 24 })
		c := &chaos{trial: tr, rand: chance(t), churn: make(map[string]string)}
		if kind == "postgres" {
			tr.proxied = true
			c.door = tr.proxy(t)
			tr.config.DSN = c.door.DSN(tr.database) // the application's
		}
		c.app = tr.newApplication(t, 4)
		events := amount(2000, 40_000)
		tr.run(t, 3, events)
		var steps []action
		for range size(1, 8) {
			steps = append(steps, c.deck()...)
		}
		for k, s := range steps {
			tr.rcv.wait(tr.ctx, t, events*k/len(steps))
			victim := c.rand.IntN(len(tr.procs))
			t.Logf("%d: %s, worker %d", k, s.name, victim)
			s.do(t, tr.procs[victim])
		}
		c.end(t)
		tr.finish(t)
		tr.verdict(t, tr.faults*tr.config.MaxInFlight)
	})
}

// chaos is a trial with more that changes than workers.
type chaos struct {
	*trial
	rand *rand.Rand
	app  *application
	door *pgproxy.Proxy // the application's to PostgreSQL

	churn   map[string]string // types of events by the ids of the endpoints for them
	made    int               // of these
	running sync.WaitGroup    // the application's transactions
	ordered []string          // ids of events in transactions
}

// action is something that happens to a worker or to what all of them use.
type action struct {
	name string
	do   func(t *testing.T, p *process)
}

// deck returns all actions in an order of chance, the more telling ones several times.
func (c *chaos) deck() []action {
	var deck []action
	add := func(n int, name string, do func(t *testing.T, p *process)) {
		deck = append(deck, slices.Repeat([]action{{name, do}}, n)...)
	}
	add(3, "kill", c.kill)
	add(1, "standstill", c.standstill)
	add(3, "transactions", c.transactions)
	add(1, "open transaction", c.openTransaction)
	add(2, "edit", c.edit)
	add(2, "new endpoint", c.newEndpoint)
	add(1, "pause of an endpoint", c.pauseEndpoint)
	add(1, "end of an endpoint", c.deleteEndpoint)
	if c.door != nil {
		add(1, "cut of all connections", c.cutAll)
		add(3, "cut somewhere", c.cutSomewhere)
		add(3, "lost answer", c.loseAnswer)
		add(2, "frozen machine", c.freezeMachine)
		add(1, "slow network", c.slow)
		add(2, "cut of the application", c.cutApplication)
		add(1, "crash of the server", c.crash)
	}
	c.rand.Shuffle(len(deck), func(i, k int) { deck[i], deck[k] = deck[k], deck[i] })
	return deck
}

// upTo is a time between a tenth of d and d.
func (c *chaos) upTo(d time.Duration) time.Duration {
	return d/10 + time.Duration(c.rand.Int64N(int64(d-d/10)))
}

func (c *chaos) kill(t *testing.T, p *process) {
	c.faults++
	p.kill()
	p.start(t)
}

func (c *chaos) standstill(t *testing.T, p *process) {
	c.faults++
	c.freeze(t, p)
	time.Sleep(c.upTo(c.config.Lease + 2*time.Second))
	p.signal(t, syscall.SIGCONT)
}

// transactions has the application place some orders at once, which end in any way.
func (c *chaos) transactions(t *testing.T, _ *process) {
	for range 1 + c.rand.IntN(40) {
		line, fate := c.order(), c.rand.IntN(4)
		c.running.Go(func() {
			// An error need not mean that the transaction has failed, if its connection did.
			_ = c.app.order(c.ctx, line, fate)
		})
	}
}

// order makes up an event that is to be sent in a transaction.
func (c *chaos) order() string {
	id := fmt.Sprintf("evt_order%05d", len(c.ordered))
	c.ordered = append(c.ordered, id)
	return id + " " + eventType(len(c.ordered))
}

// openTransaction keeps an application transaction open, and rolls it back.
func (c *chaos) openTransaction(t *testing.T, _ *process) {
	line := c.order()
	tx, err := c.app.begin(c.ctx)
	if err != nil {
		return
	}
	_ = c.app.write(c.ctx, tx, line)
	time.Sleep(c.upTo(time.Second))
	_ = tx.rollback(c.ctx)
}

// edit changes an endpoint and so the set that senders decide on.
func (c *chaos) edit(t *testing.T, _ *process) {
	list, err := c.hooks.Endpoints(c.ctx, store.EndpointQuery{})
	require.NoError(t, err)
	ep := list[c.rand.IntN(len(list))]
	text := fmt.Sprintf("edited %d", c.rand.Int())
	_, err = c.hooks.EditEndpoint(c.ctx, ep.ID, sender.EndpointEdit{Description: &text})
	require.NoError(t, err)
}

// newEndpoint makes an endpoint of a type of its own and sends it something.
func (c *chaos) newEndpoint(t *testing.T, p *process) {
	c.made++
	typ := fmt.Sprintf("churn.type%d", c.made)
	ep, _, err := c.hooks.CreateEndpoint(c.ctx, sender.EndpointSpec{
		URL: fmt.Sprintf("%s/churn/%d", c.rcv.url, c.made), EventTypes: []string{typ}, Secret: c.rcv.secret, NoTestEvent: true,
	})
	require.NoError(t, err)
	c.churn[ep.ID] = typ
	c.sendTo(p, typ)
}

func (c *chaos) sendTo(p *process, typ string) {
	for range 1 + c.rand.IntN(30) {
		id := fmt.Sprintf("evt_loose%05d", len(c.loose))
		c.loose[id] = true
		p.give(id + " " + typ)
	}
}

// one of the endpoints that come and go; "" if there is none.
func (c *chaos) one() string {
	all := slices.Sorted(maps.Keys(c.churn))
	if len(all) == 0 {
		return ""
	}
	return all[c.rand.IntN(len(all))]
}

func (c *chaos) pauseEndpoint(t *testing.T, p *process) {
	id := c.one()
	if id == "" {
		return
	}
	c.sendTo(p, c.churn[id])
	_, err := c.hooks.DisableEndpoint(c.ctx, id, "chaos")
	require.NoError(t, err)
	time.Sleep(c.upTo(time.Second))
	_, err = c.hooks.EnableEndpoint(c.ctx, id)
	require.NoError(t, err)
}

func (c *chaos) deleteEndpoint(t *testing.T, p *process) {
	id := c.one()
	if id == "" {
		return
	}
	c.sendTo(p, c.churn[id])
	require.NoError(t, c.hooks.DeleteEndpoint(c.ctx, id))
	delete(c.churn, id)
}

func (c *chaos) cutAll(_ *testing.T, p *process) {
	c.faults++
	p.proxy.CutAll()
}

// somewhere is a place in one of the streams.
func (c *chaos) somewhere() pgproxy.Fault {
	places := []pgproxy.Fault{
		{From: pgproxy.Client, When: pgproxy.Commits},
		{From: pgproxy.Client, When: pgproxy.Is('E')},
		{From: pgproxy.Client},
		{From: pgproxy.Server, When: pgproxy.Is('Z')},
		{From: pgproxy.Server, When: pgproxy.Is('C')},
		{From: pgproxy.Server},
	}
	f := places[c.rand.IntN(len(places))]
	f.Skip = c.rand.IntN(30)
	f.Byte = c.rand.IntN(64) - 1 // End among them
	return f
}

// inject has the fault happen in a worker, and waits until it has.
func (c *chaos) inject(t *testing.T, p *process, f pgproxy.Fault) *pgproxy.Injected {
	t.Helper()
	i := p.proxy.Inject(f)
	select {
	case <-i.Hit():
		c.faults++
		t.Log(f.Do, i.Where())
	case <-time.After(5 * time.Second): // it may have nothing to do
		i.Undo()
	case <-c.ctx.Done():
		require.FailNow(t, "took too long")
	}
	return i
}

func (c *chaos) cutSomewhere(t *testing.T, p *process) {
	f := c.somewhere()
	f.Do, f.All = pgproxy.Cut, c.rand.IntN(3) == 0
	c.inject(t, p, f)
}

// loseAnswer has a commit happen whose answer does not come, until the connection ends.
func (c *chaos) loseAnswer(t *testing.T, p *process) {
	c.inject(t, p, pgproxy.Fault{From: pgproxy.Client, When: pgproxy.Commits, Skip: c.rand.IntN(20), Do: pgproxy.Swallow})
	time.Sleep(c.upTo(time.Second))
	p.proxy.CutAll()
}

// freezeMachine lets nothing pass between a worker and the server, for longer than
// leases last if it comes so. What it holds locked stays so that long.
func (c *chaos) freezeMachine(t *testing.T, p *process) {
	f := c.somewhere()
	f.Do, f.All = pgproxy.Freeze, true
	frozen := c.inject(t, p, f)
	time.Sleep(c.upTo(c.config.Lease + 2*time.Second))
	if c.rand.IntN(2) == 0 {
		c.kill(t, p)
	}
	frozen.Undo()
}

func (c *chaos) slow(_ *testing.T, p *process) {
	c.faults++
	p.proxy.SetLatency(c.upTo(200 * time.Millisecond))
	time.Sleep(c.upTo(2 * time.Second))
	p.proxy.SetLatency(0)
}

func (c *chaos) cutApplication(t *testing.T, p *process) {
	f := c.somewhere()
	f.Do = pgproxy.Cut
	cut := c.door.Inject(f)
	c.transactions(t, p)
	c.running.Wait()
	cut.Undo()
}

func (c *chaos) crash(t *testing.T, _ *process) {
	c.faults += len(c.procs)
	require.NoError(t, server.Restart(c.ctx))
	c.db.Pool.Reset() // the test itself wants no errors
}

// end waits until the application has ended and finds out what it has committed.
func (c *chaos) end(t *testing.T) {
	t.Helper()
	c.running.Wait()
	if c.app.db.Pool != nil {
		c.app.db.Pool.Reset()
	}
	placed := make(map[string]bool)
	for _, id := range c.app.orders(c.ctx, t) {
		placed[id] = true
	}
	for _, id := range c.ordered {
		if placed[id] {
			c.ids = append(c.ids, id)
		} else {
			c.absent = append(c.absent, id)
		}
	}
	t.Logf("%d transactions were committed, %d rolled back", len(placed), len(c.absent))
}
