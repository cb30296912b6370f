package signing_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// Whatever the headers are, Verify does not panic, and what it accepts is what
// the key itself would have signed.
func FuzzStandardVerify(f *testing.F) {
	key := bind(f, signing.Standard, secret(f, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"))
	good := string(key.AppendSignature(nil, standardMessage()))
	f.Add("evt_1", "1700000000", good)
	f.Add("evt_1", "1700000000", "v1a,x "+good)
	f.Add("evt.1", "+1", "v1,")
	f.Add("", "9223372036854775808", " , v1,=")
	f.Fuzz(func(t *testing.T, id, timestamp, signature string) {
		h := http.Header{"Webhook-Id": {id}, "Webhook-Timestamp": {timestamp}, "Webhook-Signature": {signature}}
		body := standardMessage().Body
		m, err := key.Verify(h, body, now, signing.Limits{Tolerance: -1})
		if err != nil {
			require.Zero(t, m)
			return
		}
		again := http.Header{}
		key.SetHeaders(again, m)
		require.Equal(t, id, again.Get("Webhook-Id"))
		require.Equal(t, timestamp, again.Get("Webhook-Timestamp"))
		require.Contains(t, signature, again.Get("Webhook-Signature"))
	})
}

func FuzzTimestampedVerify(f *testing.F) {
	key := bind(f, signing.Timestamped("X-Sig"), secret(f, "opaque"))
	good := string(key.AppendSignature(nil, standardMessage()))
	f.Add(good)
	f.Add("v0=x," + good)
	f.Add("t=,v1=")
	f.Add("t=9223372036854775808,t=1,v1=00,=,")
	f.Fuzz(func(t *testing.T, value string) {
		m, err := key.Verify(http.Header{"X-Sig": {value}}, standardMessage().Body, now, signing.Limits{Tolerance: -1})
		if err != nil {
			require.Zero(t, m)
			return
		}
		require.WithinDuration(t, now, m.Timestamp, 0)
	})
}

// Any text either is a secret and stays what it was, or is refused.
func FuzzParseSecret(f *testing.F) {
	f.Add("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	f.Add("whsec_***")
	f.Add(" x\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := signing.ParseSecret(text)
		if err != nil {
			require.ErrorIs(t, err, signing.ErrBadSecret)
			return
		}
		require.Equal(t, text, s.Reveal())
		for _, scheme := range []signing.Scheme{signing.Standard, signing.Timestamped("X-Sig"), signing.GitHub} {
			key, err := scheme.Bind(s)
			if err != nil {
				require.ErrorIs(t, err, signing.ErrBadSecret)
				continue
			}
			h, m := http.Header{}, standardMessage()
			key.SetHeaders(h, m)
			_, err = key.Verify(h, m.Body, m.Timestamp.Add(time.Second), signing.Limits{})
			require.NoError(t, err)
		}
	})
}
