package signing_test

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

// A bound is a scheme with secrets for it.
type bound struct {
	name   string
	scheme signing.Scheme
	sender []signing.Secret // sign
	others []signing.Secret // verify
	// What crypto/ed25519 itself allocates, an errors.New of 16 bytes, whenever a
	// well-formed signature is not the one of a key.
	onMismatch float64
}

// bounds has every scheme, Standard in its variants.
func bounds(t testing.TB) []bound {
	shared, private := signing.NewSecret(), signing.NewPrivateKey()
	same := func(name string, scheme signing.Scheme, secrets ...signing.Secret) bound {
		return bound{name: name, scheme: scheme, sender: secrets, others: secrets}
	}
	return []bound{
		same("standard", signing.Standard, shared),
		same("standard rotating", signing.Standard, signing.NewSecret(), shared),
		{"standard ed25519", signing.Standard, []signing.Secret{private}, []signing.Secret{publicKey(t, private), publicKey(t, signing.NewPrivateKey())}, 2},
		{"standard mixed", signing.Standard, []signing.Secret{shared, private}, []signing.Secret{publicKey(t, private), shared}, 1},
		same("timestamped", signing.Timestamped("X-Sig"), shared),
		same("body hex", signing.BodyHMAC("X-Sig", "", signing.Hex), shared),
		same("body base64", signing.BodyHMAC("X-Sig", "hmac ", signing.Base64), shared),
		same("github", signing.GitHub, shared),
	}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop items at random")
	}
	for _, b := range bounds(t) {
		t.Run(b.name, func(t *testing.T) {
			key, receiver := bind(t, b.scheme, b.sender...), bind(t, b.scheme, b.others...)
			m := standardMessage()
			m.Body = bytes.Repeat([]byte("x"), 1024)
			dst := make([]byte, 0, 512)
			require.Zero(t, testing.AllocsPerRun(200, func() { key.AppendSignature(dst, m) }), "signing")

			h := http.Header{}
			key.SetHeaders(h, m)
			verify := func(h http.Header) float64 {
				return testing.AllocsPerRun(200, func() { _, _ = receiver.Verify(h, m.Body, now, signing.Limits{}) })
			}
			_, err := receiver.Verify(h, m.Body, now, signing.Limits{})
			require.NoError(t, err)
			require.Zero(t, verify(h), "verifying")
			for name, spoil := range map[string]func(h http.Header, name string){
				"missing":   func(h http.Header, name string) { delete(h, name) },
				"repeated":  func(h http.Header, name string) { h[name] = append(h[name], "x") },
				"flooded":   func(h http.Header, name string) { h[name] = []string{strings.Repeat("v1,x v1=x,", 400)} },
				"too long":  func(h http.Header, name string) { h[name] = []string{strings.Repeat("v1, ", 40000)} },
				"malformed": func(h http.Header, name string) { h[name] = []string{"v1,?=,."} },
				"forged":    func(h http.Header, name string) { h[name] = []string{strings.ToUpper(h[name][0])} },
			} {
				for _, header := range signing.HeaderNames(key) {
					bad := h.Clone()
					spoil(bad, header)
					if b.onMismatch > 0 && name == "forged" {
						require.LessOrEqual(t, verify(bad), b.onMismatch, header)
						continue
					}
					require.Zero(t, verify(bad), "%s %s", name, header)
				}
			}
		})
	}
}

func TestSetHeadersAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop items at random")
	}
	for _, b := range bounds(t) {
		key := bind(t, b.scheme, b.sender...)
		h, m := http.Header{}, standardMessage()
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { key.SetHeaders(h, m) }), 5.0, b.name)
	}
}

func TestConcurrentUse(t *testing.T) {
	for _, b := range bounds(t) {
		key, receiver := bind(t, b.scheme, b.sender...), bind(t, b.scheme, b.others...)
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 100 {
					m := signing.Message{ID: "evt_" + strconv.Itoa(g), Timestamp: now, Body: bytes.Repeat([]byte{byte(i)}, g*i)}
					h := http.Header{}
					key.SetHeaders(h, m)
					if _, err := receiver.Verify(h, m.Body, now, signing.Limits{}); err != nil {
						t.Error(err)
					}
					if _, err := receiver.Verify(h, append(m.Body, 'x'), now, signing.Limits{}); err == nil {
						t.Error("another body was accepted")
					}
				}
			})
		}
		wg.Wait()
	}
}
