package sender

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"time"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// clientConnections is how many idle connections a Client keeps.
const clientConnections = 256

// Errors of a Client, besides ErrInvalidEvent, ErrInvalidURL, ErrInvalidOptions
// and those of the signature schemes.
var (
	// ErrExhausted says that every attempt has failed and the schedule or
	// GiveUpAfter ended the delivery. It wraps the last *AttemptError.
	ErrExhausted = errors.New("sender: delivery exhausted")
	// ErrGone says that the receiver answered 410: it wants no more events. It wraps
	// the *AttemptError.
	ErrGone = errors.New("sender: endpoint is gone")
)

// AttemptError says that an attempt failed.
type AttemptError struct {
	Attempt store.Attempt
	// RetryAfter is the pause that the receiver asked for with a 429 or a 503; 0 if
	// it did not.
	RetryAfter time.Duration

	cause error
}

func (e *AttemptError) Error() string {
	return fmt.Sprintf("sender: attempt failed (%s): %s", e.Attempt.Class, e.Attempt.Error)
}

// Format implements [fmt.Formatter]: every verb prints what Error returns, since the
// URL of the attempt may have a secret in its query.
func (e AttemptError) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, e.Error()) }

// Unwrap returns the context's error if that is what ended the attempt, else nil:
// errors of the network can hold what must not be logged.
func (e *AttemptError) Unwrap() error { return e.cause }

// ClientOptions configures a Client. The zero value of every field means its
// default.
type ClientOptions struct {
	// HTTP says how requests are made and where they may go.
	HTTP HTTPOptions

	// Schemes sign for targets that name none. Default: signing.Standard.
	Schemes []signing.Scheme

	// Schedule says when Deliver repeats failed attempts. Default: retry.Default.
	Schedule retry.Schedule

	// GiveUpAfter ends every schedule: no attempt starts later than this after the
	// first one. Default 72 h, at most 30 days.
	GiveUpAfter time.Duration

	// MaxEnvelope is the largest request body, in bytes. Default 1 MiB; negative:
	// no limit.
	MaxEnvelope int

	// RequireHTTPS refuses target URLs with http.
	RequireHTTPS bool

	// Now is the clock that events are dated and requests signed by. Default:
	// time.Now. Waiting is always done in real time.
	Now func() time.Time
}

// Target is where a Client sends and how it signs.
type Target struct {
	// URL is absolute, http or https, without userinfo and fragment.
	URL string
	// Secrets sign, the newest first; several while one replaces another. Required.
	Secrets []signing.Secret
	// Schemes are the signature schemes; with several, each adds its headers.
	// Default: ClientOptions.Schemes.
	Schemes []signing.Scheme
}

// Client sends events without a store: what it has not delivered is lost when
// the process ends. [Sender] is durable. A Client is safe for concurrent use.
type Client struct {
	opts   ClientOptions
	poster *poster
}

// NewClient returns a Client; nil options mean the defaults. The error is an
// ErrInvalidOptions.
func NewClient(o *ClientOptions) (*Client, error) {
	c := &Client{}
	if o != nil {
		c.opts = *o
	}
	if len(c.opts.Schemes) == 0 {
		c.opts.Schemes = []signing.Scheme{signing.Standard}
	}
	if c.opts.Schedule == nil {
		c.opts.Schedule = retry.Default
	}
	if c.opts.Now == nil {
		c.opts.Now = time.Now
	}
	def(&c.opts.GiveUpAfter, defaultGiveUpAfter)
	if g := c.opts.GiveUpAfter; g < 0 || g > maxGiveUpAfter {
		return nil, fmt.Errorf("%w: GiveUpAfter is %s; it must be positive and at most %s (30 days)", ErrInvalidOptions, g, maxGiveUpAfter)
	}
	var err error
	if c.poster, err = newPoster(c.opts.HTTP, clientConnections); err != nil {
		return nil, err
	}
	return c, nil
}

// CloseIdleConnections closes the connections that no request uses. They close by
// themselves after HTTPOptions.IdleTimeout.
func (c *Client) CloseIdleConnections() { c.poster.close() }

// Attempt sends the event once. It returns the attempt if a request was made,
// with N 1, and an *AttemptError unless the receiver answered 2xx in time. If ctx
// ends first, the error also is ctx's. In what the receiver answered, the target's
// secrets are replaced by ***.
func (c *Client) Attempt(ctx context.Context, target Target, event Event) (store.Attempt, error) {
	d, err := c.begin(target, event)
	if err != nil {
		return store.Attempt{}, err
	}
	return d.attempt(ctx)
}

// Deliver sends the event until the receiver answers 2xx, waiting between the
// attempts as the schedule says, or longer if a 429 or 503 asks for it with
// Retry-After. It returns all attempts, and an error unless the last one
// succeeded: ErrExhausted, ErrGone, or what ended ctx. Deliver can take three
// days with the default schedule; end ctx to end it.
func (c *Client) Deliver(ctx context.Context, target Target, event Event) ([]store.Attempt, error) {
	d, err := c.begin(target, event)
	if err != nil {
		return nil, err
	}
	var attempts []store.Attempt
	first := time.Now()
	for {
		attempt, err := d.attempt(ctx)
		attempts = append(attempts, attempt)
		if err == nil {
			return attempts, nil
		}
		var failed *AttemptError
		if !errors.As(err, &failed) || attempt.Class == ClassCancelled || attempt.Class == ClassSigning {
			return attempts, err
		}
		if attempt.Status == http.StatusGone {
			return attempts, fmt.Errorf("%w: %w", ErrGone, err)
		}
		elapsed := time.Since(first)
		delay, ok := c.opts.Schedule.Next(retry.Failure{
			Failed:  len(attempts),
			Status:  attempt.Status,
			Elapsed: elapsed,
			Seed:    d.seed,
		})
		if !ok || retry.Exhausted(elapsed, delay, c.opts.GiveUpAfter) {
			return attempts, fmt.Errorf("%w after %d attempts: %w", ErrExhausted, len(attempts), err)
		}
		// A pause is never shorter than the schedule's, nor so long that the
		// delivery ends without another attempt.
		delay = max(delay, min(failed.RetryAfter, c.opts.GiveUpAfter-elapsed))
		if err := sleep(ctx, delay); err != nil {
			return attempts, err
		}
	}
}

// clientDelivery is an event on its way to a target.
type clientDelivery struct {
	client *Client
	event  store.Event
	dest   *destination
	seed   uint64
	n      int // attempts so far
}

// begin checks everything that can be checked without a request.
func (c *Client) begin(target Target, event Event) (*clientDelivery, error) {
	if event.Delay != 0 {
		return nil, badEvent("Delay", "is %s; a Client has no store for it to wait in and sends at once", event.Delay)
	}
	u, err := parseEndpointURL(target.URL, urlRules{requireHTTPS: c.opts.RequireHTTPS})
	if err != nil {
		return nil, err
	}
	schemes := target.Schemes
	if len(schemes) == 0 {
		schemes = c.opts.Schemes
	}
	keys, err := bindKeys(schemes, target.Secrets)
	if err != nil {
		return nil, err
	}
	d := &clientDelivery{client: c}
	if d.dest, err = newDestination(u.text, keys); err != nil {
		return nil, err
	}
	d.dest.hidden = &opened{}
	for _, secret := range target.Secrets {
		d.dest.hidden.secrets = append(d.dest.hidden.secrets, openedSecret{Secret: secret})
	}
	newID := func() (string, error) { return newEventID(nil) }
	if d.event, err = event.prepare(c.opts.Now(), newID, c.opts.MaxEnvelope, false); err != nil {
		return nil, err
	}
	h := fnv.New64a()
	h.Write([]byte(d.event.ID + " " + u.key))
	d.seed = h.Sum64()
	return d, nil
}

// bindKeys binds each scheme to the secrets.
func bindKeys(schemes []signing.Scheme, secrets []signing.Secret) ([]signing.Key, error) {
	keys := make([]signing.Key, len(schemes))
	for i, s := range schemes {
		if s == nil {
			return nil, fmt.Errorf("%w: Schemes has a nil element at %d", ErrInvalidOptions, i)
		}
		var err error
		if keys[i], err = bindKey(s, secrets); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// attempt makes the next request. The error, if any, is an *AttemptError.
func (d *clientDelivery) attempt(ctx context.Context) (store.Attempt, error) {
	d.n++
	r := d.client.poster.post(ctx, d.dest, d.event.ContentType, signing.Message{
		ID:        d.event.ID,
		Type:      d.event.Type,
		Timestamp: d.client.opts.Now(),
		Body:      d.event.Body,
	})
	r.N = d.n
	if r.Outcome == store.AttemptDelivered {
		return r.Attempt, nil
	}
	newRedactor(d.dest.hidden).attempt(&r.Attempt)
	failed := &AttemptError{Attempt: r.Attempt, RetryAfter: r.RetryAfter}
	if r.Class == ClassCancelled {
		failed.cause = context.Cause(ctx)
	}
	return r.Attempt, failed
}

// sleep waits, unless ctx ends first.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
