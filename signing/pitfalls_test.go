package signing_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// What other libraries got wrong, tried on every scheme.
func TestPitfallsOfAllSchemes(t *testing.T) {
	for _, b := range bounds(t) {
		key, receiver := bind(t, b.scheme, b.sender...), bind(t, b.scheme, b.others...)
		m := standardMessage()
		m.Body = []byte(`{"b": 1.0, "a": "é"}`)
		good := http.Header{}
		key.SetHeaders(good, m)
		value := string(key.AppendSignature(nil, m))
		name := headerOf(t, good, value)
		with := func(values ...string) http.Header {
			h := good.Clone()
			h[name] = values
			return h
		}
		refused := func(t *testing.T, h http.Header, body []byte, want error) {
			t.Helper()
			got, err := receiver.Verify(h, body, now, signing.Limits{})
			require.Error(t, err)
			require.Zero(t, got)
			if want != nil {
				require.ErrorIs(t, err, want)
			}
			for _, part := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" ,=", r) }) {
				if len(part) > 20 {
					require.NotContains(t, err.Error(), part)
				}
			}
		}
		accepted := func(t *testing.T, h http.Header, body []byte) {
			t.Helper()
			got, err := receiver.Verify(h, body, now, signing.Limits{})
			require.NoError(t, err)
			require.Equal(t, string(body), string(got.Body))
		}

		t.Run(b.name+"/cut off", func(t *testing.T) {
			// Comparing the shorter length, an index out of range. A whole signature that
			// remains of a list is still good.
			end := len(value)
			if len(b.sender) > 1 {
				end = strings.IndexByte(value, ' ')
			}
			for n := range end {
				refused(t, with(value[:n]), m.Body, nil)
			}
		})
		t.Run(b.name+"/two header lines", func(t *testing.T) {
			refused(t, with(value, value), m.Body, signing.ErrMalformed)
			refused(t, with(value, "x"), m.Body, signing.ErrMalformed)
			refused(t, with("x", value), m.Body, signing.ErrMalformed)
			h := good.Clone()
			h[strings.ToLower(name)] = []string{value}
			accepted(t, h, m.Body) // what net/http can't produce; the canonical one counts
			delete(h, name)
			h[strings.ToUpper(name)] = []string{value}
			refused(t, h, m.Body, signing.ErrMalformed)
		})
		t.Run(b.name+"/keys that are not canonical", func(t *testing.T) {
			for _, spell := range []func(string) string{strings.ToLower, strings.ToUpper} {
				h := http.Header{}
				for k, v := range good {
					h[spell(k)] = v
				}
				accepted(t, h, m.Body)
			}
		})
		t.Run(b.name+"/flood", func(t *testing.T) {
			for _, unit := range []string{",", " ", "v1,x ", "v1a,x ", "v1=x,", "a", value + " ", value + ","} {
				refused(t, with(strings.Repeat(unit, 1<<20/len(unit))), m.Body, signing.ErrMalformed)
			}
		})
		t.Run(b.name+"/nothing", func(t *testing.T) {
			for _, empty := range [][]string{nil, {}, {""}} {
				refused(t, with(empty...), m.Body, signing.ErrMissingHeader)
			}
			for _, junk := range []string{"v1,", "v1a,", "v1=", "t=", "t=1700000000,v1=", "sha256=", "hmac ", "v1", "=", ",", "\x00", "\xff"} {
				refused(t, with(junk), m.Body, nil)
			}
		})
		t.Run(b.name+"/bodies", func(t *testing.T) {
			var again map[string]any
			require.NoError(t, json.Unmarshal(m.Body, &again))
			reprinted, err := json.Marshal(again)
			require.NoError(t, err)
			refused(t, good, reprinted, signing.ErrNoMatch)
			refused(t, good, nil, signing.ErrNoMatch)
			refused(t, good, append([]byte("\ufeff"), m.Body...), signing.ErrNoMatch)
			for _, body := range [][]byte{nil, {}, []byte("\x00"), []byte("{\xff\xfe"), bytes.Repeat([]byte("\x80"), 3<<20)} {
				m := m
				m.Body = body
				h := http.Header{}
				key.SetHeaders(h, m)
				accepted(t, h, body)
				refused(t, h, append(bytes.Clone(body), 0), signing.ErrNoMatch)
			}
		})
	}
}

// headerOf returns the name of the header with a value.
func headerOf(t *testing.T, h http.Header, value string) string {
	t.Helper()
	for name := range h {
		if h.Get(name) == value {
			return name
		}
	}
	require.Fail(t, "no header has the signature")
	return ""
}

// mac is HMAC-SHA256 made by hand, to sign what a Key would not.
func mac(key []byte, content string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(content))
	return h.Sum(nil)
}

// The time is a text that the signature covers; another text for the same number
// is another message, and no text may overflow into a time that is fresh.
func TestPitfallTimestamps(t *testing.T) {
	shared := signing.NewSecret()
	raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(shared.Reveal(), "whsec_"))
	require.NoError(t, err)
	standard, stamped := bind(t, signing.Standard, shared), bind(t, signing.Timestamped("X-Sig"), shared)
	for text, want := range map[string]error{
		"1700000000":           nil,
		"1700000300":           nil,
		"1700000301":           signing.ErrTooNew,
		"1699999700":           nil,
		"1699999699":           signing.ErrTooOld,
		"1731536000":           signing.ErrTooNew, // a year ahead
		"0":                    signing.ErrTooOld,
		"+1700000000":          signing.ErrMalformed,
		"-1700000000":          signing.ErrMalformed,
		"-0":                   signing.ErrMalformed,
		"01700000000":          signing.ErrMalformed,
		"0001700000000":        signing.ErrMalformed,
		" 1700000000":          signing.ErrMalformed,
		"1700000000 ":          signing.ErrMalformed,
		"1700000000.0":         signing.ErrMalformed,
		"1700000000.5":         signing.ErrMalformed,
		"1700000000abc":        signing.ErrMalformed,
		"1_700_000_000":        signing.ErrMalformed,
		"1.7e9":                signing.ErrMalformed,
		"0x6553f100":           signing.ErrMalformed,
		"١٧٠٠٠٠٠٠٠٠":           signing.ErrMalformed,
		"1700000000000":        signing.ErrTooNew, // milliseconds
		"9223372036854775807":  signing.ErrTooNew,
		"9223372036854775808":  signing.ErrMalformed,
		"18446744075409551616": signing.ErrMalformed, // 2^64 + 1700000000
		"-9223372036854775808": signing.ErrMalformed,
		"99999999999999999999": signing.ErrMalformed,
	} {
		// The signature is right for the text as it stands, so that nothing but its form
		// can be the reason.
		h := http.Header{
			"Webhook-Id":        {"evt_1"},
			"Webhook-Timestamp": {text},
			"Webhook-Signature": {"v1," + base64.StdEncoding.EncodeToString(mac(raw, "evt_1."+text+".{}"))},
			"X-Sig":             {"t=" + text + ",v1=" + hex.EncodeToString(mac([]byte(shared.Reveal()), text+".{}"))},
		}
		for _, key := range []signing.Key{standard, stamped} {
			_, err := key.Verify(h, []byte("{}"), now, signing.Limits{})
			if key == stamped && strings.HasSuffix(text, " ") {
				// The space is the list's, and no part of the time that was signed.
				want = signing.ErrNoMatch
			}
			require.ErrorIs(t, err, want, text)
		}
	}
}

// With a full stop in the id, two messages would share a signature.
func TestPitfallDottedID(t *testing.T) {
	shared := signing.NewSecret()
	key := bind(t, signing.Standard, shared)
	h := http.Header{}
	key.SetHeaders(h, signing.Message{ID: "x", Timestamp: now, Body: []byte("1700000001.{}")})
	_, err := key.Verify(h, []byte("1700000001.{}"), now, signing.Limits{})
	require.NoError(t, err)
	h.Set("webhook-id", "x.1700000000")
	h.Set("webhook-timestamp", "1700000001")
	_, err = key.Verify(h, []byte("{}"), now, signing.Limits{})
	require.ErrorIs(t, err, signing.ErrMalformed)
}

// A label or prefix decides by which rule a signature is checked, never by which
// algorithm; what has none is not tried.
func TestPitfallLabels(t *testing.T) {
	shared := signing.NewSecret()
	m := standardMessage()
	standard, github := bind(t, signing.Standard, shared), bind(t, signing.GitHub, shared)
	h := http.Header{}
	standard.SetHeaders(h, m)
	good := strings.TrimPrefix(h.Get("webhook-signature"), "v1,")
	for _, value := range []string{
		good, "," + good, "V1," + good, "v2," + good, "v1a," + good, "v1=" + good, "v1:" + good, "v11," + good, "v1,," + good, "v1," + good + ",", "v1," + good + ",x",
		"v1," + good + "=", "v1," + strings.TrimSuffix(good, "="), "v1," + strings.ReplaceAll(strings.ReplaceAll(good, "+", "-"), "/", "_") + "-", "v1,\t" + good, "v1," + good[:43] + "\n",
	} {
		h.Set("webhook-signature", value)
		_, err := standard.Verify(h, m.Body, now, signing.Limits{})
		require.ErrorIs(t, err, signing.ErrNoMatch, value)
	}

	h = http.Header{}
	github.SetHeaders(h, m)
	digits := strings.TrimPrefix(h.Get("X-Hub-Signature-256"), "sha256=")
	for _, value := range []string{
		digits, "=" + digits, "SHA256=" + digits, "sha256:" + digits, "sha1=" + digits, "sha512=" + digits + digits, "sha256= " + digits, " sha256=" + digits,
		"sha256=sha256=" + digits, "sha256=" + digits + ",sha256=" + digits, "sha256=" + digits[:63], "sha256=" + digits + "\n", "sha256=0x" + digits[2:],
	} {
		h.Set("X-Hub-Signature-256", value)
		_, err := github.Verify(h, m.Body, now, signing.Limits{})
		require.ErrorIs(t, err, signing.ErrMalformed, value)
	}
	// The SHA-1 header beside it is never looked at.
	h = http.Header{"X-Hub-Signature": {"sha256=" + digits}}
	_, err := github.Verify(h, m.Body, now, signing.Limits{})
	require.ErrorIs(t, err, signing.ErrMissingHeader)
}

// Empty and short secrets: no scheme verifies with a key that anybody can guess
// because there is none.
func TestPitfallEmptySecrets(t *testing.T) {
	for _, text := range []string{"", "whsec_", "whsk_", "whpk_"} {
		_, err := signing.ParseSecret(text)
		require.ErrorIs(t, err, signing.ErrBadSecret, text)
	}
	for _, b := range bounds(t) {
		_, err := b.scheme.Bind()
		require.ErrorIs(t, err, signing.ErrBadSecret)
		_, err = b.scheme.Bind(signing.Secret{})
		require.ErrorIs(t, err, signing.ErrBadSecret)
	}
	for n := 1; n < 24; n++ {
		_, err := signing.Standard.Bind(secret(t, "whsec_"+base64.StdEncoding.EncodeToString(make([]byte, n))))
		require.ErrorIs(t, err, signing.ErrBadSecret, fmt.Sprint(n, " bytes"))
	}
}
