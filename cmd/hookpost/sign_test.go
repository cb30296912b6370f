package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What sign signs, verify accepts, in every scheme.
func TestSignAndVerify(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	body := `{"id":"evt_7","type":"payment.succeeded","created_at":"2026-05-24T10:02:14Z","data":{"amount":5000}}`
	file := writeFile(t, body)
	private := strings.TrimSpace(s.must(t, "keys", "secret", "--ed25519"))
	for _, scheme := range []string{"standard", "stripe", "github", "timestamped:X-Xtopay-Signature", "body-hmac:X-Sig:hex", "body-hmac:X-Sig:base64:v1="} {
		headers := writeFile(t, s.must(t, "sign", file, "--scheme", scheme, "--id", "evt_7", "--type", "payment.succeeded"))
		require.Contains(t, s.must(t, "verify", "--headers", headers, "--scheme", scheme, file), "The signature is right.\nevent    evt_7\n", scheme)
		require.Contains(t, s.typing(body).must(t, "verify", "--headers", headers, "--scheme", scheme), "payment.succeeded", scheme)
		s.typing(body+" ").refuses(t, exitNo, "no matching signature", "verify", "--headers", headers, "--scheme", scheme)
		s.with("HOOKPOST_SECRET", "whsec_"+strings.Repeat("B", 32)).refuses(t, exitNo, "no matching signature", "verify", "--headers", headers, "--scheme", scheme, file)
		old := s.with("HOOKPOST_SECRET", "whsec_"+strings.Repeat("B", 32)+"\r\n"+someSecret+"\n")
		require.Contains(t, old.must(t, "verify", "--headers", headers, "--scheme", scheme, file), "right", "the older of two secrets")
	}

	headers := writeFile(t, s.with("HOOKPOST_SECRET", private).must(t, "sign", file))
	var keys struct {
		Secrets []struct {
			Kind      string
			PublicKey string `json:"public_key"`
		}
	}
	s.with("HOOKPOST_SECRET", private).json(t, &keys, "keys", "fingerprint")
	require.Equal(t, "private", keys.Secrets[0].Kind)
	require.Contains(t, s.with("HOOKPOST_SECRET", keys.Secrets[0].PublicKey).must(t, "verify", "--headers", headers, file), "right")
	s.with("HOOKPOST_SECRET", keys.Secrets[0].PublicKey).refuses(t, exitBadInput, "can't sign this", "sign", file)
}

// verify says more than a receiver may answer.
func TestVerifySaysWhy(t *testing.T) {
	s := newShell(t).with("HOOKPOST_SECRET", someSecret)
	const at = "2026-05-24T10:00:00Z"
	headers := writeFile(t, "POST /webhooks HTTP/1.1\r\nHost: example.com\r\n"+s.typing("{}").must(t, "sign", "--id", "evt_1", "--at", at))
	verify := func(more ...string) []string { return append([]string{"verify", "--headers", headers}, more...) }

	s.typing("{}").refuses(t, exitNo, "too old: signed 1h0m0s ago; the signature itself is right", verify("--at", "2026-05-24T11:00:00Z")...)
	s.typing("{}").refuses(t, exitNo, "signed 1h0m0s ahead of now; the signature itself is right", verify("--at", "2026-05-24T09:00:00Z")...)
	s.typing("{} ").refuses(t, exitNo, "too old, and the signature is not right either", verify("--at", "2026-05-24T11:00:00Z")...)
	s.typing("{}\n").refuses(t, exitNo, "right for the body without the line end that the file has", verify("--at", at)...)
	s.typing("{}").refuses(t, exitNo, "missing header", verify("--at", at, "--scheme", "stripe")...)
	s.typing("{}").must(t, verify("--at", at)...)
	s.typing("{}").must(t, verify("--tolerance", "any")...)
	s.typing("{}").must(t, verify("--tolerance", "2h", "--at", "2026-05-24T11:00:00Z")...)

	status, out, errs := s.typing("{}").call(verify("--json")...)
	require.Equal(t, exitNo, status)
	require.Empty(t, errs)
	require.Contains(t, out, `"verified": false`)
	var verdict struct {
		Verified bool
		Signed   []string
		Body     string
	}
	s.typing("{}").json(t, &verdict, verify("--at", at)...)
	require.True(t, verdict.Verified)
	require.Equal(t, []string{"id", "time"}, verdict.Signed)
	require.Equal(t, "{}", verdict.Body)
}

func TestSignJSON(t *testing.T) {
	s := newShell(t).with("X", someSecret)
	var v struct{ Headers map[string]string }
	s.typing("{}").json(t, &v, "sign", "--secret-env", "X", "--scheme", "stripe", "--at", "1700000000")
	require.Equal(t, map[string]string{"Stripe-Signature": "t=1700000000,v1=" + v.Headers["Stripe-Signature"][len("t=1700000000,v1="):]}, v.Headers)
}

func TestKeys(t *testing.T) {
	s := newShell(t)
	first, second := strings.TrimSpace(s.must(t, "keys", "new", "--id", "a")), strings.TrimSpace(s.must(t, "keys", "new", "--id", "b"))
	require.NotEqual(t, first[2:], second[2:])
	out := s.with("HOOKPOST_KEYS", second+","+first).must(t, "keys", "check")
	require.Equal(t, "KEY  USE\nb    seals and opens\na    opens\n", out)
	require.Contains(t, s.typing(first+"\n").must(t, "keys", "check", "--keys-file", "-"), "seals")
	s.with("HOOKPOST_KEYS", first+","+first).refuses(t, exitBadInput, `two keys with the id "a"`, "keys", "check")

	secret := strings.TrimSpace(s.must(t, "keys", "secret"))
	out = s.typing(secret).must(t, "keys", "fingerprint", "--secret-file", "-")
	require.Contains(t, out, "shared  standard, stripe, github, timestamped, body-hmac")
	require.NotContains(t, out, secret)
	require.Contains(t, s.typing("a plain password").must(t, "keys", "fingerprint", "--secret-file", "-"), "shared  stripe, github")

	var made struct{ Secret, Fingerprint, PublicKey string }
	require.NoError(t, json.Unmarshal([]byte(s.must(t, "keys", "secret", "--json")), &made))
	require.Len(t, made.Fingerprint, 8)
}
