package signing

import "time"

// A Message is what a signature is made over.
type Message struct {
	// ID identifies the event and stays the same on every retry. Standard
	// signs it, GitHub carries it; both send what [ValidID] accepts, and
	// Standard also verifies other ids that the specification allows. Other
	// schemes ignore it, and return it empty from Verify.
	ID string

	// Type is the event type, for schemes whose headers carry it, as GitHub's
	// do. Others ignore it, and return it empty from Verify.
	Type string

	// Timestamp is the time of this attempt, in whole seconds; anything finer
	// is cut off. Schemes that do not carry it return it zero from Verify.
	Timestamp time.Time

	// Body is the request body, byte for byte. Verify returns the slice it
	// was given.
	Body []byte

	// Payload is the decoded text that Body carries, where it is a form and the
	// scheme has such ([GitHub]); nil elsewhere. It is set by Verify, covered as
	// Body is, and ignored when signing.
	Payload []byte

	// Signed is set by Verify and ignored when signing.
	Signed Coverage
}

// Coverage says which facts about a message its signature vouches for. The
// body is always covered. What is not covered may have been changed on the
// way, even though the signature is genuine.
type Coverage struct {
	ID   bool // the id
	Type bool // the event type
	Time bool // the time of signing; without it a captured request is valid for ever
}

// Default limits, used where a field of [Limits] is zero.
const (
	DefaultTolerance     = 5 * time.Minute
	DefaultMaxSignatures = 10
	DefaultMaxHeader     = 4 << 10
)

// Limits bounds what Verify accepts. A zero field means its default, a
// negative one no limit.
type Limits struct {
	// Tolerance is how far the signed timestamp may lie from now, in either
	// direction, in whole seconds (a fraction counts as a whole one). Default
	// 5 minutes. Negative: the timestamp's age is not checked, which makes
	// captured requests valid for ever.
	Tolerance time.Duration

	// MaxSignatures is how many signatures one header may hold, of whatever
	// version. Default 10.
	MaxSignatures int

	// MaxHeader is the longest signature header accepted, in bytes. Default
	// 4 KiB.
	MaxHeader int
}

func (l Limits) maxSignatures() int { return limit(l.MaxSignatures, DefaultMaxSignatures) }
func (l Limits) maxHeader() int     { return limit(l.MaxHeader, DefaultMaxHeader) }

func limit(n, byDefault int) int {
	switch {
	case n == 0:
		return byDefault
	case n < 0:
		return int(^uint(0) >> 1)
	}
	return n
}

const (
	maxIDLength      = 64  // bytes of an id that is signed
	maxForeignLength = 256 // bytes of an id that somebody else signed
)

// ValidID reports whether id can be signed by Standard: 1 to 64 characters of
// A-Z, a-z, 0-9, '_' and '-'. There is no full stop among them because it
// separates the parts of the signed content: with one in the id, two different
// messages could share a signature.
func ValidID(id string) bool {
	if id == "" || len(id) > maxIDLength {
		return false
	}
	for i := range len(id) {
		if !nameBytes[id[i]] {
			return false
		}
	}
	return true
}

// validForeignID reports whether Standard verifies id: 1 to 256 characters of
// printable ASCII. The specification rules out the full stop alone, for the
// reason that [ValidID] gives; the rest keeps ids fit for logs and databases.
func validForeignID(id string) bool {
	if id == "" || len(id) > maxForeignLength {
		return false
	}
	for i := range len(id) {
		if c := id[i]; c < ' ' || c > '~' || c == '.' {
			return false
		}
	}
	return true
}

// nameBytes says which characters ids and the parts of event types may hold.
var nameBytes = func() (table [256]bool) {
	for c := range table {
		table[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-'
	}
	return table
}()
