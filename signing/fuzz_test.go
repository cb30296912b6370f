package signing_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// The limits under which fuzzing runs: only the tolerance would hide what else
// may be wrong.
var anyTime = signing.Limits{Tolerance: -1}

// eachVector calls add with what the vectors of a scheme have in a header.
func eachVector(f *testing.F, add func(v vector, h http.Header)) {
	f.Helper()
	for _, v := range readVectors(f) {
		add(v, canonical(v.Headers))
	}
}

// Whatever the headers are, Verify does not panic, and it accepts what a plain
// reading of the specification accepts.
func FuzzStandardVerify(f *testing.F) {
	const sharedText = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	key := bind(f, signing.Standard, secret(f, sharedText), secret(f, knownPrivate))
	shared, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(sharedText, "whsec_"))
	require.NoError(f, err)
	good := string(key.AppendSignature(nil, standardMessage()))
	f.Add("evt_1", "1700000000", good, standardMessage().Body)
	f.Add("evt_1", "1700000000", "v1a,x "+good, standardMessage().Body)
	f.Add("acct_1/evt:2", "1700000000", "v1,"+base64.StdEncoding.EncodeToString(mac(shared, "acct_1/evt:2.1700000000.{}")), []byte("{}"))
	eachVector(f, func(v vector, h http.Header) {
		for _, set := range []string{"Webhook-", "Svix-"} {
			if h.Get(set+"Signature") != "" {
				f.Add(h.Get(set+"Id"), h.Get(set+"Timestamp"), h.Get(set+"Signature"), v.Body)
			}
		}
	})
	private, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(knownPrivate, "whsk_"))
	require.NoError(f, err)
	var (
		id      = regexp.MustCompile(`^[ -\-/-~]{1,256}$`)
		seconds = regexp.MustCompile(`^(0|[1-9][0-9]{0,11})$`)
	)
	plain := func(messageID, timestamp, signatures string, body []byte) bool {
		// The end of the year 9999 has 12 digits.
		if !id.MatchString(messageID) || !seconds.MatchString(timestamp) || len(timestamp) == 12 && timestamp > "253402300799" {
			return false
		}
		items := strings.FieldsFunc(signatures, func(r rune) bool { return r == ' ' })
		if len(signatures) > 4<<10 || len(items) > 10 {
			return false
		}
		content := messageID + "." + timestamp + "." + string(body)
		for _, item := range items {
			switch item {
			case "v1," + base64.StdEncoding.EncodeToString(mac(shared, content)),
				"v1a," + base64.StdEncoding.EncodeToString(ed25519.Sign(private, []byte(content))):
				return true
			}
		}
		return false
	}
	f.Fuzz(func(t *testing.T, id, timestamp, signature string, body []byte) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
		m, err := key.Verify(h, body, now, anyTime)
		require.Equal(t, plain(id, timestamp, signature, body), err == nil)
		if err != nil {
			require.Zero(t, m)
			return
		}
		require.Equal(t, id, m.ID)
		again := http.Header{}
		key.SetHeaders(again, m)
		if !signing.ValidID(id) {
			require.Empty(t, again, "signing is strict")
			return
		}
		require.Equal(t, id, again.Get("Webhook-Id"))
		require.Equal(t, timestamp, again.Get("Webhook-Timestamp"))
	})
}

func FuzzTimestampedVerify(f *testing.F) {
	key := bind(f, signing.Timestamped("X-Sig"), secret(f, "whsec_test_secret"))
	good := string(key.AppendSignature(nil, standardMessage()))
	f.Add(good, standardMessage().Body)
	f.Add("v0=x,"+good, standardMessage().Body)
	f.Add(", \t"+strings.ReplaceAll(good, ",", " ,, "), standardMessage().Body)
	f.Add("t=9223372036854775808,t=1,v1=00,=,", []byte{})
	eachVector(f, func(v vector, h http.Header) {
		for _, name := range []string{"Stripe-Signature", "X-Xtopay-Signature"} {
			if value := h.Get(name); value != "" {
				f.Add(value, v.Body)
			}
		}
	})
	f.Fuzz(func(t *testing.T, value string, body []byte) {
		m, err := key.Verify(http.Header{"X-Sig": {value}}, body, now, anyTime)
		if err != nil {
			require.Zero(t, m)
			return
		}
		// The time and the signature stand in the header as this key writes them.
		ours := string(key.AppendSignature(nil, m))
		stamp, signature, _ := strings.Cut(ours, ",")
		var fields []string
		for field := range strings.SplitSeq(value, ",") {
			fields = append(fields, strings.Trim(field, " \t"))
		}
		require.Contains(t, fields, stamp)
		require.Contains(t, strings.Split(strings.ToLower(strings.Join(fields, ",")), ","), signature)
	})
}

func FuzzBodyHMACVerify(f *testing.F) {
	s := secret(f, "mysecret")
	keys := map[string]signing.Key{
		"":        bind(f, signing.BodyHMAC("X-Sig", "", signing.Hex), s),
		"sha256=": bind(f, signing.BodyHMAC("X-Sig", "sha256=", signing.Hex), s),
		"b64 ":    bind(f, signing.BodyHMAC("X-Sig", "b64 ", signing.Base64), s),
	}
	for _, key := range keys {
		f.Add(string(key.AppendSignature(nil, standardMessage())), standardMessage().Body)
	}
	eachVector(f, func(v vector, h http.Header) {
		for _, name := range []string{"X-Hub-Signature-256", "X-Hub-Signature", "X-Xtopay-Signature"} {
			if value := h.Get(name); value != "" {
				f.Add(value, v.Body)
			}
		}
	})
	f.Fuzz(func(t *testing.T, value string, body []byte) {
		sum := mac([]byte("mysecret"), string(body))
		want := map[string]bool{
			"":        strings.EqualFold(value, hex.EncodeToString(sum)) && len(value) == 64,
			"sha256=": strings.HasPrefix(value, "sha256=") && strings.EqualFold(value[7:], hex.EncodeToString(sum)) && len(value) == 71,
			"b64 ":    value == "b64 "+base64.StdEncoding.EncodeToString(sum),
		}
		for prefix, key := range keys {
			m, err := key.Verify(http.Header{"X-Sig": {value}}, body, now, anyTime)
			require.Equal(t, want[prefix], err == nil, prefix)
			if err != nil {
				require.Zero(t, m)
			}
		}
	})
}

// GitHub's unsigned headers are data that anybody wrote.
func FuzzGitHubHeaders(f *testing.F) {
	key := bind(f, signing.GitHub, secret(f, "mysecret"))
	f.Add("72d3162e-cc78-11e3-81ab-4c9367dc0958", "issue_comment")
	f.Add("a.b", "payment.succeeded")
	f.Add("", ".")
	f.Fuzz(func(t *testing.T, id, typ string) {
		h := http.Header{}
		m := signing.Message{ID: id, Type: typ, Body: []byte("{}")}
		key.SetHeaders(h, m)
		signed := len(h) > 0
		h.Set("X-Hub-Signature-256", string(key.AppendSignature(nil, signing.Message{Body: m.Body})))
		h.Set("X-GitHub-Delivery", id)
		h.Set("X-GitHub-Event", typ)
		got, err := key.Verify(h, m.Body, now, signing.Limits{})
		require.Equal(t, signed, err == nil, "what is signed is accepted, and nothing else")
		if err == nil {
			require.Equal(t, m, got)
		}
	})
}

// Any text either is a secret and stays what it was, or is refused.
func FuzzParseSecret(f *testing.F) {
	f.Add("whsec_***")
	f.Add(" x\n")
	f.Add(knownPrivate)
	f.Add(knownPublic)
	f.Add("whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbc=")
	eachVector(f, func(v vector, _ http.Header) { f.Add(v.Secret) })
	f.Fuzz(func(t *testing.T, text string) {
		s, err := signing.ParseSecret(text)
		if err != nil {
			require.ErrorIs(t, err, signing.ErrBadSecret)
			return
		}
		require.Equal(t, text, s.Reveal())
		public, err := s.PublicKey()
		if err == nil {
			again, err := secret(t, public).PublicKey()
			require.NoError(t, err)
			require.Equal(t, public, again, "one spelling")
		}
		for _, scheme := range []signing.Scheme{
			signing.Standard, signing.Timestamped("X-Sig"), signing.GitHub, signing.BodyHMAC("X-Sig", "", signing.Base64),
		} {
			key, err := scheme.Bind(s)
			if err != nil {
				require.ErrorIs(t, err, signing.ErrBadSecret)
				continue
			}
			h, m := http.Header{}, standardMessage()
			key.SetHeaders(h, m)
			if s.Kind() == signing.KindPublic {
				require.Equal(t, signing.Standard, scheme)
				require.Empty(t, h)
				continue
			}
			_, err = key.Verify(h, m.Body, m.Timestamp.Add(time.Second), signing.Limits{})
			require.NoError(t, err)
			if s.Kind() == signing.KindPrivate {
				require.Equal(t, signing.Standard, scheme)
				_, err = bind(t, scheme, secret(t, public)).Verify(h, m.Body, m.Timestamp, signing.Limits{})
				require.NoError(t, err)
			}
			_, err = key.Verify(h, append(bytes.Clone(m.Body), 0), m.Timestamp, signing.Limits{})
			require.ErrorIs(t, err, signing.ErrNoMatch)
		}
	})
}
