package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/hookpost/hookpost/signing"
)

// minPayload is the least that payload can make.
const minPayload = 256

// secretText is the signing secret of every endpoint; there is nothing to protect.
const secretText = "whsec_aG9va3Bvc3QgYmVuY2htYXJrIHNlY3JldCwgMzIgYnk="

// payload returns an event's data: a JSON object of exactly size bytes.
func payload(size int) json.RawMessage {
	const head = `{"id":"pay_7Qk2Zr8VbN","object":"payment","amount":125000,"currency":"GHS","status":"succeeded",` +
		`"customer":{"id":"cus_4mX1","email":"ama@example.com"},"captured":true,"fee":1875,"items":[`
	const item = `{"sku":"A-1042","quantity":2,"unit_price":4250},`
	const tail = `null],"note":"`
	const end = `"}`
	var b strings.Builder
	b.WriteString(head)
	for b.Len()+len(item)+len(tail)+len(end) <= size {
		b.WriteString(item)
	}
	b.WriteString(tail)
	b.WriteString(strings.Repeat("n", size-b.Len()-len(end)))
	b.WriteString(end)
	return json.RawMessage(b.String())
}

// envelope returns the request body that the sender makes of such data.
func envelope(data json.RawMessage, eventType string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"type":%q,"created_at":%q,"data":%s}`,
		ceilingID(0), eventType, time.Now().UTC().Format("2006-01-02T15:04:05.000000Z"), data)
}

// ceilingID returns an id of the length that the sender's own have.
func ceilingID(i int64) string { return fmt.Sprintf("evt_%032x", i) }

func bindSecret() (signing.Key, error) {
	secret, err := signing.ParseSecret(secretText)
	if err != nil {
		return nil, err
	}
	return signing.Standard.Bind(secret)
}
