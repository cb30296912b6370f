package sender

import (
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

const (
	maxHeaders     = 16   // of one endpoint
	maxHeaderName  = 100  // bytes
	maxHeaderValue = 4096 // bytes
)

// Headers are custom headers of the requests to an endpoint, such as Authorization.
// The values count as secrets: they are sealed like those, and printed, logged or
// marshalled, Headers show names only.
//
// At most 16; a name has at most 100 bytes, a value at most 4,096 of printable
// ASCII. Refused are headers that belong to something else: those of the signature
// schemes in Options, of the connection (Host, Content-Length, Transfer-Encoding
// and so on), of the event (Content-Type, Content-Encoding), of the answer
// (Accept-Encoding, while Accept can be set) and of tracing (Traceparent, Tracestate); User-Agent, which is HTTPOptions.UserAgent;
// Idempotency-Key and X-Idempotency-Key, with which Go's client repeats requests by
// itself; and those that would make a receiver take the request for another one, or for
// somebody else's (Forwarded, X-Forwarded-*, True-Client-IP, X-Original-URL,
// X-HTTP-Method-Override and their like). An underscore counts as the hyphen for which
// many servers take it.
//
// A value is made by [Value]:
//
//	sender.Headers{"Authorization": sender.Value("Bearer " + token)}
type Headers map[string]HeaderValue

// HeaderValue is the value of a custom header. Like a [signing.Secret] it shows
// itself to nobody: not in fmt, log/slog and the encodings, nor in unexported fields.
// The zero HeaderValue is empty, which removes a header in an EndpointEdit.
type HeaderValue struct {
	_    [0]func() // no ==, which would compare pointers
	text *string   // see signing.Secret for why a pointer
}

// Value returns the HeaderValue of a text.
func Value(text string) HeaderValue { return HeaderValue{text: &text} }

// Reveal returns the text, "" for the zero HeaderValue. It is the only way to see it.
func (v HeaderValue) Reveal() string {
	if v.text == nil {
		return ""
	}
	return *v.text
}

// String returns "***", or "" for an empty value.
func (v HeaderValue) String() string {
	if v.Reveal() == "" {
		return ""
	}
	return redacted
}

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (v HeaderValue) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, v.String()) }

// LogValue implements [slog.LogValuer] and returns what String returns.
func (v HeaderValue) LogValue() slog.Value { return slog.StringValue(v.String()) }

// MarshalText implements [encoding.TextMarshaler] and returns what String returns.
func (v HeaderValue) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler], for an API of the
// application's that reads Headers from JSON. It refuses what MarshalText writes.
func (v *HeaderValue) UnmarshalText(text []byte) error {
	if string(text) == redacted {
		return &EndpointError{"Headers", "has the redacted form of a value, not the value itself"}
	}
	*v = Value(string(text))
	return nil
}

// String returns the names, sorted, with their values redacted.
func (h Headers) String() string {
	var b strings.Builder
	b.WriteByte('[')
	for i, name := range slices.Sorted(maps.Keys(h)) {
		if i > 0 {
			b.WriteByte(' ')
		}
		if !validHeaderName(name) {
			name = "***" // perhaps a value in the wrong place
		}
		b.WriteString(name + ":***")
	}
	b.WriteByte(']')
	return b.String()
}

// Format implements [fmt.Formatter]: every verb prints what String returns.
func (h Headers) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, h.String()) }

// LogValue implements [slog.LogValuer] and returns what String returns.
func (h Headers) LogValue() slog.Value { return slog.StringValue(h.String()) }

// MarshalText implements [encoding.TextMarshaler] and returns what String returns.
func (h Headers) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// setHeaders seals the values of headers into an endpoint. One with an empty value
// is removed; those that are not named stay.
func (c *config) setHeaders(ep *store.Endpoint, headers Headers) error {
	if len(headers) > 2*maxHeaders { // as many to remove and as many to set
		return &EndpointError{"Headers", fmt.Sprintf("are %d, more than %d", len(headers), maxHeaders)}
	}
	given := make(map[string]string, len(headers))
	for name, hidden := range headers {
		value := hidden.Reveal()
		if !validHeaderName(name) {
			// Not shown: it may be a value in the wrong place.
			return &EndpointError{"Headers", fmt.Sprintf("a name is not one of HTTP's, of letters, digits and !#$%%&'*+-.^_`|~, or has more than %d bytes", maxHeaderName)}
		}
		name = http.CanonicalHeaderKey(name)
		if _, twice := given[name]; twice {
			return &EndpointError{"Headers", fmt.Sprintf("%s is there twice", name)}
		}
		if problem := headerValueProblem(value); problem != "" {
			return &EndpointError{"Headers", fmt.Sprintf("the value of %s %s", name, problem)}
		}
		given[name] = value
	}
	values := slices.DeleteFunc(slices.Clone(ep.HeaderValues), func(h store.SealedHeader) bool {
		_, replaced := given[h.Name]
		return replaced
	})
	for name, value := range given {
		if value == "" {
			continue
		}
		sealed, err := sealHeader(c.Keyring, ep, name, value)
		if err != nil {
			return err
		}
		values = append(values, sealed)
	}
	slices.SortFunc(values, func(a, b store.SealedHeader) int { return strings.Compare(a.Name, b.Name) })
	ep.HeaderValues, ep.Headers = values, nil
	for i := range values {
		ep.Headers = append(ep.Headers, values[i].Name)
	}
	return nil
}

// checkHeaders refuses headers that endpoints can't have.
func (c *config) checkHeaders(names []string) error {
	if len(names) == 0 {
		return nil
	}
	if len(names) > maxHeaders {
		return &EndpointError{"Headers", fmt.Sprintf("are %d, more than %d", len(names), maxHeaders)}
	}
	signatures := c.signatureHeaders()
	for _, name := range names {
		why := forbiddenHeader(name)
		if slices.ContainsFunc(signatures, func(s string) bool { return sameHeader(s, name) }) {
			why = "carries a signature"
		}
		if why != "" {
			return &EndpointError{"Headers", fmt.Sprintf("%s can't be set: it %s", name, why)}
		}
	}
	return nil
}

// signatureHeaders returns the names of the headers that the schemes in Options
// set. A scheme that can't use a secret such as new ones are is asked when it
// signs.
func (c *config) signatureHeaders() (names []string) {
	probe := []signing.Secret{signing.NewSecret()}
	for _, s := range c.Schemes {
		if k, err := bindKey(s, probe); err == nil {
			set, _ := headerNames(k)
			names = append(names, set...)
		}
	}
	return names
}

// validHeaderName reports whether name is an HTTP token (RFC 9110, 5.6.2) of
// acceptable length.
func validHeaderName(name string) bool {
	return name != "" && len(name) <= maxHeaderName && !strings.ContainsFunc(name, func(r rune) bool {
		switch {
		case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
			return false
		}
		return !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
	})
}

// headerValueProblem says what is wrong with a value, without showing it.
func headerValueProblem(value string) string {
	switch {
	case len(value) > maxHeaderValue:
		return fmt.Sprintf("has %d bytes, more than %d", len(value), maxHeaderValue)
	case !printable(value):
		return "is not printable ASCII"
	case strings.TrimSpace(value) != value:
		return "begins or ends with a space"
	}
	return ""
}

// addHeaders adds an endpoint's own headers to the requests.
func (d *destination) addHeaders(headers []openedHeader) error {
	for _, h := range headers {
		for _, k := range d.keys {
			set, err := headerNames(k)
			if err != nil {
				return err
			}
			if slices.ContainsFunc(set, func(s string) bool { return sameHeader(s, h.name) }) {
				return fmt.Errorf("the header %s is now one of a signature scheme in Options.Schemes; remove one of them", h.name)
			}
		}
		d.request.Header[h.name] = []string{h.value}
	}
	return nil
}
