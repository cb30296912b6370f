package main

import (
	"encoding/hex"

	"github.com/google/uuid"
)

// newEventID makes an id of the form that the library gives: "evt_" and a UUIDv7 in
// 32 hexadecimal digits.
func newEventID() string {
	id := uuid.Must(uuid.NewV7())
	return "evt_" + hex.EncodeToString(id[:])
}
