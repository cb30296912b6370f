package signing_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/hookpost/hookpost/signing"
)

// slack is a scheme of our own: Slack signs "v0:timestamp:body",
// https://docs.slack.dev/authentication/verifying-requests-from-slack.
type slack struct{}

func (slack) Name() string { return "slack" }

func (slack) Bind(newestFirst ...signing.Secret) (signing.Key, error) {
	var key slackKey
	for _, s := range newestFirst {
		switch {
		case s.IsZero(), s.Kind() == signing.KindPublic:
			return nil, signing.ErrBadSecret
		case s.Kind() == signing.KindShared: // private keys are for other schemes
			key.secrets = append(key.secrets, s)
		}
	}
	if len(key.secrets) == 0 {
		return nil, signing.ErrBadSecret
	}
	return key, nil
}

// slackKey holds Secrets and not their texts, so that fmt does not print them.
type slackKey struct{ secrets []signing.Secret }

func (k slackKey) mac(s signing.Secret, timestamp string, body []byte) []byte {
	mac := hmac.New(sha256.New, []byte(s.Reveal()))
	_, _ = fmt.Fprintf(mac, "v0:%s:%s", timestamp, body)
	return mac.Sum(nil)
}

func (k slackKey) AppendSignature(dst []byte, m signing.Message) []byte {
	timestamp := strconv.FormatInt(m.Timestamp.Unix(), 10)
	return hex.AppendEncode(append(dst, "v0="...), k.mac(k.secrets[0], timestamp, m.Body))
}

func (k slackKey) SetHeaders(h http.Header, m signing.Message) {
	h.Set("X-Slack-Request-Timestamp", strconv.FormatInt(m.Timestamp.Unix(), 10))
	h.Set("X-Slack-Signature", string(k.AppendSignature(nil, m)))
}

func (k slackKey) Verify(h http.Header, body []byte, now time.Time, lim signing.Limits) (signing.Message, error) {
	timestamp, signature := h.Values("X-Slack-Request-Timestamp"), h.Values("X-Slack-Signature")
	if len(timestamp) == 0 || len(signature) == 0 {
		return signing.Message{}, signing.ErrMissingHeader
	}
	seconds, err := strconv.ParseInt(timestamp[0], 10, 64)
	if len(timestamp) != 1 || len(signature) != 1 || err != nil || len(signature[0]) != len("v0=")+64 || signature[0][:3] != "v0=" {
		return signing.Message{}, signing.ErrMalformed
	}
	sum, err := hex.DecodeString(signature[0][3:])
	if err != nil {
		return signing.Message{}, signing.ErrMalformed
	}
	tolerance := lim.Tolerance
	if tolerance == 0 {
		tolerance = signing.DefaultTolerance
	}
	signedAt := time.Unix(seconds, 0)
	switch {
	case tolerance > 0 && signedAt.Before(now.Add(-tolerance)):
		return signing.Message{}, signing.ErrTooOld
	case tolerance > 0 && signedAt.After(now.Add(tolerance)):
		return signing.Message{}, signing.ErrTooNew
	}
	for _, s := range k.secrets {
		if hmac.Equal(sum, k.mac(s, timestamp[0], body)) {
			return signing.Message{Timestamp: signedAt, Body: body, Signed: signing.Coverage{Time: true}}, nil
		}
	}
	return signing.Message{}, signing.ErrNoMatch
}

// A scheme that this package does not have works everywhere a Scheme does: in
// Options of the sender and of the verifier.
func ExampleScheme() {
	secret, err := signing.ParseSecret("8f742231b10e8888abcd99yyyzzz85a5")
	if err != nil {
		panic(err)
	}
	key, err := slack{}.Bind(secret)
	if err != nil {
		panic(err)
	}
	// The example of Slack's documentation.
	body := []byte("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V" +
		"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=" +
		"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN" +
		"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c")
	h := make(http.Header)
	h.Set("X-Slack-Request-Timestamp", "1531420618")
	h.Set("X-Slack-Signature", "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503")

	m, err := key.Verify(h, body, time.Unix(1531420700, 0), signing.Limits{})
	fmt.Println(len(m.Body), err)
	_, err = key.Verify(h, body, time.Unix(1531424218, 0), signing.Limits{})
	fmt.Println(err)
	// Output:
	// 362 <nil>
	// signing: timestamp is too old
}
