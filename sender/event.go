package sender

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

const (
	maxEventType   = 128
	maxContentType = 255
	maxRefs        = 8
	maxRef         = 255

	reservedPrefix = "webhook."
	jsonType       = "application/json"

	// createdAtLayout is RFC 3339 with six fraction digits, always: some readers take
	// one form only, and texts of one length sort as times do.
	createdAtLayout = "2006-01-02T15:04:05.000000Z"
)

// ErrInvalidEvent says that an event is not acceptable. The error is an
// [*EventError].
var ErrInvalidEvent = errors.New("sender: invalid event")

// EventError says which field of an [Event] is not acceptable and why. It is an
// ErrInvalidEvent.
type EventError struct {
	Field   string // the field of Event
	Problem string // what is wrong and what would be right
}

func (e *EventError) Error() string {
	return fmt.Sprintf("sender: event %s: %s", e.Field, e.Problem)
}

// Is makes errors.Is(err, ErrInvalidEvent) true.
func (e *EventError) Is(target error) bool { return target == ErrInvalidEvent }

func badEvent(field, format string, args ...any) error {
	return &EventError{Field: field, Problem: fmt.Sprintf(format, args...)}
}

// Event is something that happened, as the application reports it. It is sent as
// the JSON object
//
//	{"id":"evt_…","type":"payment.succeeded","created_at":"2026-05-24T10:02:14.000000Z","data":{…}}
//
// unless Body replaces that.
type Event struct {
	// ID names the event: 1 to 64 of A-Z, a-z, 0-9, '_' and '-'. It is the same on
	// every retry and replay, so that receivers can drop duplicates. Default:
	// "evt_" and a UUIDv7 in 32 hexadecimal digits.
	ID string

	// Type says what happened: words of A-Z, a-z, 0-9, '_' and '-' joined by full
	// stops, at most 128 bytes, such as "payment.succeeded". Required. Types that
	// begin with "webhook." are reserved.
	Type string

	// Data is what the receiver is told. A []byte or json.RawMessage must be valid
	// JSON and goes out byte for byte. Anything else is marshalled by encoding/json,
	// without escaping <, > and &. It nests at most 9,999 levels deep: with the envelope
	// that is what encoding/json reads. Default: null.
	Data any

	// CreatedAt is when it happened, kept to the microsecond and sent in RFC 3339, UTC,
	// always with six fraction digits. Default: now.
	CreatedAt time.Time

	// Refs are up to 8 strings by which the delivery log finds the event and by
	// which it can be erased, such as the ids of a payment and a customer. Each is
	// valid UTF-8 without NUL, 1 to 255 bytes. They are never sent.
	Refs []string

	// Body, unless nil, is sent as it is, instead of the JSON object; Data must
	// be nil then.
	Body []byte

	// ContentType describes the request body. Default: application/json.
	ContentType string

	// Delay is how much later than now, by the store's clock, the event is sent; at most
	// 30 days. Which endpoints it is for is decided now. The time after which a delivery
	// is given up begins with the first attempt. Default: at once.
	Delay time.Duration
}

// prepare checks the event and builds the request body. The caller adds the
// scope and the fan-out. A maxBytes of 0 means the default, a negative one no
// limit.
func (e *Event) prepare(now time.Time, newID func() (string, error), maxBytes int, allowReserved bool) (store.Event, error) {
	out := store.Event{ID: e.ID, Type: e.Type, ContentType: e.ContentType}
	if err := checkEventType(e.Type, allowReserved); err != nil {
		return store.Event{}, err
	}
	if err := checkRefs(e.Refs); err != nil {
		return store.Event{}, err
	}
	out.Refs = slices.Clone(e.Refs)
	switch {
	case e.Body != nil && e.Data != nil:
		return store.Event{}, badEvent("Body", "is set and so is Data; Body replaces the envelope with its data, so set one of them")
	case e.ContentType == "":
		out.ContentType = jsonType
	case !validContentType(e.ContentType):
		return store.Event{}, badEvent("ContentType", "%.60q is not a media type such as \"application/json\", of at most %d bytes", e.ContentType, maxContentType)
	}
	out.CreatedAt = e.CreatedAt
	if out.CreatedAt.IsZero() {
		out.CreatedAt = now
	}
	out.CreatedAt = out.CreatedAt.UTC().Truncate(time.Microsecond)
	if y := out.CreatedAt.Year(); y < 0 || y > 9999 {
		return store.Event{}, badEvent("CreatedAt", "the year %d is not one from 0 to 9999, as RFC 3339 requires", y)
	}
	var err error
	if out.ID == "" {
		if out.ID, err = newID(); err != nil {
			return store.Event{}, fmt.Errorf("sender: making an event id: %w", err)
		}
	}
	if !signing.ValidID(out.ID) {
		return store.Event{}, badEvent("ID", "%.80q is not 1 to 64 characters of A-Z, a-z, 0-9, _ and -", out.ID)
	}
	if maxBytes == 0 {
		maxBytes = defaultMaxEnvelope
	}

	// What comes before and after the data. The array keeps it off the heap.
	var array [384]byte
	head := appendHead(array[:0], &out)
	kind, data := hashEnvelope, []byte(nil)
	switch d := e.Data.(type) {
	case nil:
		if e.Body != nil {
			// Memory is the caller's: the event is immutable from here on.
			kind, data = hashRaw, e.Body
			if err := checkSize("Body", len(data), maxBytes); err != nil {
				return store.Event{}, err
			}
			if nestedDeeper(data, maxJSONDepth) && isJSON(out.ContentType) {
				return store.Event{}, badEvent("Body", "is nested deeper than the %d levels that encoding/json reads", maxJSONDepth)
			}
			out.Body = bytes.Clone(data)
			break
		}
		data = []byte("null")
		out.Body, err = envelope(head, data, maxBytes)
	case []byte:
		data = d
		out.Body, err = envelope(head, data, maxBytes)
	case json.RawMessage:
		data = d
		out.Body, err = envelope(head, data, maxBytes)
	default:
		out.Body, err = marshalEnvelope(head, d, maxBytes)
		if err == nil {
			data = out.Body[len(head) : len(out.Body)-1]
		}
	}
	if err != nil {
		return store.Event{}, err
	}
	out.Hash = contentHash(&out, kind, data)
	return out, nil
}

// appendHead appends the envelope up to the data. None of the values needs
// escaping: each has been checked against an alphabet without quotes.
func appendHead(b []byte, ev *store.Event) []byte {
	b = append(b, `{"id":"`...)
	b = append(b, ev.ID...)
	b = append(b, `","type":"`...)
	b = append(b, ev.Type...)
	b = append(b, `","created_at":"`...)
	b = ev.CreatedAt.AppendFormat(b, createdAtLayout)
	return append(b, `","data":`...)
}

// envelope makes the body around data that is JSON already, in one allocation.
func envelope(head, data []byte, maxBytes int) ([]byte, error) {
	n := len(head) + len(data) + 1
	if err := checkSize("Data", n, maxBytes); err != nil {
		return nil, err
	}
	if err := checkJSON(data); err != nil {
		return nil, err
	}
	body := make([]byte, 0, n)
	body = append(body, head...)
	body = append(body, data...)
	return append(body, '}'), nil
}

// marshalEnvelope makes the body around a Go value.
func marshalEnvelope(head []byte, v any, maxBytes int) ([]byte, error) {
	var buf bytes.Buffer
	buf.Grow(len(head) + 256)
	buf.Write(head)
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, badEvent("Data", "can't be marshalled to JSON: %v", err)
	}
	body := buf.Bytes()
	body[len(body)-1] = '}' // in place of the encoder's newline
	if err := checkSize("Data", len(body), maxBytes); err != nil {
		return nil, err
	}
	// A json.RawMessage or Marshaler inside the value passes as it is, and the encoder
	// nests as deep as the value does.
	return body, checkReadable(body[len(head) : len(body)-1])
}

func checkSize(field string, n, maxBytes int) error {
	if maxBytes > 0 && n > maxBytes {
		return badEvent(field, "makes a request body of %d bytes, more than the %d of MaxEnvelope; send a reference to large data, or raise the limit", n, maxBytes)
	}
	return nil
}

func checkJSON(data []byte) error {
	switch {
	case len(data) == 0:
		return badEvent("Data", "is empty, which is not JSON; leave it nil to send null")
	case checkReadable(data) != nil:
		return checkReadable(data)
	case !validJSON(data):
		var raw json.RawMessage
		err := json.Unmarshal(data, &raw)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return badEvent("Data", "is not valid JSON: %v at byte %d; give a Go value to have it marshalled", syntax, syntax.Offset)
		}
		return badEvent("Data", "is not valid JSON; give a Go value to have it marshalled")
	}
	return nil
}

// checkReadable refuses data that receivers could not read once it is in an envelope.
func checkReadable(data []byte) error {
	switch {
	case !utf8.Valid(data):
		return badEvent("Data", "is not valid UTF-8, which JSON requires; send binary data in base64, or as Body")
	case nestedDeeper(data, maxJSONDepth-1):
		return badEvent("Data", "is nested deeper than %d levels; with the envelope around it encoding/json could not read it", maxJSONDepth-1)
	}
	return nil
}

// checkEventType accepts `[A-Za-z0-9_-]+` joined by full stops.
func checkEventType(t string, allowReserved bool) error {
	switch {
	case t == "":
		return badEvent("Type", "is empty; name what happened, such as \"payment.succeeded\"")
	case !validType(t):
		return badEvent("Type", "%.140q is not words of A-Z, a-z, 0-9, _ and - joined by full stops, of at most %d bytes in all, such as \"payment.succeeded\"", t, maxEventType)
	case !allowReserved && store.Reserved(t):
		return badEvent("Type", "%q begins with %q, which is reserved", t, reservedPrefix)
	}
	return nil
}

// validType reports whether t has the shape of an event type.
func validType(t string) bool {
	if t == "" || len(t) > maxEventType {
		return false
	}
	inWord := false
	for i := range len(t) {
		switch c := t[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
			inWord = true
		case c == '.' && inWord:
			inWord = false
		default:
			return false
		}
	}
	return inWord
}

func checkRefs(refs []string) error {
	if len(refs) > maxRefs {
		return badEvent("Refs", "has %d elements; an event has at most %d", len(refs), maxRefs)
	}
	for i, r := range refs {
		switch {
		case r == "":
			return badEvent("Refs", "element %d is empty", i)
		case len(r) > maxRef:
			return badEvent("Refs", "element %d has %d bytes; at most %d are kept", i, len(r), maxRef)
		case !utf8.ValidString(r):
			return badEvent("Refs", "element %d is not valid UTF-8", i)
		case strings.IndexByte(r, 0) >= 0:
			return badEvent("Refs", "element %d contains a NUL", i)
		}
	}
	return nil
}

// validContentType accepts what can stand in a header and parses as a media type.
func validContentType(t string) bool {
	if len(t) > maxContentType {
		return false
	}
	for i := range len(t) {
		if t[i] < ' ' || t[i] > '~' {
			return false
		}
	}
	mediaType, _, err := mime.ParseMediaType(t)
	return err == nil && strings.Contains(mediaType, "/")
}

// isJSON reports whether a content type is JSON's, such as application/json or
// application/cloudevents+json.
func isJSON(contentType string) bool {
	mediaType, _, _ := mime.ParseMediaType(contentType)
	return mediaType == jsonType || strings.HasSuffix(mediaType, "+json")
}

// What the content of an event was given as: the same bytes mean something
// else inside an envelope.
const (
	hashEnvelope byte = 'e'
	hashRaw      byte = 'r'
)

// contentHash digests what makes two events with one id the same: type, content
// type and data, but not the time. None of the first three can contain a NUL.
func contentHash(ev *store.Event, kind byte, data []byte) [sha256.Size]byte {
	var array [maxEventType + maxContentType + sha256.Size + 8]byte
	sum := sha256.Sum256(data)
	b := append(array[:0], ev.Type...)
	b = append(b, 0)
	b = append(b, ev.ContentType...)
	b = append(b, 0, kind)
	b = append(b, sum[:]...)
	return sha256.Sum256(b)
}

// newEventID makes "evt_" and a UUIDv7 in 32 hexadecimal digits. Random bytes
// come from r; nil means crypto/rand.
func newEventID(r io.Reader) (string, error) {
	var id uuid.UUID
	var err error
	if r == nil {
		id, err = uuid.NewV7()
	} else {
		id, err = uuid.NewV7FromReader(r)
	}
	if err != nil {
		return "", err
	}
	var text [4 + 2*len(id)]byte
	copy(text[:], "evt_")
	hex.Encode(text[4:], id[:])
	return string(text[:]), nil
}
