package signing_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

var now = time.Unix(1_700_000_000, 0)

func secret(t testing.TB, text string) signing.Secret {
	t.Helper()
	s, err := signing.ParseSecret(text)
	require.NoError(t, err)
	return s
}

func bind(t testing.TB, scheme signing.Scheme, secrets ...signing.Secret) signing.Key {
	t.Helper()
	key, err := scheme.Bind(secrets...)
	require.NoError(t, err)
	return key
}

func standardMessage() signing.Message {
	return signing.Message{ID: "evt_1", Type: "push", Timestamp: now, Body: []byte(`{"a":1}`)}
}

func TestStandardRoundTrip(t *testing.T) {
	require.Equal(t, "standard", signing.Standard.Name())
	key := bind(t, signing.Standard, signing.NewSecret())
	m := standardMessage()
	m.Timestamp = m.Timestamp.Add(999 * time.Millisecond)
	h := http.Header{"webhook-signature": {"left over"}, "Webhook-Id": {"a", "b"}, "X-Other": {"x"}}
	key.SetHeaders(h, m)
	require.Len(t, h, 4)
	require.Equal(t, "evt_1", h.Get("webhook-id"))
	require.Equal(t, "1700000000", h.Get("webhook-timestamp"))
	require.Equal(t, string(key.AppendSignature(nil, m)), h.Get("webhook-signature"))

	got, err := key.Verify(h, m.Body, now, signing.Limits{})
	require.NoError(t, err)
	require.Equal(t, signing.Message{
		ID: "evt_1", Timestamp: now.UTC(), Body: m.Body, Signed: signing.Coverage{ID: true, Time: true},
	}, got)
	require.Equal(t, []string{"Webhook-Id", "Webhook-Signature", "Webhook-Timestamp"}, signing.HeaderNames(key))

	require.Equal(t, "kept "+h.Get("webhook-signature"), string(key.AppendSignature([]byte("kept "), m)))
}

func TestStandardRotation(t *testing.T) {
	older, newer, foreign := signing.NewSecret(), signing.NewSecret(), signing.NewSecret()
	sender := bind(t, signing.Standard, newer, older)
	m := standardMessage()
	h := http.Header{}
	sender.SetHeaders(h, m)
	signatures := strings.Split(h.Get("webhook-signature"), " ")
	require.Len(t, signatures, 2)
	require.Equal(t, string(bind(t, signing.Standard, newer).AppendSignature(nil, m)), signatures[0], "newest first")

	for name, secrets := range map[string][]signing.Secret{
		"newer": {newer}, "older": {older}, "both": {older, newer}, "one of several": {foreign, older},
	} {
		_, err := bind(t, signing.Standard, secrets...).Verify(h, m.Body, now, signing.Limits{})
		require.NoError(t, err, name)
	}
	_, err := bind(t, signing.Standard, foreign).Verify(h, m.Body, now, signing.Limits{})
	require.ErrorIs(t, err, signing.ErrNoMatch)

	twice := bind(t, signing.Standard, newer, newer)
	require.NotContains(t, string(twice.AppendSignature(nil, m)), " ", "one signature for each different secret")
	many := make([]signing.Secret, signing.MaxSecrets+1)
	for i := range many {
		many[i] = signing.NewSecret()
	}
	_, err = signing.Standard.Bind(many...)
	require.ErrorIs(t, err, signing.ErrBadSecret)
	h = http.Header{}
	full := bind(t, signing.Standard, many[1:]...)
	full.SetHeaders(h, m)
	_, err = full.Verify(h, m.Body, now, signing.Limits{})
	require.NoError(t, err, "as many as can be bound can be verified")
}

func TestStandardKey(t *testing.T) {
	for text, problem := range map[string]string{
		"whsec_" + strings.Repeat("A", 28):                   "24 bytes",
		"whsec_not base64":                                   "base64",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS":              "base64",
		"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa-_":             "base64",
		"whsec_a2tra2tra2tra2tra2tra2tra2tra2tra2tra2tra2t=": "base64", // padding bits not zero
		"whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":              "ed25519",
		"whpk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw":              "ed25519",
		"opaque":                                             "base64",
	} {
		_, err := signing.Standard.Bind(secret(t, text))
		require.ErrorIs(t, err, signing.ErrBadSecret, text)
		require.ErrorContains(t, err, problem, text)
		require.NotContains(t, err.Error(), text)
	}
}

func TestStandardUnsignable(t *testing.T) {
	key := bind(t, signing.Standard, signing.NewSecret())
	for name, change := range map[string]func(*signing.Message){
		"no id":        func(m *signing.Message) { m.ID = "" },
		"full stop":    func(m *signing.Message) { m.ID = "evt.1" },
		"line end":     func(m *signing.Message) { m.ID = "evt\r\nX-Evil: 1" },
		"long id":      func(m *signing.Message) { m.ID = strings.Repeat("x", 65) },
		"zero time":    func(m *signing.Message) { m.Timestamp = time.Time{} },
		"after Christ": func(m *signing.Message) { m.Timestamp = time.Unix(math.MaxInt64, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			m := standardMessage()
			change(&m)
			require.Equal(t, "dst", string(key.AppendSignature([]byte("dst"), m)))
			h := http.Header{"Webhook-Signature": {"left over"}, "X-Other": {"x"}}
			key.SetHeaders(h, m)
			require.Equal(t, http.Header{"X-Other": {"x"}}, h)
		})
	}
}

// The specification keeps only the full stop out of ids. Whatever others sign is
// verified, as long as it is printable and not too long; signing is strict.
func TestStandardForeignIDs(t *testing.T) {
	shared := signing.NewSecret()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(shared.Reveal(), "whsec_"))
	require.NoError(t, err)
	private := signing.NewPrivateKey()
	seed, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(private.Reveal(), "whsk_"))
	require.NoError(t, err)
	key := bind(t, signing.Standard, shared)
	public := bind(t, signing.Standard, publicKey(t, private))
	for _, c := range []struct {
		id   string
		want error
	}{
		{"evt_1", nil},
		{"evt:42", nil},
		{"acct_1/evt_2", nil},
		{strings.Repeat("x", 80), nil},
		{strings.Repeat("x", 256), nil},
		{"urn:uuid:72d3162e-cc78-11e3-81ab-4c9367dc0958", nil},
		{"msg 1 (test) <a@b>, \"q\"; {1}~!", nil},
		{"+/=", nil},
		{strings.Repeat("x", 257), signing.ErrMalformed},
		{"evt.1", signing.ErrMalformed},
		{"evt.1700000000", signing.ErrMalformed},
		{".", signing.ErrMalformed},
		{"evt\t1", signing.ErrMalformed},
		{"evt\r\n1", signing.ErrMalformed},
		{"evt\x00", signing.ErrMalformed},
		{"evt\x7f", signing.ErrMalformed},
		{"evt\x80", signing.ErrMalformed},
		{"événement", signing.ErrMalformed},
		{"", signing.ErrMissingHeader},
	} {
		content := c.id + ".1700000000.{}"
		for k, signature := range map[signing.Key]string{
			key:    "v1," + base64.StdEncoding.EncodeToString(mac(raw, content)),
			public: "v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(ed25519.PrivateKey(seed), []byte(content))),
		} {
			for _, set := range []string{"Webhook-", "Svix-"} {
				h := http.Header{set + "Id": {c.id}, set + "Timestamp": {"1700000000"}, set + "Signature": {signature}}
				m, err := k.Verify(h, []byte("{}"), now, signing.Limits{})
				require.ErrorIs(t, err, c.want, "%q", c.id)
				if err == nil {
					require.Equal(t, c.id, m.ID)
					require.True(t, m.Signed.ID)
				} else if len(c.id) > 10 {
					require.NotContains(t, err.Error(), c.id)
				}
				h[set+"Id"] = []string{c.id + "x"}
				_, err = k.Verify(h, []byte("{}"), now, signing.Limits{})
				require.Error(t, err, "another id")
			}
		}
		m := signing.Message{ID: c.id, Timestamp: now, Body: []byte("{}")}
		require.Equal(t, signing.ValidID(c.id), len(key.AppendSignature(nil, m)) > 0, "%q", c.id)
	}
}

func TestStandardVerify(t *testing.T) {
	key := bind(t, signing.Standard, signing.NewSecret())
	m := standardMessage()
	good := string(key.AppendSignature(nil, m))
	wrong := "v1," + strings.Repeat("A", 43) + "="
	list := func(n int, last string) string { return strings.Repeat(wrong+" ", n) + last }

	for _, c := range []struct {
		name   string
		header string // what to replace in the signature header
		limits signing.Limits
		want   error
	}{
		{"good", good, signing.Limits{}, nil},
		{"last of ten", list(9, good), signing.Limits{}, nil},
		{"last of eleven", list(10, good), signing.Limits{}, signing.ErrMalformed},
		{"eleven unknown versions", strings.Repeat("v2,x ", 10) + good, signing.Limits{}, signing.ErrMalformed},
		{"last of eleven, twelve allowed", list(10, good), signing.Limits{MaxSignatures: 12}, nil},
		{"last of fifty, any number allowed", list(49, good), signing.Limits{MaxSignatures: -1}, nil},
		{"last of a thousand, everything allowed", list(999, good), signing.Limits{MaxSignatures: -1, MaxHeader: -1}, nil},
		{"long header", "v2," + strings.Repeat("x", 4<<10) + " " + good, signing.Limits{}, signing.ErrMalformed},
		{"long header allowed", "v2," + strings.Repeat("x", 4<<10) + " " + good, signing.Limits{MaxHeader: 8 << 10}, nil},
		{"many spaces", strings.Repeat(" ", 100) + good, signing.Limits{}, nil},
		{"beside other versions", "v1a,abc v2,x=y, " + good + " junk", signing.Limits{}, nil},
		{"other versions only", "v1a,abc v2,x", signing.Limits{}, signing.ErrUnknownVersion},
		{"only spaces", "   ", signing.Limits{}, signing.ErrUnknownVersion},
		{"upper-case version", "V" + good[1:], signing.Limits{}, signing.ErrUnknownVersion},
		{"no version", good[3:], signing.Limits{}, signing.ErrUnknownVersion},
		{"more behind it", good + ",junk", signing.Limits{}, signing.ErrNoMatch},
		{"line end inside", good[:10] + "\n" + good[10:], signing.Limits{}, signing.ErrNoMatch},
		{"line end instead", good[:10] + "\n" + good[11:], signing.Limits{}, signing.ErrNoMatch},
		{"empty", "", signing.Limits{}, signing.ErrMissingHeader},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := http.Header{}
			key.SetHeaders(h, m)
			h.Set("webhook-signature", c.header)
			got, err := key.Verify(h, m.Body, now, c.limits)
			require.ErrorIs(t, err, c.want)
			if err != nil {
				require.Zero(t, got)
				require.NotContains(t, err.Error(), good[3:])
			}
		})
	}
	require.ErrorIs(t, signing.ErrUnknownVersion, signing.ErrNoMatch)
}

func TestStandardHeaderMap(t *testing.T) {
	key := bind(t, signing.Standard, signing.NewSecret())
	m := standardMessage()
	set := http.Header{}
	key.SetHeaders(set, m)
	sig := set["Webhook-Signature"]
	other := []string{"v1," + strings.Repeat("A", 43) + "="}
	for _, c := range []struct {
		name string
		h    http.Header
		want error
	}{
		{"nil", nil, signing.ErrMissingHeader},
		{"lower case", http.Header{"webhook-id": {"evt_1"}, "webhook-timestamp": {"1700000000"}, "webhook-signature": sig}, nil},
		{"two spellings", http.Header{"webhook-id": {"evt_1"}, "WEBHOOK-ID": {"evt_1"}, "webhook-timestamp": {"1700000000"}, "webhook-signature": sig}, signing.ErrMalformed},
		{"a Kelvin sign is not a k", http.Header{"webhoo\u212a-id": {"evt_1"}, "Webhook-Timestamp": {"1700000000"}, "Webhook-Signature": sig}, signing.ErrMissingHeader},
		{"id twice", http.Header{"Webhook-Id": {"evt_1", "evt_1"}, "Webhook-Timestamp": {"1700000000"}, "Webhook-Signature": sig}, signing.ErrMalformed},
		{"timestamp twice", http.Header{"Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {"1700000000", "1"}, "Webhook-Signature": sig}, signing.ErrMalformed},
		{"svix set", http.Header{"Svix-Id": {"evt_1"}, "Svix-Timestamp": {"1700000000"}, "Svix-Signature": sig}, nil},
		{"svix set beside half a set", http.Header{"Webhook-Id": {"x"}, "Svix-Id": {"evt_1"}, "Svix-Timestamp": {"1700000000"}, "Svix-Signature": sig}, nil},
		{"svix signature twice", http.Header{"Svix-Id": {"evt_1"}, "Svix-Timestamp": {"1700000000"}, "Svix-Signature": {sig[0], sig[0]}}, signing.ErrMalformed},
		{"two halves", http.Header{"Webhook-Id": {"evt_1"}, "Svix-Timestamp": {"1700000000"}, "Svix-Signature": sig}, signing.ErrMissingHeader},
		{"good standard, wrong svix", http.Header{"Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {"1700000000"}, "Webhook-Signature": sig, "Svix-Id": {"evt_1"}, "Svix-Timestamp": {"1700000000"}, "Svix-Signature": other}, nil},
		{"wrong standard, good svix", http.Header{"Webhook-Id": {"evt_1"}, "Webhook-Timestamp": {"1700000000"}, "Webhook-Signature": other, "Svix-Id": {"evt_1"}, "Svix-Timestamp": {"1700000000"}, "Svix-Signature": sig}, signing.ErrNoMatch},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := key.Verify(c.h, m.Body, now, signing.Limits{})
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestTolerance(t *testing.T) {
	s := signing.NewSecret()
	for _, scheme := range []signing.Scheme{signing.Standard, signing.Timestamped("X-Sig")} {
		key := bind(t, scheme, s)
		h := http.Header{}
		m := standardMessage()
		key.SetHeaders(h, m)
		for _, c := range []struct {
			age       time.Duration
			tolerance time.Duration
			want      error
		}{
			{300 * time.Second, 0, nil},
			{300*time.Second + 999*time.Millisecond, 0, nil}, // whole seconds
			{301 * time.Second, 0, signing.ErrTooOld},
			{-300 * time.Second, 0, nil},
			{-301 * time.Second, 0, signing.ErrTooNew},
			{11 * time.Second, 10 * time.Second, signing.ErrTooOld},
			{time.Second, time.Nanosecond, nil},
			{2 * time.Second, time.Nanosecond, signing.ErrTooOld},
			{100 * 365 * 24 * time.Hour, -1, nil},
			{-20 * 365 * 24 * time.Hour, -1, nil},
		} {
			_, err := key.Verify(h, m.Body, m.Timestamp.Add(c.age), signing.Limits{Tolerance: c.tolerance})
			require.ErrorIs(t, err, c.want, fmt.Sprint(scheme.Name(), c))
		}
		// Clocks at the ends of time neither panic nor wrap.
		_, err := key.Verify(h, m.Body, time.Unix(math.MinInt64, 0), signing.Limits{})
		require.ErrorIs(t, err, signing.ErrTooNew)
		_, err = key.Verify(h, m.Body, time.Unix(math.MaxInt64, 0), signing.Limits{})
		require.ErrorIs(t, err, signing.ErrTooOld)
	}
}

func TestValidID(t *testing.T) {
	for _, id := range []string{"x", "evt_0190-AZaz09", strings.Repeat("x", 64)} {
		require.True(t, signing.ValidID(id), id)
	}
	for _, id := range []string{"", "a.b", "a b", "é", "a\x00", strings.Repeat("x", 65)} {
		require.False(t, signing.ValidID(id), id)
	}
}
