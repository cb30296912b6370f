package verifier_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/signing"
	"github.com/hookpost/hookpost/verifier"
)

// What ConstructEvent allocates is the strings that it reads from the body:
// the type, and the id where no header signs one. Refusing allocates nothing.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes sync.Pool drop items at random")
	}
	stripe := `{"id":"evt_1NG8Du","object":"event","created":1700000000,"type":"charge.succeeded","data":{"object":{}}}`
	for name, c := range map[string]struct {
		scheme signing.Scheme
		body   string
		want   float64
	}{
		"envelope":         {signing.Standard, paymentBody, 1},
		"not an envelope":  {signing.Standard, "text", 0},
		"id from the body": {signing.Timestamped("X-Sig"), paymentBody, 2},
		"Stripe":           {signing.Timestamped("Stripe-Signature"), stripe, 2},
		"GitHub":           {signing.GitHub, `{"ref":"refs/heads/main"}`, 0},
	} {
		v := newVerifier(t, &verifier.Options{Scheme: c.scheme})
		body, h := []byte(c.body), sign(t, c.scheme, "evt_a1b2c3d4", c.body)
		count := func(h http.Header, want error) float64 {
			return testing.AllocsPerRun(200, func() {
				if _, err := v.ConstructEvent(body, h); err != want {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		require.Equal(t, c.want, count(h, nil), name)
		forged := sign(t, c.scheme, "evt_a1b2c3d4", c.body+" ")
		require.Zero(t, count(forged, signing.ErrNoMatch), name)
	}
}

func BenchmarkConstructEvent(b *testing.B) {
	v := newVerifier(b, nil)
	h := sign(b, signing.Standard, "evt_a1b2c3d4", paymentBody)
	body := []byte(paymentBody)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.ConstructEvent(body, h); err != nil {
			b.Fatal(err)
		}
	}
}
