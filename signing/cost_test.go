package signing_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
)

func schemes() []signing.Scheme {
	return []signing.Scheme{signing.Standard, signing.Timestamped("X-Sig")}
}

func TestNoAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop items at random")
	}
	for _, scheme := range schemes() {
		t.Run(scheme.Name(), func(t *testing.T) {
			key := bind(t, scheme, signing.NewSecret(), signing.NewSecret())
			m := standardMessage()
			m.Body = bytes.Repeat([]byte("x"), 1024)
			dst := make([]byte, 0, 512)
			require.Zero(t, testing.AllocsPerRun(200, func() { key.AppendSignature(dst, m) }), "signing")

			h := http.Header{}
			key.SetHeaders(h, m)
			verify := func(h http.Header) float64 {
				return testing.AllocsPerRun(200, func() { _, _ = key.Verify(h, m.Body, now, signing.Limits{}) })
			}
			require.Zero(t, verify(h), "verifying")
			for name, spoil := range map[string]func(h http.Header, name string){
				"missing":   func(h http.Header, name string) { delete(h, name) },
				"repeated":  func(h http.Header, name string) { h[name] = append(h[name], "x") },
				"flooded":   func(h http.Header, name string) { h[name] = []string{strings.Repeat("v1,x v1=x,", 400)} },
				"too long":  func(h http.Header, name string) { h[name] = []string{strings.Repeat("v1, ", 40000)} },
				"malformed": func(h http.Header, name string) { h[name] = []string{"v1,?=,"} },
				"forged":    func(h http.Header, name string) { h[name] = []string{strings.ToUpper(h[name][0])} },
			} {
				for _, header := range signing.HeaderNames(key) {
					bad := h.Clone()
					spoil(bad, header)
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
	for _, scheme := range schemes() {
		key := bind(t, scheme, signing.NewSecret())
		h, m := http.Header{}, standardMessage()
		require.LessOrEqual(t, testing.AllocsPerRun(200, func() { key.SetHeaders(h, m) }), 3.0)
	}
}

func TestConcurrentUse(t *testing.T) {
	for _, scheme := range schemes() {
		key := bind(t, scheme, signing.NewSecret(), signing.NewSecret())
		var wg sync.WaitGroup
		for g := range 8 {
			wg.Go(func() {
				for i := range 200 {
					m := signing.Message{ID: "evt_" + strconv.Itoa(g), Timestamp: now, Body: bytes.Repeat([]byte{byte(i)}, g*i)}
					h := http.Header{}
					key.SetHeaders(h, m)
					if _, err := key.Verify(h, m.Body, now, signing.Limits{}); err != nil {
						t.Error(err)
					}
					if _, err := key.Verify(h, append(m.Body, 'x'), now, signing.Limits{}); err == nil {
						t.Error("another body was accepted")
					}
				}
			})
		}
		wg.Wait()
	}
}

func BenchmarkSigning(b *testing.B) {
	for _, size := range []int{256, 1 << 10, 16 << 10} {
		body := bytes.Repeat([]byte("x"), size)
		b.Run("floor/"+strconv.Itoa(size), func(b *testing.B) {
			mac := hmac.New(sha256.New, make([]byte, 32))
			sum := make([]byte, 0, 32)
			b.ReportAllocs()
			for b.Loop() {
				mac.Reset()
				mac.Write(body)
				hmac.Equal(mac.Sum(sum), sum[:32])
			}
		})
		for _, scheme := range schemes() {
			key := bind(b, scheme, signing.NewSecret())
			m := standardMessage()
			m.Body = body
			h := http.Header{}
			key.SetHeaders(h, m)
			b.Run("verify/"+scheme.Name()+"/"+strconv.Itoa(size), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := key.Verify(h, body, now, signing.Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run("append/"+scheme.Name()+"/"+strconv.Itoa(size), func(b *testing.B) {
				dst := make([]byte, 0, 512)
				b.ReportAllocs()
				for b.Loop() {
					key.AppendSignature(dst, m)
				}
			})
		}
	}
}
