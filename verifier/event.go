package verifier

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/hookpost/hookpost/signing"
)

// An Event is a verified webhook.
//
// ID, Type, CreatedAt and Data come from the body if it is an envelope: a JSON
// object with at least the members
//
//	{"id": "evt_…", "type": "payment.succeeded", "created_at": "2026-05-24T10:02:14Z", "data": …}
//
// or the payload form of Standard Webhooks, "type", "timestamp" and "data",
// where timestamp is the time of the event. The strings must not be empty, the
// time must be RFC 3339, and none of the names may appear twice. Any other
// body is genuine too; then Data is nil and everything is in Body.
type Event struct {
	// ID stays the same when an event is delivered again. It is the signed id
	// of the headers where the scheme has one, and else the envelope's.
	ID string

	// Type is the event type; empty if the body is not an envelope and the
	// scheme carries none.
	Type string

	// CreatedAt is when the event happened; zero if the body is not an
	// envelope.
	CreatedAt time.Time

	// Timestamp is when this attempt was signed; zero if the scheme does not
	// say.
	Timestamp time.Time

	// Data is the envelope's data, byte for byte. It is a part of Body and
	// must not be changed.
	Data json.RawMessage

	// Body is the request body, byte for byte. It must not be changed.
	Body []byte

	// Signed says which of ID, Type and Timestamp the signature covers. What
	// was read from the body is covered.
	Signed signing.Coverage
}

// ErrIDMismatch says that the signature is genuine, but the envelope has another id
// than the signed header, so that it is unclear which event this is. It is
// also a signing.ErrMalformed.
var ErrIDMismatch = fmt.Errorf("verifier: the id in the body differs from the signed id: %w", signing.ErrMalformed)

func newEvent(m signing.Message) (Event, error) {
	e := Event{
		ID:        m.ID,
		Type:      m.Type,
		Timestamp: m.Timestamp,
		Body:      m.Body,
		Signed:    m.Signed,
	}
	env, ok := parseEnvelope(m.Body)
	if !ok {
		return e, nil
	}
	if env.id != "" {
		if m.Signed.ID && m.ID != env.id {
			return Event{}, ErrIDMismatch
		}
		e.ID, e.Signed.ID = env.id, true
	}
	e.Type, e.Signed.Type = env.typ, true
	e.CreatedAt, e.Data = env.createdAt, env.data
	return e, nil
}
