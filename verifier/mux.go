package verifier

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
)

// ErrDecode says that a handler did not get its event because the data is not
// JSON that fits the handler's type. The error of package encoding/json is
// wrapped with it.
var ErrDecode = errors.New("verifier: the data does not fit the handler's type")

// ErrNoHandler says that a Mux has no handler for an event's type. Senders add
// types, so the event should be acknowledged, and not be marked as handled: a
// later version of the program may have a handler for it.
var ErrNoHandler = errors.New("verifier: no handler for the event's type")

// A HandlerFunc handles a verified event. An error makes the sender try again.
type HandlerFunc func(ctx context.Context, e Event) error

// MuxOptions configures a [Mux]. The zero value, like nil, means the defaults.
type MuxOptions struct {
	// OnError hears of events whose handler failed and of those that can't be
	// read (ErrUnreadable), before the answer is sent; not of those that nobody
	// handles. Default: a line in slog.Default with at most 1 KiB each of id, type
	// and error.
	OnError func(ctx context.Context, e Event, err error)
}

// A Mux calls the handler for an event's type. It goes behind
// [Verifier.Middleware]:
//
//	mux := verifier.NewMux(nil)
//	verifier.On(mux, "payment.succeeded", func(ctx context.Context, e verifier.Event, p Payment) error { … })
//	http.Handle("POST /webhooks", v.Middleware(mux))
//
// Patterns are an exact type, a prefix ending in ".*" for all types below it
// ("payment.*" is for payment.succeeded, not for payment), and "*" for all
// events, those without a type included. An event goes to one handler: that of
// its exact type, else of the longest prefix, else of "*".
//
// An event whose type no pattern matches is acknowledged: senders add types, and
// must not be made to retry them. It is not marked as handled ([ErrNoHandler]).
// If a handler returns an error, if the data can't be decoded for it
// ([ErrDecode]) or if the event has no type because its body can't be read
// ([ErrUnreadable]), the answer is 500 and the sender tries again, by when a
// corrected program may run. Register "*" to acknowledge events without a type.
// A panic passes to net/http.
//
// Patterns are registered before the first event arrives. After that a Mux is
// safe for concurrent use.
type Mux struct {
	exact    map[string]HandlerFunc
	prefixes map[string]HandlerFunc // with their full stop
	longest  int                    // of the prefixes, in bytes
	all      HandlerFunc
	onError  func(ctx context.Context, e Event, err error)
}

// NewMux returns a Mux without handlers.
func NewMux(opts *MuxOptions) *Mux {
	m := &Mux{
		exact:    make(map[string]HandlerFunc),
		prefixes: make(map[string]HandlerFunc),
		onError:  logError,
	}
	if opts != nil && opts.OnError != nil {
		m.onError = opts.OnError
	}
	return m
}

func logError(ctx context.Context, e Event, err error) {
	var cause any = err
	if text := err.Error(); len(text) > maxLogged {
		cause = clip(text)
	}
	slog.ErrorContext(ctx, "webhook not handled", "id", clip(e.ID), "type", clip(e.Type), "error", cause)
}

// maxLogged is how much of a text goes into the log, in bytes: ids and types are as long
// as their sender likes, and errors of encoding/json repeat numbers.
const maxLogged = 1024

func clip(text string) string {
	if len(text) <= maxLogged {
		return text
	}
	return strings.ToValidUTF8(text[:maxLogged], "") + "..."
}

// Handle registers a handler that gets the event as it is. Like
// [http.ServeMux.Handle] it panics if the pattern has another form than
// [Mux] describes or is registered already, or if handle is nil: these are
// mistakes in the program.
func (m *Mux) Handle(pattern string, handle HandlerFunc) {
	if handle == nil {
		panic(fmt.Sprintf("verifier: nil handler for %q", pattern))
	}
	into, key := m.exact, pattern
	if prefix, ok := strings.CutSuffix(pattern, ".*"); ok && prefix != "" {
		into, key = m.prefixes, prefix+"."
		m.longest = max(m.longest, len(key))
	}
	switch {
	case pattern == "*":
		if m.all != nil {
			panic(`verifier: pattern "*" is registered twice`)
		}
		m.all = handle
	case key == "" || strings.Contains(key, "*"):
		panic(fmt.Sprintf(`verifier: pattern %q is neither an event type such as "payment.succeeded", nor one such as "payment.*" for all below it, nor "*"`, pattern))
	case into[key] != nil:
		panic(fmt.Sprintf("verifier: pattern %q is registered twice", pattern))
	default:
		into[key] = handle
	}
}

// On registers a handler that gets the data decoded by encoding/json into a T.
// The data is the event's Data or, where it has none, as with GitHub's JSON, its
// whole Body; a byte order mark before it is skipped. Members that T does not
// have are ignored. On panics where [Mux.Handle] does.
func On[T any](m *Mux, pattern string, handle func(ctx context.Context, e Event, data T) error) {
	if handle == nil {
		m.Handle(pattern, nil)
	}
	m.Handle(pattern, func(ctx context.Context, e Event) error {
		var data T
		if err := json.Unmarshal(content(e.Data, e.Body), &data); err != nil {
			return fmt.Errorf("%w: %w", ErrDecode, err)
		}
		return handle(ctx, e, data)
	})
}

// Dispatch calls the handler for e and returns its error. Without a handler the
// error is [ErrNoHandler], or [ErrUnreadable] if e has no type. It is what
// ServeHTTP does, for events that come another way, such as from a queue. There,
// ErrNoHandler is no reason to try again: set the event aside, so that it can be
// dispatched when there is a handler, or drop it.
func (m *Mux) Dispatch(ctx context.Context, e Event) error {
	if handle := m.handler(e.Type); handle != nil {
		return handle(ctx, e)
	}
	if e.Type != "" {
		return ErrNoHandler
	}
	if _, err := parseEnvelope(content(e.Data, e.Body), false); err != nil {
		return err
	}
	return ErrUnreadable
}

func (m *Mux) handler(eventType string) HandlerFunc {
	if handle := m.exact[eventType]; handle != nil {
		return handle
	}
	// A type may be as long as a body: what no prefix reaches is not looked at.
	for end := min(len(eventType), m.longest); ; {
		end = strings.LastIndexByte(eventType[:end], '.')
		if end < 0 {
			break
		}
		if handle := m.prefixes[eventType[:end+1]]; handle != nil {
			return handle
		}
	}
	return m.all
}

// ServeHTTP answers a request that came through [Verifier.Middleware]: 200
// with no body, also to [ErrNoHandler], or 500 if the handler failed or the
// event can't be read. A handler that calls [Once] itself may return its errors:
// ErrDuplicate is answered 200, ErrInProgress 409. Joined with another
// error, ErrNoHandler and ErrDuplicate acknowledge nothing: the answer is 500. Without the middleware
// nothing is verified, and the answer is 500.
func (m *Mux) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := deliveryFrom(r.Context())
	if d == nil {
		m.onError(r.Context(), Event{}, errors.New("verifier: a Mux must be behind Verifier.Middleware"))
		notHandled(w, nil)
		return
	}
	switch err := m.Dispatch(r.Context(), d.event); {
	case err == nil, saysOnly(err, ErrDuplicate):
		d.tell(true)
	case saysOnly(err, ErrNoHandler, ErrDuplicate):
		d.tell(false)
	default:
		m.onError(r.Context(), d.event, err)
		notHandled(w, err)
	}
}

// saysOnly reports whether an error is one of those, wrapped or not, and nothing else:
// joined with them another one is a failure, of which the sender must hear.
func saysOnly(err error, those ...error) bool {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		others := func(err error) bool { return !saysOnly(err, those...) }
		return !slices.ContainsFunc(joined.Unwrap(), others)
	}
	if wrapped := errors.Unwrap(err); wrapped != nil {
		return saysOnly(wrapped, those...)
	}
	return slices.Contains(those, err)
}

// notHandled gives an answer that makes the sender try again.
func notHandled(w http.ResponseWriter, err error) {
	if errors.Is(err, ErrInProgress) {
		http.Error(w, "Event is being handled", http.StatusConflict)
		return
	}
	http.Error(w, "Event was not handled", http.StatusInternalServerError)
}
