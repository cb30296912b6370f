package signing_test

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// GitHub sends forms unless told otherwise, with the JSON in the field payload.
// The signature is over the form.
func TestGitHubForm(t *testing.T) {
	key := bind(t, signing.GitHub, secret(t, "mysecret"))
	const event = `{"ref":"refs/heads/main","note":"100% a+b & c=d; \u00e9é"}`
	none := "\x00"
	for _, c := range []struct {
		name, body string
		payload    string // none: the body is no form
		want       error
	}{
		{"as GitHub sends it", "payload=" + url.QueryEscape(event), event, nil},
		{"lower-case digits, space as %20", "payload=" + strings.ReplaceAll(strings.ToLower(url.QueryEscape("{ }")), "+", "%20"), "{ }", nil},
		{"empty", "payload=", "", nil},
		{"unescaped", `payload={"a":"b=c"}`, `{"a":"b=c"}`, nil},
		{"plus", "payload=a+b%2Bc", "a b+c", nil},
		{"not UTF-8", "payload=%ff%00", "\xff\x00", nil},
		{"beside others", "payload=1&x=2&=&&y", "1", nil},
		{"beside a similar one", "payload=1&Payload=2&payload%20=3&payload[]=4", "1", nil},
		{"JSON", event, none, nil},
		{"nothing", "", none, nil},
		{"name only", "payload", none, nil},
		{"another name", "payloads=1", none, nil},
		{"not the first field", "x=1&payload=2", none, nil},
		{"name in upper case", "PAYLOAD=1", none, nil},
		{"escaped name", "%70ayload=1", none, nil},
		{"behind a byte order mark", "\ufeffpayload=1", none, nil},

		{"twice", "payload=1&payload=2", none, signing.ErrMalformed},
		{"twice the same", "payload=1&x&payload=1", none, signing.ErrMalformed},
		{"twice, once with an escape", "payload=1&p%61yload=2", none, signing.ErrMalformed},
		{"twice, once without a value", "payload=1&payload", none, signing.ErrMalformed},
		{"percent at the end", "payload=1%", none, signing.ErrMalformed},
		{"one digit", "payload=%7", none, signing.ErrMalformed},
		{"one digit, then another field", "payload=%7&b", none, signing.ErrMalformed},
		{"no digits", "payload=%zz", none, signing.ErrMalformed},
		{"second digit is none", "payload=%7g", none, signing.ErrMalformed},
		{"spaces for digits", "payload=% 1", none, signing.ErrMalformed},
		{"signs for digits", "payload=%+1", none, signing.ErrMalformed},
		{"other name's escape", "payload=1&%=2", none, signing.ErrMalformed},
		{"other value's escape", "payload=1&x=%", none, signing.ErrMalformed},
	} {
		t.Run(c.name, func(t *testing.T) {
			body := []byte(c.body)
			h := http.Header{}
			key.SetHeaders(h, signing.Message{ID: "72d3162e", Type: "push", Body: body})
			for _, contentType := range []string{"application/x-www-form-urlencoded", "application/json", ""} {
				h.Set("Content-Type", contentType)
				m, err := key.Verify(h, body, now, signing.Limits{})
				require.ErrorIs(t, err, c.want)
				if err != nil {
					require.Zero(t, m)
					require.ErrorContains(t, err, "payload")
					continue
				}
				require.Equal(t, c.body, string(m.Body), "the bytes that arrived")
				require.Equal(t, c.payload == none, m.Payload == nil)
				if c.payload != none {
					require.Equal(t, c.payload, string(m.Payload))
				}
			}

			// What is signed is the form, and only what is signed is looked at.
			for _, other := range []string{c.body + "&", "payload=" + url.QueryEscape(c.payload) + "%20"} {
				_, err := key.Verify(h, []byte(other), now, signing.Limits{})
				require.ErrorIs(t, err, signing.ErrNoMatch)
			}
		})
	}

	// For others a form is a body like any other.
	body := []byte("payload=1&payload=2")
	other := bind(t, signing.BodyHMAC("X-Hub-Signature-256", "sha256=", signing.Hex), secret(t, "mysecret"))
	h := http.Header{}
	other.SetHeaders(h, signing.Message{Body: body})
	m, err := other.Verify(h, body, now, signing.Limits{})
	require.NoError(t, err)
	require.Nil(t, m.Payload)
}

// A form costs one copy of its payload, whatever is in it.
func TestGitHubFormIsBounded(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop items at random")
	}
	key := bind(t, signing.GitHub, secret(t, "mysecret"))
	for name, body := range map[string][]byte{
		"large":       append([]byte("payload="), bytes.Repeat([]byte("%7B"), 300_000)...),
		"many fields": append([]byte("payload="), bytes.Repeat([]byte("&a"), 500_000)...),
		"many names":  append([]byte("payload="), bytes.Repeat([]byte("&payload%20"), 100_000)...),
		"many values": append([]byte("payload="), bytes.Repeat([]byte("&x=%7B"), 100_000)...),
	} {
		h := http.Header{}
		key.SetHeaders(h, signing.Message{Body: body})
		allocs := testing.AllocsPerRun(5, func() {
			m, err := key.Verify(h, body, now, signing.Limits{})
			if err != nil || m.Payload == nil || cap(m.Payload) > len(body) {
				t.Errorf("%s: %d bytes, %v", name, cap(m.Payload), err)
			}
		})
		require.LessOrEqual(t, allocs, 2.0, name)
	}
}

func FuzzGitHubForm(f *testing.F) {
	f.Add("payload=%7B%22a%22%3A+1%7D")
	f.Add("payload=1&p%61yload=2")
	f.Add("payload=1&x=%&y")
	key := bind(f, signing.GitHub, secret(f, "mysecret"))
	f.Fuzz(func(t *testing.T, body string) {
		h := http.Header{}
		key.SetHeaders(h, signing.Message{Body: []byte(body)})
		m, err := key.Verify(h, []byte(body), now, signing.Limits{})
		if !strings.HasPrefix(body, "payload=") {
			require.NoError(t, err)
			require.Nil(t, m.Payload)
			return
		}
		if strings.Contains(body, ";") {
			return // which net/url refuses, and browsers don't
		}
		values, parseErr := url.ParseQuery(body)
		require.Equal(t, parseErr == nil && len(values["payload"]) == 1, err == nil)
		if err == nil {
			require.Equal(t, values.Get("payload"), string(m.Payload))
		}
	})
}
