package interop

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/stripe/stripe-go/v85"
	"github.com/stripe/stripe-go/v85/webhook"

	"github.com/hookpost/hookpost/signing"
)

func TestSignedOnOneSideVerifiesOnTheOther(t *testing.T) {
	bodies := map[string][]byte{
		"JSON":         message(0).Body,
		"spaced JSON":  []byte("{ \"type\" : \"a.b\" }\r\n"),
		"empty":        {},
		"full stops":   []byte("1700000000.{}"),
		"not UTF-8":    {0xff, 0x00, 0xfe},
		"format verbs": []byte(`%s%d%!`),
		"large":        bytes.Repeat([]byte("0123456789abcdef"), 32<<10),
	}
	eachPeer(t, func(t *testing.T, p peer) {
		for name, body := range bodies {
			secret, m := newSecret(), message(0)
			m.Body = body
			for signer, h := range p.signed(t, secret, m) {
				require.NoError(t, verifyHere(p.scheme, h, body, secret), "%s, signed by %s", name, signer)
				require.NoError(t, p.verify(secret, h, body), "%s, signed by %s", name, signer)
			}
		}
	})
}

// The scheme decides what the key is: for Stripe, the same text is another one.
func TestSecretsMakeTheSameKeyOnBothSides(t *testing.T) {
	const (
		standard = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
		ofStripe = "whsec_DaLRHCRs35vEXqOE8uTEAXGLGUOnyaFf" // valid base64 by accident
	)
	secrets := map[string][]string{
		signing.Standard.Name():                  {standard, strings.TrimPrefix(standard, "whsec_"), ofStripe, newSecret()},
		signing.Timestamped(stripeHeader).Name(): {standard, ofStripe, "whsec_test_secret", "plain", "Schlüssel", newSecret()},
	}
	eachPeer(t, func(t *testing.T, p peer) {
		require.NotEmpty(t, secrets[p.scheme.Name()])
		for _, secret := range secrets[p.scheme.Name()] {
			m := message(0)
			for signer, h := range p.signed(t, secret, m) {
				require.NoError(t, verifyHere(p.scheme, h, m.Body, secret), "%s, signed by %s", secret, signer)
				require.NoError(t, p.verify(secret, h, m.Body), "%s, signed by %s", secret, signer)
			}
		}
	})
}

func TestTamperedIsRefusedOnBothSides(t *testing.T) {
	type request struct {
		secret string
		header http.Header
		body   []byte
	}
	tests := map[string]struct {
		tamper func(r *request, m signing.Message)
		want   error
	}{
		"another body": {func(r *request, _ signing.Message) {
			r.body = bytes.Replace(r.body, []byte("12.50"), []byte("12.51"), 1)
		}, signing.ErrNoMatch},
		"a byte more":    {func(r *request, _ signing.Message) { r.body = append(bytes.Clone(r.body), '\n') }, signing.ErrNoMatch},
		"no body":        {func(r *request, _ signing.Message) { r.body = nil }, signing.ErrNoMatch},
		"another secret": {func(r *request, _ signing.Message) { r.secret = newSecret() }, signing.ErrNoMatch},
		"another time": {func(r *request, m signing.Message) {
			replace(r.header, unix(m.Timestamp), unix(m.Timestamp.Add(time.Second)))
		}, signing.ErrNoMatch},
		"another version":  {func(r *request, _ signing.Message) { replace(r.header, "v1", "v2") }, signing.ErrUnknownVersion},
		"no headers":       {func(r *request, _ signing.Message) { clear(r.header) }, signing.ErrMissingHeader},
		"time not decimal": {func(r *request, m signing.Message) { replace(r.header, unix(m.Timestamp), "0x65536c00") }, signing.ErrMalformed},
	}
	eachPeer(t, func(t *testing.T, p peer) {
		for name, tt := range tests {
			secret, m := newSecret(), message(0)
			for signer, h := range p.signed(t, secret, m) {
				r := request{secret, h, m.Body}
				tt.tamper(&r, m)
				require.ErrorIs(t, verifyHere(p.scheme, r.header, r.body, r.secret), tt.want, "%s, signed by %s", name, signer)
				require.Error(t, p.verify(r.secret, r.header, r.body), "%s, signed by %s", name, signer)
			}
		}
	})
}

func TestAnotherIDIsRefusedOnBothSidesWhereItIsSigned(t *testing.T) {
	eachPeer(t, func(t *testing.T, p peer) {
		secret, m := newSecret(), message(0)
		for signer, h := range p.signed(t, secret, m) {
			if !p.idSigned {
				require.NotContains(t, h.Get(stripeHeader), m.ID)
				continue
			}
			replace(h, m.ID, "evt_another")
			require.ErrorIs(t, verifyHere(p.scheme, h, m.Body, secret), signing.ErrNoMatch, "signed by %s", signer)
			require.Error(t, p.verify(secret, h, m.Body), "signed by %s", signer)
		}
	})
}

func TestWindowIsTheSameOnBothSides(t *testing.T) {
	tests := map[string]struct {
		age  time.Duration
		want error
	}{
		"just young enough": {300 * time.Second, nil},
		"stale":             {301 * time.Second, signing.ErrTooOld},
		"a day old":         {24 * time.Hour, signing.ErrTooOld},
		"just old enough":   {-300 * time.Second, nil},
		"early":             {-301 * time.Second, signing.ErrTooNew},
		"a day in advance":  {-24 * time.Hour, signing.ErrTooNew},
	}
	eachPeer(t, func(t *testing.T, p peer) {
		for name, tt := range tests {
			secret, m := newSecret(), message(tt.age)
			for signer, h := range p.signed(t, secret, m) {
				ours, theirs := verifyHere(p.scheme, h, m.Body, secret), p.verify(secret, h, m.Body)
				if tt.want == nil {
					require.NoError(t, ours, "%s, signed by %s", name, signer)
					require.NoError(t, theirs, "%s, signed by %s", name, signer)
					continue
				}
				require.ErrorIs(t, ours, tt.want, "%s, signed by %s", name, signer)
				if p.takesFuture && tt.age < 0 {
					require.NoError(t, theirs, "%s, signed by %s", name, signer)
				} else {
					require.Error(t, theirs, "%s, signed by %s", name, signer)
				}
			}
		}
	})
}

// During a rotation a sender signs with the new secret and the one before, and a
// receiver holds one of them, or both.
func TestRotatedVerifiesOnBothSides(t *testing.T) {
	eachPeer(t, func(t *testing.T, p peer) {
		m, newest, old, stranger := message(0), newSecret(), newSecret(), newSecret()
		for signer, h := range map[string]http.Header{
			"hookpost": signHere(t, p.scheme, m, newest, old),
			p.name:     p.join(p.sign(t, newest, m), p.sign(t, old, m)),
		} {
			for held, secret := range map[string]string{"the new one": newest, "the old one": old} {
				require.NoError(t, verifyHere(p.scheme, h, m.Body, secret), "%s, signed by %s", held, signer)
				require.NoError(t, verifyHere(p.scheme, h, m.Body, stranger, secret), "%s as the previous, signed by %s", held, signer)
				require.NoError(t, p.verify(secret, h, m.Body), "%s, signed by %s", held, signer)
			}
			require.ErrorIs(t, verifyHere(p.scheme, h, m.Body, stranger), signing.ErrNoMatch, "signed by %s", signer)
			require.Error(t, p.verify(stranger, h, m.Body), "signed by %s", signer)
		}
	})
}

// The receiver's side of a rotation, with senders that still sign with one secret.
func TestSeveralSecretsVerifyWhatTheOtherSideSigns(t *testing.T) {
	eachPeer(t, func(t *testing.T, p peer) {
		m, held := message(0), []string{newSecret(), newSecret(), newSecret()}
		for i, secret := range held {
			require.NoError(t, verifyHere(p.scheme, p.sign(t, secret, m), m.Body, held[0], held[1:]...), "secret %d", i)
		}
		require.ErrorIs(t, verifyHere(p.scheme, p.sign(t, newSecret(), m), m.Body, held[0], held[1:]...), signing.ErrNoMatch)
	})
}

// What neither side knows, a newer version for instance, doesn't spoil the rest.
func TestUnknownSignaturesBesideAreIgnoredOnBothSides(t *testing.T) {
	eachPeer(t, func(t *testing.T, p peer) {
		secret, m := newSecret(), message(0)
		h := p.sign(t, secret, m)
		unknown := p.sign(t, newSecret(), m)
		replace(unknown, "v1", "v9")
		require.NoError(t, verifyHere(p.scheme, p.join(h, unknown), m.Body, secret))
		require.NoError(t, p.verify(secret, p.join(h, unknown), m.Body))
		require.ErrorIs(t, verifyHere(p.scheme, unknown, m.Body, secret), signing.ErrUnknownVersion)
		require.Error(t, p.verify(secret, unknown, m.Body))
	})
}

// ConstructEvent of stripe-go wants one of Stripe's own events.
func TestStripeConstructsEventsSignedHere(t *testing.T) {
	secret, m := newSecret(), message(0)
	m.Body = []byte(`{"id":"evt_1","object":"event","api_version":"` + stripe.APIVersion + `","type":"charge.succeeded","created":1700000000,"data":{"object":{}}}`)
	h := signHere(t, signing.Timestamped(stripeHeader), m, secret)
	event, err := webhook.ConstructEvent(m.Body, h.Get(stripeHeader), secret)
	require.NoError(t, err)
	require.Equal(t, "evt_1", event.ID)
	_, err = webhook.ConstructEvent(m.Body, h.Get(stripeHeader), newSecret())
	require.ErrorIs(t, err, webhook.ErrNoValidSignature)
}

// replace edits the values of all headers.
func replace(h http.Header, old, new string) {
	for name, values := range h {
		h[name] = []string{strings.Replace(values[0], old, new, 1)}
	}
}

func unix(at time.Time) string { return strconv.FormatInt(at.Unix(), 10) }
