// Package verifiertest makes signed webhook requests for tests of handlers
// that sit behind a [verifier.Verifier].
package verifiertest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// Options changes what [NewRequest] makes. The zero value, like nil, means the
// defaults.
type Options struct {
	// Scheme signs the request. Default signing.Standard.
	Scheme signing.Scheme

	// SvixHeaders sends svix-id, svix-timestamp and svix-signature instead of
	// the headers that Standard sets, as senders that use Svix do.
	SvixHeaders bool

	// Target is the URL or path of the request. Default "/webhooks".
	Target string

	// SignedAt is the time of signing. Default now.
	SignedAt time.Time

	// Fault is what is wrong with the request. Default nothing.
	Fault Fault
}

// A Fault is a reason for which a handler must refuse a request.
type Fault string

// The faults that a request can have.
const (
	// Stale: signed 24 hours before Options.SignedAt.
	Stale Fault = "stale"

	// Early: signed for 24 hours after Options.SignedAt.
	Early Fault = "early"

	// WrongSecret: signed with a random other secret.
	WrongSecret Fault = "wrong secret"

	// Tampered: the body was changed after signing.
	Tampered Fault = "tampered"

	// Unsigned: the headers of the scheme are missing.
	Unsigned Fault = "unsigned"

	// Repeated: every header of the scheme comes twice, first as signed with a
	// random other secret, then as it should be. Libraries disagree on which one
	// counts; a handler refuses both, or looks at the first alone.
	Repeated Fault = "repeated"
)

// Faults returns all faults that a request of the scheme can have, for a loop
// over what a handler must refuse. A nil scheme means signing.Standard. Stale
// and Early are left out for schemes that don't sign the time, such as
// signing.GitHub: nobody can tell.
func Faults(scheme signing.Scheme) []Fault {
	faults := []Fault{WrongSecret, Tampered, Unsigned, Repeated}
	if scheme == nil || signsTime(scheme) {
		faults = append(faults, Stale, Early)
	}
	return faults
}

// signsTime is true too if that can't be found out: too many faults are better
// than too few.
func signsTime(scheme signing.Scheme) bool {
	key, err := scheme.Bind(signing.NewSecret())
	if err != nil {
		return true
	}
	h, at := http.Header{}, time.Unix(1_700_000_000, 0)
	key.SetHeaders(h, signing.Message{ID: "evt_test", Type: "test.event", Timestamp: at})
	m, err := key.Verify(h, nil, at, signing.Limits{})
	return err != nil || m.Signed.Time
}

// skew is how far Stale and Early are off.
const skew = 24 * time.Hour

// NewRequest returns a POST request that delivers event, signed with secret,
// to be passed to a handler's ServeHTTP. A nil opts means the defaults. For
// ed25519 signatures the secret is the private key, "whsk_…", while the
// verifier has the public one.
//
// Empty fields of the event are filled in: ID "evt_test", Type "test.event",
// CreatedAt the time of signing, Data {}. The body is hookpost's envelope;
// under signing.GitHub, which has none, it is the Data. An event with a Body is
// sent with just that body, such as a form of GitHub's ("payload=…"), which gets its
// content type; its CreatedAt and Data are not used, and its Type only where the scheme
// has a header for it. What cannot be sent, such as data that is not JSON or a secret
// that the scheme refuses, fails the test.
func NewRequest(tb testing.TB, secret string, event verifier.Event, opts *Options) *http.Request {
	tb.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	o.Scheme = cmp.Or(o.Scheme, signing.Standard)
	o.Target = cmp.Or(o.Target, "/webhooks")
	if o.SignedAt.IsZero() {
		o.SignedAt = time.Now()
	}
	event.ID = cmp.Or(event.ID, "evt_test")
	event.Type = cmp.Or(event.Type, "test.event")
	if event.CreatedAt.IsZero() {
		event.CreatedAt = o.SignedAt
	}
	if event.Data == nil {
		event.Data = json.RawMessage("{}")
	}
	body := event.Body
	switch {
	case body != nil:
	case o.Scheme == signing.GitHub:
		body = event.Data
	default:
		body = envelope(tb, event)
	}
	if _, err := url.ParseRequestURI(o.Target); err != nil || strings.ContainsAny(o.Target, " \t\r\n") {
		tb.Fatalf("verifiertest: target %q is not a URL or path", o.Target)
	}

	key := bind(tb, o.Scheme, secret)
	m := signing.Message{ID: event.ID, Type: event.Type, Timestamp: o.SignedAt, Body: body}
	switch o.Fault {
	case "", Unsigned, Repeated:
	case Stale, Early:
		if !signsTime(o.Scheme) {
			tb.Fatalf("verifiertest: scheme %s does not sign the time, so no request of its is %s", o.Scheme.Name(), string(o.Fault))
		}
		if o.Fault == Stale {
			m.Timestamp = m.Timestamp.Add(-skew)
		} else {
			m.Timestamp = m.Timestamp.Add(skew)
		}
	case WrongSecret:
		key = bind(tb, o.Scheme, another(secret))
	case Tampered:
		body = append(bytes.Clone(body), ' ')
	default:
		tb.Fatalf("verifiertest: unknown fault %q", string(o.Fault))
	}

	r := httptest.NewRequest(http.MethodPost, o.Target, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if o.Scheme == signing.GitHub && bytes.HasPrefix(body, []byte("payload=")) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	signed := http.Header{}
	key.SetHeaders(signed, m)
	if len(signed) == 0 {
		if !signing.ValidID(m.ID) {
			tb.Fatalf("verifiertest: the id %q is not 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'", m.ID)
		}
		tb.Fatalf("verifiertest: scheme %s cannot sign id %q, type %q at %s with this secret", o.Scheme.Name(), m.ID, m.Type, m.Timestamp.Format(time.RFC3339))
	}
	decoy := http.Header{}
	switch o.Fault {
	case Unsigned:
		return r
	case Repeated:
		bind(tb, o.Scheme, another(secret)).SetHeaders(decoy, m)
	}
	for name, values := range signed {
		values = append(decoy[name], values...)
		if suffix, ok := strings.CutPrefix(name, "Webhook-"); ok && o.SvixHeaders {
			name = "Svix-" + suffix
		}
		r.Header[name] = values
	}
	return r
}

// another returns a random secret of the same kind.
func another(secret string) string {
	if strings.HasPrefix(secret, "whsk_") {
		return signing.NewPrivateKey().Reveal()
	}
	return signing.NewSecret().Reveal()
}

func bind(tb testing.TB, scheme signing.Scheme, text string) signing.Key {
	tb.Helper()
	secret, err := signing.ParseSecret(text)
	if err != nil {
		tb.Fatalf("verifiertest: %v", err)
	}
	key, err := scheme.Bind(secret)
	if err != nil {
		tb.Fatalf("verifiertest: scheme %s: %v", scheme.Name(), err)
	}
	return key
}

func envelope(tb testing.TB, event verifier.Event) []byte {
	tb.Helper()
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(struct {
		ID        string          `json:"id"`
		Type      string          `json:"type"`
		CreatedAt time.Time       `json:"created_at"`
		Data      json.RawMessage `json:"data"`
	}{event.ID, event.Type, event.CreatedAt.UTC().Truncate(time.Second), event.Data})
	if err != nil {
		tb.Fatalf("verifiertest: the event is not JSON: %v", err)
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
