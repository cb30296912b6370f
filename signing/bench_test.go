package signing_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/hookpost/hookpost/signing"
)

var benchSizes = []int{256, 1 << 10, 16 << 10, 256 << 10}

// The floor is what nothing that uses crypto/hmac or crypto/ed25519 can go below:
// one kept MAC and a comparison, one signature.
func BenchmarkFloor(b *testing.B) {
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		b.Fatal(err)
	}
	public := private.Public().(ed25519.PublicKey)
	for _, size := range benchSizes {
		body := bytes.Repeat([]byte("x"), size)
		b.Run("hmac/"+strconv.Itoa(size), func(b *testing.B) {
			mac := hmac.New(sha256.New, make([]byte, 32))
			mac.Reset()
			sum, other := make([]byte, 0, sha256.Size), make([]byte, sha256.Size)
			b.ReportAllocs()
			b.SetBytes(int64(size))
			for b.Loop() {
				mac.Reset()
				mac.Write(body)
				if hmac.Equal(mac.Sum(sum), other) {
					b.Fatal("equal")
				}
			}
		})
		b.Run("ed25519 sign/"+strconv.Itoa(size), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = ed25519.Sign(private, body)
			}
		})
		b.Run("ed25519 verify/"+strconv.Itoa(size), func(b *testing.B) {
			signature := ed25519.Sign(private, body)
			b.ReportAllocs()
			for b.Loop() {
				if !ed25519.Verify(public, body, signature) {
					b.Fatal("refused")
				}
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, c := range bounds(b) {
		key, receiver := bind(b, c.scheme, c.sender...), bind(b, c.scheme, c.others...)
		for _, size := range benchSizes {
			b.Run(c.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				m := standardMessage()
				m.Body = bytes.Repeat([]byte("x"), size)
				h := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"x"}, "Accept-Encoding": {"gzip"}, "Content-Length": {"1024"}}
				key.SetHeaders(h, m)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					if _, err := receiver.Verify(h, m.Body, now, signing.Limits{}); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkAppendSignature(b *testing.B) {
	for _, c := range bounds(b) {
		key := bind(b, c.scheme, c.sender...)
		for _, size := range benchSizes {
			b.Run(c.name+"/"+strconv.Itoa(size), func(b *testing.B) {
				m := standardMessage()
				m.Body = bytes.Repeat([]byte("x"), size)
				dst := make([]byte, 0, 512)
				b.ReportAllocs()
				b.SetBytes(int64(size))
				for b.Loop() {
					key.AppendSignature(dst, m)
				}
			})
		}
	}
}

// Refusing what a forger sends should cost less than verifying 1 KiB, however
// long the header and however many signatures it holds.
func BenchmarkRefuse(b *testing.B) {
	for _, c := range bounds(b) {
		key, receiver := bind(b, c.scheme, c.sender...), bind(b, c.scheme, c.others...)
		m := standardMessage()
		m.Body = bytes.Repeat([]byte("x"), 1<<10)
		good := http.Header{}
		key.SetHeaders(good, m)
		for name, value := range map[string]string{
			"commas": strings.Repeat(",", 1<<20),
			"list":   strings.Repeat("v1,x ", 1<<20/5),
			"fields": strings.Repeat("v1=x,", 1<<20/5),
			"letter": strings.Repeat("a", 1<<20),
		} {
			h := good.Clone()
			for _, header := range []string{"Webhook-Signature", "X-Sig", "X-Hub-Signature-256"} {
				if h[header] != nil {
					h[header] = []string{value}
				}
			}
			b.Run(c.name+"/1 MiB "+name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := receiver.Verify(h, m.Body, now, signing.Limits{}); err == nil {
						b.Fatal("accepted")
					}
				}
			})
		}
	}
}
