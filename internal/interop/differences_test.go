package interop

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// differences are requests and secrets on which a library decides otherwise than
// hookpost. A decision that changes, here or there, fails the test.
var differences = []struct {
	peer string
	name string
	// request may change the message and the secret before signing with the peer's
	// sign, or afterwards the headers.
	message func(m *signing.Message)
	secret  string // "": a new one
	headers func(t *testing.T, p peer, secret string, m signing.Message, h http.Header)

	here error // nil: accepted, and refused there
}{
	// The id.
	{
		peer: "standard-webhooks", name: "an id with a full stop, which lets two messages share a signature",
		message: func(m *signing.Message) { m.ID = "evt_1.1700000000" },
		here:    signing.ErrMalformed,
	},
	{
		peer: "svix", name: "an id with a full stop, which lets two messages share a signature",
		message: func(m *signing.Message) { m.ID = "evt_1.1700000000" },
		here:    signing.ErrMalformed,
	},
	{
		peer: "standard-webhooks", name: "an id of 257 characters",
		message: func(m *signing.Message) { m.ID = strings.Repeat("a", 257) },
		here:    signing.ErrMalformed,
	},

	// The time.
	{
		peer: "standard-webhooks", name: "a time with a sign, which is not the text that was signed",
		headers: respellTime("+"),
		here:    signing.ErrMalformed,
	},
	{
		peer: "svix", name: "a time with leading zeros, which is not the text that was signed",
		headers: respellTime("00"),
		here:    signing.ErrMalformed,
	},
	{
		peer: "stripe-go", name: "a time with leading zeros, which is not the text that was signed",
		headers: respellTime("00"),
		here:    signing.ErrMalformed,
	},
	{
		peer: "stripe-go", name: "two times, of which the last counts",
		headers: func(_ *testing.T, _ peer, _ string, _ signing.Message, h http.Header) {
			h[stripeHeader][0] = "t=1," + h[stripeHeader][0]
		},
		here: signing.ErrMalformed,
	},
	{
		peer: "stripe-go", name: "a time a year ahead",
		message: func(m *signing.Message) { m.Timestamp = m.Timestamp.AddDate(1, 0, 0) },
		here:    signing.ErrTooNew,
	},
	{
		peer: "standard-webhooks", name: "300.5 s old, which is 300 whole seconds",
		headers: func(*testing.T, peer, string, signing.Message, http.Header) {
			time.Sleep(300*time.Second + 500*time.Millisecond)
		},
	},
	{
		peer: "svix", name: "300.5 s old, which is 300 whole seconds",
		headers: func(*testing.T, peer, string, signing.Message, http.Header) {
			time.Sleep(300*time.Second + 500*time.Millisecond)
		},
	},
	{
		peer: "stripe-go", name: "300.5 s old, which is 300 whole seconds",
		headers: func(*testing.T, peer, string, signing.Message, http.Header) {
			time.Sleep(300*time.Second + 500*time.Millisecond)
		},
	},

	// The signatures.
	{
		peer: "standard-webhooks", name: "text behind a signature",
		headers: appendTo("Webhook-Signature", ",junk"),
		here:    signing.ErrNoMatch,
	},
	{
		peer: "svix", name: "text behind a signature",
		headers: appendTo("Svix-Signature", ",junk"),
		here:    signing.ErrNoMatch,
	},
	{
		peer: "stripe-go", name: "a field with two equals signs beside a valid signature",
		headers: appendTo(stripeHeader, ",x=a=b"),
	},
	{
		peer: "stripe-go", name: "optional white space behind the commas, which lists in HTTP may have",
		headers: func(_ *testing.T, _ peer, _ string, _ signing.Message, h http.Header) { replace(h, ",", " ,\t") },
	},
	{
		peer: "stripe-go", name: "an empty element, which lists in HTTP may have",
		headers: appendTo(stripeHeader, ","),
	},
	{
		peer: "standard-webhooks", name: "eleven signatures, one more than the limit",
		headers: appendTo("Webhook-Signature", strings.Repeat(" v1,x", 10)),
		here:    signing.ErrMalformed,
	},
	{
		peer: "svix", name: "eleven signatures, one more than the limit",
		headers: appendTo("Svix-Signature", strings.Repeat(" v1,x", 10)),
		here:    signing.ErrMalformed,
	},
	{
		peer: "stripe-go", name: "eleven signatures, one more than the limit",
		headers: appendTo(stripeHeader, strings.Repeat(",v1=x", 10)),
		here:    signing.ErrMalformed,
	},
	{
		peer: "standard-webhooks", name: "a signature header above 4 KiB",
		headers: appendTo("Webhook-Signature", " v9,"+strings.Repeat("x", 4<<10)),
		here:    signing.ErrMalformed,
	},

	// The headers.
	{
		peer: "standard-webhooks", name: "a second line of the signature header, of which others read the last",
		headers: func(_ *testing.T, _ peer, _ string, _ signing.Message, h http.Header) {
			h.Add("Webhook-Signature", "v1,x")
		},
		here: signing.ErrMalformed,
	},
	{
		peer: "standard-webhooks", name: "names in lower case, as other frameworks keep them",
		headers: func(_ *testing.T, _ peer, _ string, _ signing.Message, h http.Header) {
			for name, values := range h.Clone() {
				delete(h, name)
				h[strings.ToLower(name)] = values
			}
		},
	},
	{
		peer: "svix", name: "both sets of headers, only svix- signed with the secret",
		headers: func(t *testing.T, _ peer, _ string, m signing.Message, h http.Header) {
			for name, values := range signStandardWebhooks(t, newSecret(), m) {
				h[name] = values
			}
		},
		here: signing.ErrNoMatch,
	},
	{
		peer: "svix", name: "both sets of headers, only webhook- signed with the secret",
		headers: func(t *testing.T, _ peer, secret string, m signing.Message, h http.Header) {
			replace(h, "v1,", "v1,x")
			for name, values := range signStandardWebhooks(t, secret, m) {
				h[name] = values
			}
		},
	},

	// The secret.
	{peer: "standard-webhooks", name: "an empty key", secret: "whsec_", here: signing.ErrBadSecret},
	{peer: "standard-webhooks", name: "an empty secret", secret: "\n", here: signing.ErrBadSecret},
	{peer: "standard-webhooks", name: "a key of one byte", secret: "whsec_QQ==", here: signing.ErrBadSecret},
	{peer: "svix", name: "a key of one byte", secret: "whsec_QQ==", here: signing.ErrBadSecret},
	{peer: "standard-webhooks", name: "the line end of a file", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", here: signing.ErrBadSecret},
	{peer: "svix", name: "the line end of a file", secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n", here: signing.ErrBadSecret},
	{peer: "stripe-go", name: "the line end of a file", secret: "whsec_secret\n", here: signing.ErrBadSecret},
}

func TestDifferences(t *testing.T) {
	for _, tt := range differences {
		t.Run(tt.peer+"/"+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := peerNamed(t, tt.peer)
				secret, m := tt.secret, message(0)
				if secret == "" {
					secret = newSecret()
				}
				if tt.message != nil {
					tt.message(&m)
				}
				h := p.sign(t, secret, m)
				if tt.headers != nil {
					tt.headers(t, p, secret, m, h)
				}
				here, there := verifyHere(p.scheme, h, m.Body, secret), p.verify(secret, h, m.Body)
				if tt.here == nil {
					require.NoError(t, here)
					require.Error(t, there)
					return
				}
				require.ErrorIs(t, here, tt.here)
				require.NoError(t, there)
			})
		})
	}
}

// stripe-go takes no secret at all for one.
func TestStripeAcceptsAnEmptySecret(t *testing.T) {
	m := message(0)
	h := signStripe(t, "", m)
	require.NoError(t, verifyStripe("", h, m.Body))
	require.ErrorIs(t, verifyHere(signing.Timestamped(stripeHeader), h, m.Body, ""), signing.ErrBadSecret)
}

// Ids that a sender here doesn't sign are verified on both sides.
func TestForeignIDs(t *testing.T) {
	for _, id := range []string{"evt:42", "acct_1/evt_2", strings.Repeat("a", 256)} {
		eachPeer(t, func(t *testing.T, p peer) {
			if !p.idSigned {
				return
			}
			m, secret := message(0), newSecret()
			m.ID = id
			h := p.sign(t, secret, m)
			require.NoError(t, p.verify(secret, h, m.Body))
			require.NoError(t, verifyHere(p.scheme, h, m.Body, secret))
		})
	}
}

// A sender here doesn't sign what receivers here would refuse; the libraries do.
func TestOnlyPeersSignAnIDWithAFullStop(t *testing.T) {
	m := message(0)
	m.ID = "evt_1.1700000000"
	secret := newSecret()
	require.Empty(t, signHere(t, signing.Standard, m, secret))
	require.NotEmpty(t, signStandardWebhooks(t, secret, m))
	require.NotEmpty(t, signSvix(t, secret, m))
}

func peerNamed(t *testing.T, name string) peer {
	t.Helper()
	for _, p := range peers {
		if p.name == name {
			return p
		}
	}
	require.Fail(t, "no peer "+name)
	return peer{}
}

type editHeaders func(t *testing.T, p peer, secret string, m signing.Message, h http.Header)

// respellTime puts a prefix before the digits, which doesn't change the number.
func respellTime(prefix string) editHeaders {
	return func(_ *testing.T, _ peer, _ string, m signing.Message, h http.Header) {
		replace(h, unix(m.Timestamp), prefix+unix(m.Timestamp))
	}
}

func appendTo(name, text string) editHeaders {
	return func(_ *testing.T, _ peer, _ string, _ signing.Message, h http.Header) { h[name][0] += text }
}
