package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	neturl "net/url"
	"strings"
	"time"

	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// homeNetworks may be sent to besides public addresses: here the URL is the user's
// own, not a customer's.
var homeNetworks = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"),
	netip.MustParsePrefix("192.168.0.0/16"), netip.MustParsePrefix("fc00::/7"),
}

var sendCommand = command{
	name:  "send",
	args:  "[URL]",
	short: "send one signed request, or put an event into the store",
	long: `
With a URL it makes one signed request and says what the receiver answered. Nothing
is retried or stored. The exit status is 0 for a 2xx answer, 1 for another, and 3
for none.

Without a URL the event goes into the store (--store), for all endpoints of the
tenant and mode that select its type; the application that runs on this store
delivers it.`,
	prepare: func(c *call) func(context.Context) error {
		s := &sending{call: c, timeout: 10 * time.Second}
		textFlag(c.flags, &s.event.Type, "type", "the event `TYPE`, such as payment.succeeded; required")
		textFlag(c.flags, &s.data, "data", "the event's data, as `JSON`, @FILE or @- for the standard input (null)")
		valueFlag(c.flags, &s.event.ID, "id", "the event's `ID` (a new one); the same again is the same event", parseID)
		textFlag(c.flags, &s.body, "body", "send a `FILE` as it is, instead of an envelope with the data")
		textFlag(c.flags, &s.event.ContentType, "content-type", "the media `TYPE` of the request (application/json)")
		listFlag(c.flags, &s.event.Refs, "ref", "a `REFERENCE` that finds the event in the store; may be repeated", notEmpty)
		listFlag(c.flags, &s.schemes, "scheme", schemeUsage+"; may be repeated", parseScheme)
		valueFlag(c.flags, &s.timeout, "timeout", "how long to wait for the answer, a `DURATION` (10s)", positiveDuration)
		s.secret = c.secretFlags()
		s.store = c.storeFlags()
		return s.run
	},
}

// A sending is one call of send.
type sending struct {
	*call
	event   sender.Event
	data    string // as given
	body    string // a file
	schemes []signing.Scheme
	timeout time.Duration
	secret  *secretSource
	store   *storeSource
}

func (s *sending) run(ctx context.Context) error {
	url := s.arg(0)
	direct, stored := []string{"scheme", "timeout", "secret-env", "secret-file"}, []string{"store", "schema", "tenant", "mode", "ref"}
	switch {
	case s.event.Type == "":
		return badInput("--type is missing; name what happened, such as --type payment.succeeded")
	case s.data != "" && s.body != "":
		return badInput("--data and --body contradict each other; a body replaces the envelope with its data")
	case url != "" && s.firstGiven(stored) != "":
		return badInput("--%s is for sending through the store and the URL for sending without; leave out one of them", s.firstGiven(stored))
	case url != "" && !strings.Contains(url, "://"):
		return badInput("the URL is not absolute; begin with https:// or http://")
	case url == "" && s.store.address(s.call) == "":
		return badInput("neither a URL nor a store; give the receiver's URL, or --store to send to the endpoints there")
	case url == "" && s.firstGiven(direct) != "":
		return badInput("--%s is for sending to a URL; in the store each endpoint has its own", s.firstGiven(direct))
	}
	if err := s.readContent(ctx); err != nil {
		return err
	}
	if url == "" {
		return s.enqueue(ctx)
	}
	return s.request(ctx, url)
}

func (s *sending) firstGiven(names []string) string {
	for _, name := range names {
		if s.given(name) {
			return name
		}
	}
	return ""
}

// readContent fills in the event's data or body.
func (s *sending) readContent(ctx context.Context) error {
	if s.body != "" {
		body, err := s.read(ctx, s.body, maxInput)
		if body == nil {
			body = []byte{}
		}
		s.event.Body = body
		return err
	}
	data := []byte(s.data)
	if file, ok := strings.CutPrefix(s.data, "@"); ok {
		var err error
		if data, err = s.read(ctx, file, maxInput); err != nil {
			return err
		}
	}
	if s.data == "" {
		return nil
	}
	s.event.Data = data
	if err := json.Unmarshal(data, new(json.RawMessage)); err != nil {
		return badInput("--data is not JSON (%v); the shell wants it quoted, as in --data '{\"amount\":5000}'", err)
	}
	return nil
}

// enqueue puts the event into the store.
func (s *sending) enqueue(ctx context.Context) error {
	return s.store.use(ctx, s.call, nil, func(t *sender.Tenant) error {
		r, err := t.Send(ctx, s.event)
		if errors.Is(err, store.ErrConflict) {
			return refused("an event %s with other content is stored already; leave --id out for a new one", r.ID)
		}
		if errors.Is(err, sender.ErrOutcomeUnknown) {
			return trouble("the event may be stored or not; to be sure send it again with --id %s", r.ID)
		}
		if err != nil {
			return err
		}
		if s.json {
			return s.out.json(receiptJSON{r.ID, r.Duplicate, r.Deliveries})
		}
		switch {
		case r.Duplicate:
			fmt.Fprintf(s.out, "%s is stored already; nothing new happens.\n", r.ID)
		case r.Deliveries == 0:
			fmt.Fprintf(s.out, "%s is stored; no enabled endpoint selects its type.\n", r.ID)
		default:
			fmt.Fprintf(s.out, "%s is stored, for %s.\n", r.ID, plural(r.Deliveries, "endpoint"))
		}
		return nil
	})
}

type receiptJSON struct {
	ID         string `json:"id"`
	Duplicate  bool   `json:"duplicate"`
	Deliveries int    `json:"deliveries"` // endpoints that it is for
}

// request sends the event to one URL.
func (s *sending) request(ctx context.Context, url string) error {
	secrets, err := s.secrets(ctx, s.secret)
	if err != nil {
		return err
	}
	if len(s.schemes) == 0 {
		s.schemes = []signing.Scheme{signing.Standard}
	}
	for _, scheme := range s.schemes {
		if _, err := bind(scheme, secrets); err != nil {
			return err
		}
	}
	client, err := sender.NewClient(&sender.ClientOptions{
		MaxEnvelope: -1, // what a receiver takes is for it to say
		HTTP: sender.HTTPOptions{
			Timeout:   s.timeout,
			UserAgent: "hookpost-cli",
			Egress:    sender.Egress{Allow: homeNetworks},
		},
	})
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()
	if s.event.ID == "" {
		s.event.ID = newEventID()
	}
	target := sender.Target{URL: url, Secrets: secrets, Schemes: s.schemes}
	attempt, err := client.Attempt(ctx, target, s.event)
	var failed *sender.AttemptError
	if err != nil && !errors.As(err, &failed) {
		return err
	}
	if ctx.Err() != nil && attempt.Status == 0 {
		return ctx.Err()
	}
	return s.printAnswer(&attempt)
}

// printAnswer says what became of the request.
func (s *sending) printAnswer(a *store.Attempt) error {
	end := &exitError{status: exitStatus(a)}
	took := millis(a.Took)
	switch {
	case s.json:
		err := s.out.json(struct {
			ID        string `json:"id"`
			Type      string `json:"type"`
			Delivered bool   `json:"delivered"`
			attemptJSON
		}{s.event.ID, s.event.Type, end.status == exitOK, newAttempt(a)})
		if err != nil {
			return err
		}
	case end.status == exitOK:
		fmt.Fprintf(s.out, "Delivered: %d %s after %s, event %s\n", a.Status, http.StatusText(a.Status), took, s.event.ID)
	case a.Status == 0:
		end.text = fmt.Sprintf("no answer from %s after %s (%s): %s", shownURL(a.URL), took, a.Class, a.Error)
	default:
		fmt.Fprintf(s.out, "Not delivered: %s, after %s, event %s\n", inert.Line(a.Error), took, s.event.ID)
		if len(a.ResponseBody) > 0 {
			s.out.payload(inert.Lines(bytes.TrimSpace(a.ResponseBody), maxPrinted), "")
		}
	}
	if end.status == exitOK {
		return nil
	}
	return end
}

// shownURL is a URL without what may be a secret in it.
func shownURL(raw string) string {
	u, err := neturl.Parse(raw)
	if err != nil {
		return "the receiver"
	}
	u.User, u.RawQuery, u.Fragment = nil, "", ""
	return u.String()
}

// exitStatus is the exit status for what became of a request.
func exitStatus(a *store.Attempt) int {
	switch {
	case a.Outcome == store.AttemptDelivered:
		return exitOK
	case a.Status != 0:
		return exitNo
	case a.Class == sender.ClassBlocked:
		return exitBadInput
	}
	return exitTrouble
}
