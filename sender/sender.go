// Package sender sends webhooks: durably, with retries, to endpoints that
// customers register, from inside the application's own process.
//
// A [Sender] stands on a store. Send stores an event and decides which endpoints
// it is for; attempts are signed and made, retried on a schedule and recorded in
// a delivery log that can be read, explained and replayed. It promises at least
// once: what Send acknowledged or a transaction committed is attempted until it is
// delivered or its schedule ends, across crashes and restarts. Order is not
// promised.
//
// A [Client] makes single requests, or repeats one on a schedule in memory, without
// a store.
package sender

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/hookpost/hookpost/store"
)

// Sender is the durable pipeline on one store. Any number of Senders, in any
// number of processes, can share a database. It is itself the [Tenant] "" in live
// mode; For gives the others. All methods are safe for concurrent use.
type Sender struct {
	Tenant

	cfg     *config
	st      boundedStore
	log     *slog.Logger
	clock   storeClock
	cache   *endpointCache
	lanes   *lanes
	poster  *poster
	leases  leaseLength
	enqueue *enqueuer
	settler *settler
	workers *workers
	hooks   *hookRunner
	observe *observing
	counts  *counters
	upkeep  *upkeep
	trouble *trouble
	wake    chan struct{}
	// claimsFail says that the last claim failed.
	claimsFail atomic.Bool

	mu      sync.Mutex
	state   runState
	stop    context.CancelFunc // ends claims and upkeep
	abort   context.CancelFunc // ends attempts under way
	quiet   context.CancelFunc // ends the recording of results
	running sync.WaitGroup     // the goroutines that Start started
	hooked  chan struct{}      // closed when no hook runs any more
}

type runState int

const (
	notStarted runState = iota
	started
	stopped
)

// New makes a Sender on a store. It starts nothing: endpoints can be managed,
// events stored and the log read without Start. The errors are ErrNoStore,
// ErrNoKeyring and ErrInvalidOptions.
func New(st store.Store, o *Options) (*Sender, error) {
	if st == nil {
		return nil, ErrNoStore
	}
	cfg, err := newConfig(st, o)
	if err != nil {
		return nil, err
	}
	s := &Sender{cfg: cfg, st: boundedStore{st}, log: cfg.Logger, wake: make(chan struct{}, 1)}
	if s.poster, err = newPoster(cfg.HTTP, cfg.MaxInFlight); err != nil {
		return nil, fmt.Errorf("%w: HTTP: %w", ErrInvalidOptions, err)
	}
	s.Tenant = Tenant{sender: s, scope: store.Scope{Mode: store.Live}}
	s.cache = newEndpointCache(cfg, s.st)
	s.lanes = newLanes(cfg.MaxInFlight)
	s.observe = newObserving(cfg.Observer, s.log)
	s.counts = newCounters()
	s.enqueue = &enqueuer{
		st: st, observe: s.observe, leases: &s.leases, maxQueued: cfg.MaxQueued,
		settle: func(m *member) { _, _ = s.stored(m, &Receipt{}) },
	}
	s.leases = leaseLength{base: cfg.Lease, timeout: cfg.HTTP.Timeout}
	s.trouble = &trouble{log: s.log}
	s.clock.onJump = func(by time.Duration) {
		s.trouble.report("hookpost: the clock has jumped; for an hour nothing is given up, disabled or removed for its age", errJump, "by", by)
	}
	s.settler = newSettler(s)
	s.workers = newWorkers(s)
	s.hooks = newHookRunner(s.log)
	s.upkeep = newUpkeep(s)
	return s, nil
}

// Start begins to deliver: it checks that the store answers, within ctx, and
// starts the Sender's goroutines, which run until Stop whatever becomes of ctx.
// Deliveries that wait in the store, left by a crash or by Sends before Start, are
// taken up.
func (s *Sender) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case started:
		return ErrStarted
	case stopped:
		return ErrStopped
	case notStarted:
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.clock.ask(ctx, s.st); err != nil {
		return fmt.Errorf("sender: the store does not answer: %w", err)
	}
	run, stop := context.WithCancel(context.Background())
	attempts, abort := context.WithCancel(context.Background())
	recording, quiet := context.WithCancel(context.Background())
	s.stop, s.abort, s.quiet, s.state = stop, abort, quiet, started
	s.workers.open(attempts)
	s.running.Go(func() { s.claimLoop(run, attempts) })
	s.running.Go(func() { s.upkeep.run(run) })
	s.running.Go(func() { s.listen(run) })
	s.hooked = make(chan struct{})
	go func() {
		defer close(s.hooked)
		s.hooks.run(attempts)
	}()
	s.running.Go(func() { s.settler.run(recording) })
	s.lanes.open(true)
	return nil
}

// cutOff is how long Stop waits for attempts that it has cut off.
const cutOff = time.Second

// Stop ends delivering. It takes no new deliveries and waits for the attempts
// under way to finish and to be recorded. When ctx ends first they are cut off and
// Stop returns ctx's error within about a second, for recording what is known, or
// two if an attempt does not end because HTTPOptions.WrapTransport ignores its
// context: their deliveries are repeated, here or elsewhere, when their leases have
// expired. Send keeps storing events afterwards, for the next start. Stopping twice,
// or a Sender never started, does nothing.
func (s *Sender) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != started {
		return nil
	}
	s.state = stopped
	s.lanes.open(false)
	s.stop()
	err := s.drain(ctx)
	s.abort()
	if !s.workers.close(cutOff) && err != nil {
		err = fmt.Errorf("sender: a transport that HTTP.WrapTransport returned does not heed its requests' context: %w", err)
	}
	s.settler.flush(settleFlush)
	s.quiet()
	s.running.Wait()
	s.poster.close()
	select {
	case <-s.hooked:
	case <-ctx.Done(): // a hook that hangs does not hang Stop
		if s.hooks.open.Load() > 0 {
			err = cmp.Or(err, fmt.Errorf("sender: a hook is still running: %w", ctx.Err()))
		}
	}
	return err
}

// drain waits until every slot is free.
func (s *Sender) drain(ctx context.Context) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !s.lanes.idle() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("sender: attempts were cut off: %w", ctx.Err())
		}
	}
	return nil
}

// Wake makes the Sender look for deliveries now instead of at the next poll. Call
// it after committing a transaction that SendTx took part in.
func (s *Sender) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Tenant sends for one customer account in one mode, and manages its endpoints
// and log. Nothing of it is visible to another tenant or in the other mode. The
// methods are those of the Sender, which is the tenant "" in live mode.
type Tenant struct {
	sender *Sender
	scope  store.Scope
	err    error // what is wrong with the scope; every method returns it
}

// For returns the view of a tenant in a mode. A tenant is any valid UTF-8 without
// NUL of at most 255 bytes, and may be empty. If tenant or mode is not acceptable,
// every method of the result returns a store.ErrInvalid that says so.
func (s *Sender) For(tenant string, mode store.Mode) *Tenant {
	t := &Tenant{sender: s, scope: store.Scope{Tenant: tenant, Mode: mode}}
	switch {
	case !mode.Valid():
		t.err = fmt.Errorf("%w: the mode is neither store.Live nor store.Test", store.ErrInvalid)
	case len(tenant) > 255:
		t.err = fmt.Errorf("%w: the tenant has %d bytes, more than 255", store.ErrInvalid, len(tenant))
	case !utf8.ValidString(tenant) || strings.ContainsRune(tenant, 0):
		t.err = fmt.Errorf("%w: the tenant %q is not valid UTF-8 without NUL", store.ErrInvalid, tenant)
	}
	return t
}

// Scope returns the tenant's name and mode.
func (t *Tenant) Scope() store.Scope { return t.scope }

// ModeOfKey returns the mode that an API key such as "sk_test_4eC3…" or
// "pk_live_…" belongs to: the part between the first two underscores.
func ModeOfKey(key string) (store.Mode, error) {
	if parts := strings.SplitN(key, "_", 3); len(parts) == 3 {
		if mode, err := store.ParseMode(parts[1]); err == nil {
			return mode, nil
		}
	}
	return 0, fmt.Errorf("%w: the key names no mode; it should begin like \"sk_test_\" or \"sk_live_\"", store.ErrInvalid)
}
