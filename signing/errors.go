package signing

import "errors"

// Errors reported by [Key].Verify, [Scheme].Bind and [ParseSecret]. What is
// returned may be more specific; test with [errors.Is]. No error contains a
// secret, an expected signature or anything that the request sent.
var (
	// ErrMissingHeader: a header that the scheme needs is absent or empty.
	ErrMissingHeader = errors.New("signing: missing header")

	// ErrMalformed: a header is present but not in the scheme's form, appears
	// more than once, or exceeds a limit; or the body is a form that the scheme
	// can't unwrap ([GitHub]).
	ErrMalformed = errors.New("signing: malformed header")

	// ErrTooOld: the signed timestamp lies further in the past than the
	// tolerance allows.
	ErrTooOld = errors.New("signing: timestamp is too old")

	// ErrTooNew: the signed timestamp lies further in the future than the
	// tolerance allows.
	ErrTooNew = errors.New("signing: timestamp is too far in the future")

	// ErrNoMatch: no signature in the header was made with any of the secrets
	// over this message.
	ErrNoMatch = errors.New("signing: no matching signature")

	// ErrUnknownVersion: the header holds signatures, but none of a version
	// that the scheme knows and has a secret for: v1a needs a public key,
	// for instance. It is also an ErrNoMatch.
	ErrUnknownVersion error = &refusal{ErrNoMatch, "signing: no signature of a known version"}

	// ErrBadSecret: the text cannot be a secret, or cannot be one for this
	// scheme.
	ErrBadSecret = errors.New("signing: bad secret")

	// ErrBadScheme: a scheme was made with arguments that cannot work.
	ErrBadScheme = errors.New("signing: bad scheme")

	// ErrBadHeaderName: a scheme was made for a header that HTTP does not
	// allow. It is also an ErrBadScheme.
	ErrBadHeaderName error = &refusal{ErrBadScheme, "signing: bad scheme: not an HTTP header name"}
)

// A refusal is an allocated-once error: anyone can make a verifier refuse, so
// refusing must not cost memory.
type refusal struct {
	kind error
	text string
}

func (r *refusal) Error() string { return r.text }
func (r *refusal) Unwrap() error { return r.kind }

func malformed(detail string) error {
	return &refusal{ErrMalformed, ErrMalformed.Error() + ": " + detail}
}

func missing(header string) error {
	return &refusal{ErrMissingHeader, ErrMissingHeader.Error() + ": " + header}
}

func badSecret(detail string) error {
	return &refusal{ErrBadSecret, ErrBadSecret.Error() + ": " + detail}
}

var (
	errRepeated      = malformed("a signature header appears more than once; exactly one value is accepted")
	errTooLong       = malformed("the signature header is longer than the limit")
	errTooMany       = malformed("more signatures than the limit")
	errBadID         = malformed("the message id must be 1 to 64 characters of A-Z, a-z, 0-9, '_' and '-'")
	errForeignID     = malformed("the message id must be 1 to 256 characters of printable ASCII without a full stop")
	errBadTime       = malformed("the timestamp must be Unix seconds in plain decimal digits")
	errNoTime        = malformed("the signature header has no t= field")
	errTimeTwice     = malformed("the signature header has more than one t= field")
	errNotAPair      = malformed("a field of the signature header is not of the form name=value")
	errNoPrefix      = malformed("the signature header does not begin with the scheme's prefix")
	errNotHex        = malformed("the signature must be hexadecimal digits, two for each byte")
	errNotStdBase64  = malformed("the signature must be padded standard base64")
	errBadType       = malformed("the event type must be at most 128 characters of A-Z, a-z, 0-9, '_' and '-', joined by full stops")
	errBadEncoding   = &refusal{ErrBadScheme, ErrBadScheme.Error() + ": the encoding is neither Hex nor Base64"}
	errBadPrefix     = &refusal{ErrBadScheme, ErrBadScheme.Error() + ": the prefix must be at most 64 characters of printable ASCII and not begin with a space"}
	errNoSecret      = badSecret("at least one is needed")
	errZeroSecret    = badSecret("it is empty")
	errManySecrets   = badSecret("at most 10 can be bound at once")
	errWeakKey       = badSecret("the FIPS 140 mode of this program refuses keys this short")
	errNotBase64     = badSecret(`it must be "whsec_" followed by padded standard base64`)
	errNotEd25519    = badSecret("this is no ed25519 key (whsk_ or whpk_)")
	errPrivateForm   = badSecret(`an ed25519 private key must be "whsk_" followed by the base64 of 64 bytes, seed and public key, or of the 32 of the seed`)
	errPrivateHalves = badSecret("the two halves of this ed25519 private key do not belong together")
	errPublicForm    = badSecret(`an ed25519 public key must be "whpk_" followed by the base64 of 32 bytes`)
	errPublicWeak    = badSecret("under this ed25519 public key anybody can make signatures")
	errShortKey      = badSecret("Standard Webhooks wants at least 24 bytes of base64 after whsec_")
	errAsymmetric    = badSecret("this is an ed25519 key (whsk_ or whpk_); HMAC needs whsec_")
)
