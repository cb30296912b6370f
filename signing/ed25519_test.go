package signing_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// The key pair of the vectors, and the one signature that is known for it.
const (
	knownPrivate   = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg=="
	knownPublic    = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4="
	knownSignature = "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg=="
)

func publicKey(t testing.TB, private signing.Secret) signing.Secret {
	t.Helper()
	text, err := private.PublicKey()
	require.NoError(t, err)
	return secret(t, text)
}

func TestKnownSignature(t *testing.T) {
	private := secret(t, knownPrivate)
	require.Equal(t, secret(t, knownPublic), publicKey(t, private))
	m := signing.Message{ID: "msg_p5jXN8AQM9LWM0D4loKWxJek", Timestamp: time.Unix(1614265330, 0), Body: []byte(`{"test": 2432232314}`)}
	require.Equal(t, knownSignature, string(bind(t, signing.Standard, private).AppendSignature(nil, m)))

	// The seed alone is the same key.
	seed := "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc="
	require.Equal(t, knownSignature, string(bind(t, signing.Standard, secret(t, seed), private).AppendSignature(nil, m)))
}

func TestNewPrivateKey(t *testing.T) {
	a, b := signing.NewPrivateKey(), signing.NewPrivateKey()
	require.Regexp(t, `^whsk_[A-Za-z0-9+/]{86}==$`, a.Reveal())
	require.False(t, a.Equal(b))
	require.Equal(t, signing.KindPrivate, a.Kind())
	require.Equal(t, "whsk_***", a.String())
	pub := publicKey(t, a)
	require.Regexp(t, `^whpk_[A-Za-z0-9+/]{43}=$`, pub.Reveal())
	require.Equal(t, signing.KindPublic, pub.Kind())
	require.Equal(t, pub.Reveal(), publicKey(t, pub).Reveal())

	fixed, err := signing.NewPrivateKeyFrom(strings.NewReader(strings.Repeat("k", 32)))
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(fixed.Reveal(), "whsk_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2"))
	_, err = signing.NewPrivateKeyFrom(strings.NewReader("short"))
	require.ErrorIs(t, err, io.ErrUnexpectedEOF)
	_, err = signing.NewSecret().PublicKey()
	require.ErrorIs(t, err, signing.ErrBadSecret)
	_, err = signing.Secret{}.PublicKey()
	require.ErrorIs(t, err, signing.ErrBadSecret)
}

// Each receiver verifies with what it has of the secrets that one sender signs
// with.
func TestSharedAndPrivateTogether(t *testing.T) {
	newShared, oldShared := signing.NewSecret(), signing.NewSecret()
	newPrivate, oldPrivate := signing.NewPrivateKey(), signing.NewPrivateKey()
	key := bind(t, signing.Standard, newShared, newPrivate, oldShared, oldPrivate)
	m := standardMessage()
	h := http.Header{}
	key.SetHeaders(h, m)
	require.Regexp(t, `^v1,\S{44} v1,\S{44} v1a,\S{88} v1a,\S{88}$`, h.Get("webhook-signature"))
	require.Equal(t, string(key.AppendSignature(nil, m)), h.Get("webhook-signature"))
	require.True(t, strings.HasPrefix(h.Get("webhook-signature"), string(bind(t, signing.Standard, newShared).AppendSignature(nil, m))+" "))

	foreign := publicKey(t, signing.NewPrivateKey())
	for name, secrets := range map[string][]signing.Secret{
		"all of them":         {newShared, newPrivate, oldShared, oldPrivate},
		"new shared":          {newShared},
		"old shared":          {oldShared},
		"new public":          {publicKey(t, newPrivate)},
		"old public":          {publicKey(t, oldPrivate)},
		"one of a list":       {foreign, publicKey(t, oldPrivate)},
		"private":             {newPrivate},
		"shared of a mixture": {foreign, newShared},
		"public of a mixture": {signing.NewSecret(), publicKey(t, newPrivate)},
	} {
		t.Run(name, func(t *testing.T) {
			key := bind(t, signing.Standard, secrets...)
			got, err := key.Verify(h, m.Body, now, signing.Limits{})
			require.NoError(t, err)
			require.Equal(t, "evt_1", got.ID)
			_, err = key.Verify(h, append(m.Body, ' '), now, signing.Limits{})
			require.ErrorIs(t, err, signing.ErrNoMatch)
		})
	}
	for name, secrets := range map[string][]signing.Secret{
		"foreign public":            {foreign},
		"foreign shared":            {signing.NewSecret()},
		"foreign shared and public": {signing.NewSecret(), foreign},
	} {
		_, err := bind(t, signing.Standard, secrets...).Verify(h, m.Body, now, signing.Limits{})
		require.ErrorIs(t, err, signing.ErrNoMatch, name)
	}
}

// A public key is known to everybody; whoever gets it accepted as an HMAC key
// can forge.
func TestKeyConfusion(t *testing.T) {
	private := signing.NewPrivateKey()
	public := publicKey(t, private)
	shared := signing.NewSecret()
	m := standardMessage()

	// No scheme that keys on the whole text takes either.
	for _, scheme := range []signing.Scheme{
		signing.Timestamped("X-Sig"), signing.GitHub, signing.BodyHMAC("X-Sig", "", signing.Hex), signing.BodyHMAC("X-Sig", "", signing.Base64),
	} {
		for name, secrets := range map[string][]signing.Secret{
			"private": {private}, "public": {public}, "both": {private, public}, "public beside shared": {shared, public},
		} {
			_, err := scheme.Bind(secrets...)
			require.ErrorIs(t, err, signing.ErrBadSecret, name)
		}
		// Beside a shared secret, a private key is another scheme's: nothing is signed
		// with it and nothing accepted.
		both := bind(t, scheme, private, shared)
		alone := bind(t, scheme, shared)
		require.Equal(t, string(alone.AppendSignature(nil, m)), string(both.AppendSignature(nil, m)))
	}

	// What a forger can compute of a public key: MACs under its text, and under its
	// bytes.
	raw := strings.TrimPrefix(public.Reveal(), "whpk_")
	forger := bind(t, signing.Standard, secret(t, "whsec_"+raw))
	h := http.Header{}
	forger.SetHeaders(h, m)
	forged := h.Get("webhook-signature")
	for name, secrets := range map[string][]signing.Secret{
		"public": {public}, "private": {private}, "public beside shared": {shared, public},
	} {
		receiver := bind(t, signing.Standard, secrets...)
		for _, value := range []string{forged, "v1a" + strings.TrimPrefix(forged, "v1")} {
			h.Set("webhook-signature", value)
			_, err := receiver.Verify(h, m.Body, now, signing.Limits{})
			require.ErrorIs(t, err, signing.ErrNoMatch, name)
		}
	}

	// A v1a signature is none of v1, whatever its label says.
	h = http.Header{}
	bind(t, signing.Standard, private).SetHeaders(h, m)
	h.Set("webhook-signature", strings.Replace(h.Get("webhook-signature"), "v1a,", "v1,", 1))
	for _, secrets := range [][]signing.Secret{{public}, {shared}, {shared, public}} {
		_, err := bind(t, signing.Standard, secrets...).Verify(h, m.Body, now, signing.Limits{})
		require.ErrorIs(t, err, signing.ErrNoMatch)
	}
}

func TestPublicKeysSignNothing(t *testing.T) {
	key := bind(t, signing.Standard, publicKey(t, signing.NewPrivateKey()))
	require.Equal(t, "dst", string(key.AppendSignature([]byte("dst"), standardMessage())))
	h := http.Header{"Webhook-Signature": {"left over"}}
	key.SetHeaders(h, standardMessage())
	require.Empty(t, h)
	require.Empty(t, signing.HeaderNames(key))
}

func TestEd25519Forms(t *testing.T) {
	other := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("k", 64)))
	for text, problem := range map[string]string{
		"whsk_c2hvcnQ=":                       "64 bytes",
		"whsk_not base64":                     "64 bytes",
		"whsk_" + other:                       "halves",
		strings.TrimSuffix(knownPrivate, "="): "64 bytes",
		"whpk_c2hvcnQ=":                       "32 bytes",
		"whpk_" + other:                       "32 bytes",
		"whpk_" + strings.TrimPrefix(knownPrivate, "whsk_"): "32 bytes",
		knownPublic[:len(knownPublic)-2] + "5=":             "32 bytes", // padding bits not zero
	} {
		s := secret(t, text)
		for _, err := range []error{second(s.PublicKey()), second(signing.Standard.Bind(s))} {
			require.ErrorIs(t, err, signing.ErrBadSecret, text)
			require.ErrorContains(t, err, problem, text)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Public keys of small order, of which 32 zero bytes are one, would accept
// signatures that anybody can make.
func TestWeakPublicKeys(t *testing.T) {
	var weak [][]byte
	for _, y := range []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"0100000000000000000000000000000000000000000000000000000000000000",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	} {
		for _, sign := range []byte{0, 0x80} {
			key := unhex(t, y)
			key[31] |= sign
			weak = append(weak, key)
		}
	}
	forgeable := 0
	for _, key := range weak {
		_, err := signing.Standard.Bind(secret(t, "whpk_"+base64.StdEncoding.EncodeToString(key)))
		require.ErrorIs(t, err, signing.ErrBadSecret)
		require.ErrorContains(t, err, "anybody")
		if forge(key) {
			forgeable++
		}
	}
	require.GreaterOrEqual(t, forgeable, 8, "what this is about")
}

// forge reports whether a signature that needs no private key is accepted under
// the public key, for some message.
func forge(public ed25519.PublicKey) bool {
	identity := append([]byte{1}, make([]byte, ed25519.SignatureSize-1)...) // R is the neutral point, S is 0
	for i := range 64 {
		if ed25519.Verify(public, []byte{byte(i)}, identity) {
			return true
		}
	}
	return false
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	require.NoError(t, err)
	return b
}
