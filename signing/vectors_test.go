package signing_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

type vector struct {
	Scheme       string              `json:"scheme"`
	Name         string              `json:"name"`
	Secret       string              `json:"secret"`
	SecretFormat string              `json:"secret_format"`
	Headers      map[string][]string `json:"headers"`
	Body         []byte              `json:"body"`
	Now          int64               `json:"now"`
	Tolerance    int64               `json:"tolerance"`
	Expect       string              `json:"expect"`
	Strict       string              `json:"strict_suggestion"`
}

// The scheme under which each group of vectors runs.
var vectorSchemes = map[string]signing.Scheme{
	"standard-webhooks":      signing.Standard,
	"standard-webhooks-v1a":  signing.Standard,
	"svix":                   signing.Standard,
	"stripe":                 signing.Timestamped("Stripe-Signature"),
	"stripe-construct-event": signing.Timestamped("Stripe-Signature"),
	"github":                 signing.GitHub,
	"xtopay-t-v1":            signing.Timestamped("x-xtopay-signature"),
	"xtopay-hex":             signing.BodyHMAC("x-xtopay-signature", "", signing.Hex),
	"xtopay-base64":          signing.BodyHMAC("x-xtopay-signature", "", signing.Base64),
	"xtopay-sha256-prefix":   signing.BodyHMAC("x-xtopay-signature", "sha256=", signing.Hex),
}

const genuine = "the signature is genuine; what the application can read of the event is not for a verifier to say"

// Vectors whose expected outcome is not ours.
var deviations = map[string]struct{ outcome, reason string }{
	"standard-webhooks/id-dot-ambiguity-shifted": {"malformed_header", "an id with a full stop makes the signed content ambiguous"},
	"standard-webhooks/id-unicode":               {"malformed_header", "ids are printable ASCII"},
	"svix/svix-and-webhook-both-present":         {"no_match", "the standard's own headers win over svix-*, which are a fallback"},
	"stripe/equals-inside-value":                 {"ok", "a field of a later version may hold padded base64 and must not break this one"},
	"stripe/space-after-comma":                   {"ok", "lists in HTTP have optional white space (RFC 9110, 5.6.1)"},
	"stripe-construct-event/event-other-train":   {"ok", genuine},
	"stripe-construct-event/event-no-version":    {"ok", genuine},
	"stripe-construct-event/event-thin":          {"ok", genuine},
	"stripe-construct-event/event-invalid-json":  {"ok", genuine},
	"standard-webhooks-v1a/v1a-key-is-whsec":     {"no_match", "one verifier may hold shared secrets and public keys, and a shared secret is no reason to believe a v1a signature"},
}

var outcomes = map[string]error{
	"ok":               nil,
	"missing_header":   signing.ErrMissingHeader,
	"malformed_header": signing.ErrMalformed,
	"bad_timestamp":    signing.ErrMalformed,
	"too_old":          signing.ErrTooOld,
	"too_new":          signing.ErrTooNew,
	"no_match":         signing.ErrNoMatch,
	"bad_secret":       signing.ErrBadSecret,
}

func readVectors(t testing.TB) []vector {
	t.Helper()
	file, err := os.ReadFile("testdata/signature_vectors.json")
	require.NoError(t, err)
	var vectors []vector
	require.NoError(t, json.Unmarshal(file, &vectors))
	return vectors
}

func TestVectors(t *testing.T) {
	vectors := readVectors(t)
	unused := map[string]bool{}
	for name := range deviations {
		unused[name] = true
	}
	for _, v := range vectors {
		scheme, ok := vectorSchemes[v.Scheme]
		require.True(t, ok, v.Scheme)
		name := v.Scheme + "/" + v.Name
		t.Run(name, func(t *testing.T) {
			outcome := v.Expect
			if v.Strict != "" {
				outcome = v.Strict
			}
			if d, ok := deviations[name]; ok {
				require.NotEqual(t, d.outcome, outcome, "not a deviation any more")
				outcome = d.outcome
				delete(unused, name)
			}
			require.Contains(t, outcomes, outcome)
			want := outcomes[outcome]
			// Once as a server canonicalises them, once as they are spelled.
			for _, h := range []http.Header{canonical(v.Headers), v.Headers} {
				_, err := verifyVector(scheme, v, h)
				require.ErrorIs(t, err, want)
			}
		})
	}
	require.Empty(t, unused, "deviations without a vector")
	require.Equal(t, 148, len(vectors))
}

func verifyVector(scheme signing.Scheme, v vector, h http.Header) (signing.Message, error) {
	text := v.Secret
	if v.SecretFormat == "raw" && scheme == signing.Standard {
		// Bytes that were never base64 are brought into the scheme's form.
		text = "whsec_" + base64.StdEncoding.EncodeToString([]byte(text))
	}
	secret, err := signing.ParseSecret(text)
	if err != nil {
		return signing.Message{}, err
	}
	key, err := scheme.Bind(secret)
	if err != nil {
		return signing.Message{}, err
	}
	return key.Verify(h, v.Body, time.Unix(v.Now, 0), signing.Limits{Tolerance: time.Duration(v.Tolerance) * time.Second})
}

func canonical(in map[string][]string) http.Header {
	h := http.Header{}
	for name, values := range in {
		for _, v := range values {
			h.Add(name, v)
		}
	}
	return h
}

// What we sign must be what others sign: every accepted vector with a single
// signature comes out the same.
func TestVectorsSigned(t *testing.T) {
	same := 0
	for _, v := range readVectors(t) {
		scheme := vectorSchemes[v.Scheme]
		h := canonical(v.Headers)
		m, err := verifyVector(scheme, v, h)
		if err != nil {
			continue
		}
		secret, err := signing.ParseSecret(v.Secret)
		if err != nil || v.SecretFormat == "raw" && scheme == signing.Standard {
			continue
		}
		key, err := scheme.Bind(secret)
		require.NoError(t, err)
		ours := string(key.AppendSignature(nil, m))
		if ours == "" {
			require.Equal(t, signing.KindPublic, secret.Kind())
			continue
		}
		for _, name := range []string{"Webhook-Signature", "Svix-Signature", "Stripe-Signature", "X-Xtopay-Signature", "X-Hub-Signature-256"} {
			theirs := h.Get(name)
			if v.Name == "hex-uppercase" || v.Name == "uppercase-hex" {
				theirs = strings.ToLower(theirs)
			}
			if len(theirs) == len(ours) && ours[:2] == theirs[:2] {
				require.Equal(t, theirs, ours, v.Name)
				same++
			}
		}
	}
	require.Greater(t, same, 40)
}
