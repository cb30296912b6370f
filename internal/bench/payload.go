package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
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

// timedField is how data begins that says when it was sent, in nanoseconds since 1970.
// The quotes keep the digits as they are in whatever stores JSON in its own way.
const timedField = `"sent_at":"`

// timedPayload makes data of one size that says when it was sent.
type timedPayload struct{ untimed []byte }

func newTimedPayload(size int) timedPayload {
	head := fmt.Sprintf(`{%s%019d",`, timedField, 0)
	return timedPayload{append([]byte(head), payload(max(minPayload, size-len(head)+1))[1:]...)}
}

// at returns the data of an event that is sent at t; the zero time means that it is
// not to be timed.
func (p timedPayload) at(t time.Time) []byte {
	data := bytes.Clone(p.untimed)
	if !t.IsZero() {
		copy(data[len("{")+len(timedField):], strconv.FormatInt(t.UnixNano(), 10))
	}
	return data
}

// sentAt returns the time in the body of a request; zero: none.
func sentAt(body []byte) time.Time {
	_, digits, found := bytes.Cut(body, []byte(timedField))
	if !found {
		// PostgreSQL puts a space behind the colon.
		_, digits, found = bytes.Cut(body, []byte(strings.Replace(timedField, ":", ": ", 1)))
	}
	digits, _, ended := bytes.Cut(digits, []byte{'"'})
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if !found || !ended || err != nil || n == 0 {
		return time.Time{}
	}
	return time.Unix(0, n)
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
