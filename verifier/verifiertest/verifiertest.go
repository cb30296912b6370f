// Package verifiertest makes signed webhook requests for tests of handlers
// that sit behind a [verifier.Verifier].
package verifiertest

import (
	"bytes"
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
)

// Faults returns all faults, for a loop over what a handler must refuse.
func Faults() []Fault { return []Fault{Stale, Early, WrongSecret, Tampered, Unsigned} }

// skew is how far Stale and Early are off.
const skew = 24 * time.Hour

// NewRequest returns a POST request that delivers event, signed with secret,
// to be passed to a handler's ServeHTTP. A nil opts means the defaults.
//
// Empty fields of the event are filled in: ID "evt_test", Type "test.event",
// CreatedAt the time of signing, Data {}. An event with a Body is sent with
// just that body; its Type, CreatedAt and Data are not used. What cannot be
// sent, such as data that is not JSON or a secret that the scheme refuses,
// fails the test.
func NewRequest(tb testing.TB, secret string, event verifier.Event, opts *Options) *http.Request {
	tb.Helper()
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.Scheme == nil {
		o.Scheme = signing.Standard
	}
	if o.Target == "" {
		o.Target = "/webhooks"
	}
	if o.SignedAt.IsZero() {
		o.SignedAt = time.Now()
	}
	if event.ID == "" {
		event.ID = "evt_test"
	}
	if event.Type == "" {
		event.Type = "test.event"
	}
	if event.CreatedAt.IsZero() {
		event.CreatedAt = o.SignedAt
	}
	body := event.Body
	if body == nil {
		body = envelope(tb, event)
	}

	key := bind(tb, o, secret)
	m := signing.Message{ID: event.ID, Type: event.Type, Timestamp: o.SignedAt, Body: body}
	switch o.Fault {
	case "", Unsigned:
	case Stale:
		m.Timestamp = m.Timestamp.Add(-skew)
	case Early:
		m.Timestamp = m.Timestamp.Add(skew)
	case WrongSecret:
		key = bind(tb, o, signing.NewSecret().Reveal())
	case Tampered:
		body = append(bytes.Clone(body), ' ')
	default:
		tb.Fatalf("verifiertest: unknown fault %q", string(o.Fault))
	}
	if _, err := url.ParseRequestURI(o.Target); err != nil || strings.ContainsAny(o.Target, " \t\r\n") {
		tb.Fatalf("verifiertest: target %q is not a URL or path", o.Target)
	}
	r := httptest.NewRequest(http.MethodPost, o.Target, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	if o.Fault == Unsigned {
		return r
	}
	before := len(r.Header)
	key.SetHeaders(r.Header, m)
	if len(r.Header) == before {
		tb.Fatalf("verifiertest: scheme %s cannot sign id %q at %s", o.Scheme.Name(), m.ID, m.Timestamp)
	}
	return r
}

func bind(tb testing.TB, o Options, text string) signing.Key {
	tb.Helper()
	secret, err := signing.ParseSecret(text)
	if err != nil {
		tb.Fatalf("verifiertest: %v", err)
	}
	key, err := o.Scheme.Bind(secret)
	if err != nil {
		tb.Fatalf("verifiertest: scheme %s: %v", o.Scheme.Name(), err)
	}
	return key
}

func envelope(tb testing.TB, event verifier.Event) []byte {
	tb.Helper()
	if event.Data == nil {
		event.Data = json.RawMessage("{}")
	}
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
