package verifier

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/hookpost/hookpost/signing"
)

// An Event is a verified webhook.
//
// Type, CreatedAt, Data and, where no header signs it, ID come from the body
// if it is an envelope: a JSON object with a non-empty string "type", and with
// "data", a time or both. These are some:
//
//	{"id": "evt_1", "type": "payment.succeeded", "created_at": "2026-05-24T10:02:14Z", "data": …}  // hookpost, Xtopay
//	{"type": "payment.succeeded", "timestamp": "2026-05-24T10:02:14Z", "data": …}                  // Standard Webhooks
//	{"id": "evt_1", "type": "payment.succeeded", "created": 1779616934, "data": …}                 // Stripe
//
// The time is the first of created_at, timestamp and created that is RFC 3339
// or a positive integer: Unix seconds, or milliseconds if it would be beyond
// the year 9999. A name that appears twice makes the body no envelope. A byte
// order mark before the JSON is skipped. Any other body is genuine too; then
// Data is nil and everything is in Body.
type Event struct {
	// ID stays the same when an event is delivered again. It is the signed id
	// of the headers where the scheme has one, else the envelope's, else the
	// unsigned one of the headers (GitHub). Empty if there is none.
	ID string

	// Type is the event type: the envelope's, else the one of the headers
	// (GitHub, unsigned). Empty if there is none; a [Mux] says why
	// ([ErrUnreadable]).
	Type string

	// CreatedAt is when the event happened, in UTC; zero if the body is not an
	// envelope or does not say.
	CreatedAt time.Time

	// Timestamp is when this attempt was signed; zero if the scheme does not
	// say.
	Timestamp time.Time

	// Data is the envelope's data, byte for byte; nil if there is none. Of a
	// form (signing.GitHub) it is the whole JSON of the field payload, unless
	// that is an envelope. It may be a part of Body and must not be changed.
	Data json.RawMessage

	// Body is the request body, byte for byte. It must not be changed.
	Body []byte

	// Signed says which of ID, Type and Timestamp the signature covers. What
	// was read from the body is covered. What is not may have been changed by
	// whoever captured the request: of GitHub's, none is covered.
	Signed signing.Coverage
}

// content returns the JSON of an event: its data or, where there is none, the
// whole body, from behind a byte order mark.
func content(data, body []byte) []byte {
	if data == nil {
		data = body
	}
	return bytes.TrimPrefix(data, byteOrderMark)
}

func newEvent(m signing.Message) Event {
	e := Event{
		ID:        m.ID,
		Type:      m.Type,
		Timestamp: m.Timestamp,
		Body:      m.Body,
		Signed:    m.Signed,
	}
	text := content(m.Payload, m.Body)
	env, err := parseEnvelope(text, !m.Signed.ID)
	if err != nil {
		if m.Payload != nil && json.Valid(text) {
			e.Data = text
		}
		return e
	}
	if env.id != "" {
		e.ID, e.Signed.ID = env.id, true
	}
	e.Type, e.Signed.Type = env.typ, true
	e.CreatedAt, e.Data = env.createdAt, env.data
	return e
}
