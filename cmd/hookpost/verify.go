package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

var verifyCommand = command{
	name:  "verify",
	args:  "[FILE]",
	short: "check the signature of a request",
	long: `
The body is read from FILE or the standard input, byte for byte. The headers come
from --headers, --header or both; those that do not matter are ignored.

The exit status is 0 if the signature is right, else 1, and the reason is printed.`,
	prepare: func(c *call) func(context.Context) error {
		scheme := signing.Standard
		tolerance := signing.DefaultTolerance
		var at time.Time
		var lines []string
		var headerFile string
		valueFlag(c.flags, &scheme, "scheme", schemeUsage, parseScheme)
		textFlag(c.flags, &headerFile, "headers", "a `FILE` of headers, one a line; - is the standard input")
		listFlag(c.flags, &lines, "header", "one header, as `'NAME: VALUE'`; may be repeated", notEmpty)
		valueFlag(c.flags, &tolerance, "tolerance", "how far the signed time may lie from now, a `DURATION` or any (5m)", parseTolerance)
		valueFlag(c.flags, &at, "at", "verify as if it were this `TIME`", parseTime)
		source := c.secretFlags()
		return func(ctx context.Context) error {
			secrets, err := c.secrets(ctx, source)
			if err != nil {
				return err
			}
			if headerFile != "" {
				text, err := c.read(ctx, headerFile, maxHeader)
				if err != nil {
					return err
				}
				lines = append(lines, strings.Split(string(text), "\n")...)
			}
			h, err := parseHeaders(lines)
			if err != nil {
				return err
			}
			now := time.Now
			if !at.IsZero() {
				now = func() time.Time { return at }
			}
			check, err := newChecker(scheme, secrets, tolerance, now)
			if err != nil {
				return err
			}
			body, err := c.read(ctx, c.arg(0), maxInput)
			if err != nil {
				return err
			}
			event, reason := check.check(body, h)
			return c.printVerdict(event, reason)
		}
	},
}

func parseTolerance(s string) (time.Duration, error) {
	if s == "any" {
		return -1, nil
	}
	d, err := positiveDuration(s)
	if err != nil {
		return 0, errors.New("want a duration such as 5m, or any")
	}
	return d, nil
}

// parseHeaders reads lines such as "Name: value". The request line and the end of
// line of HTTP are welcome, since captured requests have them.
func parseHeaders(lines []string) (http.Header, error) {
	h := make(http.Header)
	for i, line := range lines {
		line = strings.TrimRight(line, "\r")
		if line == "" || i == 0 && strings.Contains(line, " HTTP/") {
			continue
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || strings.TrimSpace(name) == "" {
			// The line is not repeated: it may be anything, a secret for instance.
			return nil, badInput("line %d of the headers does not have the form 'Name: value'", i+1)
		}
		h.Add(textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name)), strings.TrimSpace(value))
	}
	if len(h) == 0 {
		return nil, badInput("no headers; give those of the request with --headers FILE or --header 'Name: value'")
	}
	return h, nil
}

// A checker verifies signatures and finds out why one is refused.
type checker struct {
	strict *verifier.Verifier
	ageing *verifier.Verifier // the same for requests of any age
	now    func() time.Time
}

// newChecker makes a checker; a negative tolerance accepts any time.
func newChecker(scheme signing.Scheme, secrets []signing.Secret, tolerance time.Duration, now func() time.Time) (*checker, error) {
	if _, err := bind(scheme, secrets); err != nil {
		return nil, err
	}
	opts := verifier.Options{Scheme: scheme, Previous: secrets[1:], Tolerance: tolerance, Clock: now}
	strict, err := verifier.New(secrets[0].Reveal(), &opts)
	if err != nil {
		return nil, err
	}
	opts.Tolerance = -1
	ageing, err := verifier.New(secrets[0].Reveal(), &opts)
	return &checker{strict, ageing, now}, err
}

// check returns the event, or why it is refused in words for the owner of the
// secret: they tell more than a sender may hear.
func (k *checker) check(body []byte, h http.Header) (event verifier.Event, reason string) {
	event, err := k.strict.ConstructEvent(body, h)
	if err == nil {
		return event, ""
	}
	reason = plain(err)
	switch {
	case errors.Is(err, signing.ErrTooOld), errors.Is(err, signing.ErrTooNew):
		late, err := k.ageing.ConstructEvent(body, h)
		if err != nil {
			return event, reason + ", and the signature is not right either"
		}
		away := k.now().Sub(late.Timestamp).Round(time.Second)
		if away < 0 {
			return event, fmt.Sprintf("%s: signed %s ahead of now; the signature itself is right", reason, -away)
		}
		return event, fmt.Sprintf("%s: signed %s ago; the signature itself is right", reason, away)
	case errors.Is(err, signing.ErrUnknownVersion):
	case errors.Is(err, signing.ErrNoMatch):
		if trimmed := bytes.TrimRight(body, "\r\n"); len(trimmed) < len(body) {
			if _, err := k.ageing.ConstructEvent(trimmed, h); err == nil {
				return event, reason + ": it is right for the body without the line end that the file has"
			}
		}
		return event, reason + ": it was made with another secret or over other bytes (a body that was parsed and printed again is another)"
	}
	return event, reason
}

// verdictJSON is what verify prints for programs.
type verdictJSON struct {
	Verified  bool            `json:"verified"`
	Reason    string          `json:"reason,omitempty"`
	ID        string          `json:"id,omitempty"`
	Type      string          `json:"type,omitempty"`
	CreatedAt stamp           `json:"created_at,omitzero"`
	SignedAt  stamp           `json:"signed_at,omitzero"`
	Signed    []string        `json:"signed,omitempty"` // which of id, type and time the signature covers
	Data      json.RawMessage `json:"data,omitempty"`
	bodyJSON                  // if there is no data
}

// bodyJSON is a request body: as text, or in base64 if it is not UTF-8.
type bodyJSON struct {
	Body   string `json:"body,omitempty"`
	Base64 []byte `json:"body_base64,omitempty"`
}

func newBody(b []byte) bodyJSON {
	if utf8.Valid(b) {
		return bodyJSON{Body: string(b)}
	}
	return bodyJSON{Base64: b}
}

func newVerdict(e verifier.Event, reason string) verdictJSON {
	if reason != "" {
		return verdictJSON{Reason: reason}
	}
	v := verdictJSON{Verified: true, ID: e.ID, Type: e.Type, CreatedAt: utc(e.CreatedAt), SignedAt: utc(e.Timestamp), Signed: covered(e.Signed)}
	if json.Valid(e.Data) {
		v.Data = e.Data
	} else {
		v.bodyJSON = newBody(e.Body)
	}
	return v
}

func covered(by signing.Coverage) []string {
	names := []string{}
	for _, fact := range []struct {
		name string
		is   bool
	}{{"id", by.ID}, {"type", by.Type}, {"time", by.Time}} {
		if fact.is {
			names = append(names, fact.name)
		}
	}
	return names
}

func (c *call) printVerdict(e verifier.Event, reason string) error {
	if c.json {
		if err := c.out.json(newVerdict(e, reason)); err != nil {
			return err
		}
		if reason != "" {
			return saidNo
		}
		return nil
	}
	if reason != "" {
		return refused("%s", reason)
	}
	fmt.Fprintln(c.out, "The signature is right.")
	c.out.facts([][2]string{
		{"event", e.ID + unsigned(e.Signed.ID || e.ID == "")},
		{"type", e.Type + unsigned(e.Signed.Type || e.Type == "")},
		{"created", clock(e.CreatedAt)},
		{"signed", clock(e.Timestamp)},
	})
	return nil
}

func unsigned(is bool) string {
	if is {
		return ""
	}
	return " (not covered by the signature)"
}
