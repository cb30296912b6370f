package verifier

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/hookpost/hookpost/signing"
)

// DefaultMaxBody is the default limit of a request body, in bytes: 1 MiB.
const DefaultMaxBody = 1 << 20

// ErrBodyTooLarge says that the request body is longer than the limit.
var ErrBodyTooLarge = errors.New("verifier: request body is too large")

// Options configures a [Verifier]. The zero value, like nil, means the
// defaults.
type Options struct {
	// Scheme is the one protocol that is accepted. Default signing.Standard.
	// It is never chosen by what a request contains.
	Scheme signing.Scheme

	// Previous holds further secrets whose signatures are accepted, such as
	// the one being replaced during a rotation. At most 9. They do not show
	// when Options are printed or logged. In one line:
	//
	//	Previous: []signing.Secret{signing.MustParseSecret(os.Getenv("OLD_WEBHOOK_SECRET"))},
	//
	// where MustParseSecret panics if the variable is empty; ParseSecret
	// returns an error instead.
	Previous []signing.Secret

	// Tolerance is how far the signed time may lie from now, in either
	// direction, in whole seconds. Default 5 minutes. Negative: any, which
	// makes captured requests valid for ever.
	Tolerance time.Duration

	// Clock tells the time. Default time.Now.
	Clock func() time.Time

	// MaxBody is the longest body read from a request, in bytes. Default
	// DefaultMaxBody. Negative: no limit.
	MaxBody int64

	// MaxSignatures is how many signatures a request may carry. Default 10.
	// Negative: no limit.
	MaxSignatures int

	// MaxHeader is the longest signature header accepted, in bytes. Default
	// 4 KiB. Negative: no limit.
	MaxHeader int

	// Dedupe makes Middleware let every event that has an ID through once, with
	// one of package verifier/dedupe. Default: every delivery gets through.
	// Verifiers need one each: senders choose their ids, and send one event
	// under one id to several endpoints, each of which is to handle it.
	Dedupe Dedupe

	// OnError hears why Middleware refuses a request, that its event is being
	// handled already or that Dedupe fails, before the answer is sent; not of
	// repetitions of what was handled, nor of what handlers do, for which
	// MuxOptions has an OnError of its own. If it writes to w, that is the
	// answer; otherwise the default one follows. The cause is for logs and
	// metrics, not for the sender: it tells a forger what to try next. The
	// body of r has been consumed.
	OnError func(w http.ResponseWriter, r *http.Request, err error)
}

// A Verifier checks signatures for one endpoint. It is safe for concurrent use.
type Verifier struct {
	key     signing.Key
	limits  signing.Limits
	clock   func() time.Time
	maxBody int64 // negative: no limit
	dedupe  Dedupe
	onError func(w http.ResponseWriter, r *http.Request, err error)
}

// New returns a Verifier for the endpoint's secret. Secrets are taken as they
// are, not trimmed. The error is signing.ErrBadSecret if the secret or one of
// Options.Previous is empty or not one that the scheme can use.
func New(secret string, opts *Options) (*Verifier, error) {
	if opts == nil {
		opts = &Options{}
	}
	scheme := opts.Scheme
	if scheme == nil {
		scheme = signing.Standard
	}
	secrets := make([]signing.Secret, 0, 1+len(opts.Previous))
	first, err := signing.ParseSecret(secret)
	if err != nil {
		return nil, fmt.Errorf("verifier: the secret: %w", err)
	}
	secrets = append(secrets, first)
	for i, s := range opts.Previous {
		if s.IsZero() {
			return nil, fmt.Errorf("verifier: Previous[%d]: %w: it is empty", i, signing.ErrBadSecret)
		}
		secrets = append(secrets, s)
	}
	key, err := scheme.Bind(secrets...)
	if err != nil {
		return nil, fmt.Errorf("verifier: scheme %s: %w", scheme.Name(), err)
	}
	v := &Verifier{
		key: key,
		limits: signing.Limits{
			Tolerance:     opts.Tolerance,
			MaxSignatures: opts.MaxSignatures,
			MaxHeader:     opts.MaxHeader,
		},
		clock:   opts.Clock,
		maxBody: opts.MaxBody,
		dedupe:  opts.Dedupe,
		onError: opts.OnError,
	}
	if v.clock == nil {
		v.clock = time.Now
	}
	if v.maxBody == 0 {
		v.maxBody = DefaultMaxBody
	}
	return v, nil
}

// ConstructEvent verifies body against the headers of its request and returns
// the event. The body must be the bytes that arrived: parsing and printing
// JSON changes them.
//
// The error is one of signing.ErrMissingHeader, ErrMalformed, ErrTooOld,
// ErrTooNew and ErrNoMatch; among the last, signing.ErrUnknownVersion.
func (v *Verifier) ConstructEvent(body []byte, h http.Header) (Event, error) {
	m, err := v.key.Verify(h, body, v.clock(), v.limits)
	if err != nil {
		return Event{}, err
	}
	return newEvent(m), nil
}

// ConstructEventFromRequest reads the body of r, at most Options.MaxBody
// bytes, and verifies it. Afterwards r.Body gives the same bytes again, unless
// they could not be read to the end. Besides the errors of
// [Verifier.ConstructEvent] it reports [ErrBodyTooLarge] and errors of reading.
func (v *Verifier) ConstructEventFromRequest(r *http.Request) (Event, error) {
	body, err := v.readBody(nil, r)
	if err != nil {
		return Event{}, err
	}
	restoreBody(r, body)
	return v.ConstructEvent(body, r.Header)
}

// anyHeader stands in for the header that the caller has already read.
const anyHeader = "X-Signature"

var errNoSignature = fmt.Errorf("%w: the signature is empty", signing.ErrMissingHeader)

// ConstructEvent verifies body against the value of a signature header in the
// form "t=…,v1=…" and returns the event. It is for providers that sign with
// [signing.Timestamped], under whatever header name, such as
// x-xtopay-signature:
//
//	event, err := verifier.ConstructEvent(body, r.Header.Get("x-xtopay-signature"), secret)
//
// The key is the whole secret, as it is. The signed time may be 5 minutes from
// now in either direction. An empty signature is [signing.ErrMissingHeader].
// That a header comes twice can't be seen here; [Verifier.ConstructEvent]
// refuses it. For other schemes, several secrets or another
// tolerance, use [New]. The errors are those of [New] and
// [Verifier.ConstructEvent].
func ConstructEvent(body []byte, signature, secret string) (Event, error) {
	v, err := New(secret, &Options{Scheme: signing.Timestamped(anyHeader)})
	if err != nil {
		return Event{}, err
	}
	if signature == "" {
		return Event{}, errNoSignature
	}
	return v.ConstructEvent(body, http.Header{anyHeader: {signature}})
}
