package sender

import (
	"net/http"
	"strconv"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/store"
)

// SignatureNotKept stands in RequestHeader for a value that only the request had.
const SignatureNotKept = "(made for this attempt, not kept)"

// RequestHeader tells the headers that an attempt was sent with, as the endpoint
// and the options are now. Signatures are not kept and not made again: in their
// place stands SignatureNotKept. The values of the endpoint's own headers are secret:
// in theirs stands "***". It is nil for an attempt that made no request, or
// of which it is unknown.
func (t *Tenant) RequestHeader(ep store.Endpoint, ev store.Event, a store.Attempt) http.Header {
	if t.err != nil || a.URL == "" {
		return nil
	}
	c := t.sender.cfg
	h := http.Header{"Content-Type": {ev.ContentType}, "User-Agent": t.sender.poster.userAgent, "Accept": {"*/*"}, "Accept-Encoding": {"identity"}}
	for _, name := range ep.Headers {
		h[name] = []string{redacted}
	}
	// The values that depend neither on the secret nor on the body are the same with any
	// other. A delivery has many attempts, so the body is not signed for each.
	keys, err := c.bind(ep.Schemes, []signing.Secret{signing.NewSecret()})
	if err != nil {
		return h // a scheme that is not configured any more
	}
	m := signing.Message{ID: ev.ID, Type: ev.Type, Timestamp: a.StartedAt}
	plain := map[string]bool{ev.ID: true, ev.Type: true, strconv.FormatInt(a.StartedAt.Unix(), 10): true}
	for _, k := range keys {
		set := make(http.Header)
		if setHeaders(k, set, m) != nil {
			continue
		}
		for name, values := range set {
			if len(values) == 1 && plain[values[0]] {
				h[name] = values
			} else {
				h[name] = []string{SignatureNotKept}
			}
		}
	}
	return h
}
