package signing

import (
	"net/http"
	"slices"
	"time"
)

// A Scheme is a wire protocol for signed webhooks. Implementations must be
// safe for concurrent use.
type Scheme interface {
	// Name identifies the scheme and its parameters, for instance "standard"
	// or "timestamped:X-Xtopay-Signature". It is stored with endpoints, so it
	// must never change.
	Name() string

	// Bind derives keys from secrets, the newest first. The scheme alone
	// decides how text becomes a key; it must not guess from the text. It
	// reports an error that is [ErrBadSecret] if there is no secret, or if
	// one is empty or not in the scheme's form.
	//
	// An endpoint has one list of secrets for all its schemes. So a scheme
	// that has no use for ed25519 leaves out secrets of [KindPrivate], as long
	// as others remain. It refuses those of [KindPublic].
	Bind(newestFirst ...Secret) (Key, error)
}

// A Key signs and verifies with the secrets it was bound to. Implementations
// must be safe for concurrent use, and must not keep what they are given
// after they return.
type Key interface {
	// AppendSignature appends the value of the signature header to dst and
	// returns the extended slice. A message that Verify could never accept,
	// such as one with an id that is not [ValidID] where the id is signed or a
	// time outside 1970 to 9999, gets no signature: dst is returned as it was.
	// A Key that holds nothing but public keys signs no message.
	AppendSignature(dst []byte, m Message) []byte

	// SetHeaders signs m and sets all headers of the scheme in h, replacing
	// what was there. For a message that gets no signature it removes them.
	SetHeaders(h http.Header, m Message)

	// Verify checks the signature in h over body. It returns the signed
	// message, or an error that is one of [ErrMissingHeader], [ErrMalformed],
	// [ErrTooOld], [ErrTooNew] and [ErrNoMatch]. It does not change h or body.
	Verify(h http.Header, body []byte, now time.Time, lim Limits) (Message, error)
}

// MaxSecrets is how many secrets the schemes of this package bind at once. By
// default a verifier refuses more signatures than that.
const MaxSecrets = DefaultMaxSignatures

// HeaderNames returns the canonical names of the headers that k sets, sorted:
// the ones that a sender's own headers must leave alone. It learns them by
// signing an empty message.
func HeaderNames(k Key) []string {
	h := make(http.Header)
	k.SetHeaders(h, Message{ID: "probe", Type: "probe", Timestamp: time.Unix(0, 0)})
	names := make([]string, 0, len(h))
	for name := range h {
		names = append(names, http.CanonicalHeaderKey(name))
	}
	slices.Sort(names)
	return slices.Compact(names)
}
