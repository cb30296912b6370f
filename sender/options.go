package sender

import (
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

const (
	defaultMaxInFlight  = 512
	defaultMaxQueued    = 10_000
	defaultPollInterval = time.Second
	defaultGiveUpAfter  = 72 * time.Hour
	maxGiveUpAfter      = 30 * 24 * time.Hour
	defaultMaxEnvelope  = 1 << 20
	leaseMargin         = 5 * time.Second
	minLeaseMargin      = time.Second
	maxLease            = 24 * time.Hour
	defaultFailingAfter = 5 * 24 * time.Hour
	defaultPayloadDays  = 30 * 24 * time.Hour
	defaultResponseDays = 30 * 24 * time.Hour
	defaultLogDays      = 90 * 24 * time.Hour
)

// Options configures a Sender. The zero value of every field means its default;
// a negative duration or count switches off what it limits.
type Options struct {
	// Keyring seals signing secrets before they reach the store. A durable store
	// requires one, or PlaintextSecrets.
	Keyring keyring.Sealer
	// PlaintextSecrets lets secrets be stored readable: whoever reads the database
	// can then forge events. For tests and examples.
	PlaintextSecrets bool

	// EventTypes is the catalogue of what the application sends. If it is set, Send
	// refuses other types and endpoints can select exact types only from it; it is
	// what people pick from on the dashboard. Default: any type.
	EventTypes []EventType

	// Schemes are the signature schemes that endpoints can use; an endpoint that
	// names none is sent the headers of all of them. Default: signing.Standard.
	Schemes []signing.Scheme
	// Schedule says when failed attempts are repeated. Default: retry.Default, which
	// is 5 min, 30 min, 2 h, 5 h, 10 h and then every 10 h.
	Schedule retry.Schedule
	// Schedules are further ones that an endpoint can choose by name.
	Schedules map[string]retry.Schedule
	// GiveUpAfter ends every schedule: a delivery is exhausted when its next attempt
	// would start later than this after its first one. Default 72 h, at most 30 days.
	GiveUpAfter time.Duration

	// HTTP says how requests are made and where they may go.
	HTTP HTTPOptions
	// RequireHTTPS refuses endpoint URLs with http.
	RequireHTTPS bool
	// MaxEnvelope is the largest request body, in bytes. Default 1 MiB.
	MaxEnvelope int

	// MaxInFlight is how many deliveries this Sender holds at once, from the claim
	// to the recorded result. It bounds memory, and the attempts that a crash can
	// repeat. One endpoint gets at most half, so that 2 is the least; the most is
	// 100,000. Default 512.
	MaxInFlight int
	// MaxQueued is how many events of Send and SendBatch may wait for their commit, with
	// 64 MiB of request bodies at most: a store that does not answer would fill the memory
	// else. Beyond it they return ErrQueueFull at once. Default 10,000; negative: no bound,
	// of bodies neither.
	MaxQueued int
	// PollInterval is how often the store is asked for deliveries that nobody
	// announced: those of other processes and of SendTx without Wake. Default 1 s, at
	// least 1 ms.
	PollInterval time.Duration
	// Lease is how long a delivery belongs to this Sender once claimed: what a
	// crash delays it. At least a second longer than HTTP.Timeout, at most a day.
	// Default: 5 s longer. While the store is so slow that attempts would find their
	// leases used up, leases last longer, up to 10 minutes.
	// An endpoint's own Timeout must be a second shorter: for the longest, 30 s, set
	// a Lease of 31 s or more, in all processes.
	Lease time.Duration

	// DisableAfter disables an endpoint that has only failed for this long, while
	// another one succeeded. Default 5 days; negative: never.
	DisableAfter time.Duration
	// KeepPayloads, KeepResponses and KeepLog say how long events' bodies, the headers
	// and bodies of failed attempts' answers, and the delivery log are kept. Defaults
	// 30, 30 and 90 days; negative: forever, though the log takes what belongs to it
	// along. Payloads and log count from when the event was stored, and what is still
	// pending is kept. A pruned event's id is forgotten: sent again it is a new event.
	KeepPayloads  time.Duration
	KeepResponses time.Duration
	KeepLog       time.Duration

	// Hooks tell the application what happens to endpoints and deliveries.
	Hooks Hooks
	// Observer hears of everything, for metrics and traces.
	Observer *Observer
	// TraceHeaders sends each request with the headers traceparent and tracestate:
	// those of the attempt if Observer has a TraceContext, else those that the event
	// was stored with. They tell receivers the ids of traces, nothing more.
	TraceHeaders bool
	// Logger hears of trouble: endpoints disabled, secrets that can't be opened, a
	// store that does not answer (at most once in 10 s). Default slog.Default().
	Logger *slog.Logger
}

// config is Options with its defaults filled in and checked.
type config struct {
	Options
	schemes   map[string]signing.Scheme
	catalogue catalogue
	owner     int64
}

func newConfig(st store.Store, o *Options) (*config, error) {
	c := &config{owner: rand.Int64()}
	if o != nil {
		c.Options = *o
	}
	bad := func(field, format string, args ...any) error {
		return fmt.Errorf("%w: %s %s", ErrInvalidOptions, field, fmt.Sprintf(format, args...))
	}
	switch {
	case c.Keyring != nil && c.PlaintextSecrets:
		return nil, bad("PlaintextSecrets", "contradicts Keyring; set one of them")
	case c.Keyring == nil && !c.PlaintextSecrets && st.Durable():
		return nil, ErrNoKeyring
	case c.Keyring == nil:
		c.Keyring = keyring.Plaintext
	}

	if len(c.Schemes) == 0 {
		c.Schemes = []signing.Scheme{signing.Standard}
	}
	c.schemes = make(map[string]signing.Scheme, len(c.Schemes))
	for i, s := range c.Schemes {
		if s == nil {
			return nil, bad("Schemes", "has a nil element at %d", i)
		}
		if c.schemes[s.Name()] != nil {
			return nil, bad("Schemes", "names %q twice", s.Name())
		}
		c.schemes[s.Name()] = s
	}

	if c.Schedule == nil {
		c.Schedule = retry.Default
	}
	for name, s := range c.Schedules {
		if name == "" || s == nil {
			return nil, bad("Schedules", "needs a name and a schedule in each entry; %q has not", name)
		}
	}
	def(&c.GiveUpAfter, defaultGiveUpAfter)
	if c.GiveUpAfter < 0 || c.GiveUpAfter > maxGiveUpAfter {
		return nil, bad("GiveUpAfter", "is %s; it must be positive and at most %s (30 days)", c.GiveUpAfter, maxGiveUpAfter)
	}

	def(&c.MaxEnvelope, defaultMaxEnvelope)
	var err error
	if c.catalogue, err = newCatalogue(c.EventTypes, c.MaxEnvelope); err != nil {
		return nil, err
	}
	def(&c.MaxInFlight, defaultMaxInFlight)
	if c.MaxInFlight < 2 || c.MaxInFlight > 100_000 {
		return nil, bad("MaxInFlight", "is %d; it must be from 2 to 100000, since one endpoint gets at most half", c.MaxInFlight)
	}
	def(&c.MaxQueued, defaultMaxQueued)
	def(&c.PollInterval, defaultPollInterval)
	if c.PollInterval < time.Millisecond {
		return nil, bad("PollInterval", "is %s; it must be at least 1ms", c.PollInterval)
	}
	def(&c.HTTP.Timeout, defaultTimeout)
	if err := checkHTTPTimeout(c.HTTP.Timeout); err != nil {
		return nil, err
	}
	def(&c.Lease, c.HTTP.Timeout+leaseMargin)
	if c.Lease < c.HTTP.Timeout+minLeaseMargin {
		return nil, bad("Lease", "is %s; it must be at least %s, a second more than HTTP.Timeout, or another worker would send again what this one still sends",
			c.Lease, c.HTTP.Timeout+minLeaseMargin)
	}
	if c.Lease > maxLease {
		return nil, bad("Lease", "is %s; it can be at most %s, since after a crash deliveries wait for its end", c.Lease, maxLease)
	}
	def(&c.DisableAfter, defaultFailingAfter)
	def(&c.KeepPayloads, defaultPayloadDays)
	def(&c.KeepResponses, defaultResponseDays)
	def(&c.KeepLog, defaultLogDays)
	for _, keep := range []struct {
		name string
		d    time.Duration
	}{{"KeepPayloads", c.KeepPayloads}, {"KeepLog", c.KeepLog}} {
		if keep.d > 0 && keep.d < c.GiveUpAfter {
			return nil, bad(keep.name, "is %s; deliveries need it for GiveUpAfter, %s", keep.d, c.GiveUpAfter)
		}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	panics := &trouble{log: c.Logger}
	c.Schedule = survivingSchedule{c.Schedule, panics}
	c.Schedules = maps.Clone(c.Schedules)
	for name, s := range c.Schedules {
		c.Schedules[name] = survivingSchedule{s, panics}
	}
	return c, nil
}

// def sets *v to its default if it is zero.
func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// timeout returns how long an attempt at the endpoint may take.
func (c *config) timeout(ep *store.Endpoint) time.Duration {
	return cmp.Or(ep.Timeout, c.HTTP.Timeout)
}

// schedule returns the schedule of that name, the default one for "".
func (c *config) schedule(name string) (retry.Schedule, bool) {
	if name == "" {
		return c.Schedule, true
	}
	s, ok := c.Schedules[name]
	return s, ok
}
