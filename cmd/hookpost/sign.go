package main

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/hookpost/hookpost/signing"
)

var signCommand = command{
	name:  "sign",
	args:  "[FILE]",
	short: "print the headers that sign a request body",
	long: `
The body is read from FILE or the standard input, byte for byte. The headers are
printed one a line, as curl takes them:

  hookpost sign body.json > headers
  curl -H @headers --data-binary @body.json https://example.com/webhooks`,
	prepare: func(c *call) func(context.Context) error {
		scheme := signing.Standard
		var id, typ string
		var at time.Time
		valueFlag(c.flags, &scheme, "scheme", schemeUsage, parseScheme)
		valueFlag(c.flags, &id, "id", "the event's `ID`, where the scheme has one (a new one)", parseID)
		textFlag(c.flags, &typ, "type", "the event `TYPE`, where the scheme has one (github)")
		valueFlag(c.flags, &at, "at", "the `TIME` of signing (now)", parseTime)
		source := c.secretFlags()
		return func(ctx context.Context) error {
			secrets, err := c.secrets(ctx, source)
			if err != nil {
				return err
			}
			key, err := bind(scheme, secrets)
			if err != nil {
				return err
			}
			body, err := c.read(ctx, c.arg(0), maxInput)
			if err != nil {
				return err
			}
			m := signing.Message{ID: id, Type: typ, Timestamp: at, Body: body}
			if id == "" {
				m.ID = newEventID()
			}
			if at.IsZero() {
				m.Timestamp = time.Now()
			}
			h := make(http.Header)
			key.SetHeaders(h, m)
			if len(h) == 0 {
				return badInput("the scheme %s can't sign this: a private key or shared secret, an event type of words joined by full stops, and a time from 1970 to 9999 are needed", scheme.Name())
			}
			return c.printHeaders(h)
		}
	},
}

func parseID(s string) (string, error) {
	if !signing.ValidID(s) {
		return "", fmt.Errorf("want 1 to 64 characters of A-Z, a-z, 0-9, _ and -")
	}
	return s, nil
}

func (c *call) printHeaders(h http.Header) error {
	names := slices.Sorted(maps.Keys(h))
	if c.json {
		flat := make(map[string]string, len(h))
		for _, name := range names {
			flat[name] = h.Get(name)
		}
		return c.out.json(map[string]any{"headers": flat})
	}
	for _, name := range names {
		fmt.Fprintf(c.out, "%s: %s\n", name, h.Get(name))
	}
	return nil
}
