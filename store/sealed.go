package store

import (
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// Sealed is what only the sender's keyring can read: the signing secrets of an
// endpoint and the values of its custom headers. A store sees ciphertext.
//
// A value never changes under its ID, only its ciphertext does when it is sealed
// under another key; see [Upkeep.Reseal].
type Sealed struct {
	// Secrets are the signing secrets, newest first.
	Secrets []SealedSecret `json:"secrets,omitempty"`
	// HeaderValues are the values of the headers that Config.Headers names, in the
	// same order.
	HeaderValues []SealedHeader `json:"header_values,omitempty"`
}

// SealedValue is a value sealed under one key of the sender's keyring.
type SealedValue struct {
	ID     string     `json:"id"` // unique in the endpoint
	KeyID  string     `json:"kid"`
	Sealed Ciphertext `json:"sealed"`
}

// Ciphertext is what a sealer has made of a secret, or the secret itself if the
// application stores secrets readable. Printed or logged it shows its length only;
// its JSON is that of a []byte, which is what stores keep.
type Ciphertext []byte

// String returns the length, as in "[61 bytes]".
func (c Ciphertext) String() string { return fmt.Sprintf("[%d bytes]", len(c)) }

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (c Ciphertext) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// LogValue implements [slog.LogValuer] and returns what String returns.
func (c Ciphertext) LogValue() slog.Value { return slog.StringValue(c.String()) }

// SealedSecret is one signing secret.
type SealedSecret struct {
	SealedValue
	Fingerprint string    `json:"fingerprint"`         // for display; reveals nothing of use
	ExpiresAt   time.Time `json:"expires_at,omitzero"` // zero: current
}

// SealedHeader is the value of one custom header.
type SealedHeader struct {
	SealedValue
	Name string `json:"name"` // canonical
}

// SealedValues returns the places of all values, secrets first.
func (s *Sealed) SealedValues() []*SealedValue {
	all := make([]*SealedValue, 0, len(s.Secrets)+len(s.HeaderValues))
	for i := range s.Secrets {
		all = append(all, &s.Secrets[i].SealedValue)
	}
	for i := range s.HeaderValues {
		all = append(all, &s.HeaderValues[i].SealedValue)
	}
	return all
}

// Resealed names an endpoint with values of its that were sealed anew.
type Resealed struct {
	EndpointKey
	Values []SealedValue
}

// What follows is for implementations.

// CloneSealed returns a copy that shares no memory with s, its times as databases
// keep them: in UTC, to the microsecond.
func CloneSealed(s Sealed) Sealed {
	s.Secrets, s.HeaderValues = slices.Clone(s.Secrets), slices.Clone(s.HeaderValues)
	for i := range s.Secrets {
		if at := &s.Secrets[i].ExpiresAt; !at.IsZero() {
			*at = at.UTC().Truncate(time.Microsecond)
		}
	}
	for _, v := range s.SealedValues() {
		v.Sealed = slices.Clone(v.Sealed)
	}
	return s
}

// KeepSealed is the part of [Endpoints.UpdateEndpoint] that concerns sealed values:
// it returns the given ones, those of them that are stored already with the
// ciphertext that is stored.
func KeepSealed(given, stored Sealed) Sealed {
	var values []SealedValue
	for _, v := range stored.SealedValues() {
		values = append(values, *v)
	}
	kept, _ := takeCiphertexts(given, values)
	return kept
}

// ReplaceSealed is the part of [Upkeep.Reseal] that concerns one endpoint: it returns
// what is stored with the ciphertexts of values and without the secrets that have
// expired at now, and whether that is a change.
func ReplaceSealed(stored Sealed, values []SealedValue, now time.Time) (_ Sealed, changed bool) {
	s, changed := takeCiphertexts(stored, values)
	n := len(s.Secrets)
	s.Secrets = slices.DeleteFunc(s.Secrets, func(sec SealedSecret) bool {
		return !sec.ExpiresAt.IsZero() && !now.Before(sec.ExpiresAt)
	})
	return s, changed || len(s.Secrets) < n
}

// takeCiphertexts returns a copy of s with the given ciphertexts, by their IDs.
func takeCiphertexts(s Sealed, values []SealedValue) (_ Sealed, changed bool) {
	s = CloneSealed(s)
	given := make(map[string]*SealedValue, len(values))
	for i := range values {
		given[values[i].ID] = &values[i]
	}
	for _, v := range s.SealedValues() {
		if g := given[v.ID]; g != nil && (g.KeyID != v.KeyID || !slices.Equal(g.Sealed, v.Sealed)) {
			v.KeyID, v.Sealed = g.KeyID, slices.Clone(g.Sealed)
			changed = true
		}
	}
	return s, changed
}
