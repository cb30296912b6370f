package signing

import "net/http"

// GitHub is the scheme of GitHub's webhooks,
// https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries:
// [BodyHMAC] with the header X-Hub-Signature-256, the prefix "sha256=" and
// [Hex]. The SHA-1 header X-Hub-Signature is neither sent nor looked at. Its
// name is "github".
//
// The id and the type of the event travel in X-GitHub-Delivery and
// X-GitHub-Event. Verify returns them where they are, but no signature covers
// them: [Message].Signed says so, and whoever captured a request may have
// changed them. A header that is there but not [ValidID], or not an event type
// (A-Z, a-z, 0-9, '_' and '-', joined by full stops, at most 128 bytes), is
// [ErrMalformed].
//
// GitHub's default content type is application/x-www-form-urlencoded, with the
// JSON in a field payload. A body that begins with "payload=" is such a form,
// whatever the Content-Type says, which no signature covers. The signature is
// over the form; Verify returns the text of the field in [Message].Payload. A
// form with a second field of that name or with a broken escape is ErrMalformed.
var GitHub Scheme = bodyHMAC{
	name:       "github",
	header:     "X-Hub-Signature-256",
	prefix:     "sha256=",
	encoding:   Hex,
	idHeader:   http.CanonicalHeaderKey("X-GitHub-Delivery"),
	typeHeader: http.CanonicalHeaderKey("X-GitHub-Event"),
	forms:      true,
}

const maxTypeLength = 128 // bytes

// validType reports whether typ is an event type.
func validType(typ string) bool {
	if len(typ) > maxTypeLength {
		return false
	}
	part := 0 // characters since the last full stop
	for i := range len(typ) {
		switch c := typ[i]; {
		case nameBytes[c]:
			part++
		case c == '.' && part > 0:
			part = 0
		default:
			return false
		}
	}
	return part > 0
}
